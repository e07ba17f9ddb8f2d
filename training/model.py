"""LeadModel: P(convert within the horizon), E[value | convert], intervals, reasons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from features.language import FeatureSet
from training.calibrate import Calibration, choose
from training.dataset import Training, blocks
from training.encode import Encoder
from training.ensemble import blend
from training.grow import Encoded, Grower, Trees, here, loss_of, out_of_fold
from training.recipe import (
    SHARES,
    SINGLE_SPLITS,
    Recipe,
    folds_by_lead,
    lead_weights,
    threads,
)
from training.value import ValueHead, fit_value

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of n rows. Values are None without a value head.

    ``value_low`` and ``value_high`` bound the deal value if won (90 %).
    """

    probability: Floats
    value: Floats | None = None
    value_low: Floats | None = None
    value_high: Floats | None = None

    @property
    def expected_value(self) -> Floats | None:
        """probability x value (n,)."""
        return None if self.value is None else self.probability * self.value


@dataclass(frozen=True, eq=False)
class LeadModel:
    """Both heads and what they need to read a row. Immutable and safe to share among threads."""

    features: FeatureSet
    encoder: Encoder
    booster: lgb.Booster
    calibration: Calibration
    value_head: ValueHead | None

    def predict(self, matrix: Floats) -> Prediction:
        """Score (n, features) encoded rows."""
        raw = self.booster.predict(matrix, raw_score=True, num_threads=threads(matrix))
        head = self.value_head
        return self.read(np.asarray(raw), None if head is None else head.median(matrix))

    def read(self, raw: Floats, median: Floats | None) -> Prediction:
        """What raw log-odds and median deal values (n,), if there is a value head, amount to."""
        head, probability = self.value_head, self.calibration(raw)
        if head is None or median is None:
            return Prediction(probability)
        return Prediction(
            probability, median * head.smearing, median * head.low, median * head.high
        )

    def predict_set(self, data: Training) -> Prediction:
        """Score a training set, in memory or on disk, a block of rows at a time."""
        raw, median = np.empty(len(data)), np.empty(len(data))
        for place, matrix in Encoded(data, self.encoder).blocks():
            raw[place] = self.booster.predict(matrix, raw_score=True, num_threads=threads(matrix))
            if self.value_head is not None:
                median[place] = self.value_head.median(matrix)
        return self.read(raw, None if self.value_head is None else median)

    def contributions(self, matrix: Floats) -> Floats:
        """Exact additive contributions to the raw log-odds, (n, features + 1), the last the base.

        TreeSHAP (Lundberg et al. 2020, Nature Machine Intelligence 2, 56-67), by LightGBM.
        """
        found = self.booster.predict(matrix, pred_contrib=True, num_threads=threads(matrix))
        return np.asarray(found)


def train(
    data: Training,
    recipe: Recipe | None = None,
    progress: Progress | None = None,
    grower: Grower = here,
    delay: int = 0,
) -> LeadModel:
    """Grow both heads on a training set, in memory or on disk; ``grower`` says where.

    ``delay`` is how long after its as-of a row's outcome is known, in microseconds. Rows
    of a lead weigh less the more there are (see :func:`lead_weights`). The conversion head blends
    trees of several leaves with single splits. The numbers of rounds, the blend and the calibration
    come from folds by lead; the head is then grown on all rows. Raises ``ValueError`` when the rows
    hold one class only.
    """
    recipe, say = recipe or Recipe(), progress or (lambda _: None)
    converted = data.converted
    if converted.all() or not converted.any():
        raise ValueError("all rows have the same outcome: there is nothing to learn yet")
    encoder = Encoder.fit(data.features, blocks(data))
    rows, target, lead = Encoded(data, encoder), converted.astype(np.float64), data.lead_number
    groups = folds_by_lead(lead)
    trees = grower(rows, target, lead_weights(lead), recipe.parameters("binary", len(data)))
    booster, raw = _grown(trees, rows, target, groups, recipe, say)
    crossed = groups >= 0
    calibration = choose(raw, converted[crossed], data.as_of[crossed], lead[crossed], delay)
    del trees  # the binned rows, before those of the value head
    say("value head")
    value_head = fit_value(data, encoder, recipe, grower)
    return LeadModel(data.features, encoder, booster, calibration, value_head)


def _grown(
    trees: Trees, rows: Encoded, target: Floats, groups: Ints, recipe: Recipe, say: Progress
) -> tuple[lgb.Booster, Floats]:
    """The conversion head's booster, and its out-of-fold log-odds of the rows that took part."""
    say("conversion head: folds by lead")
    several, rounds = out_of_fold(trees, rows, target, groups, recipe.fast_rounds, True)
    say("conversion head: folds by lead, single splits")
    single, few = out_of_fold(trees, rows, target, groups, recipe.fast_rounds, True, SINGLE_SPLITS)
    known = target[groups >= 0]
    mixed = {share: (1 - share) * several + share * single for share in SHARES}
    share = min(SHARES, key=lambda one: loss_of(mixed[one], known, True))
    say(f"conversion head: all rows, {rounds} rounds and {few} of single splits")
    every = np.ones(len(rows), dtype=bool)
    members = [trees.grow(every, rounds), trees.grow(every, few, own=SINGLE_SPLITS)]
    return blend(members, [1 - share, share]), mixed[share]
