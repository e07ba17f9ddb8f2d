"""Connections to databases, and errors from them that never show a password."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    import psycopg

NO_DRIVER = "PostgreSQL needs psycopg: install the extra, pip install 'leadcast[postgres]'"
POSTGRES = ("postgresql://", "postgres://")


class DatabaseError(OSError):
    """A database that cannot be reached or does not do what was asked; never shows a password."""


def postgres(url: str) -> psycopg.Connection:
    """Connect to PostgreSQL; every statement commits on its own.

    Raises :class:`DatabaseError` when there is no driver, or no server that lets us in.
    """
    try:
        import psycopg
    except ImportError:
        raise DatabaseError(NO_DRIVER) from None
    try:
        return psycopg.connect(url, autocommit=True)
    except psycopg.Error as error:
        raise DatabaseError(f"{shown(url)}: {told(error, url)}") from None


def shown(url: str) -> str:
    """The URL without user and password."""
    return re.sub(r"(password=)[^&]*", r"\1***", re.sub(r"://.*@", "://***@", url))


def told(error: Exception, url: str) -> str:
    """What an error says, every part of the URL that may be a password blotted out."""
    text = str(error).strip()
    named = re.search(r"://(.*)@", url)
    secrets = re.findall(r"password=([^&]*)", url)
    secrets += re.split(r"[:@/?#]", named[1])[1:] if named else []
    for secret in sorted({*secrets, *map(unquote, secrets)} - {""}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def create_table(
    con: psycopg.Connection,
    table: Sequence[str],
    types: Mapping[str, str],
    rows: Iterable[Sequence[Any]],
    text: str = "text",
) -> None:
    """Create a table (schema and name) of columns int8, float8 and text, and copy rows into it.

    ``text`` is what the database is told a text column is.
    """
    from psycopg import sql

    name = sql.Identifier(*table)
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(text if kind == "text" else kind))
        for column, kind in types.items()
    )
    con.execute(sql.SQL("CREATE TABLE {} ({})").format(name, columns))
    with con.cursor().copy(sql.SQL("COPY {} FROM STDIN (FORMAT binary)").format(name)) as copy:
        copy.set_types(list(types.values()))
        for row in rows:
            copy.write_row(row)
