"""Are probabilities honest while the base rate drifts? Twenty funnels whose truth is known.

    python -m benchmarks.calibration [--quick]

In each funnel the chance of winning drifts up or down for 18 months, in the most to 2.2 times or a
half of what it was. A model learns from the outcomes known at the origin and is judged on the eight
weeks after it. Even the true probabilities miss the observed rates there by chance: outcomes are
drawn from them for the same rows in the same bins, and what they miss by is the noise that the
calibration error is a multiple of. Rows of a lead within one horizon share their draw, so that two
rows share it as often as their horizons overlap. What the true probabilities missed the outcomes
by that came, one draw a funnel, is printed beside it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.bar import bar, cpu_seconds
from features.simulate import simulate
from features.source import Evaluation, Population, Source
from features.times import DAY, micros
from training import experiment
from training.model import Prediction, train

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SEEDS, QUICK = range(200, 220), range(200, 204)
LEADS, MOST_DRIFT, DRAWS = 2_000, 0.8, 100
HORIZON = 28 * DAY
ORIGIN = "2026-04-13"  # the labels of the eight weeks after it are complete


@dataclass(frozen=True, eq=False)
class Judged:
    """Rows after the origin: lead and time, what was said, what was true, what came of it."""

    rows: pd.DataFrame
    said: Prediction
    chance: Floats

    def error(self) -> float:
        """The calibration error of what was said."""
        return self._missed(self.rows["converted"].to_numpy(dtype=bool), self.said.probability)

    def luck(self) -> float:
        """What the true probabilities missed the outcomes by that came."""
        return self._missed(self.rows["converted"].to_numpy(dtype=bool), self.chance)

    def noise(self, seed: int) -> float:
        """The mean calibration error of the true probabilities, over draws from them."""
        draw, number = np.random.default_rng(seed), self._independent()
        several = [
            self._missed(draw.random(number.max() + 1)[number] < self.chance, self.chance)
            for _ in range(DRAWS)
        ]
        return float(np.mean(several))

    def _missed(self, converted: npt.NDArray[np.bool_], chance: Floats) -> float:
        """The mean distance of rate and chance over ten bins of what was said."""
        bins = pd.qcut(self.said.probability, 10, labels=False, duplicates="drop")
        return float(np.abs(np.bincount(bins, chance - converted)).sum() / len(bins))

    def _independent(self) -> Ints:
        """Numbers for rows (n,): one for each lead and horizon since the first row."""
        as_of = micros(self.rows["as_of"])
        turn = (as_of - as_of.min()) // HORIZON
        return self.rows.groupby(["lead_id", turn]).ngroup().to_numpy()


def judged(seed: int) -> Judged:
    """Train on one drifting funnel and score the rows after the origin."""
    drift = float(np.random.default_rng(seed).uniform(-MOST_DRIFT, MOST_DRIFT))
    made = simulate(leads=LEADS, seed=seed, drift=drift)
    source = Source.from_frames(
        "funnel",
        history=made.history,
        population=Population("weekly", None, HORIZON, 0, "won"),
        evaluation=Evaluation((ORIGIN,), None),
    )
    planned = experiment.plan(made.history, source)
    data = experiment.training_set(made.history, source, planned)
    (fold,) = planned.folds
    test = data.where(fold.test(data.as_of))
    model = train(data.where(fold.past(data.as_of)), now=fold.origin)
    chance = made.truth.at(test.rows[["lead_id", "as_of"]])["probability"].to_numpy()
    return Judged(test.rows, model.predict_set(test), chance)


def covered(one: Judged) -> npt.NDArray[np.bool_]:
    """Whether the value of each won deal lies in its interval."""
    won, said = one.rows["converted"].to_numpy(dtype=bool), one.said
    if said.value_low is None or said.value_high is None:
        return np.empty(0, dtype=bool)
    value = one.rows["value"].to_numpy()[won]
    return (said.value_low[won] <= value) & (value <= said.value_high[won])


def main(words: list[str]) -> None:
    """Judge the funnels one by one and print the bars."""
    start, found, inside = cpu_seconds(), [], []
    for seed in QUICK if "--quick" in words else SEEDS:
        one = judged(seed)
        found.append((one.error(), one.noise(seed), one.luck()))
        inside.append(covered(one))
        told = "calibration error {:.4f}, noise {:.4f}, luck {:.4f}".format(*found[-1])
        print(f"seed {seed}: {told}", flush=True)
    error, noise, luck = np.mean(found, axis=0)
    print(f"mean error {error:.4f}, noise {noise:.4f}, luck {luck:.4f}")
    print(f"{cpu_seconds() - start:.0f} CPU s")
    bar("calibration-error-over-noise", float(error / noise), 1.3)
    share = float(np.concatenate(inside).mean())
    bar("value-interval-coverage-low", share, 0.85, ">=")
    bar("value-interval-coverage-high", share, 0.95)


if __name__ == "__main__":
    main(sys.argv[1:])
