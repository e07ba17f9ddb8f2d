"""The store in PostgreSQL: pooled connections, rows inserted by ``unnest``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, ClassVar

from features.databases import NO_DRIVER, MissingDriver, blotted, shown
from serving.scorer import Row
from serving.store.database import Database, Session, StoreUnavailable, UnfitRow
from serving.store.tables import COLUMNS, OF_A_LEAD, SORTS

try:
    from psycopg import Connection, DataError, Error, IntegrityError
    from psycopg_pool import ConnectionPool, PoolTimeout
except ImportError:
    raise MissingDriver(NO_DRIVER) from None

_CONNECTIONS, _WAIT_SECONDS, _TRY_SECONDS = 4, 2.0, 0.5
_MIGRATION_LOCK = 0x1EADCA57
_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', false) "
    "WHERE current_setting('synchronous_commit') = 'off'"
)
"""What an acknowledgement promises is not the server's to choose."""


class _Session(Session):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        cursor = self._connection.cursor(binary=True)
        cursor.execute(_marked(statement), values)
        return cursor.fetchall() if cursor.description else []

    def insert(self, table: str, rows: Sequence[Row]) -> int:
        if not rows:
            return 0
        columns = [list(column) for column in zip(*rows, strict=True)]
        return self._connection.execute(_insert(table), columns).rowcount


class Postgres(Database):
    """A server by its URL."""

    words: ClassVar = {"id": 'TEXT COLLATE "C"', "clustered": ""}
    listing = "SELECT tablename::text FROM pg_tables WHERE schemaname = ANY(current_schemas(false))"

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._pool = ConnectionPool(
            url, kwargs={"autocommit": True, "connect_timeout": int(_WAIT_SECONDS)},
            min_size=1, max_size=_CONNECTIONS, timeout=_WAIT_SECONDS, open=False,
            reconnect_timeout=_TRY_SECONDS, configure=_configure,
            check=ConnectionPool.check_connection,
        )  # fmt: skip

    def close(self) -> None:
        """Close what is open; it is of no more use."""
        self._pool.close()

    def purge(self) -> None:
        """Let the tables give up what was deleted; the server's log is its operator's."""
        with self._connection() as connection:
            connection.execute(f"VACUUM {', '.join(OF_A_LEAD)}".encode())

    def _migrate(self) -> None:
        self._pool.open()
        super()._migrate()

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with self._connection() as connection:
            yield _Session(connection)

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        with self._connection() as connection, connection.transaction():
            if not self._ready:
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
            yield _Session(connection)

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        try:
            with self._pool.connection() as connection:
                yield connection
        except (DataError, IntegrityError, UnicodeError) as error:
            raise UnfitRow(f"{shown(self._url)}: {type(error).__name__}") from None
        except (Error, PoolTimeout) as error:
            said = blotted(str(error).strip(), self._url)
            raise StoreUnavailable(f"{shown(self._url)}: {said}") from None


def _configure(connection: Connection) -> None:
    connection.execute(_DURABLE)


@cache
def _marked(statement: str) -> bytes:
    return statement.replace("?", "%s").encode()


@cache
def _insert(table: str) -> bytes:
    columns = ", ".join(COLUMNS[table])
    given = ", ".join(f"%s::{sort}[]" for sort in SORTS[table].values())
    return (f"INSERT INTO {table} ({columns}) SELECT * FROM unnest({given}) "
            "ON CONFLICT DO NOTHING").encode()  # fmt: skip
