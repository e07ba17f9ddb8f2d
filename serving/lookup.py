"""The loops of :mod:`serving.trees` over rows and trees, as machine code that holds no lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit


def _compiled(function: Callable[..., Any]) -> Any:
    """Kept on disk between runs, where there is a directory to write to."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)


@_compiled
def _way(row: Any, table: Any, tree: int) -> int:
    """One bit a split of a tree: whether the row (features,) goes left there."""
    way = 0
    first = table.first[tree]
    for split in range(first, table.first[tree + 1]):
        value = row[table.feature[split]]
        text = table.text[split]
        if text < 0:
            left = value <= table.threshold[split] or (table.nan_left[split] and np.isnan(value))
        else:
            left = value < table.left.shape[1] and table.left[text, int(value)]
        if left:
            way |= 1 << (split - first)
    return way


@_compiled
def score_rows(matrix: Any, table: Any, raw: Any) -> None:
    """Fill ``raw`` (n,) with the sums over the trees for the rows of ``matrix`` (n, features)."""
    for place in range(len(matrix)):
        total = 0.0
        for tree in range(len(table.first) - 1):
            total += table.leaf[table.leaves[tree] + _way(matrix[place], table, tree)]
        raw[place] = total


@_compiled
def explain_rows(matrix: Any, table: Any, raw: Any, why: Any) -> None:
    """The same, and add the contributions of each split to ``why`` (n, features + 1)."""
    for place in range(len(matrix)):
        total = 0.0
        for tree in range(len(table.first) - 1):
            first, after = table.first[tree], table.first[tree + 1]
            way = _way(matrix[place], table, tree)
            total += table.leaf[table.leaves[tree] + way]
            told = table.tells[tree] + way * (after - first)
            for split in range(first, after):
                why[place, table.feature[split]] += table.told[told + split - first]
        raw[place] = total
