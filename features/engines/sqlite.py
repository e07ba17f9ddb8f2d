"""SQLite: the statements run on the whole history in memory, with nothing but Python at hand."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from contextlib import closing

import pandas as pd

from features.compile import long, wide
from features.engines.tables import KEYS, Progress, Row, frame_of, quoted, reads, rows_of
from features.language import FeatureSet
from features.schema import History

_WORTH = 10
"""Aggregates that a statement of its own must save: it costs as much as so many."""


class _Deviation:
    """STDDEV_SAMP, which SQLite lacks (Welford 1962, Technometrics 4, 419-420)."""

    def __init__(self) -> None:
        self._count, self._mean, self._squares = 0, 0.0, 0.0

    def step(self, value: float | None) -> None:
        if value is not None:
            self._count += 1
            off = value - self._mean
            self._mean += off / self._count
            self._squares += off * (value - self._mean)

    def finalize(self) -> float | None:
        return math.sqrt(self._squares / (self._count - 1)) if self._count > 1 else None


def run(
    features: FeatureSet, spine: pd.DataFrame, history: History, progress: Progress
) -> pd.DataFrame:
    """Compute with the whole history in memory; see :func:`features.engines.compute`."""
    columns = {name: reads(features, name) for name in KEYS}
    tables = {name: rows_of(getattr(history, name), read) for name, read in columns.items()}
    places = [(i, *row) for i, row in enumerate(rows_of(spine, ("lead_id", "as_of")))]
    with closing(sqlite3.connect(":memory:")) as con:
        con.create_aggregate("STDDEV_SAMP", 1, _Deviation)  # type: ignore[arg-type]
        _fill(con, "spine", ("_row", "lead_id", "as_of"), places)
        for name, rows in tables.items():
            _fill(con, name, columns[name], rows)
        found = _laid_out(con, features, len(spine))
    progress(1.0)
    return frame_of(features, found)


def _fill(con: sqlite3.Connection, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
    con.execute(f"CREATE TABLE {table} ({', '.join(map(quoted, columns))})")
    con.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})", rows)


def _laid_out(con: sqlite3.Connection, features: FeatureSet, rows: int) -> list[Row]:
    cells, rest = long(features, "sqlite", _WORTH)
    made: list[list[object]] = [[one.empty for one in features.features] for _ in range(rows)]
    for one in cells:
        width = 1 + len(one.shape)
        for found in con.execute(one.sql):
            row = made[found[0]]
            for number, position in one.places.get(found[1:width], ()):
                row[position] = found[width + number]
    for found in con.execute(wide(FeatureSet(features.features[i] for i in rest), "sqlite")):
        row = made[found[0]]
        for position, value in zip(rest, found[1:], strict=True):
            row[position] = value
    return [tuple(row) for row in made]
