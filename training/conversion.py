"""The conversion head: trees of several leaves blended with single splits, as one booster."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from training.ensemble import blend
from training.grow import Encoded, Trees, logistic_loss, out_of_fold
from training.recipe import SEEDS, SHARES, SINGLE_SPLITS, Recipe

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Crossing:
    """What folds by lead said: out-of-fold log-odds ``raw`` of the rows that took part.

    ``rounds`` of trees of several leaves, ``few`` of single splits, whose ``share`` is the weight
    of the latter; no single splits where it is 0.
    """

    raw: Floats
    rounds: int
    few: int = 0
    share: float = 0.0


def cross(
    trees: Trees, rows: Encoded, target: Floats, weight: Floats, groups: Ints, recipe: Recipe
) -> Crossing:
    """Choose rounds and blend out of fold, by the loss of rows weighted as in training.

    ``groups`` are the rows' folds (n,), -1: none.
    """
    most, counts = recipe.fast_rounds if recipe.blended else recipe.rounds, weight[groups >= 0]
    loss = partial(logistic_loss, weight=counts)
    several, rounds = out_of_fold(trees, rows, target, groups, most, loss, half_first=True)
    if not recipe.blended:
        return Crossing(several, rounds)
    single, few = out_of_fold(trees, rows, target, groups, most, loss, SINGLE_SPLITS)
    known = target[groups >= 0]
    mixed = {share: (1 - share) * several + share * single for share in SHARES}
    share = min(SHARES, key=lambda one: loss(mixed[one], known))
    return Crossing(mixed[share], rounds, few, share)


def grow(trees: Trees, rows: int, crossing: Crossing) -> lgb.Booster:
    """The booster of all so many rows."""
    every = np.ones(rows, dtype=bool)
    if not crossing.share:
        return trees.grow(every, crossing.rounds)
    several = [trees.grow(every, crossing.rounds, own={"seed": seed}) for seed in SEEDS]
    single = trees.grow(every, crossing.few, own=SINGLE_SPLITS)
    share = (1 - crossing.share) / len(several)
    return blend([*several, single], [*[share] * len(several), crossing.share])
