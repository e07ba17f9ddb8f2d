"""SQLite: one lead, wide layout."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Sequence

import pandas as pd

from features.compile import wide
from features.engines.tables import KEYS, Progress, Row, frame_of, reads, rows_of
from features.language import FeatureSet
from features.schema import History

_FEW = 5_000
"""Leads x events up to which SQLite compares each with each sooner than it builds an index."""


class OneLead:
    """The wide statement, ready to read one lead's history again and again, in any thread.

    ``columns[table]`` names what each row of leads, events and changes holds, in order; times are
    integer microseconds, numbers float, text str, missing None.
    """

    def __init__(self, features: FeatureSet) -> None:
        self.columns = {name: reads(features, name) for name in KEYS}
        self._inserts = {
            name: f"INSERT INTO {name} VALUES ({', '.join('?' * len(columns))})"
            for name, columns in self.columns.items()
        }
        self._sql = wide(features, "sqlite")
        self._local = threading.local()

    def vector(
        self,
        lead_id: str,
        as_of: int,
        leads: Sequence[Row],
        events: Sequence[Row],
        changes: Sequence[Row],
    ) -> Row:
        """The features of one lead at ``as_of`` (microseconds), in the order of the feature set.

        ``leads`` holds the lead and, for account features, the other leads of its account.
        """
        few = len(leads) * len(events) < _FEW
        return self._run([(0, lead_id, as_of)], leads, events, changes, indexed=not few)[0]

    def vectors(
        self,
        spine: Iterable[Row],
        leads: Iterable[Row],
        events: Iterable[Row],
        changes: Iterable[Row],
    ) -> list[Row]:
        """The features of each spine row ``(0.., lead_id, as_of)``, in the order of the numbers."""
        return self._run(spine, leads, events, changes, indexed=True)

    def _run(
        self,
        spine: Iterable[Row],
        leads: Iterable[Row],
        events: Iterable[Row],
        changes: Iterable[Row],
        indexed: bool,
    ) -> list[Row]:
        con = self._connection(indexed)
        con.execute("BEGIN")
        try:
            con.executemany("INSERT INTO spine VALUES (?, ?, ?)", spine)
            for name, rows in (("leads", leads), ("events", events), ("changes", changes)):
                con.executemany(self._inserts[name], rows)
            found = con.execute(self._sql).fetchall()
        finally:
            con.execute("ROLLBACK")
        found.sort()
        return [row[1:] for row in found]

    def _connection(self, indexed: bool) -> sqlite3.Connection:
        """This thread's own; for a few facts, building indexes costs more than it saves."""
        name = "indexed" if indexed else "plain"
        con: sqlite3.Connection | None = getattr(self._local, name, None)
        if con is None:
            con = sqlite3.connect(":memory:", isolation_level=None)
            con.execute(f"PRAGMA automatic_index = {int(indexed)}")
            tables = {"spine": ("_row", "lead_id", "as_of"), **self.columns}
            for table, columns in tables.items():
                quoted = ", ".join('"' + column.replace('"', '""') + '"' for column in columns)
                con.execute(f"CREATE TABLE {table} ({quoted})")
            setattr(self._local, name, con)
        return con


def run(
    features: FeatureSet, spine: pd.DataFrame, history: History, progress: Progress
) -> pd.DataFrame:
    """Compute with the whole history in memory; see :func:`features.engines.compute`."""
    reader = OneLead(features)
    tables = [rows_of(getattr(history, name), columns) for name, columns in reader.columns.items()]
    places = ((i, *row) for i, row in enumerate(rows_of(spine, ("lead_id", "as_of"))))
    found = reader.vectors(places, *tables)
    progress(1.0)
    return frame_of(features, found)
