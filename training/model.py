"""LeadModel: P(convert within the horizon), E[value | convert], intervals, reasons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from features.language import FeatureSet
from training.calibrate import Calibration, choose
from training.dataset import Training, blocks
from training.encode import Encoder
from training.grow import Encoded, Grower, here, out_of_fold

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Progress = Callable[[str], None]

FOLDS = 4
CROSS_ROWS = 80_000
"""Rows that rounds and calibration are chosen on; more would cost time and change little."""

ROW_WISE_ROWS = 500_000
"""Beyond so many rows, a histogram is filled by column: by row is faster, and holds the binned rows
a second time, in two bytes a value."""

LEAST_DEALS = 50
"""Fewer won deals of known value than this: no value head, only their mean."""

_SHARED: Mapping[str, Any] = {
    "learning_rate": 0.04,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 8.0,
    "cat_smooth": 30.0,
    "cat_l2": 20.0,
    "max_bin": 127,
    "verbosity": -1,
    "deterministic": True,
    "seed": 17,
}


@dataclass(frozen=True)
class Recipe:
    """How the heads are grown. One recipe for all data; what adapts, adapts to the training rows.

    ``leaf_share``: a leaf holds at least this share of the rows, within 20..400.
    """

    leaves: int = 8
    rounds: int = 400
    leaf_share: float = 0.004
    extra: Mapping[str, Any] = field(default_factory=dict)

    def parameters(self, objective: str, rows: int) -> dict[str, Any]:
        """LightGBM's parameters for a head grown on ``rows`` rows."""
        leaf = int(np.clip(self.leaf_share * rows, 20, 400))
        own = {"objective": objective, "num_leaves": self.leaves, "min_data_in_leaf": leaf}
        by = "force_row_wise" if rows <= ROW_WISE_ROWS else "force_col_wise"
        return {**_SHARED, by: True, **own, **self.extra}


@dataclass(frozen=True, eq=False)
class ValueHead:
    """E[value | convert] = exp(log-value prediction) x smearing factor.

    The factor is the mean of exp(residual) over out-of-fold residuals of the won deals (Duan 1983,
    JASA 78, 605-610); ``low`` and ``high`` are the 5 % and 95 % quantiles of exp(residual), so that
    value x low/smearing .. bounds a deal in nine cases of ten. Without ``booster``: one log-mean
    for all.
    """

    booster: lgb.Booster | None
    center: float
    smearing: float
    low: float
    high: float

    def median(self, matrix: Floats) -> Floats:
        """exp of the predicted log value (n,)."""
        if self.booster is None:
            return np.full(len(matrix), np.exp(self.center))
        return np.exp(self.booster.predict(matrix, num_threads=_threads(matrix)))


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
        raw = self.booster.predict(matrix, raw_score=True, num_threads=_threads(matrix))
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
            raw[place] = self.booster.predict(matrix, raw_score=True, num_threads=_threads(matrix))
            if self.value_head is not None:
                median[place] = self.value_head.median(matrix)
        return self.read(raw, None if self.value_head is None else median)

    def contributions(self, matrix: Floats) -> Floats:
        """Exact additive contributions to the raw log-odds, (n, features + 1), the last the base.

        TreeSHAP (Lundberg et al. 2020, Nature Machine Intelligence 2, 56-67), by LightGBM.
        """
        found = self.booster.predict(matrix, pred_contrib=True, num_threads=_threads(matrix))
        return np.asarray(found)


def _threads(matrix: Floats) -> int:
    """One thread for a few rows: waking the others costs more than they do."""
    return 1 if len(matrix) < 1_000 else 0


