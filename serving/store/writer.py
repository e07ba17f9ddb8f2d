"""Group commit: one thread writes what waits in one transaction, and answers when it is on disk."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from queue import Empty, PriorityQueue
from threading import Lock, Thread
from typing import Any

from serving.scorer import Row
from serving.store.database import Database, Session, StoreUnavailable
from serving.store.tables import Rows, Verdict, key_of

Verdicts = dict[str, list[Verdict]]
Outcome = Verdicts | Exception
Done = Callable[[Outcome], None]
"""Is told what became of rows."""

_MOST_ROWS = 20_000
PART = 100
"""Rows of a batch that are written at a time while others, with fewer, want to be answered soon.

A commit takes the longer the more it brings to the disk.
"""

APART = 0.004
"""Seconds from the beginning of one commit to that of the next: what comes meanwhile shares it.

As PostgreSQL's commit_delay; who comes after a quiet moment waits for nothing.
"""

_LATELY_SECONDS = 1.0
_ATTEMPTS = 3


class _Job:
    """Rows of one caller, or what is left of them, and whom to tell what became of them.

    Few rows come first, and what ends the writer (no rows at all, None) last.
    """

    __slots__ = ("done", "ends", "few", "loop", "place", "rows", "size", "told", "whole")
    _number = itertools.count()

    def __init__(
        self,
        rows: Rows | None,
        done: Done | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.rows, self.done, self.loop = rows or {}, done, loop
        self.size = sum(map(len, self.rows.values()))
        self.few, self.ends = self.size < PART, rows is None
        self.place = 2 if self.ends else not self.few, next(self._number)
        self.told: list[Outcome] = []
        self.whole: _Job | None = None

    def __lt__(self, other: _Job) -> bool:
        return self.place < other.place

    def cut(self) -> _Job | None:
        """Take a part of the rows out, where they are many of one table: others stay together."""
        if self.size <= PART or len(self.rows) > 1:
            return None
        [(table, rows)] = self.rows.items()
        part = _Job({table: rows[:PART]})
        part.whole, self.rows = self, {table: rows[PART:]}
        self.size -= PART
        return part

    def outcome(self, last: Outcome) -> Outcome:
        """What became of all its rows."""
        if not self.told:
            return last
        for one in (told := [*self.told, last]):
            if isinstance(one, Exception):
                return one
        verdicts = [one for one in told if not isinstance(one, Exception)]
        return {table: [one for part in verdicts for one in part[table]] for table in self.rows}


class _Raced(Exception):
    """Another process wrote one of the rows meanwhile."""


class Writer:
    """The one thread of this process that writes to a database.

    What waits is committed together, so that many callers share the cost of one commit; each is
    answered for its own rows. Few rows, such as those of a score, go before many, and while there
    are such, many go a part at a time: nobody who writes a row waits for a thousand of others.
    A caller whose rows the database cannot hold fails alone; parts of them may be there then.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting = PriorityQueue[_Job]()
        self._few_at, self._began = -_LATELY_SECONDS, -APART
        self._thread: Thread | None = None
        self._starting = Lock()

    async def write(self, rows: Rows) -> Verdicts:
        """Write rows, and return once they are on disk.

        Raises :class:`StoreUnavailable`, or
        :class:`serving.store.database.UnfitRow` for rows that it cannot hold.
        """
        future: asyncio.Future[Verdicts] = asyncio.get_running_loop().create_future()
        self.write_soon(rows, partial(_settle, future), future.get_loop())
        return await future

    def write_now(self, rows: Rows) -> Verdicts:
        """The same for a caller in a thread of its own."""
        future: Future[Verdicts] = Future()
        self.write_soon(rows, partial(_settle, future))
        return future.result()

    def write_soon(
        self, rows: Rows, done: Done, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        """The same, and call ``done`` in an event loop, or else in the writer's thread."""
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = Thread(target=self._run, name="store-writer", daemon=True)
                    self._thread.start()
        self._waiting.put(_Job(rows, done, loop))

    def close(self) -> None:
        """Write what waits, and end the thread."""
        if self._thread is not None:
            self._waiting.put(_Job(None))
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while jobs := self._next():
            _tell(jobs, self._outcomes(jobs))

    def _next(self) -> list[_Job]:
        """What is written in the next transaction; nothing when the writer is to end."""
        jobs, size = list[_Job](), 0
        time.sleep(max(0.0, self._began + APART - time.monotonic()))
        with suppress(Empty):
            while size < self._most():
                job = self._waiting.get(block=not jobs)
                if not jobs:
                    self._began = time.monotonic()
                if job.ends:
                    if jobs:
                        self._waiting.put(job)
                    break
                if job.few:
                    self._few_at = time.monotonic()
                part = job.cut() if self._most() == PART else None
                if part is not None:
                    self._waiting.put(job)
                    job = part
                jobs.append(job)
                size += job.size
        return jobs

    def _most(self) -> int:
        lately = time.monotonic() < self._few_at + _LATELY_SECONDS
        return PART if lately else _MOST_ROWS

    def _outcomes(self, jobs: Sequence[_Job]) -> list[Outcome]:
        """What became of each job; where one spoils the transaction, each has its own."""
        try:
            return list(self._committed([job.rows for job in jobs]))
        except StoreUnavailable as error:
            return [error] * len(jobs)
        except Exception as error:
            if len(jobs) == 1:
                return [error]
            return [outcome for job in jobs for outcome in self._outcomes([job])]

    def _committed(self, given: Sequence[Rows]) -> list[Verdicts]:
        with suppress(_Raced):
            return self._fresh(given)
        for _ in range(_ATTEMPTS):
            with suppress(_Raced):
                return self._compared(given)
        raise StoreUnavailable("other processes write the same rows all the time")

    def _fresh(self, given: Sequence[Rows]) -> list[Verdicts]:
        """The usual case: nothing was there before. Raises :class:`_Raced` when something was."""
        with self._database.writing() as session:
            for table in _tables(given):
                _insert_all(session, table, [row for rows in given for row in rows.get(table, ())])
        return [{table: ["stored"] * len(rows) for table, rows in one.items()} for one in given]

    def _compared(self, given: Sequence[Rows]) -> list[Verdicts]:
        """Each row is compared with what is there, and with what came before it."""
        found: list[Verdicts] = [{} for _ in given]
        with self._database.writing() as session:
            for table in _tables(given):
                key = key_of(table)
                wanted = list({key(row) for rows in given for row in rows.get(table, ())})
                held = {key(row): row for row in session.existing(table, wanted)}
                fresh: list[Row] = []
                for rows, verdicts in zip(given, found, strict=True):
                    verdicts[table] = [
                        _verdict(row, key(row), held, fresh) for row in rows.get(table, ())
                    ]
                _insert_all(session, table, fresh)
        return found


def _insert_all(session: Session, table: str, rows: Sequence[Row]) -> None:
    if session.insert(table, rows) != len(rows):
        raise _Raced


def _verdict(row: Row, key: Row, held: dict[Row, Row], fresh: list[Row]) -> Verdict:
    if key in held:
        return "known" if held[key] == row else "conflict"
    held[key] = row
    fresh.append(row)
    return "stored"


def _tables(given: Sequence[Rows]) -> list[str]:
    return list(dict.fromkeys(table for rows in given for table in rows))


def _tell(jobs: Sequence[_Job], outcomes: Sequence[Outcome]) -> None:
    """Tell each caller; those of an event loop in one call of it."""
    waiting: dict[asyncio.AbstractEventLoop, list[tuple[Done, Outcome]]] = {}
    for job, outcome in zip(jobs, outcomes, strict=True):
        if job.whole is not None:
            job.whole.told.append(outcome)
        elif job.done is not None and job.loop is None:
            job.done(job.outcome(outcome))
        elif job.done is not None and job.loop is not None:
            waiting.setdefault(job.loop, []).append((job.done, job.outcome(outcome)))
    for loop, told in waiting.items():
        with suppress(RuntimeError):  # its loop has ended, and nobody waits
            loop.call_soon_threadsafe(_tell_all, told)


def _tell_all(told: Sequence[tuple[Done, Outcome]]) -> None:
    for done, outcome in told:
        done(outcome)


def _settle(future: Any, outcome: Outcome) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
