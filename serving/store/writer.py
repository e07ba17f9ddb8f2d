"""Group commit: one thread writes all that waits in one transaction, and answers when it is on
disk."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any

from serving.scorer import Row
from serving.store.database import Database, Session, StoreUnavailable
from serving.store.tables import Rows, Verdict, key_of

Verdicts = dict[str, list[Verdict]]

_MOST_ROWS = 20_000
_ATTEMPTS = 3


class _Job:
    """Rows of one caller, and whom to tell what became of them."""

    __slots__ = ("future", "loop", "rows")

    def __init__(self, rows: Rows, future: Any, loop: asyncio.AbstractEventLoop | None) -> None:
        self.rows, self.future, self.loop = rows, future, loop


class _Raced(Exception):
    """Another process wrote one of the rows meanwhile."""


class Writer:
    """The one thread of this process that writes to a database.

    What waits is committed together, so that many callers share the cost of one commit; each is
    answered for its own rows. A caller whose rows the database cannot hold fails alone.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._starting = Lock()

    async def write(self, rows: Rows) -> Verdicts:
        """Write rows, and return once they are on disk.

        Raises :class:`StoreUnavailable`, or
        :class:`serving.store.database.UnfitRow` for rows that it cannot hold.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Verdicts] = loop.create_future()
        self._add(_Job(rows, future, loop))
        return await future

    def write_now(self, rows: Rows) -> Verdicts:
        """The same for a caller in a thread of its own."""
        future: Future[Verdicts] = Future()
        self._add(_Job(rows, future, None))
        return future.result()

    def close(self) -> None:
        """Write what waits, and end the thread."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def _add(self, job: _Job) -> None:
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = Thread(target=self._run, name="store-writer", daemon=True)
                    self._thread.start()
        self._waiting.put(job)

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            jobs, size = [first], _size(first)
            last = False
            with suppress(Empty):
                while size < _MOST_ROWS:
                    job = self._waiting.get_nowait()
                    if job is None:
                        last = True
                        break
                    jobs.append(job)
                    size += _size(job)
            _tell(jobs, self._outcomes(jobs))
            if last:
                return

    def _outcomes(self, jobs: Sequence[_Job]) -> list[Verdicts | Exception]:
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


def _size(job: _Job) -> int:
    return sum(map(len, job.rows.values()))


def _tell(jobs: Sequence[_Job], outcomes: Sequence[Verdicts | Exception]) -> None:
    """Tell each caller; those of an event loop in one call of it."""
    waiting: dict[asyncio.AbstractEventLoop, list[tuple[Any, Verdicts | Exception]]] = {}
    for job, outcome in zip(jobs, outcomes, strict=True):
        if job.loop is None:
            _settle([(job.future, outcome)])
        else:
            waiting.setdefault(job.loop, []).append((job.future, outcome))
    for loop, settled in waiting.items():
        with suppress(RuntimeError):  # its loop has ended, and nobody waits
            loop.call_soon_threadsafe(_settle, settled)


def _settle(settled: Sequence[tuple[Any, Verdicts | Exception]]) -> None:
    for future, outcome in settled:
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
