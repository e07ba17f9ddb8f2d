"""How trees are grown: on this machine's cores, or elsewhere behind the same two methods."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any, Protocol

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from training.dataset import BLOCK, StoredSet, Training
from training.encode import Encoder
from training.ensemble import leaf_values

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Loss = Callable[[Floats, Floats], float]
Own = Mapping[str, Any]

NONE: Own = MappingProxyType({})

_INSIDE = 0.75


class Encoded(lgb.Sequence):
    """(n, features) encoded rows of a training set, of which one block is in memory at a time."""

    batch_size = BLOCK

    def __init__(self, data: Training, encoder: Encoder) -> None:
        self.data, self.encoder = data, encoder
        self._block: tuple[int, Floats] | None = None

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int | slice | list[int]) -> Floats:
        """Rows ``first:last``, or one row; LightGBM asks for single rows in ascending order."""
        if isinstance(index, slice):
            first, last, _ = index.indices(len(self))
            return self.encoder.matrix(self.data.read(first, last))
        if isinstance(index, list):
            return np.array([self[one] for one in index])
        number, place = divmod(int(index), BLOCK)
        if self._block is None or self._block[0] != number:
            self._block = None
            self._block = number, self[number * BLOCK : (number + 1) * BLOCK]
        return self._block[1][place]

    def where(self, chosen: Bools) -> Encoded:
        """The rows chosen by a mask (n,)."""
        return Encoded(self.data.where(chosen), self.encoder)

    def blocks(self) -> Iterator[tuple[slice, Floats]]:
        """All rows in order, a block at a time: where they stand, and their matrix."""
        for first in range(0, len(self), BLOCK):
            place = slice(first, min(first + BLOCK, len(self)))
            yield place, self[place]


class Trees(Protocol):
    """Trees of one target, on any part of the rows; ``at_once`` folds may grow side by side."""

    @property
    def at_once(self) -> int: ...  # noqa: D102

    def grow(self, chosen: Bools, rounds: int, threads: int = 0, own: Own = NONE) -> lgb.Booster:
        """A booster of the rows chosen by a mask (n,); ``threads`` 0: all there are.

        ``own`` are parameters of this booster alone; they must not change how rows are binned.
        """


class Grower(Protocol):
    """Prepares rows for growing: (n, features) rows, target and weight (n,), parameters."""

    def __call__(  # noqa: D102
        self, rows: Encoded, target: Floats, weight: Floats, parameters: Mapping[str, Any], /
    ) -> Trees: ...


class _Here:
    """Grows on this machine: rows are binned once, block by block, to about a byte a value.

    Rows that stay on disk are many: their folds grow one after another, for each copies its rows.
    """

    def __init__(
        self, rows: Encoded, target: Floats, weight: Floats, parameters: Mapping[str, Any]
    ) -> None:
        self.at_once = 1 if isinstance(rows.data, StoredSet) else os.cpu_count() or 1
        self._parameters = dict(parameters)
        self._data = lgb.Dataset(
            rows,
            target,
            weight=weight,
            categorical_feature=rows.encoder.categorical,
            params=self._parameters,
        ).construct()

    def grow(self, chosen: Bools, rounds: int, threads: int = 0, own: Own = NONE) -> lgb.Booster:
        data = self._data if chosen.all() else self._data.subset(np.flatnonzero(chosen).tolist())
        return lgb.train({**self._parameters, **own, "num_threads": threads}, data, rounds)


def here(rows: Encoded, target: Floats, weight: Floats, parameters: Mapping[str, Any], /) -> Trees:
    """Grow on this machine, wherever the rows are: a :class:`Grower`."""
    return _Here(rows, target, weight, parameters)


def out_of_fold(
    trees: Trees,
    rows: Encoded,
    target: Floats,
    groups: Ints,
    rounds: int,
    loss: Loss,
    own: Own = NONE,
    half_first: bool = False,
) -> tuple[Floats, int]:
    """Raw predictions by the models that did not see the row's lead, and the best rounds.

    ``loss`` tells how far raw predictions (n,) are from the target (n,). Rows of group -1 take no
    part; the predictions are those of the others, in order. Folds grow side by side where the trees
    allow it, each on one core. ``half_first``: half of the rounds are grown, and all of them only
    where the best of the half is not well inside it; the loss falls, and then it rises.
    """
    stops = stops_of(rounds)
    half = stops[: len(stops) // 2] if half_first else []
    for some in (half, stops) if half else (stops,):
        raw = _staged_out_of_fold(trees, rows, groups, some, own)
        best = int(np.argmin([loss(predicted, target[groups >= 0]) for predicted in raw]))
        if best < _INSIDE * len(some):
            break
    return raw[best], some[best]


def _staged_out_of_fold(
    trees: Trees, rows: Encoded, groups: Ints, stops: list[int], own: Own
) -> Floats:
    """Raw predictions (stops, n) of the rows that take part, after each number of rounds."""
    group = groups[groups >= 0]
    raw = np.empty((len(stops), len(group)))

    def fold(number: int) -> None:
        chosen = (groups >= 0) & (groups != number)
        booster = trees.grow(chosen, stops[-1], 1 if trees.at_once > 1 else 0, own)
        raw[:, group == number] = staged(booster, rows.where(groups == number), stops)

    with ThreadPoolExecutor(trees.at_once) as pool:
        list(pool.map(fold, range(int(group.max()) + 1)))
    return raw


def stops_of(rounds: int) -> list[int]:
    """The numbers of rounds among which the best is sought, in equal steps."""
    step = max(rounds // 16, 1)
    return list(range(step, rounds + 1, step))


def staged(booster: lgb.Booster, rows: Encoded, stops: list[int]) -> Floats:
    """Raw predictions (stops, n) after each number of rounds."""
    raw, told = np.empty((len(stops), len(rows))), leaf_values(booster)
    trees, last = np.arange(len(told)), np.minimum(stops, len(told)) - 1
    for place, matrix in rows.blocks():  # every tree is asked once, whatever the number of stops
        leaf = np.asarray(booster.predict(matrix, pred_leaf=True, num_threads=1))
        said = told[trees, leaf.reshape(len(matrix), -1).astype(np.int64)]
        raw[:, place] = np.cumsum(said, axis=1)[:, last].T
    return raw


def logistic_loss(raw: Floats, target: Floats, weight: Floats | None = None) -> float:
    """Mean (weighted) negative log-likelihood of 0 and 1 (n,) under log-odds (n,)."""
    losses = np.logaddexp(0, np.where(target > 0, -raw, raw))
    return float(np.average(losses, weights=weight))
