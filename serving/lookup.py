"""The loops of :mod:`serving.trees` over rows and trees, as machine code that holds no lock.

Rows come in blocks, a column of a block beside the next: a split is then one comparison after
another without a branch, several at a time, and a tree's tables stay at hand for all of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from features.machine import compiled

NAN_RIGHT, NAN_LEFT = -1, -2
"""Where a split of numbers sends a missing one."""

_BLOCK = 128
_FEW = 8
"""Fewer rows are looked up one at a time: a loop costs its start."""


@compiled
def _columns(matrix: Any, start: int, columns: Any) -> int:
    """Lay a block of rows out by column (features, block); returns how many there are."""
    rows = min(columns.shape[1], len(matrix) - start)
    for place in range(rows):
        for feature in range(matrix.shape[1]):
            columns[feature, place] = matrix[start + place, feature]
    return rows


@compiled
def _ways(columns: Any, rows: int, table: Any, tree: int, ways: Any) -> None:
    """Fill ``ways`` (rows,): one bit a split of the tree, whether the row goes left there."""
    first = table.first[tree]
    ways[:rows] = 0
    for split in range(first, table.first[tree + 1]):
        column, bit = columns[table.feature[split]], 1 << (split - first)
        threshold, sort = table.threshold[split], table.sort[split]
        if sort >= 0:
            left = table.left[sort]
            for place in range(rows):
                code = column[place]
                if code < len(left) and left[int(code)]:
                    ways[place] |= bit
        elif sort == NAN_LEFT:
            for place in range(rows):
                ways[place] |= 0 if column[place] > threshold else bit
        else:
            for place in range(rows):
                ways[place] |= bit if column[place] <= threshold else 0


@compiled
def _way(matrix: Any, row: int, table: Any, tree: int) -> int:
    """The same for one row of a matrix (n, features)."""
    way, bit = 0, 1
    for split in range(table.first[tree], table.first[tree + 1]):
        value, sort = matrix[row, table.feature[split]], table.sort[split]
        if sort >= 0:
            left = value < table.left.shape[1] and table.left[sort, int(value)]
        else:
            left = (value <= table.threshold[split]) | ((sort == NAN_LEFT) & (value != value))
        way |= bit if left else 0
        bit <<= 1
    return way


@compiled
def _answer(table: Any, tree: int, way: int) -> float:
    """What a tree says on a way through it."""
    return float(table.answer[table.first[tree] + tree + table.leaf[table.ways[tree] + way]])


@compiled
def score_rows(matrix: Any, table: Any, raw: Any) -> None:
    """Add to ``raw`` (boosters, n) what their trees say in turn of rows (n, features)."""
    if len(matrix) < _FEW:
        for place in range(len(matrix)):
            for tree in range(len(table.first) - 1):
                way = _way(matrix, place, table, tree)
                raw[table.of[tree], place] += _answer(table, tree, way)
        return
    columns, ways = np.empty((matrix.shape[1], _BLOCK)), np.empty(_BLOCK, np.int64)
    for start in range(0, len(matrix), _BLOCK):
        rows = _columns(matrix, start, columns)
        for tree in range(len(table.first) - 1):
            _ways(columns, rows, table, tree, ways)
            mine = raw[table.of[tree]]
            for place in range(rows):
                mine[start + place] += _answer(table, tree, ways[place])


@compiled
def _tell(table: Any, tree: int, way: int, why: Any, row: int) -> None:
    """Add the contributions of a tree's splits on one way to those of a row of ``why``, if told."""
    if table.tells[tree] == table.tells[tree + 1]:
        return
    first, after = table.first[tree], table.first[tree + 1]
    told = table.tells[tree] + way * (after - first)
    for split in range(first, after):
        why[row, table.feature[split]] += table.told[told + split - first]


@compiled
def explain_rows(matrix: Any, table: Any, raw: Any, why: Any) -> None:
    """The same, and add the contributions of each split to ``why`` (n, features + 1)."""
    if len(matrix) < _FEW:
        for place in range(len(matrix)):
            for tree in range(len(table.first) - 1):
                way = _way(matrix, place, table, tree)
                raw[table.of[tree], place] += _answer(table, tree, way)
                _tell(table, tree, way, why, place)
        return
    columns, ways = np.empty((matrix.shape[1], _BLOCK)), np.empty(_BLOCK, np.int64)
    for start in range(0, len(matrix), _BLOCK):
        rows = _columns(matrix, start, columns)
        for tree in range(len(table.first) - 1):
            _ways(columns, rows, table, tree, ways)
            mine = raw[table.of[tree]]
            for place in range(rows):
                mine[start + place] += _answer(table, tree, ways[place])
                _tell(table, tree, ways[place], why, start + place)


@compiled
def weightiest(why: Any, members: Any, first: Any, column: Any, weight: Any) -> None:
    """Fill the weights of the weightiest topics of each row (n, most), and their first columns.

    ``why`` (n, features + 1) are contributions; topic t has the columns
    ``members[first[t]:first[t + 1]]``, of which the one that says most comes first. Of equals the
    earlier; a weight of 0: no more topics.
    """
    topics = len(first) - 1
    folded = np.empty(topics)
    for row in range(len(why)):
        for topic in range(topics):
            folded[topic] = 0.0
            for place in range(first[topic], first[topic + 1]):
                folded[topic] += why[row, members[place]]
        for rank in range(column.shape[1]):
            best = 0
            for topic in range(1, topics):
                if abs(folded[topic]) > abs(folded[best]):
                    best = topic
            weight[row, rank] = folded[best]
            sign = 1.0 if folded[best] > 0 else -1.0
            folded[best] = 0.0
            top = members[first[best]]
            for place in range(first[best] + 1, first[best + 1]):
                if sign * why[row, members[place]] > sign * why[row, top]:
                    top = members[place]
            column[row, rank] = top


@compiled
def parted(why: Any, first: Any, made: Any) -> None:
    """Fill ``made`` (n, 2): the sum of the columns of ``why`` that are ``first`` (features,).

    And of the others; the last column of ``why`` (n, features + 1), the base, is neither.
    """
    for row in range(len(why)):
        one, other = 0.0, 0.0
        for column in range(len(first)):
            if first[column]:
                one += why[row, column]
            else:
                other += why[row, column]
        made[row, 0], made[row, 1] = one, other


@compiled
def places(values: Any, reference: Any) -> Any:
    """What :func:`serving.decide.standing` says of values (n,) in an ascending reference."""
    made = np.empty(len(values))
    for row in range(len(values)):
        below = np.searchsorted(reference, values[row], side="left")
        up_to = np.searchsorted(reference, values[row], side="right")
        made[row] = min(max((below + up_to - 1) / 2, 0.0), 100.0)
    return made
