"""Rows out of time, and what each contender says of them that learned before; ours first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from training import timeline
from training.baselines import BaseRate, Contender, NaiveBayes, Scorecard
from training.dataset import Training, blocks
from training.evaluate import Outcomes, Predictions, measure
from training.grow import Grower
from training.maturity import Maturity
from training.model import train
from training.recipe import Recipe, lead_weights

Floats = npt.NDArray[np.float64]
Truth = Callable[[pd.DataFrame], pd.DataFrame]
"""From a spine to the true probability and expected_value of each row; simulated data only."""

MAIN = "leadcast"
CAPACITY = 0.2
CONTENDER_ROWS = 400_000
_RANDOM_ROWS = 40_000
_CONTENDERS: dict[str, Contender] = {
    "base rate": BaseRate(),
    "naive Bayes": NaiveBayes(),
    "logistic regression": Scorecard(),
}


class Progress(Protocol):
    """Told what is going on: a step's name, and how much of it is done (0..1)."""

    def __call__(self, step: str, share: float, /) -> None: ...  # noqa: D102


def judged(
    data: Training,
    folds: Sequence[timeline.Fold],
    recipe: Recipe,
    grower: Grower,
    say: Progress,
) -> tuple[npt.NDArray[np.int64], list[Predictions]]:
    """The rows that the folds judge, and what every contender said of them, ours first."""
    made = [
        _judge(data, fold, recipe, grower, say, f"fold {i} of {len(folds)}")
        for i, fold in enumerate(folds, start=1)
    ]
    rows = np.concatenate([rows for rows, _ in made])
    return rows, [_joined([said[i] for _, said in made]) for i in range(len(made[0][1]))]


def _judge(
    data: Training,
    fold: timeline.Fold,
    recipe: Recipe | None,
    grower: Grower,
    say: Progress,
    step: str,
) -> tuple[npt.NDArray[np.int64], list[Predictions]]:
    say(step, 0.0)
    rows = np.flatnonzero(fold.test(data.as_of))
    teach, test = data.where(fold.past(data.as_of)), data.where(fold.test(data.as_of))
    model = train(teach, recipe, lambda part: say(f"{step}: {part}", 0.3), grower, fold.origin)
    said = model.predict_set(test)
    made = [
        Predictions(MAIN, said.probability, said.expected_value, said.value_low, said.value_high)
    ]
    some, stands_for = _some_leads(teach, fold.origin)
    for name, contender in _CONTENDERS.items():
        say(f"{step}: {name}", 0.8)
        by_lead = 1.0 if name == "base rate" else lead_weights(some.lead_number)
        fitted = contender.fit(some.columns, some.converted, by_lead * stands_for)
        chance = [fitted.probability(columns) for columns in blocks(test)]
        made.append(Predictions(name, np.concatenate(chance)))
    say(step, 1.0)
    return rows, made


def _some_leads(teach: Training, now: int) -> tuple[Training, Floats]:
    """What contenders learn from, and how many rows each of those stands for.

    The outcomes known by now; no more than they can hold in memory, and more would change little.
    """
    leads = int(teach.lead_number.max()) + 1
    drawn = np.random.default_rng(0).random(leads) <= CONTENDER_ROWS / len(teach)
    maturity = Maturity.at(now, teach.as_of, teach.known_at)
    chosen = maturity.known & drawn[teach.lead_number]
    return teach.where(chosen), maturity.weight[chosen]


def _joined(parts: Sequence[Predictions]) -> Predictions:
    def join(name: str) -> Floats | None:
        columns = [getattr(part, name) for part in parts]
        return None if any(column is None for column in columns) else np.concatenate(columns)

    probability = join("probability")
    assert probability is not None
    return Predictions(
        parts[0].name, probability, join("expected_value"), join("value_low"), join("value_high")
    )


def outcomes(data: Training) -> Outcomes:
    """What came of the rows; without values where none has one."""
    has_values = bool(np.nan_to_num(data.value).any())
    return Outcomes(data.lead_id, data.as_of, data.converted, data.value if has_values else None)


def random_split(data: Training, recipe: Recipe | None, grower: Grower) -> dict[str, float | None]:
    """What a random split of rows would have claimed for the same recipe: the usual error."""
    draw = np.random.default_rng(0).permutation(len(data))[:_RANDOM_ROWS]
    cut = int(0.75 * len(draw))
    teach, test = (np.isin(np.arange(len(data)), part) for part in (draw[:cut], draw[cut:]))
    taught, those = data.where(teach), data.where(test)
    if taught.converted.all() or not taught.converted.any():
        return {}
    model = train(taught, recipe, grower=grower)
    said = model.predict_set(those)
    made = Predictions("random split", said.probability, said.expected_value)
    return measure(outcomes(those), made, CAPACITY)


def ceiling_of(truth: Truth, rows: pd.DataFrame, test: Outcomes) -> dict[str, float | None]:
    """What the truth itself scores on the test rows; simulated data only."""
    known = truth(rows[["lead_id", "as_of"]].reset_index(drop=True))
    chance, worth = known["probability"].to_numpy(), known["expected_value"].to_numpy()
    return measure(test, Predictions("truth", chance, worth), CAPACITY)
