"""The value head: what a deal would be worth if won."""

from __future__ import annotations

from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from training.dataset import Training
from training.encode import Encoder
from training.grow import Encoded, Grower, out_of_fold
from training.recipe import Recipe, folds_by_lead, lead_weights, threads

Floats = npt.NDArray[np.float64]

LEAST_DEALS = 50
"""Fewer won deals of known value than this: no value head, only their mean."""


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
        return np.exp(self.booster.predict(matrix, numthreads=threads(matrix)))


def fit_value(data: Training, encoder: Encoder, recipe: Recipe, grower: Grower) -> ValueHead | None:
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
