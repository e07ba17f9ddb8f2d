"""Can these data be scored yet? A verdict in plain words, and what more of them would buy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.dataset import Training
from training.evaluate import Evaluation, wilson
from training.grow import Encoded, Grower, here
from training.ladder import Rung, climb, reached
from training.model import LeadModel
from training.recipe import Recipe, folds_of, lead_weights

_SHARES = (1 / 3, 2 / 3)
_DRAWS = 2


@dataclass(frozen=True)
class Curve:
    """What the model gains over the base rate in log loss (a share of it), by converted leads.

    ``twice``: the gain that twice the conversions would bring, were it to go on as
    ``g - b / conversions``.
    """

    conversions: tuple[int, ...]
    gains: tuple[float, ...]
    twice: float


def learning_curve(
    data: Training, model: LeadModel, recipe: Recipe | None = None, grower: Grower = here
) -> Curve | None:
    """Climb the ladder with a third and two thirds of the leads too; None for many conversions.

    Out of fold, leads drawn at random twice. A rung that is not climbed gains nothing.
    """
    if not model.rungs:
        return None
    draw, leads = np.random.default_rng(17), int(data.lead_number.max()) + 1
    conversions, gains = [], []
    for share in _SHARES:
        found = []
        for _ in range(_DRAWS):
            chosen = draw.permutation(leads) < share * leads
            found.append(_gain(data.where(chosen[data.lead_number]), model, recipe, grower))
        conversions.append(round(float(np.mean([won for won, _ in found]))))
        gains.append(float(np.mean([gain for _, gain in found])))
    conversions.append(len(np.unique(data.lead_number[data.converted])))
    gains.append(_saved(model.rungs))
    return Curve(tuple(conversions), tuple(gains), _twice(conversions, gains))


def _gain(
    data: Training, model: LeadModel, recipe: Recipe | None, grower: Grower
) -> tuple[int, float]:
    """Converted leads, and the share of the base rate's log loss that the best rung saves."""
    lead, converted = data.lead_number, data.converted
    won = len(np.unique(lead[converted]))
    if won < 2 or converted.all():
        return won, 0.0
    rows, groups = Encoded(data, model.encoder), folds_of(data.group)
    target, weight = converted.astype(np.float64), lead_weights(lead)
    _, rungs = climb(rows, target, weight, lead, groups, recipe or Recipe(), grower)
    return won, _saved(rungs)


def _saved(rungs: Sequence[Rung]) -> float:
    """What the highest rung saves of the base rate's log loss, as a share."""
    best = next(rung.log_loss for rung in reversed(rungs) if rung.climbed)
    return 1 - best / rungs[0].log_loss


def _twice(conversions: Sequence[int], gains: Sequence[float]) -> float:
    """``g - b / n`` by least squares, at twice the last n; never less than now."""
    inverse = 1 / np.maximum(np.array(conversions, dtype=np.float64), 1)
    slope, level = np.polyfit(inverse, gains, 1)
    return max(float(level + slope * inverse[-1] / 2), gains[-1])


def verdict(
    data: Training, model: LeadModel, evaluation: Evaluation, curve: Curve | None
) -> tuple[str, ...]:
    """Sentences for who must decide whether to use the scores; the first is the verdict."""
    lines = [_first(model, evaluation)]
    if model.rungs and reached(model.rungs) == "base rate":
        lead = data.lead_number
        won, leads = len(np.unique(lead[data.converted])), int(lead.max()) + 1
        low, high = wilson(won / leads, leads)
        lines.append(
            f"{won} of {leads} leads converted: {won / leads:.1%}, with 90 % between {low:.1%} and "
            f"{high:.1%}. Until more is known, every lead gets the same probability."
        )
    lines += [_calibrated(evaluation)]
    if curve is not None:
        lines.append(_more(curve))
    return tuple(lines)


def _first(model: LeadModel, evaluation: Evaluation) -> str:
    rung = reached(model.rungs)
    if rung == "base rate":
        return "Not ready: these leads cannot be told apart yet, better than by their average."
    difference = evaluation.differences["base rate"]["log_loss"]
    if difference.high is None or difference.high >= 0:
        return (
            f"Not proven: out of time, the {rung} is not clearly better than the base rate. Use "
            "the order of the leads, and not the probabilities."
        )
    gain = -(difference.value or 0.0) / (evaluation.measures["base rate"]["log_loss"].value or 1.0)
    return f"Ready: out of time, the {rung} saves {gain:.1%} of the base rate's log loss."


def _calibrated(evaluation: Evaluation) -> str:
    bins = evaluation.reliability
    off = sum(not one.low <= one.predicted <= one.high for one in bins)
    if off:
        return f"Probabilities: {off} of {len(bins)} bins miss what came true: read them with care."
    return f"Probabilities: what came true lies in the band of all {len(bins)} bins."


def _more(curve: Curve) -> str:
    steps = ", ".join(
        f"{gain:.1%} with {many}" for many, gain in zip(curve.conversions, curve.gains, strict=True)
    )
    return (
        f"More data: the gain over the base rate was {steps} conversions; twice as many would "
        f"bring about {curve.twice:.1%}."
    )
