"""How far the true expected value may be from the one that is said.

On real data the truth is never seen, only outcomes. So a ridge regression asks how much of the
log-odds, and of the log of the deal value, could still be hidden in the features: the penalty that
folds by lead choose says how strong effects are, the posterior how well so many outcomes tell them.
"""

from __future__ import annotations

from functools import cached_property
from statistics import NormalDist

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.special import logit

from training.dataset import Training
from training.grow import Encoded
from training.linear import Ridge, fit_linear
from training.machine import interval
from training.recipe import folds_of, lead_weights
from training.value import Deals

Floats = npt.NDArray[np.float64]

LEVEL = 0.90
_REACH = NormalDist().inv_cdf((1 + LEVEL) / 2)
_BINS, _BIN_ROWS = 8, 50
_EDGE, _LEAST_CHANCE = 1e-9, 1e-4
_FEW_DEALS, _UNKNOWN = 10, 1.0

_LOOKED = 20_000
"""Doubt is averaged over so many rows, evenly spaced: more would cost time and change nothing."""


class Spread(msgspec.Struct, frozen=True, dict=True):
    """Standard deviations of the truth about what is said.

    ``chance`` are those of the log-odds, at the log-odds ``at``, linear between; ``value`` is that
    of the log of the mean deal value. Errors of the two are taken to be independent and normal.
    """

    at: tuple[float, ...]
    chance: tuple[float, ...]
    value: float

    @property
    def readable(self) -> bool:
        """Whether every standard deviation has its place, in ascending order."""
        return 0 < len(self.at) == len(self.chance) and list(self.at) == sorted(self.at)

    def ends(self, probability: Floats, expected: Floats) -> tuple[Floats, Floats]:
        """The 90 % interval of the true expected value (n,).

        It bounds the mean of what such leads bring, not what one lead brings: that is nothing, or
        a deal. The chance stays below 1.
        """
        at, chance = self._reach
        low, high = interval(probability, expected, at, chance, _REACH * self.value, _EDGE)
        return low, high

    @cached_property
    def _reach(self) -> tuple[Floats, Floats]:
        """How far the log-odds may be off, by what they are."""
        return np.array(self.at), _REACH * np.array(self.chance)


def fit_spread(data: Training, deals: Deals, honest: Floats) -> Spread:
    """Read off rows, the won deals, and the chances that folds by lead gave the rows (n,).

    The ridge of the log-odds takes one Newton step from there. Rows of a lead count as what they
    are worth together.
    """
    rows, lead = Encoded(data, deals.rows.encoder), data.lead_number
    chance = np.clip(honest, _LEAST_CHANCE, 1 - _LEAST_CHANCE)
    told, odds = chance * (1 - chance), logit(chance)
    target = odds + (data.converted - chance) / told
    ridge = fit_linear(rows, target, lead_weights(lead) * told, folds_of(data.group), lead)
    looked = np.arange(len(rows)) % -(-len(rows) // _LOOKED) == 0
    rows, odds = rows.where(looked), odds[looked]
    doubt = _doubt(ridge, rows)
    bins = int(np.clip(len(odds) // _BIN_ROWS, 1, _BINS))
    parts = np.array_split(np.argsort(odds, kind="stable"), bins)
    return Spread(
        tuple(float(np.median(odds[part])) for part in parts),
        tuple(_root_mean_square(doubt[part]) for part in parts),
        _UNKNOWN if deals.leads < _FEW_DEALS else _root_mean_square(_doubt(deals.ridge, rows)),
    )


def _doubt(ridge: Ridge, rows: Encoded) -> Floats:
    return np.concatenate([ridge.doubt(matrix) for _, matrix in rows.blocks()])


def _root_mean_square(numbers: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(numbers))))
