"""PostgreSQL: many rows on a server in the wide layout, one lead of its own tables in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from features.compile import long, wide
from features.databases import NO_DRIVER, copy_rows, create_table, postgres
from features.engines.tables import (
    KEYS,
    TIMES,
    Progress,
    Row,
    frame_of,
    one_lead_only,
    quoted,
    reads,
    rows_of,
)
from features.feature import Feature
from features.language import DeclarationError, FeatureSet
from features.schema import History

try:
    from psycopg import Connection, RawCursor, sql
except ImportError as error:
    raise ImportError(NO_DRIVER) from error

_MOST = 1_600
"""Features a statement: PostgreSQL has at most 1,664 columns in a list."""

_FEW = 1_000
"""Rows up to which a table is sooner scanned than indexed."""

_WORTH = 24
"""Aggregates that a part of the statement must save: it costs as much as so many."""


class Postgres:
    """A server to compute on, by its URL; an engine for :func:`features.engines.compute`.

    Each run connects, fills temporary tables and drops them: the database's own tables are
    neither read nor written.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def run(
        self, features: FeatureSet, spine: pd.DataFrame, history: History, progress: Progress
    ) -> pd.DataFrame:
        """Compute with the whole history on the server; see :func:`features.engines.compute`.

        Raises :class:`features.databases.DatabaseError` when the server cannot be reached,
        :class:`DeclarationError` for more features than PostgreSQL can return.
        """
        if len(features) > _MOST:
            raise DeclarationError(f"{len(features)} features: PostgreSQL returns at most {_MOST}")
        with postgres(self._url) as con, con.transaction(force_rollback=True):
            con.execute("SET LOCAL jit = off")  # compiling hundreds of columns takes seconds
            numbered = spine.assign(_row=pd.RangeIndex(len(spine)))
            fill(con, "pg_temp", "spine", numbered, ("_row", "lead_id", "as_of"))
            for done, name in enumerate(KEYS, start=1):
                fill(con, "pg_temp", name, getattr(history, name), reads(features, name))
                progress(0.5 * done / len(KEYS))
            found = con.cursor(binary=True).execute(wide(features, "postgres")).fetchall()
        found.sort(key=lambda row: row[0])
        progress(1.0)
        return frame_of(features, [row[1:] for row in found])


def fill(
    con: Connection, schema: str, table: str, frame: pd.DataFrame, columns: Sequence[str]
) -> None:
    """Make a table of some columns, indexed by lead; text is ordered by code point."""
    types = {name: _type(name, frame[name]) for name in columns}
    name = sql.Identifier(schema, table)
    create_table(con, name, types, text='text COLLATE "C"')
    copy_rows(con, name, list(types.values()), rows_of(frame, columns))
    if len(frame) > _FEW:
        con.execute(sql.SQL("CREATE INDEX ON {} (lead_id)").format(name))
        con.execute(sql.SQL("ANALYZE {}").format(name))


def _type(name: str, column: pd.Series) -> str:
    if name in TIMES or column.dtype.kind == "i":
        return "int8"
    return "float8" if column.dtype.kind == "f" else "text"


class PostgresLead:
    """The features of one lead, read from a database's own tables or views in one statement.

    ``schema`` has leads, events, changes and outcomes with the columns of ``columns``: times as
    bigint microseconds, numbers double precision, the others text. An index on lead_id (and on
    leads.account_id for account features) makes it quick. Raises :class:`DeclarationError` for
    features of a segment: one lead's history does not hold them.
    """

    def __init__(self, features: FeatureSet, schema: str = "public") -> None:
        one_lead_only(features)
        self.columns = {name: reads(features, name) for name in KEYS}
        self._empty = [feature.empty for feature in features.features]
        self._parts = _parts(features)
        spine = 'spine AS (SELECT 0 AS _row, $1::text COLLATE "C" AS lead_id, $2::int8 AS as_of)'
        tables = [_cut(features, name, columns, schema) for name, columns in self.columns.items()]
        parts = (f"SELECT {i}, {part.select}" for i, part in enumerate(self._parts))
        self._sql = f"WITH {', '.join([spine, *tables])} {' UNION ALL '.join(parts)}".encode()

    def vector(self, con: Connection, lead_id: str, as_of: int) -> Row:
        """The features of one lead at ``as_of`` (microseconds), in the order of the feature set.

        The first call prepares the statement on the connection: let one connection serve many.
        """
        cursor = RawCursor(con)
        cursor.execute(self._sql, (lead_id, as_of), prepare=True, binary=True)
        values: list[Any] = self._empty.copy()
        for number, key, *held in cursor.fetchall():
            for text, place, position in self._parts[number].places.get(tuple(key), ()):
                values[position] = held[text][place]
        return tuple(values)


@dataclass(frozen=True)
class _Part:
    """A part of the statement: key, numbers and texts; ``places[key]`` says where they go.

    A place is whether the value is text, which one of its sort, and the feature's position.
    """

    select: str
    places: dict[tuple[str, ...], list[tuple[bool, int, int]]]


def _parts(features: FeatureSet) -> list[_Part]:
    """A part for each shape that many features share, and a wide one for the rest.

    Evaluating a filter a feature for every event is most of the wide statement's time.
    """
    cells, rest = long(features, "postgres", _WORTH)
    parts = [_part(one.sql, one.shape, one.aggregates, one.places) for one in cells]
    if rest or not parts:
        others = FeatureSet(features.features[position] for position in rest)
        places: dict[tuple[str, ...], list[tuple[int, int]]] = {(): list(enumerate(rest))}
        parts.append(_part(wide(others, "postgres"), (), others.features, places))
    return parts


def _part(
    statement: str,
    shape: Sequence[str],
    features: Sequence[Feature],
    places: Mapping[tuple[str, ...], Sequence[tuple[int, int]]],
) -> _Part:
    columns: tuple[list[str], list[str]] = ([], [])
    slots = []
    for number, feature in enumerate(features):
        held = columns[feature.type == "text"]
        slots.append((feature.type == "text", len(held)))
        held.append(f"f{number}")
    arrays = (list(map(quoted, shape)), "text"), (columns[0], "float8"), (columns[1], "text")
    select = ", ".join(f"ARRAY[{', '.join(names)}]::{kind}[]" for names, kind in arrays)
    wanted = {
        key: [(*slots[number], position) for number, position in pairs]
        for key, pairs in places.items()
    }
    return _Part(f"{select} FROM ({statement}) AS part", wanted)


def _cut(features: FeatureSet, table: str, columns: Sequence[str], schema: str) -> str:
    """A table cut down to the lead, or its account where that is read; text by code point."""
    read = [one for feature in features.features for one in feature.reads]
    numbers = {column for source, column, kind in read if (source, kind) == (table, "number")}
    chosen = [
        name if column in TIMES or column in numbers else f'{name} COLLATE "C" AS {name}'
        for column, name in zip(columns, map(quoted, columns), strict=True)
    ]
    place, own = f"{quoted(schema)}.{table}", "lead_id = $1"
    account = {feature.source for feature in features.features if feature.scope != "lead"}
    if table == "leads" and account:
        own += f" OR account_id = (SELECT account_id FROM {place} WHERE {own})"
    elif table in account:
        own = "lead_id = ANY(ARRAY(SELECT lead_id FROM leads) || $1::text)"
    return f"{table} AS (SELECT {', '.join(chosen)} FROM {place} WHERE {own})"
