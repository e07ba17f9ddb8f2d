"""Trees of few leaves as tables: score and exact reasons of a row by look-up.

With seven splits a tree can answer a row in 128 ways: one bit a split, whether the row goes left.
The leaf and the additive contributions of each way are worked out once, so that a row costs its
comparisons and one look-up a tree, in machine code (numba); LightGBM takes many times as long to
explain a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import factorial
from typing import Any, NamedTuple

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from serving.lookup import NAN_LEFT, NAN_RIGHT, explain_rows, score_rows
from training.model import LeadModel, Prediction

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Shorts = npt.NDArray[np.int16]
Bytes = npt.NDArray[np.uint8]
Path = list[tuple[int, int, bool, float]]
"""From the root to a leaf: split, its feature, whether left, the share of the rows that went so."""

MOST_SPLITS = 8


class Table(NamedTuple):
    """All splits of all trees in one row; tree t is of booster ``of[t]``, its splits from
    ``first[t]`` on.

    A split sends a number left up to its ``threshold``, a missing one left if its ``sort`` is
    :data:`NAN_LEFT`; a text (``sort`` >= 0) by its code in ``left[sort]``. ``leaf`` has the number
    of tree t's leaf from ``ways[t]`` on, one a way through it, ``answer`` those of its leaves, one
    more than splits; ``told`` the contributions, one a way and split, from ``tells[t]`` on (none if
    not explained). Small, so that a request finds them in the cache.
    """

    of: Shorts
    first: Ints
    feature: Shorts
    threshold: Floats
    sort: Shorts
    left: Bools
    ways: Ints
    leaf: Bytes
    answer: Floats
    tells: Ints
    told: Floats


class Trees:
    """The trees of boosters that read the same rows; the first of them is explained.

    Raises ``ValueError`` for trees of more than ``MOST_SPLITS`` splits, or of a kind not trained
    here (linear, zero as missing).
    """

    def __init__(self, boosters: Sequence[lgb.Booster]) -> None:
        every = [booster.dump_model()["tree_info"] for booster in boosters]
        trees = [tree for part in every for tree in part]
        self._boosters, self._features = len(boosters), boosters[0].num_feature()
        of = np.repeat(np.arange(len(every)), [len(part) for part in every])
        sizes = np.array([tree["num_leaves"] - 1 for tree in trees], dtype=np.int64)
        if sizes.max(initial=0) > MOST_SPLITS:
            raise ValueError(f"a tree has {sizes.max()} splits: too many to tabulate")
        first, ways = _starts(sizes), _starts(2**sizes)
        tells = _starts(sizes * 2**sizes * (of == 0))
        splits = int(first[-1])
        self._table = Table(
            of.astype(np.int16), first, np.zeros(splits, np.int16), np.zeros(splits),
            np.full(splits, NAN_RIGHT, np.int16), np.zeros((0, 0), bool), ways,
            np.zeros(ways[-1], np.uint8), np.zeros(splits + len(trees)), tells,
            np.zeros(tells[-1]),
        )  # fmt: skip
        self._texts: list[list[int]] = []
        self._base = 0.0
        for number, tree in enumerate(trees):
            self._tabulate(number, tree["tree_structure"])
        most = max((max(codes) for codes in self._texts), default=0)
        left = np.zeros((len(self._texts), most + 1), dtype=bool)
        for row, codes in enumerate(self._texts):
            left[row, codes] = True
        self._table = self._table._replace(left=left)

    def _tabulate(self, tree: int, root: dict[str, Any]) -> None:
        table, explained = self._table, self._table.of[tree] == 0
        splits = int(table.first[tree + 1] - table.first[tree])
        ways = np.arange(2**splits)[:, None] >> np.arange(splits) & 1 == 1
        leaf = table.leaf[table.ways[tree] : table.ways[tree + 1]]
        answers = table.answer[int(table.first[tree]) + tree :]
        told = table.told[table.tells[tree] : table.tells[tree + 1]].reshape(-1, splits or 1)
        for number, (path, value) in enumerate(self._leaves(int(table.first[tree]), root, [])):
            went = np.array([ways[:, split] == left for split, _, left, _ in path], dtype=bool)
            leaf[went.all(axis=0) if path else slice(None)] = number
            answers[number] = value
            if explained:
                self._base += value * float(np.prod([share for *_, share in path]))
                _explain(told, path, went, value)

    def _leaves(self, first: int, node: dict[str, Any], path: Path) -> Iterator[tuple[Path, float]]:
        if "split_index" not in node:
            yield path, node["leaf_value"]
            return
        split, feature, table = node["split_index"], node["split_feature"], self._table
        table.feature[first + split] = feature
        if node["decision_type"] == "==":
            table.sort[first + split] = len(self._texts)
            self._texts.append([int(code) for code in str(node["threshold"]).split("||")])
        elif node["missing_type"] in ("None", "NaN"):
            table.threshold[first + split] = node["threshold"]
            as_zero = node["missing_type"] == "None"
            left = node["threshold"] >= 0 if as_zero else node["default_left"]
            table.sort[first + split] = NAN_LEFT if left else NAN_RIGHT
        else:
            raise ValueError("zero counts as missing in this model")
        for side, left in (("left_child", True), ("right_child", False)):
            share = _count(node[side]) / _count(node)
            yield from self._leaves(first, node[side], [*path, (split, feature, left, share)])

    def raw(self, matrix: Floats) -> Floats:
        """The sums over the trees of each booster for rows (n, features): (boosters, n).

        In the order in which LightGBM adds.
        """
        made = np.zeros((self._boosters, len(matrix)))
        score_rows(matrix, self._table, made)
        return made

    def explained(self, matrix: Floats) -> tuple[Floats, Floats]:
        """The sums, and exact additive contributions to the first (n, features + 1).

        The last of them is the base.
        """
        raw = np.zeros((self._boosters, len(matrix)))
        why = np.zeros((len(matrix), self._features + 1))
        why[:, -1] = self._base
        explain_rows(matrix, self._table, raw, why)
        return raw, why


def _starts(sizes: Ints) -> Ints:
    return np.concatenate([[0], np.cumsum(sizes)])


class Tabled:
    """A model's answers by look-up: the same probabilities and values, to the last bit.

    Raises ``ValueError`` for a model that cannot be tabulated, or whose tables answer ``rows``
    (n, features) otherwise than LightGBM does.
    """

    def __init__(self, model: LeadModel, rows: Floats) -> None:
        self._model, head = model, model.value_head
        members = () if head is None else head.trees.values()
        self._trees = Trees([model.booster, *members])
        said, why = self.explained(rows)
        known = model.predict(rows)
        same = np.array_equal(said.probability, known.probability)
        if said.value is not None and known.value is not None:
            same = same and np.array_equal(said.value, known.value)
        if not (same and np.allclose(why, model.contributions(rows), rtol=0, atol=1e-9)):
            raise ValueError("the tables do not answer as the trees do")

    def predict(self, matrix: Floats) -> Prediction:
        """What the model says of rows (n, features)."""
        return self._read(self._trees.raw(matrix), matrix)

    def explained(self, matrix: Floats) -> tuple[Prediction, Floats]:
        """The same, and the contributions (n, features + 1), the last the base."""
        raw, why = self._trees.explained(matrix)
        return self._read(raw, matrix), why

    def _read(self, raw: Floats, matrix: Floats) -> Prediction:
        head = self._model.value_head
        return self._model.read(raw[0], None if head is None else head.blend(raw[1:], matrix))


def _count(node: dict[str, Any]) -> int:
    return int(node["internal_count"] if "internal_count" in node else node["leaf_count"])


def _explain(told: Floats, path: Path, went: Bools, value: float) -> None:
    """Add a leaf's share of the Shapley values to ``told`` (ways, splits).

    The path-dependent game of TreeSHAP (Lundberg et al. 2020, Nature Machine Intelligence 2,
    56-67): a known feature follows the row, an unknown one the shares of the training rows.
    """
    known: dict[int, Bools] = {}
    unknown: dict[int, float] = {}
    at: dict[int, int] = {}
    for (split, feature, _, share), so in zip(path, went, strict=True):
        known[feature] = known.get(feature, True) & so
        unknown[feature] = unknown.get(feature, 1.0) * share
        at[feature] = split
    size = len(known)
    for one in known:
        terms = np.zeros((size, len(told)))  # by how many of the others are known
        terms[0] = 1.0
        for other in known:
            if other != one:
                terms[1:] = terms[1:] * unknown[other] + terms[:-1] * known[other]
                terms[0] *= unknown[other]
        weight = [factorial(k) * factorial(size - k - 1) / factorial(size) for k in range(size)]
        told[:, at[one]] += value * (known[one] - unknown[one]) * (weight @ terms)
