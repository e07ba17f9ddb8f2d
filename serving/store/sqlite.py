"""The store in one SQLite file: WAL, synced at every commit, tables clustered by lead."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from serving.scorer import Row
from serving.store.database import Database, Session, StoreUnavailable, UnfitRow
from serving.store.tables import COLUMNS

_TOGETHER = 512
_WAIT_SECONDS = 10.0
_LOOK_SECONDS = 0.05
"""So often at most who reads looks whether the file is still there; who writes looks each time."""

_PURGE_TRIES, _PURGE_PAUSE = 40, 0.05
_UNFIT = (
    sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError, OverflowError,
    UnicodeError,
)  # fmt: skip


class _Session(Session):
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        return self._connection.execute(statement, values).fetchall()

    def insert(self, table: str, rows: Sequence[Row]) -> int:
        # Many rows a statement: at each step the interpreter is given to another thread, and
        # waiting to get it back costs more than the row.
        before = self._connection.total_changes
        for start in range(0, len(rows), _TOGETHER):
            some = rows[start : start + _TOGETHER]
            self._connection.execute(_insert(table, len(some)), list(chain.from_iterable(some)))
        return self._connection.total_changes - before


class _Lent(AbstractContextManager[Session]):
    """A session for a while; a class, as a generator costs as much as the reading of a row."""

    def __init__(self, database: Sqlite) -> None:
        self._database = database

    def __enter__(self) -> Session:
        self._connection = self._database.lent()
        return _Session(self._connection)

    def __exit__(self, sort: object, error: BaseException | None, trace: object) -> None:
        self._database.back(self._connection, error)


class Sqlite(Database):
    """A file; it is made where there is none yet, and missed when it is gone."""

    words: ClassVar = {"id": "TEXT", "clustered": "WITHOUT ROWID"}
    listing = "SELECT name FROM sqlite_master WHERE type = 'table'"

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._file: int | None = None
        self._looked = self._checked = 0.0
        self._idle: list[sqlite3.Connection] = []

    def close(self) -> None:
        """Close what is open; it is of no more use."""
        while self._idle:
            self._idle.pop().close()

    def purge(self) -> None:
        """Leave nothing of what was deleted in the log beside the file."""
        with self._session() as session:
            for _ in range(_PURGE_TRIES):  # a reader may still need the log
                [(busy, *_)] = session.rows("PRAGMA wal_checkpoint(TRUNCATE)")
                if not busy:
                    return
                time.sleep(_PURGE_PAUSE)
        raise StoreUnavailable(f"{self.path}: others keep reading what is to be erased")

    def reading(self) -> AbstractContextManager[Session]:
        """A session whose statements each stand alone."""
        at = time.monotonic()
        if not self._ready or at > self._looked + _LOOK_SECONDS:
            self._looked = at
            self._prepare()
        return self._session()

    def check(self) -> None:
        """Raises :class:`StoreUnavailable` where nothing can be written now, as far as is seen."""
        at = time.monotonic()
        if not self._ready or at > self._checked + _LOOK_SECONDS:
            self._prepare()
            self._expect_writable()
            self._checked = at

    def _prepare(self) -> None:
        """Another file under the same name is another store, and no file is none."""
        if self._ready and self._inode() != self._file:
            self._ready = False
            self.close()
        super()._prepare()

    def _migrate(self) -> None:
        if self._file is not None and self._inode() is None:
            raise StoreUnavailable(f"{self.path} is gone")
        with self._session() as session:
            session.rows("PRAGMA journal_mode = WAL")
        super()._migrate()
        self._file = self._inode()

    def _inode(self) -> int | None:
        with suppress(OSError):
            return self.path.stat().st_ino
        return None

    def _session(self) -> AbstractContextManager[Session]:
        return _Lent(self)

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        self._expect_writable()
        with self._session() as session:
            session.rows("BEGIN IMMEDIATE")
            try:
                yield session
                session.rows("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a full disk has rolled it back already
                    session.rows("ROLLBACK")
                raise

    def _expect_writable(self) -> None:
        if not os.access(self.path, os.W_OK):  # SQLite finds out at the first row
            raise StoreUnavailable(f"{self.path} is read-only")

    def lent(self) -> sqlite3.Connection:
        """A connection that nobody else uses."""
        try:
            return self._idle.pop() if self._idle else self._opened()
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self.path}: {error}") from None

    def back(self, connection: sqlite3.Connection, error: BaseException | None) -> None:
        """Take it back, and say what an error of it means to others."""
        if isinstance(error, sqlite3.Error) and not isinstance(error, _UNFIT):
            connection.close()
            raise StoreUnavailable(f"{self.path}: {error}") from None
        self._idle.append(connection)
        if isinstance(error, _UNFIT):
            raise UnfitRow(f"{self.path}: {type(error).__name__}") from None

    def _opened(self) -> sqlite3.Connection:
        made = sqlite3.connect(
            self.path, _WAIT_SECONDS, isolation_level=None, check_same_thread=False
        )
        made.execute("PRAGMA synchronous = FULL")
        made.execute("PRAGMA secure_delete = ON")  # what is erased is overwritten
        return made


@lru_cache
def _insert(table: str, count: int) -> str:
    row = f"({', '.join('?' * len(COLUMNS[table]))})"
    return f"INSERT INTO {table} VALUES {', '.join([row] * count)} ON CONFLICT DO NOTHING"
