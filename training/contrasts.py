"""Contrasts between groups of leads with bounds that hold for many comparisons at once."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.evaluate import auc, wilson

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_FOLDS, _BINS, _PRIOR = 5, 20, 20.0


def simultaneous(alpha: float, comparisons: int) -> float:
    """The z of two-sided bounds that all hold with 1 - alpha (Bonferroni)."""
    return NormalDist().inv_cdf(1 - alpha / (2 * max(comparisons, 1)))


def least_odds(hits: int, of: int, others: int, of_others: int, z: float) -> tuple[float, float]:
    """An odds ratio and its bound nearer to 1, which is 1 where the two bounds enclose it.

    ``hits`` of ``of`` against ``others`` of ``of_others``, half a lead added to each cell
    (Haldane 1956, Anscombe 1956). The bound is the farther of two: Woolf's (1955) error of the
    logarithm, and Wilson's limits of both shares, which do not fail where a cell is empty.
    """
    cells = np.array([hits, of - hits, others, of_others - others]) + 0.5
    log = math.log(cells[0] * cells[3] / (cells[1] * cells[2]))
    woolf = abs(log) - z * math.sqrt(float((1 / cells).sum()))
    level = 2 * NormalDist().cdf(z) - 1
    limits = [wilson(hits / of, of, level), wilson(others / of_others, of_others, level)]
    (low, _), (_, high) = limits if log > 0 else reversed(limits)
    apart = math.log(low / (1 - low) * (1 - high) / high) if low > 0 and high < 1 else 0.0
    least = max(woolf, apart, 0.0)
    return math.exp(log), math.exp(math.copysign(least, log))


def least_share(hits: int, of: int, z: float) -> float:
    """The lower bound of a share (Wilson 1927); 0 of nobody."""
    return wilson(hits / of, of, 2 * NormalDist().cdf(z) - 1)[0] if of else 0.0


def separation(column: pd.Series, won: Bools, z: float) -> tuple[float, float]:
    """How well one column tells won from lost: out-of-fold AUC and its lower bound.

    Texts are read as they are, numbers in twenty bins, a missing value as a value; each scores the
    win rate of the other folds, smoothed towards that of all. The error is Hanley and McNeil's
    (1982).
    """
    code = codes(column)
    fold = np.random.default_rng(0).permutation(len(won)) % _FOLDS
    score = np.empty(len(won))
    for number in range(_FOLDS):
        inside = fold == number
        taught, teach = code[~inside], won[~inside].astype(float)
        size, hits = (np.bincount(taught, w, code.max() + 1) for w in (None, teach))
        score[inside] = ((hits + _PRIOR * teach.mean()) / (size + _PRIOR))[code[inside]]
    found = auc(won, score)
    if found is None:
        return 0.5, 0.5
    return found, found - z * _auc_error(found, int(won.sum()), int((~won).sum()))


def codes(column: pd.Series) -> npt.NDArray[np.int64]:
    """A number from 0 for each distinct text or bin of numbers, and one for missing."""
    if column.dtype.kind == "f":
        known = column.dropna().to_numpy()
        edges = np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1]) if len(known) else []
        found = np.searchsorted(np.unique(edges), column.to_numpy(), side="left")
        found = np.where(column.isna(), -1, found)
    else:
        found = pd.factorize(column)[0]
    return found.astype(np.int64) + 1


def _auc_error(found: float, won: int, lost: int) -> float:
    one, two = found / (2 - found), 2 * found**2 / (1 + found)
    spread = (won - 1) * (one - found**2) + (lost - 1) * (two - found**2)
    return math.sqrt(max(found * (1 - found) + spread, 0.0) / (won * lost))


def rank_correlation(
    one: Floats, other: Floats, z: float, given: Floats | None = None
) -> tuple[float, float]:
    """Spearman's rho, without what ``given`` explains of both, and the lower bound of its size.

    Fisher's z with the error of Bonett and Wright (2000). 0 where a column never varies.
    """
    ranks = [pd.Series(values).rank().to_numpy() for values in (one, other)]
    if given is not None:
        third = pd.Series(given).rank().to_numpy()
        base = np.column_stack([np.ones(len(third)), third])
        ranks = [r - base @ np.linalg.lstsq(base, r, rcond=None)[0] for r in ranks]
    spread = [float(r.std()) for r in ranks]
    if len(one) < 5 or min(spread) < 1e-6 * len(one):
        return 0.0, 0.0
    first, second = (r - r.mean() for r in ranks)
    rho = float((first * second).mean()) / (spread[0] * spread[1])
    size = min(abs(rho), 1 - 1e-9)
    least = math.atanh(size) - z * math.sqrt((1 + rho**2 / 2) / (len(one) - 3))
    return rho, max(math.tanh(least), 0.0)
