"""Golden rows: what a bundle said when it was written, to be said again wherever it is loaded."""

from __future__ import annotations

from dataclasses import fields

import msgspec
import numpy as np
import numpy.typing as npt

from training.model import LeadModel, Prediction
from training.recipe import threads

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_ROWS = 64
TOLERANCE = 1e-9
_LOOKED_AT = 4_000


class Golden(msgspec.Struct, frozen=True):
    """Encoded rows (null = missing) with what this bundle said of them when it was written."""

    rows: list[list[float | None]]
    said: dict[str, list[float]]

    @staticmethod
    def of(model: LeadModel, matrix: Floats) -> Golden:
        """The rows of (n, features) that reach the most leaves, at most :data:`MOST_ROWS`."""
        latest = matrix[-_LOOKED_AT:]
        chosen = latest[_telling(model, latest)]
        rows = [[None if np.isnan(value) else float(value) for value in row] for row in chosen]
        said = _columns(model.predict(chosen))
        return Golden(rows, {name: column.tolist() for name, column in said.items()})

    def readable(self, columns: int) -> bool:
        """Whether there are rows, each of so many columns, and an answer to each."""
        answered = all(len(column) == len(self.rows) for column in self.said.values())
        return len(self.rows) > 0 and answered and {*map(len, self.rows)} == {columns}

    def said_by(self, model: LeadModel) -> bool:
        """Whether a model says the same of the rows, and can explain it."""
        matrix = np.array(self.rows, dtype=np.float64)
        found = _columns(model.predict(matrix))
        same = found.keys() == self.said.keys() and all(
            np.allclose(column, self.said[name], TOLERANCE, 0) for name, column in found.items()
        )
        return same and bool(np.isfinite(model.contributions(matrix)).all())


def _telling(model: LeadModel, matrix: Floats) -> Ints:
    """Rows, each of which reaches the most leaves that those before it do not.

    A leaf that no golden row reaches could be damaged and nobody would know.
    """
    reached, seen = _leaves(model, matrix)
    chosen: list[int] = []
    while len(chosen) < min(MOST_ROWS, len(matrix)):
        gain = (~seen[reached]).sum(axis=1)
        best = int(gain.argmax())
        if chosen and not gain[best]:
            break
        chosen.append(best)
        seen[reached[best]] = True
    return np.array(chosen, dtype=np.int64)


def _leaves(model: LeadModel, matrix: Floats) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """The leaf of each row in each tree of both heads, numbered from 0 on; False for each."""
    head = model.value_head
    found, count = list[Ints](), 0
    for booster in (model.booster, *(head.trees.values() if head else ())):
        told = booster.predict(matrix, pred_leaf=True, num_threads=threads(matrix))
        for tree in np.asarray(told, dtype=np.int64).reshape(len(matrix), -1).T:
            leaves, number = np.unique(tree, return_inverse=True)
            found.append(number.astype(np.int64) + count)
            count += len(leaves)
    return np.stack(found, axis=1), np.zeros(count, dtype=bool)


def _columns(said: Prediction) -> dict[str, Floats]:
    named = {one.name: getattr(said, one.name) for one in fields(said)}
    return {name: column for name, column in named.items() if column is not None}
