"""The ladder: base rate, scorecard, LightGBM. With few conversions, the highest that they carry.

A rung is climbed only when its out-of-fold log loss, folds by lead, is lower than that of the rung
below and the 90 % interval of the difference, by lead, says so. All three are LightGBM models, so
that they are kept, served and explained alike: one leaf; trees of one split each, which add up to
points a feature, never against the direction in which the feature goes; and the recipe as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import NormalDist
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import logit

from training.conversion import cross
from training.encode import Encoder
from training.evaluate import LEVEL
from training.grow import Encoded, Grower
from training.recipe import Recipe

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RungName = Literal["base rate", "scorecard", "LightGBM"]

FEW = 300
"""From so many converted leads on the ladder is not tried: LightGBM was ahead in four of four
simulated funnels; with 200 the two were equal, with 100 the scorecard was ahead."""

_DIRECTION_ROWS = 50_000
_SURE = NormalDist().inv_cdf((1 + LEVEL) / 2)
_SCORECARD = Recipe(2, 96, 0.03, {"learning_rate": 0.1}, blended=False)


class Rung(msgspec.Struct, frozen=True):
    """One step of the ladder, judged on leads that it was not grown on.

    ``log_loss`` is weighted like the training rows; ``gain`` is what it is lower than that of the
    best rung below by, ``error`` the standard error of that, by lead; ``climbed`` whether it
    sufficed.
    """

    name: RungName
    log_loss: float
    gain: float
    error: float
    climbed: bool


def climb(
    rows: Encoded,
    target: Floats,
    weight: Floats,
    lead: Ints,
    groups: Ints,
    recipe: Recipe,
    grower: Grower,
) -> tuple[Recipe, tuple[Rung, ...]]:
    """The recipe of the highest rung that the data carry, and how each did.

    ``target``, ``weight`` and ``lead`` number are those of the rows (n,), ``groups`` their folds
    (-1: none).
    From :data:`FEW` converted leads on, ``recipe`` and no rungs.
    """
    if len(np.unique(lead[target > 0])) >= FEW:
        return recipe, ()
    part = groups >= 0
    best, kept = _constant(target, weight, groups), _BASE_RATE
    rungs = [Rung("base rate", _mean(best, weight[part]), 0.0, 0.0, True)]
    monotone = replace(
        _SCORECARD,
        extra={
            **_SCORECARD.extra,
            "monotone_constraints": _directions(rows, target, dict(recipe.directions)),
        },
    )
    candidates: list[tuple[RungName, Recipe]] = [("scorecard", monotone), ("LightGBM", recipe)]
    for name, candidate in candidates:
        trees = grower(rows, target, weight, candidate.conversion(rows.encoder.names, len(rows)))
        losses = _losses(cross(trees, rows, target, weight, groups, candidate).raw, target[part])
        gain, error = gain_of(best - losses, weight[part], lead[part])
        rungs.append(Rung(name, _mean(losses, weight[part]), gain, error, gain > _SURE * error))
        if rungs[-1].climbed:
            best, kept = losses, candidate
    return kept, tuple(rungs)


_BASE_RATE = Recipe(rounds=1, extra={"min_data_in_leaf": 2**30}, blended=False)


def reached(rungs: tuple[Rung, ...]) -> RungName:
    """The rung that a model stands on."""
    return next((rung.name for rung in reversed(rungs) if rung.climbed), "LightGBM")


def _constant(target: Floats, weight: Floats, groups: Ints) -> Floats:
    """The losses of the rate of the other folds."""
    part = groups >= 0
    raw = np.empty(int(part.sum()))
    for number in np.unique(groups[part]):
        others = part & (groups != number)
        rate = np.average(target[others], weights=weight[others])
        edge = 1 / (2 * others.sum())
        raw[groups[part] == number] = logit(np.clip(rate, edge, 1 - edge))
    return _losses(raw, target[part])


def _losses(raw: Floats, target: Floats) -> Floats:
    return np.logaddexp(0, np.where(target > 0, -raw, raw))


def _mean(losses: Floats, weight: Floats) -> float:
    return float(np.average(losses, weights=weight))


def gain_of(difference: Floats, weight: Floats, lead: Ints) -> tuple[float, float]:
    """The weighted mean of a difference and its standard error, leads being independent."""
    gain = float(np.average(difference, weights=weight))
    by_lead = np.bincount(lead, weight * (difference - gain))
    return gain, float(np.sqrt(np.square(by_lead).sum()) / weight.sum())


def _directions(rows: Encoded, target: Floats, declared: Mapping[str, int]) -> list[int]:
    """For each column 1 or -1: declared, or as conversion rises or falls; 0: texts, constants."""
    encoder: Encoder = rows.encoder
    first = max(len(rows) - _DIRECTION_ROWS, 0)
    matrix, won = rows[first : len(rows)], target[first:]
    texts = set(encoder.categorical)
    return [
        0 if column in texts else declared.get(name, _direction(matrix[:, column], won))
        for column, name in enumerate(encoder.names)
    ]


def _direction(values: Floats, won: Floats) -> int:
    known = ~np.isnan(values)
    if known.sum() < 2 or np.ptp(values[known]) == 0 or np.ptp(won[known]) == 0:
        return 0
    ranks = pd.Series(values[known]).rank()
    return int(np.sign(np.corrcoef(ranks, won[known])[0, 1]))
