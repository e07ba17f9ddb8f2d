"""SQLite: one lead; long layout where many features share their aggregates, else wide."""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Mapping, Sequence

import pandas as pd

from features.compile import long, wide
from features.engines.tables import KEYS, Progress, Row, frame_of, one_lead_only, reads, rows_of
from features.language import FeatureSet
from features.schema import History

_FEW = 5_000
"""Leads x events up to which SQLite compares each with each sooner than it builds an index."""

_WORTH = 10
"""Aggregates that a statement of its own must save: it costs as much as so many."""


class _Statements:
    """The statements of a feature set, ready to be run again and again, in any thread."""

    def __init__(self, features: FeatureSet) -> None:
        self.columns = {name: reads(features, name) for name in KEYS}
        self._inserts = {
            name: f"INSERT INTO {name} VALUES ({', '.join('?' * len(columns))})"
            for name, columns in self.columns.items()
        }
        self._empty = [feature.empty for feature in features.features]
        self._long, self._rest = long(features, "sqlite", _WORTH)
        self._wide = wide(FeatureSet(features.features[i] for i in self._rest), "sqlite")
        self._local = threading.local()

    def run(
        self, spine: Sequence[Row], tables: Mapping[str, Sequence[Row]], indexed: bool
    ) -> list[Row]:
        """The features of each spine row ``(0.., lead_id, as_of)``, in the order of the numbers."""
        con = self._connection(indexed)
        con.execute("BEGIN")
        try:
            con.executemany("INSERT INTO spine VALUES (?, ?, ?)", spine)
            for name, rows in tables.items():
                if rows:
                    con.executemany(self._inserts[name], rows)
            return self._laid_out(con, len(spine))
        finally:
            con.execute("ROLLBACK")

    def _laid_out(self, con: sqlite3.Connection, rows: int) -> list[Row]:
        made: list[list[object]] = [list(self._empty) for _ in range(rows)]
        for cells in self._long:
            width = 1 + len(cells.shape)
            for found in con.execute(cells.sql):
                row = made[found[0]]
                for number, position in cells.places.get(found[1:width], ()):
                    row[position] = found[width + number]
        for found in con.execute(self._wide):
            row = made[found[0]]
            for position, value in zip(self._rest, found[1:], strict=True):
                row[position] = value
        return [tuple(row) for row in made]

    def _connection(self, indexed: bool) -> sqlite3.Connection:
        """This thread's own; for a few facts, building indexes costs more than it saves."""
        name = "indexed" if indexed else "plain"
        con: sqlite3.Connection | None = getattr(self._local, name, None)
        if con is None:
            con = sqlite3.connect(":memory:", isolation_level=None)
            con.create_aggregate("STDDEV_SAMP", 1, _Deviation)  # type: ignore[arg-type]
            con.execute(f"PRAGMA automatic_index = {int(indexed)}")
            tables = {"spine": ("_row", "lead_id", "as_of"), **self.columns}
            for table, columns in tables.items():
                quoted = ", ".join('"' + column.replace('"', '""') + '"' for column in columns)
                con.execute(f"CREATE TABLE {table} ({quoted})")
            setattr(self._local, name, con)
        return con


class OneLead:
    """Reads one lead's history again and again, in any thread.

    ``columns[table]`` names what each row of leads, events, changes and outcomes holds, in order;
    times are integer microseconds, numbers float, text str, missing None. Raises
    :class:`features.language.DeclarationError` for features of a segment: one lead's history does
    not hold them.
    """

    def __init__(self, features: FeatureSet) -> None:
        one_lead_only(features)
        self._statements = _Statements(features)
        self.columns = self._statements.columns

    def vector(
        self,
        lead_id: str,
        as_of: int,
        leads: Sequence[Row],
        events: Sequence[Row],
        changes: Sequence[Row],
        outcomes: Sequence[Row] = (),
    ) -> Row:
        """The features of one lead at ``as_of`` (microseconds), in the order of the feature set.

        For account features, ``leads``, ``events`` and ``outcomes`` also hold those of the other
        leads of its account.
        """
        tables = {"leads": leads, "events": events, "changes": changes, "outcomes": outcomes}
        few = len(leads) * len(events) < _FEW
        return self._statements.run([(0, lead_id, as_of)], tables, indexed=not few)[0]


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
    statements = _Statements(features)
    tables = {
        name: rows_of(getattr(history, name), columns)
        for name, columns in statements.columns.items()
    }
    places = [(i, *row) for i, row in enumerate(rows_of(spine, ("lead_id", "as_of")))]
    found = statements.run(places, tables, indexed=True)
    progress(1.0)
    return frame_of(features, found)