def train(
    data: Training,
    recipe: Recipe | None = None,
    progress: Progress | None = None,
    grower: Grower = here,
) -> LeadModel:
    """Grow both heads on a training set, in memory or on disk; ``grower`` says where.

    Rows of a lead weigh less the more there are (see :func:`lead_weights`). The number of rounds
    and the calibration come from folds by lead; the head is then grown on all rows. Raises
    ``ValueError`` when the rows hold one class only.
    """
    recipe, say = recipe or Recipe(), progress or (lambda _: None)
    converted = data.converted
    if converted.all() or not converted.any():
        raise ValueError("all rows have the same outcome: there is nothing to learn yet")
    encoder = Encoder.fit(data.features, blocks(data))
    rows, target, lead = Encoded(data, encoder), converted.astype(np.float64), data.lead_number
    groups = folds_by_lead(lead)
    trees = grower(rows, target, lead_weights(lead), recipe.parameters("binary", len(data)))
    say("conversion head: folds by lead")
    raw, rounds = out_of_fold(trees, rows, target, groups, recipe.rounds, binary=True)
    say(f"conversion head: all rows, {rounds} rounds")
    booster = trees.grow(np.ones(len(data), dtype=bool), rounds)
    crossed = groups >= 0
    calibration = choose(raw, converted[crossed], data.as_of[crossed])
    del trees  # the binned rows, before those of the value head
    say("value head")
    value_head = _value_head(data, encoder, recipe, grower)
    return LeadModel(data.features, encoder, booster, calibration, value_head)


def lead_weights(lead: Ints) -> Floats:
    """Weights of rows (n,): one over the root of their lead's rows, scaled to a mean of 1.

    Between equal rows and equal leads: measured out of time, both extremes lose log loss.
    """
    weight = 1.0 / np.sqrt(np.bincount(lead)[lead])
    return weight / weight.mean()


def folds_by_lead(lead: Ints, count: int = FOLDS, seed: int = 17) -> Ints:
    """A fold number for each row (n,); rows of a lead share one.

    Beyond ``CROSS_ROWS`` rows, a share of the leads drawn at random takes no part: -1.
    """
    draw = np.random.default_rng(seed)
    leads = int(lead.max()) + 1
    fold = np.arange(leads) % count
    draw.shuffle(fold)
    fold[draw.random(leads) > CROSS_ROWS / len(lead)] = -1
    return fold[lead]


def _value_head(
    data: Training, encoder: Encoder, recipe: Recipe, grower: Grower
) -> ValueHead | None:
    """Grown on the rows of won deals of known, positive value; None when there are none."""
    won = data.converted & (np.nan_to_num(data.value) > 0)
    if not won.any():
        return None
    logs, lead = np.log(data.value[won]), np.unique(data.lead_number[won], return_inverse=True)[1]
    weight, groups = lead_weights(lead), folds_by_lead(lead)
    crossed = groups >= 0
    center = float(np.average(logs, weights=weight))
    predicted, booster = np.full(int(crossed.sum()), center), None
    if lead.max() + 1 >= LEAST_DEALS:
        deals = Recipe(recipe.leaves, recipe.rounds, 0.02, {**recipe.extra, "lambda_l2": 2.0})
        parameters = deals.parameters("regression", len(logs))
        rows = Encoded(data.where(won), encoder)
        trees = grower(rows, logs, weight, parameters)
        found, rounds = out_of_fold(trees, rows, logs, groups, recipe.rounds, binary=False)
        if _squared(found - logs[crossed]) < _squared(predicted - logs[crossed]):
            predicted, booster = found, trees.grow(np.ones(len(logs), dtype=bool), rounds)
    low, high, smearing = _spread(logs[crossed] - predicted, weight[crossed])
    return ValueHead(booster, center, smearing, low, high)


def _squared(residual: Floats) -> float:
    return float(np.square(residual).mean())


def _spread(residual: Floats, weight: Floats) -> tuple[float, float, float]:
    """The 5 % and 95 % quantiles and the mean of exp(residual), weighted."""
    order = np.argsort(residual)
    share = np.cumsum(weight[order]) / weight.sum()
    low, high = np.exp(residual[order][np.searchsorted(share, [0.05, 0.95])])
    return float(low), float(high), float(np.average(np.exp(residual), weights=weight))
