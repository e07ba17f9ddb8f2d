"""What the store's tables hold: columns, keys, and rows from records and histories."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
import pandas as pd

from features.engines import rows_of
from features.schema import TABLES
from serving.scorer import Row

Verdict = Literal["stored", "known", "conflict"]
"""What became of a row: it is new, was there with the same content, or with another."""

Rows = Mapping[str, Sequence[Row]]
"""Rows a table, each with a value for every one of :data:`COLUMNS`."""

KEYS = {
    "leads": ("lead_id",),
    "events": ("lead_id", "event_id"),
    "changes": ("lead_id", "change_id"),
    "outcomes": ("lead_id", "outcome"),
    "dead_letters": ("letter_id",),
    "scores": ("lead_id", "answered_at", "score_id"),
    "consents": ("lead_id", "purpose", "at"),
    "decisions": ("lead_id", "decision_id"),
    "erasures": ("erasure_id",),
    "current_scores": ("lead_id",),
    "repeats": ("repeat_id",),
}
HELD = {"leads": "attributes", "events": "properties"}
"""The column, JSON text, of what the contract does not name."""

_OWN = {
    "dead_letters": {
        "letter_id": "key", "received_at": "time", "kind": "text", "lead_id": "id?",
        "content": "text", "problem": "text",
    },
    "scores": {
        "lead_id": "key", "answered_at": "time", "score_id": "key", "as_of": "time",
        "model_version": "text", "fingerprint": "text", "probability": "amount",
        "expected_value": "amount?", "grade": "text", "route": "text", "request_id": "text",
    },
    "consents": {
        "lead_id": "key", "purpose": "key", "at": "time", "given": "count", "source": "text?",
    },
    "decisions": {
        "lead_id": "key", "decision_id": "key", "decided_at": "time", "route": "text",
        "reason": "text", "decided_by": "text?", "advised": "text?",
    },
    "current_scores": {
        "lead_id": "key", "as_of": "time", "model_version": "text", "worth": "amount",
        "probability": "amount", "value": "amount?", "value_low": "amount?",
        "value_high": "amount?", "expected_value": "amount?", "expected_low": "amount?",
        "expected_high": "amount?", "grade": "text", "route": "text", "reasons": "text",
        "routed_by": "text?",
    },
    "repeats": {
        "repeat_id": "key", "answered_at": "time", "body_digest": "text", "answer": "text",
    },
    "erasures": {
        "erasure_id": "key", "erased_at": "time", "key_id": "text?", "facts": "count",
    },
}  # fmt: skip
_SORTS = {"time": "int8", "count": "int8", "amount": "float8"}
SORTS: dict[str, dict[str, str]] = {
    table: {
        **{name: _SORTS.get(role.rstrip("?"), "text") for name, role in columns.items()},
        **({HELD[table]: "text"} if table in HELD else {}),
    }
    for table, columns in (TABLES | _OWN).items()
}
"""What each column of each table holds: int8, float8 or text."""

TIMES = frozenset(
    name for columns in (TABLES | _OWN).values()
    for name, role in columns.items() if role.rstrip("?") == "time"
)  # fmt: skip
"""The columns that hold times, whatever the table."""

OF_A_LEAD = tuple(table for table, columns in SORTS.items() if "lead_id" in columns)
"""The tables that hold something of a lead, each under its ``lead_id``."""

COLUMNS: dict[str, tuple[str, ...]] = {table: tuple(columns) for table, columns in SORTS.items()}

_BATCH = 20_000


def key_of(table: str) -> Callable[[Row], Row]:
    """The function that takes the key out of a row of a table."""
    places = [COLUMNS[table].index(name) for name in KEYS[table]]
    return lambda row: tuple([row[place] for place in places])


def row_of(table: str, record: Mapping[str, Any]) -> Row:
    """A record of the contract's columns as a row; missing ones are null.

    Raises ``KeyError`` when it lacks its id.
    """
    for name in KEYS[table]:
        if record.get(name) is None:
            raise KeyError(f"a record of {table} has no {name}")
    row = [record.get(name) for name in TABLES[table]]
    if "known_at" in TABLES[table] and record.get("known_at") is None:
        row[COLUMNS[table].index("known_at")] = record.get("occurred_at")
    if table in HELD:
        row.append(held_text(record.get(HELD[table]) or {}))
    return tuple(row)


def held_text(held: Mapping[str, Any]) -> str:
    """Attributes or properties as JSON text, the same for the same content."""
    known = {name: value for name, value in held.items() if value is not None}
    return msgspec.json.encode(known, order="deterministic").decode()


def frame_rows(table: str, frame: pd.DataFrame) -> Iterator[list[Row]]:
    """The rows of a history's table, some thousands at a time."""
    extra = [name for name in frame.columns if name not in TABLES[table]]
    for start in range(0, len(frame), _BATCH):
        part = frame.iloc[start : start + _BATCH]
        plain = rows_of(part, list(TABLES[table]))
        if table in HELD:
            held = rows_of(part, extra) if extra else [()] * len(part)
            plain = [
                (*row, held_text(dict(zip(extra, more, strict=True))))
                for row, more in zip(plain, held, strict=True)
            ]
        yield plain


def selected(table: str, columns: Sequence[str]) -> str:
    """What to select from a table to make rows of ``columns`` with :func:`merged`."""
    own = [name for name in columns if name in TABLES[table]]
    return ", ".join([*own, *([HELD[table]] if len(own) < len(columns) else [])])


def merged(table: str, columns: Sequence[str], rows: Iterable[Row]) -> list[Row]:
    """Selected rows in the order of ``columns``, attributes and properties among them."""
    own = [name for name in columns if name in TABLES[table]]
    if len(own) == len(columns):
        return list(rows)
    places = [own.index(name) if name in own else name for name in columns]
    return [_merged(row, msgspec.json.decode(row[-1]), places) for row in rows]


def _merged(row: Row, held: Mapping[str, Any], places: Sequence[int | str]) -> Row:
    return tuple(row[at] if isinstance(at, int) else held.get(at) for at in places)
