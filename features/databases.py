"""Tables of SQLite and PostgreSQL, by URL: read one, replace one; no error shows a password."""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pandas as pd

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql

NO_DRIVER = "PostgreSQL needs psycopg, the extra [postgres]: pip install 'psycopg[binary,pool]'"

_POSTGRES = ("postgresql://", "postgres://")
_SQLITE = "sqlite:///"
_SQLITE_TYPES = {"int8": "INTEGER", "float8": "REAL", "text": "TEXT"}


class DatabaseError(OSError):
    """A database that cannot be reached or does not do what was asked; never shows a password."""


class MissingDriver(DatabaseError):
    """What speaks to the database is not installed; the message says how to get it."""


def is_database(url: str) -> bool:
    """Whether a URL names a database that is read here."""
    return url.startswith((*_POSTGRES, _SQLITE))


def is_postgres(url: str) -> bool:
    """Whether a URL names a PostgreSQL server."""
    return url.startswith(_POSTGRES)


def read_table(
    url: str, table: str | None = None, query: str | None = None, directory: Path = Path()
) -> pd.DataFrame:
    """Read a table, or what a query selects, in the types the database has; uuid becomes text.

    A relative SQLite file is one of ``directory``. Nothing can be written on the way. Raises
    ``FileNotFoundError`` for an SQLite file that is not there, :class:`DatabaseError` for the rest.
    """
    chosen = query or f"SELECT * FROM {_quoted(table or '')}"
    with _told(url):
        if url.startswith(_SQLITE):
            path = sqlite_path(url, directory)
            if not path.is_file():
                raise FileNotFoundError(str(path))
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as con:
                found = con.execute(chosen)
                return _frame(found.description, found.fetchall())
        return _read_postgres(url, chosen)


def _read_postgres(url: str, query: str) -> pd.DataFrame:
    with postgres(url) as con:
        from psycopg.types.string import TextLoader

        con.adapters.register_loader("uuid", TextLoader)
        con.read_only = True
        with con.transaction():
            con.execute("SET LOCAL TIME ZONE 'UTC'")
            cursor = con.execute(query.encode())
            return _frame(cursor.description, cursor.fetchall())


def _frame(description: Iterable[Any] | None, rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    if description is None:
        raise DatabaseError("the query returns no rows: write a SELECT")
    return pd.DataFrame(rows, columns=[column[0] for column in description])


def replace_table(url: str, table: str, frame: pd.DataFrame) -> None:
    """Make the rows of ``table`` those of ``frame``, at once for whoever reads it.

    Whole numbers, floats and text, nothing else, become columns of their kind; missing is null.
    Makes the table where there is none. Raises :class:`DatabaseError` for a table with other
    columns (it is somebody else's) and for a database that cannot be written.
    """
    types = {str(name): _type(frame[name]) for name in frame.columns}
    rows = zip(*(_values(frame[name]) for name in frame.columns), strict=True)
    with _told(url):
        if url.startswith(_SQLITE):
            _replace_sqlite(sqlite_path(url), table, types, rows)
        else:
            _replace_postgres(url, table, types, rows)


def _replace_sqlite(
    path: Path, table: str, types: Mapping[str, str], rows: Iterable[tuple[Any, ...]]
) -> None:
    name = _quoted(table)
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = ", ".join(f"{_quoted_part(one)} {_SQLITE_TYPES[kind]}" for one, kind in types.items())
    with closing(sqlite3.connect(path, isolation_level=None)) as con:
        con.execute("BEGIN IMMEDIATE")
        con.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns})")
        found = con.execute(f"SELECT * FROM {name} LIMIT 0").description
        _same_columns(table, [column[0] for column in found], types)
        con.execute(f"DELETE FROM {name}")
        con.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(types))})", rows)
        con.execute("COMMIT")


def _replace_postgres(
    url: str, table: str, types: Mapping[str, str], rows: Iterable[tuple[Any, ...]]
) -> None:
    with postgres(url) as con, con.transaction():
        from psycopg import sql

        name = sql.Identifier(*table.split("."))
        con.execute("SET LOCAL client_min_messages = warning")
        create_table(con, name, types)
        found = con.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(name)).description or ()
        _same_columns(table, [column.name for column in found], types)
        con.execute(sql.SQL("DELETE FROM {}").format(name))
        copy_rows(con, name, list(types.values()), rows)


def _same_columns(table: str, found: Sequence[str], wanted: Mapping[str, str]) -> None:
    if list(found) != list(wanted):
        raise DatabaseError(
            f"table {table} is there with other columns: drop it, or choose another with ?table="
        )


def create_table(
    con: psycopg.Connection, name: sql.Identifier, types: Mapping[str, str], text: str = "text"
) -> None:
    """Create a table of columns int8, float8 and text where there is none.

    ``text`` is what PostgreSQL is told that a text column is.
    """
    from psycopg import sql

    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(text if kind == "text" else kind))
        for column, kind in types.items()
    )
    con.execute(sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(name, columns))


def copy_rows(
    con: psycopg.Connection,
    name: sql.Identifier,
    types: Sequence[str],
    rows: Iterable[Sequence[Any]],
) -> None:
    """Copy rows into a table whose columns have these types."""
    from psycopg import sql

    with con.cursor().copy(sql.SQL("COPY {} FROM STDIN (FORMAT binary)").format(name)) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


def postgres(url: str) -> psycopg.Connection:
    """Connect to PostgreSQL; every statement commits on its own.

    Raises :class:`MissingDriver` without psycopg, :class:`DatabaseError` when no server lets us in.
    """
    try:
        import psycopg
    except ImportError:
        raise MissingDriver(NO_DRIVER) from None
    with _told(url):
        return psycopg.connect(url, autocommit=True)


def sqlite_path(url: str, directory: Path = Path()) -> Path:
    """The file of ``sqlite:///relative`` or ``sqlite:////absolute``."""
    return directory / unquote(url.removeprefix(_SQLITE))


def shown(url: str) -> str:
    """The URL without user and password."""
    return re.sub(r"(password=)[^&]*", r"\1***", re.sub(r"://.*@", "://***@", url))


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Turn what the drivers raise into a :class:`DatabaseError` that shows no password."""
    try:
        yield
    except DatabaseError:
        raise
    except _errors() as error:
        raise DatabaseError(f"{shown(url)}: {blotted(str(error).strip(), url)}") from None


def _errors() -> tuple[type[Exception], ...]:
    driver = sys.modules.get("psycopg")
    return (sqlite3.Error, *([driver.Error] if driver else ()))


def blotted(text: str, url: str) -> str:
    """The text without any part of the URL that may be a password."""
    named = re.search(r"://(.*)@", url)
    secrets = re.findall(r"password=([^&]*)", url)
    secrets += re.split(r"[:@/?#]", named[1])[1:] if named else []
    for secret in sorted({*secrets, *map(unquote, secrets)} - {""}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _type(column: pd.Series) -> str:
    return {"i": "int8", "f": "float8"}.get(column.dtype.kind, "text")


def _values(column: pd.Series) -> list[Any]:
    held: list[Any] = column.astype(object).where(column.notna(), None).tolist()
    return held


def _quoted(table: str) -> str:
    return ".".join(map(_quoted_part, table.split(".")))


def _quoted_part(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
