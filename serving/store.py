"""The event store: what is known of each lead, in one SQLite file, read a lead at a time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

from features.engines import rows_of
from features.schema import TABLES, History
from serving.scorer import Facts, Row

_KEYS = {
    "leads": ("lead_id",),
    "events": ("lead_id", "event_id"),
    "changes": ("lead_id", "change_id"),
    "outcomes": ("lead_id", "outcome"),
}
_EXTRA = {"leads": "attributes", "events": "properties"}
_TYPES = {"time": "INTEGER", "amount": "REAL"}
_BATCH = 20_000


class StoreConflict(ValueError):
    """A fact arrived under the id of another one; nothing of the call was stored."""


class Store:
    """A store of leads, events, changes and outcomes; safe to use from any thread.

    Opens the file at ``path`` or makes it. What :meth:`put` returned from is on disk. Times are
    integer microseconds.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = str(path)
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        con = self._connection()
        con.execute("PRAGMA journal_mode = WAL")
        for table in TABLES:
            con.execute(_create(table))
        con.execute("CREATE INDEX IF NOT EXISTS accounts ON leads (account_id)")

    def close(self) -> None:
        """Close the file; the store is of no more use."""
        for con in self._opened:
            con.close()

    def put(
        self,
        leads: Iterable[Mapping[str, Any]] = (),
        events: Iterable[Mapping[str, Any]] = (),
        changes: Iterable[Mapping[str, Any]] = (),
        outcomes: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        """Store records of the contract's columns, all or none; missing ones are null.

        Attributes and properties are mappings under these names. A record that is there already
        is ignored, so a delivery may be repeated. Raises :class:`StoreConflict` when its id is
        there with other content, ``KeyError`` when a record lacks its id.
        """
        given = {"leads": leads, "events": events, "changes": changes, "outcomes": outcomes}
        self._write({table: [_row(table, one) for one in records] for table, records in
                     given.items()})  # fmt: skip

    def load(self, history: History) -> None:
        """Store a whole history, all or none; what is there already is ignored."""
        self._write({table: _history_rows(table, getattr(history, table)) for table in TABLES})

    def read(
        self, lead_id: str, columns: Mapping[str, Sequence[str]], account: bool
    ) -> Facts | None:
        """What is known of a lead in the order of ``columns``; None for an unknown lead.

        With ``account``, also the other leads of its account, their events and outcomes.
        """
        con = self._connection()
        found = con.execute("SELECT account_id FROM leads WHERE lead_id = ?", (lead_id,)).fetchone()
        if found is None:
            return None
        who, which = "lead_id = ?", lead_id
        if account and found[0] is not None:
            who, which = "lead_id IN (SELECT lead_id FROM leads WHERE account_id = ?)", found[0]
        return Facts(
            leads=_read(con, "leads", columns["leads"], who, which),
            events=_read(con, "events", columns["events"], who, which),
            changes=_read(con, "changes", columns["changes"], "lead_id = ?", lead_id),
            outcomes=_read(con, "outcomes", columns["outcomes"], who, which) if account else (),
        )

    def settled(self, lead_id: str) -> int | None:
        """From when on the lead's first outcome is visible (microseconds); None when open."""
        sql = "SELECT min(max(occurred_at, known_at)) FROM outcomes WHERE lead_id = ?"
        found: int | None = self._connection().execute(sql, (lead_id,)).fetchone()[0]
        return found

    def _connection(self) -> sqlite3.Connection:
        con: sqlite3.Connection | None = getattr(self._local, "con", None)
        if con is None:
            con = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            con.execute("PRAGMA synchronous = FULL")
            con.execute("PRAGMA busy_timeout = 10000")
            self._local.con = con
            self._opened.append(con)
        return con

    def _write(self, tables: Mapping[str, Sequence[Row]]) -> None:
        con = self._connection()
        con.execute("BEGIN IMMEDIATE")
        try:
            for table, rows in tables.items():
                self._insert(con, table, rows)
            con.execute("COMMIT")
        except BaseException:
            con.execute("ROLLBACK")
            raise

    def _insert(self, con: sqlite3.Connection, table: str, rows: Sequence[Row]) -> None:
        columns = _columns(table)
        places = ", ".join("?" * len(columns))
        before = con.total_changes
        con.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({places})", rows)
        if con.total_changes - before == len(rows):
            return
        same = " AND ".join(f"{column} IS ?" for column in columns)
        for row in rows:
            if not con.execute(f"SELECT 1 FROM {table} WHERE {same}", row).fetchone():
                key = ", ".join(f"{name} {row[columns.index(name)]!r}" for name in _KEYS[table])
                raise StoreConflict(
                    f"{table}: {key} is already there with other content: send a new id"
                )


def _columns(table: str) -> tuple[str, ...]:
    extra = (_EXTRA[table],) if table in _EXTRA else ()
    return (*TABLES[table], *extra)


def _create(table: str) -> str:
    key = _KEYS[table]
    lines = [
        f"{name} {_TYPES.get(role.rstrip('?'), 'TEXT')}"
        f"{' NOT NULL' if name in key or not role.endswith('?') or role == 'time?' else ''}"
        for name, role in TABLES[table].items()
    ]
    lines += [f"{_EXTRA[table]} TEXT NOT NULL"] if table in _EXTRA else []
    lines.append(f"PRIMARY KEY ({', '.join(key)})")
    return f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(lines)}) WITHOUT ROWID"


def _row(table: str, record: Mapping[str, Any]) -> Row:
    for name in _KEYS[table]:
        if record.get(name) is None:
            raise KeyError(f"a record of {table} has no {name}")
    row = [record.get(name) for name in TABLES[table]]
    if "known_at" in TABLES[table] and record.get("known_at") is None:
        row[list(TABLES[table]).index("known_at")] = record.get("occurred_at")
    if table in _EXTRA:
        row.append(_json(record.get(_EXTRA[table]) or {}))
    return tuple(row)


def _json(held: Mapping[str, Any]) -> str:
    known = {name: value for name, value in held.items() if value is not None}
    return msgspec.json.encode(known, order="deterministic").decode()


def _history_rows(table: str, frame: pd.DataFrame) -> list[Row]:
    rows: list[Row] = []
    extra = [name for name in frame.columns if name not in TABLES[table]]
    for start in range(0, len(frame), _BATCH):
        part = frame.iloc[start : start + _BATCH]
        plain = rows_of(part, list(TABLES[table]))
        if table in _EXTRA:
            held = rows_of(part, extra) if extra else [()] * len(part)
            plain = [
                (*row, _json(dict(zip(extra, more, strict=True))))
                for row, more in zip(plain, held, strict=True)
            ]
        rows += plain
    return rows


def _read(
    con: sqlite3.Connection, table: str, columns: Sequence[str], who: str, which: str
) -> list[Row]:
    own: Collection[str] = TABLES[table]
    plain = [name for name in columns if name in own]
    held = [name for name in columns if name not in own]
    read = [*plain, *([_EXTRA[table]] if held else [])]
    rows = con.execute(f"SELECT {', '.join(read)} FROM {table} WHERE {who}", (which,)).fetchall()
    if not held:
        return rows
    places = [plain.index(name) if name in own else name for name in columns]
    return [_merged(row, msgspec.json.decode(row[-1]), places) for row in rows]


def _merged(row: Row, held: Mapping[str, Any], places: Sequence[int | str]) -> Row:
    return tuple(row[at] if isinstance(at, int) else held.get(at) for at in places)
