"""How heads are grown: one recipe for all data, row weights and folds by lead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FOLDS = 4
CROSS_ROWS = 80_000
"""Rows that rounds and calibration are chosen on; more would cost time and change little."""

_SHARED: Mapping[str, Any] = {
    "feature_fraction": 0.3,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 8.0,
    "cat_smooth": 30.0,
    "cat_l2": 20.0,
    "max_bin": 127,
    "force_col_wise": True,  # a tree looks at few columns, and a copy by row is made of them all
    "verbosity": -1,
    "deterministic": True,
    "seed": 17,
}


SINGLE_SPLITS: Mapping[str, Any] = {
    "num_leaves": 2,
    "learning_rate": 0.2,
    "feature_fraction": 0.1,
    "extra_trees": True,
}
"""Trees of one split add up to a sum of effects, one a feature: a scorecard that finds its bins.

Thresholds are drawn at random and few features are looked at each time, so that effects are smooth
and shared among features that say the same, as a penalty makes those of a logistic regression.
"""

SEEDS = (17, 18)
"""Trees of several leaves are grown with each and averaged: half of what chance did to them goes.
Single splits depend on it less, and third and fourth seeds bring little."""

SHARES = (0.25, 0.5, 0.75)
"""How much single splits may have to say beside trees of several leaves. Never nothing, and never
all: where out-of-fold loss preferred an extreme, time did not."""


@dataclass(frozen=True)
class Recipe:
    """How the heads are grown. One recipe for all data; what adapts, adapts to the training rows.

    ``leaf_share``: a leaf holds at least this share of the rows, within 20..200. ``blended``: with
    single splits, in the conversion head. ``directions``: features with 1 or -1, whose rise never
    lowers, or never raises, the raw score.
    """

    leaves: int = 8
    rounds: int = 400
    leaf_share: float = 0.004
    extra: Mapping[str, Any] = field(default_factory=dict)
    blended: bool = True
    directions: tuple[tuple[str, int], ...] = ()

    @property
    def fast_rounds(self) -> int:
        """The most rounds of the conversion head, which learns faster than the value head."""
        return self.rounds * 5 // 8

    @property
    def text(self) -> str:
        """The recipe in a line: what it sets, and what it leaves to the usual."""
        own = "".join(f", {name} {value:.3g}" for name, value in self.extra.items())
        size = f"{self.leaves} leaves of {self.leaf_share:.2%} of the rows or more"
        return f"{size}, {self.rounds} rounds at most{own}"

    def conversion(self, names: Sequence[str], rows: int) -> dict[str, Any]:
        """Those of the conversion head over features of these names."""
        found = self.parameters("binary", rows)
        if not self.directions:
            return found
        declared = dict(self.directions)
        return {"monotone_constraints": [declared.get(name, 0) for name in names], **found}

    def parameters(self, objective: str, rows: int) -> dict[str, Any]:
        """LightGBM's parameters for a head grown on ``rows`` rows."""
        leaf = int(np.clip(self.leaf_share * rows, 20, 200))
        own = {
            "objective": objective,
            "learning_rate": 0.08 if objective == "binary" else 0.04,
            "num_leaves": self.leaves,
            "min_data_in_leaf": leaf,
        }
        return {**_SHARED, **own, **self.extra}


def lead_weights(lead: Ints) -> Floats:
    """Weights of rows (n,): one over the root of their lead's rows, scaled to a mean of 1.

    Between equal rows and equal leads: measured out of time, both extremes lose log loss.
    """
    weight = 1.0 / np.sqrt(np.bincount(lead)[lead])
    return weight / weight.mean()


def folds_of(group: Ints, count: int = FOLDS, seed: int = 17) -> Ints:
    """A fold number for each row (n,); rows of a group, a lead's or an account's, share one.

    Beyond ``CROSS_ROWS`` rows, a share of the groups drawn at random takes no part: -1.
    """
    draw = np.random.default_rng(seed)
    names, place = np.unique(group, return_inverse=True)
    fold = np.arange(len(names)) % count
    draw.shuffle(fold)
    fold[draw.random(len(names)) > CROSS_ROWS / len(group)] = -1
    return fold[place]


def threads(matrix: Floats) -> int:
    """One thread for a few rows: waking the others costs more than they do."""
    return 1 if len(matrix) < 1_000 else 0
