"""What is known of each lead: put in once, read a lead at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from features.databases import is_database, is_postgres, sqlite_path
from features.schema import TABLES, History
from serving.scorer import Facts, Row
from serving.store import appender
from serving.store.database import Database, Session, StoreUnavailable
from serving.store.journal import Done, Journal, Taken, is_left
from serving.store.sqlite import Sqlite
from serving.store.tables import (
    COLUMNS,
    KEYS,
    OF_A_LEAD,
    Rows,
    frame_rows,
    key_of,
    merged,
    row_of,
    selected,
)
from serving.store.writer import Outcome, Verdicts, Writer

Progress = Callable[[float], None]

_SETTLED = (
    "SELECT min(CASE WHEN known_at > occurred_at THEN known_at ELSE occurred_at END) "
    "FROM outcomes WHERE lead_id = ?"
)
_WITHDRAWN = (
    "SELECT given FROM consents WHERE lead_id = ? AND purpose = 'scoring' ORDER BY at DESC LIMIT 1"
)


class StoreConflict(ValueError):
    """A fact of a history arrived under the id of another one; nothing of it was stored."""


class Store:
    """A store of leads, events, changes and outcomes; safe to use from any thread.

    ``place`` is a file or a URL (``sqlite:///``, ``postgresql://``); nothing is opened before it is
    used, and reading a ``remote`` one may block. What
    :meth:`put` and :meth:`write` returned from is on disk. Times are integer microseconds. Every
    method raises :class:`serving.store.StoreUnavailable` when the store cannot do it now.
    """

    def __init__(self, place: Path | str) -> None:
        self.remote = is_postgres(str(place))
        self._database = _database(str(place))
        self._writer = Writer(self._database)
        self._journal: Journal | None = None
        self._opening = Lock()

    def open(self) -> None:
        """Open it now, to write, and bring its tables up to date.

        Scores that a process had kept when it was killed are in the ledger then.
        """
        with self._database.writing():
            pass
        if isinstance(self._database, Sqlite):
            appender.ready()
        self.settle()

    def close(self) -> None:
        """Close it; the store is of no more use."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        self._writer.close()
        self._database.close()

    def put(self, **records: Iterable[Mapping[str, Any]]) -> Verdicts:
        """Store records by table; what became of each, in order.

        ``leads``, ``events``, ``changes`` and ``outcomes`` have the contract's columns, missing
        ones null; attributes and properties are mappings under these names. A record that is
        there already is ``known``, so a delivery may be repeated; under an id that is there with
        other content it is a ``conflict``, and not stored. Raises ``KeyError`` when one lacks its
        id, and stores none.
        """
        return self.put_rows(
            {table: [row_of(table, one) for one in given] for table, given in records.items()}
        )

    def put_rows(self, rows: Rows) -> Verdicts:
        """The same for rows."""
        return self._writer.write_now(rows)

    async def write(self, rows: Rows) -> Verdicts:
        """The same for rows, from an event loop: others run while it waits for the disk."""
        return await self._writer.write(rows)

    def keep(self, scores: Sequence[Row], done: Done) -> None:
        """Put rows of the ledger on disk; ``done`` is called in the event loop that runs now.

        It is told None, or what there is against it. In a file they are in the table ``scores``
        within a second: see :meth:`settle`.
        """
        try:
            journal = self._journalled()
        except StoreUnavailable as error:
            done(error)
            return
        if journal is not None:
            journal.keep(scores, done)
        else:
            loop = asyncio.get_running_loop()
            self._writer.write_soon({"scores": scores}, partial(_tell, done), loop)

    def settle(self) -> None:
        """Return once all that was kept before is in its table."""
        database, journal = self._database, self._journal
        if journal is None and isinstance(database, Sqlite) and is_left(database.path):
            journal = self._journalled()
        if journal is not None:
            journal.settle()

    def load(self, history: History, progress: Progress | None = None) -> None:
        """Store a whole history, all or none; what is there already is ignored.

        ``progress`` is told the share that is done. Raises :class:`StoreConflict` when an id is
        there with other content.
        """
        frames = {table: getattr(history, table) for table in TABLES}
        total, done = sum(map(len, frames.values())), 0
        with self._database.writing() as session:
            for table, frame in frames.items():
                for rows in frame_rows(table, frame):
                    _load(session, table, rows)
                    done += len(rows)
                    if progress is not None:
                        progress(done / total)

    def read(
        self, lead_id: str, columns: Mapping[str, Sequence[str]], account: bool
    ) -> Facts | None:
        """What is known of a lead in the order of ``columns``; None for an unknown lead.

        With ``account``, also the other leads of its account, their events and outcomes.
        """
        with self._database.reading() as session:
            found = session.rows("SELECT account_id FROM leads WHERE lead_id = ?", (lead_id,))
            if not found:
                return None
            who, which = "lead_id = ?", lead_id
            if account and found[0][0] is not None:
                who = "lead_id IN (SELECT lead_id FROM leads WHERE account_id = ?)"
                which = found[0][0]

            def read(table: str, who: str, which: str) -> list[Row]:
                wanted = selected(table, columns[table])
                rows = session.rows(f"SELECT {wanted} FROM {table} WHERE {who}", (which,))
                return merged(table, columns[table], rows)

            return Facts(
                leads=read("leads", who, which),
                events=read("events", who, which),
                changes=read("changes", "lead_id = ?", lead_id),
                outcomes=read("outcomes", who, which) if account else (),
            )

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """What a statement selects; its values are marked with ``?``."""
        with self._database.reading() as session:
            return session.rows(statement, values)

    def run(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """Run a statement that changes what is stored; on disk when it returns what it does."""
        with self._database.writing() as session:
            return session.rows(statement, values)

    def standing(self, lead_id: str) -> tuple[int | None, bool]:
        """From when on the lead's first outcome is visible (microseconds; None: it is open).

        And whether it is the last word of the lead, as far as it is known, not to be scored.
        """
        with self._database.reading() as session:
            [(first, given)] = session.rows(
                f"SELECT ({_SETTLED}), ({_WITHDRAWN})", (lead_id, lead_id)
            )
        return None if first is None else int(first), given == 0

    def replace_current(self, leads: Sequence[str], rows: Sequence[Row]) -> None:
        """Let ``rows`` of ``current_scores`` be all that is current of ``leads``.

        Leads that are gone meanwhile get none.
        """
        marks = ", ".join("?" * len(leads))
        held = f"SELECT 1 FROM current_scores WHERE lead_id IN ({marks}) LIMIT 1"
        if not rows and not self.rows(held, leads):
            return
        with self._database.writing() as session:
            there = session.rows(f"SELECT lead_id FROM leads WHERE lead_id IN ({marks})", leads)
            session.rows(f"DELETE FROM current_scores WHERE lead_id IN ({marks})", leads)
            session.insert("current_scores", [row for row in rows if row[:1] in set(there)])

    def held(self, lead_id: str) -> dict[str, list[dict[str, Any]]]:
        """All that is held of a lead, by table; tables that hold nothing of it are left out."""
        self.settle()
        found = {}
        with self._database.reading() as session:
            for table in OF_A_LEAD:
                columns = COLUMNS[table]
                chosen = f"SELECT {', '.join(columns)} FROM {table} WHERE lead_id = ?"
                rows = session.rows(chosen, (lead_id,))
                if rows:
                    found[table] = [dict(zip(columns, row, strict=True)) for row in rows]
        return found

    def erase(self, lead_id: str, tombstone: Row) -> None:
        """Drop all that is held of a lead, and keep ``tombstone``, a row of ``erasures``.

        When it returns, a file holds nothing of the lead any more, nor does the log beside it.
        """
        self.settle()
        with self._database.writing() as session:
            for table in OF_A_LEAD:
                session.rows(f"DELETE FROM {table} WHERE lead_id = ?", (lead_id,))
            session.rows("DELETE FROM repeats")  # answers, which name leads
            session.insert("erasures", [tombstone])
        self._database.purge()

    def _journalled(self) -> Journal | None:
        """The journal of a file, where it is not that of another process."""
        if self._journal is None and isinstance(self._database, Sqlite):
            with self._opening, suppress(Taken):
                if self._journal is None:
                    self._journal = Journal(
                        self._database.path, "scores", self._database.check, self._writer
                    )
        return self._journal


def _tell(done: Done, outcome: Outcome) -> None:
    done(outcome if isinstance(outcome, Exception) else None)


def _database(place: str) -> Database:
    if is_postgres(place):
        from serving.store.postgres import Postgres  # its driver is an extra

        return Postgres(place)
    return Sqlite(sqlite_path(place) if is_database(place) else Path(place))


def _load(session: Session, table: str, rows: Sequence[Row]) -> None:
    if session.insert(table, rows) == len(rows):
        return
    key = key_of(table)
    held = {key(row): row for row in session.existing(table, [key(row) for row in rows])}
    for row in rows:
        if held[key(row)] != row:
            which = ", ".join(map("{} {!r}".format, KEYS[table], key(row)))
            raise StoreConflict(f"{table}: {which} is already there with other content")
