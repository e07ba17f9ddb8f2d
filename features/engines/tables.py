"""What the engines share: which columns of the tables a statement reads, and plain rows of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from features.language import DeclarationError, FeatureSet
from features.times import micros

Progress = Callable[[float], None]
Row = tuple[Any, ...]

KEYS = {
    "leads": ("lead_id", "account_id", "created_at"),
    "events": ("lead_id", "event_id", "occurred_at", "known_at"),
    "changes": ("lead_id", "change_id", "known_at"),
    "outcomes": ("lead_id", "outcome", "occurred_at", "known_at"),
}
TIMES = ("created_at", "occurred_at", "known_at", "as_of")


def one_lead_only(features: FeatureSet) -> None:
    """Raise :class:`DeclarationError` for features that one lead's history does not hold."""
    segments = [feature.name for feature in features.features if feature.segment]
    if segments:
        raise DeclarationError(
            f"{', '.join(segments)}: needs the history of all leads, so it cannot be computed for "
            "one: score in batch (leadcast score), or train without it"
        )


def reads(features: FeatureSet, table: str) -> tuple[str, ...]:
    """The columns of a table that a feature set reads: the keys and times, then the others."""
    read = {name for f in features.features for source, name, _ in f.reads if source == table}
    return tuple(dict.fromkeys((*KEYS[table], *sorted(read))))


def rows_of(frame: pd.DataFrame, columns: Sequence[str]) -> list[Row]:
    """The rows of a table as SQLite takes them: times as microseconds, missing values as None."""
    lists = [
        micros(frame[name]).tolist()
        if name in TIMES
        else frame[name].astype(object).where(frame[name].notna(), None).tolist()
        for name in columns
    ]
    return list(zip(*lists, strict=True))


def frame_of(features: FeatureSet, rows: Sequence[Row]) -> pd.DataFrame:
    """The values of the wide statement as the columns that :func:`features.engines.compute` has."""
    columns = zip(*rows, strict=True) if rows else [()] * len(features)
    named = zip(features.names, features.features, columns, strict=True)
    return pd.DataFrame(
        {
            name: pd.Series(list(values), dtype="str" if feature.type == "text" else "float64")
            for name, feature, values in named
        }
    )


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'
