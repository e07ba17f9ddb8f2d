"""Trees of few leaves as tables: score and exact reasons of a row by look-up.

With seven splits a tree can answer a row in 128 ways: one bit a split, whether the row goes left.
The leaf and the additive contributions of each way are worked out once, so that a row costs its
comparisons and one look-up a tree; LightGBM takes ten times as long to explain one row.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import factorial
from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from training.model import LeadModel, Prediction

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Path = list[tuple[int, int, bool, float]]
"""From the root to a leaf: split, its feature, whether left, the share of the rows that went so."""

MOST_SPLITS = 8
_ROWS = 256


class Trees:
    """The trees of a booster. ``features`` is the number of columns of a row.

    Raises ``ValueError`` for trees of more than ``MOST_SPLITS`` splits, or of a kind not trained
    here (linear, zero as missing).
    """

    def __init__(self, booster: lgb.Booster, explained: bool) -> None:
        trees = booster.dump_model()["tree_info"]
        self.features = booster.num_feature()
        self._splits = max(1, *(tree["num_leaves"] - 1 for tree in trees))
        if self._splits > MOST_SPLITS:
            raise ValueError(f"a tree has {self._splits} splits: too many to tabulate")
        shape = (len(trees), self._splits)
        self._feature = np.zeros(shape, dtype=np.int64)
        self._threshold = np.zeros(shape)
        self._nan_left = np.zeros(shape, dtype=bool)
        self._texts: list[tuple[int, int, list[int]]] = []
        ways = np.arange(2**self._splits)[:, None] >> np.arange(self._splits) & 1 == 1
        self._leaf: Floats = np.zeros((len(trees), len(ways)))
        self._told: Floats = np.zeros((len(trees) if explained else 0, len(ways), self._splits))
        self.base = 0.0
        for number, tree in enumerate(trees):
            for path, value in self._leaves(number, tree["tree_structure"], []):
                went = np.array([ways[:, split] == left for split, _, left, _ in path], dtype=bool)
                self._leaf[number, went.all(axis=0) if path else slice(None)] = value
                self.base += value * float(np.prod([share for *_, share in path]))
                if explained:
                    _explain(self._told[number], path, went, value)
        self._pack()

    def _leaves(self, tree: int, node: dict[str, Any], path: Path) -> Iterator[tuple[Path, float]]:
        if "split_index" not in node:
            yield path, node["leaf_value"]
            return
        split, feature = node["split_index"], node["split_feature"]
        self._feature[tree, split] = feature
        if node["decision_type"] == "==":
            codes = [int(code) for code in str(node["threshold"]).split("||")]
            self._texts.append((tree * self._splits + split, feature, codes))
        elif node["missing_type"] in ("None", "NaN"):
            self._threshold[tree, split] = node["threshold"]
            as_zero = node["missing_type"] == "None"
            left = node["threshold"] >= 0 if as_zero else node["default_left"]
            self._nan_left[tree, split] = left
        else:
            raise ValueError("zero counts as missing in this model")
        for side, left in (("left_child", True), ("right_child", False)):
            share = _count(node[side]) / _count(node)
            yield from self._leaves(tree, node[side], [*path, (split, feature, left, share)])

    def _pack(self) -> None:
        self._bits = 1 << np.arange(self._splits)
        self._first = np.arange(len(self._feature)) * self._leaf.shape[1]
        self._leaf = self._leaf.reshape(-1)
        self._told = self._told.reshape(-1, self._splits)
        self._place = np.array([place for place, _, _ in self._texts], dtype=np.int64)
        self._text = np.array([feature for _, feature, _ in self._texts], dtype=np.int64)
        most = max((max(codes) for *_, codes in self._texts), default=0)
        self._left = np.zeros((len(self._texts), most + 2), dtype=bool)
        for row, (_, _, codes) in enumerate(self._texts):
            self._left[row, codes] = True
        self._each = np.arange(len(self._texts))

    def ways(self, matrix: Floats) -> Ints:
        """Which way each row (n, features) goes through each tree (n, trees)."""
        value = matrix[:, self._feature]
        left = (value <= self._threshold) | (self._nan_left & np.isnan(value))
        if len(self._each):
            code = np.nan_to_num(matrix[:, self._text], nan=np.inf)
            code = np.minimum(code, self._left.shape[1] - 1).astype(np.int64)
            left.reshape(len(matrix), -1)[:, self._place] = self._left[self._each, code]
        return left @ self._bits + self._first

    def raw(self, ways: Ints) -> Floats:
        """The sum over the trees (n,), added in their order as LightGBM does."""
        return self._leaf[ways].cumsum(axis=1)[:, -1]

    def contributions(self, ways: Ints) -> Floats:
        """Exact additive contributions (n, features + 1), the last the base."""
        made = np.empty((len(ways), self.features + 1))
        made[:, -1] = self.base
        column = self._feature.reshape(-1)
        for row, way in enumerate(ways):
            told = self._told[way].reshape(-1)
            made[row, :-1] = np.bincount(column, told, self.features)
        return made


class Tabled:
    """A model's answers by look-up: the same probabilities and values, to the last bit.

    Raises ``ValueError`` for a model that cannot be tabulated, or whose tables answer ``rows``
    (n, features) otherwise than LightGBM does.
    """

    def __init__(self, model: LeadModel, rows: Floats) -> None:
        self._model, head = model, model.value_head
        self._conversion = Trees(model.booster, explained=True)
        members = {} if head is None else head.trees
        self._deals = {name: Trees(booster, False) for name, booster in members.items()}
        said, why = self(rows)
        known = model.predict(rows)
        same = np.array_equal(said.probability, known.probability)
        if said.value is not None and known.value is not None:
            same = same and np.array_equal(said.value, known.value)
        if not (same and np.allclose(why, model.contributions(rows), rtol=0, atol=1e-9)):
            raise ValueError("the tables do not answer as the trees do")

    def __call__(self, matrix: Floats) -> tuple[Prediction, Floats]:
        """What the model says of rows (n, features), and the contributions (n, features + 1)."""
        raw, value = np.empty(len(matrix)), np.empty(len(matrix))
        why = np.empty((len(matrix), matrix.shape[1] + 1))
        for start in range(0, len(matrix), _ROWS):
            part = slice(start, start + _ROWS)
            ways = self._conversion.ways(matrix[part])
            raw[part], why[part] = self._conversion.raw(ways), self._conversion.contributions(ways)
            value[part] = self._value(matrix[part])
        return self._model.read(raw, value), why

    def _value(self, matrix: Floats) -> Floats:
        head = self._model.value_head
        if head is None:
            return np.zeros(len(matrix))
        said = {name: trees.raw(trees.ways(matrix)) for name, trees in self._deals.items()}
        return head.blend(said, matrix)


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
