"""What the store asks of a database: sessions that read, and transactions that write."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from serving.scorer import Row
from serving.store.migrations import VERSIONS
from serving.store.tables import COLUMNS, KEYS

_TOGETHER = 500


class StoreUnavailable(OSError):
    """The store cannot do it now: unreachable, full, read-only. Trying again later is safe."""


class UnfitRow(ValueError):
    """A row that the database cannot hold; nothing of its transaction was stored."""


class Session(ABC):
    """A connection in use. Statements mark their values with ``?``."""

    @abstractmethod
    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """Run a statement; the rows that it returns."""

    @abstractmethod
    def insert(self, table: str, rows: Sequence[Row]) -> int:
        """Insert the rows whose keys are not there; how many these were."""

    def existing(self, table: str, keys: Sequence[Row]) -> Iterator[Row]:
        """The rows that are there under these keys."""
        columns = ", ".join(COLUMNS[table])
        wanted = [f"wanted_{name}" for name in KEYS[table]]
        same = " AND ".join(map("{} = {}".format, KEYS[table], wanted))
        one = f"({', '.join('?' * len(wanted))})"
        for start in range(0, len(keys), _TOGETHER):
            some = keys[start : start + _TOGETHER]
            yield from self.rows(
                f"WITH wanted ({', '.join(wanted)}) AS (VALUES {', '.join([one] * len(some))}) "
                f"SELECT {columns} FROM wanted JOIN {table} ON {same}",
                [value for key in some for value in key],
            )


class Database(ABC):
    """A database by its address: sessions for any thread.

    Nothing is opened before it is needed, the tables are brought up to date when it is, and what
    breaks is opened anew. Sessions raise :class:`StoreUnavailable` and :class:`UnfitRow`.
    """

    words: ClassVar[Mapping[str, str]]
    """What the statements of :mod:`serving.store.migrations` say here."""
    listing: ClassVar[str]
    """Selects the names of its tables."""

    def __init__(self) -> None:
        self._migrating = threading.Lock()
        self._ready = False

    def reading(self) -> AbstractContextManager[Session]:
        """A session whose statements each stand alone."""
        self._prepare()
        return self._session()

    def check(self) -> None:
        """Raises :class:`StoreUnavailable` where nothing can be written now, as far as is seen."""
        self._prepare()

    def writing(self) -> AbstractContextManager[Session]:
        """A transaction: on disk when the context has closed without an error."""
        self._prepare()
        return self._transaction()

    @abstractmethod
    def close(self) -> None:
        """Close what is open; it is of no more use."""

    @abstractmethod
    def purge(self) -> None:
        """Let go of what was deleted before, as far as the database can."""

    @abstractmethod
    def _session(self) -> AbstractContextManager[Session]: ...

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[Session]: ...

    def _prepare(self) -> None:
        if not self._ready:
            with self._migrating:
                if not self._ready:
                    self._migrate()
                    self._ready = True

    def _migrate(self) -> None:
        """Bring the tables to the latest version. Raises :class:`StoreUnavailable` for a newer."""
        with self._session() as session:
            if self._version(session) == len(VERSIONS):
                return
        with self._transaction() as session:
            session.rows("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT PRIMARY KEY)")
            there = self._version(session)
            if there > len(VERSIONS):
                raise StoreUnavailable(f"the store is of version {there}: update leadcast")
            for number in range(there, len(VERSIONS)):
                for statement in VERSIONS[number]:
                    session.rows(statement.format_map(self.words))
                session.rows("INSERT INTO schema_version VALUES (?)", (number + 1,))

    def _version(self, session: Session) -> int:
        if ("schema_version",) not in session.rows(self.listing):
            return 0
        [(latest,)] = session.rows("SELECT max(version) FROM schema_version")
        return int(latest or 0)
