"""What the engines share: which columns of the tables a statement reads, and plain rows of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from features.language import FeatureSet
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
