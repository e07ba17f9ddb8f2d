"""Run a feature set: DuckDB for many rows, memory for leads at hand. Each engine is one module."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

import pandas as pd

from features.engines.tables import Progress as Progress
from features.engines.tables import Row as Row
from features.engines.tables import rows_of as rows_of
from features.language import DeclarationError, FeatureSet
from features.schema import History

_NAMED = {name: f"{__name__}.{name}" for name in ("duckdb", "sqlite", "memory")}
"""The modules of the engines in process: who serves need not wait until all are there."""


class Engine(Protocol):
    """An engine that is connected somewhere: PostgreSQL, Spark."""

    def run(
        self, features: FeatureSet, spine: pd.DataFrame, history: History, progress: Progress
    ) -> pd.DataFrame:
        """Compute; see :func:`compute`."""


def compute(
    features: FeatureSet,
    spine: pd.DataFrame,
    history: History,
    engine: str | Engine = "duckdb",
    progress: Progress | None = None,
) -> pd.DataFrame:
    """What was known about ``spine.lead_id`` at ``spine.as_of``: one row a spine row, same order.

    ``spine`` has lead_id (str) and as_of (datetime64[us, UTC]); rows may repeat. Columns are
    ``features.names``: float64 (NaN = null; integers are exact below 2**53) or ``str``.
    ``engine`` is ``duckdb`` (blocks of leads, long layout, one thread a core), ``sqlite`` (the
    whole history in memory), ``memory`` (what serves: a row after another, no features of a
    segment), or an engine that is connected somewhere.
    ``progress`` is told the share done.

    Raises :class:`DeclarationError` when a feature reads a column the history lacks, or sums text.
    """
    check_columns(features, history)
    run = (import_module(_NAMED[engine]) if isinstance(engine, str) else engine).run
    frame = run(features, spine, history, progress or (lambda _: None))
    frame.index = spine.index
    return frame


def check_columns(features: FeatureSet, history: History) -> None:
    """Raise :class:`DeclarationError` naming every feature that ``history`` cannot feed."""
    faults = []
    for feature in features.features:
        for source, column, kind in feature.reads:
            frame: pd.DataFrame = getattr(history, source)
            if column not in frame.columns:
                faults.append(f"{feature.name}: {source} have no column {column!r}")
            elif (frame[column].dtype.kind == "f") != (kind == "number"):
                faults.append(f"{feature.name}: column {column!r} is not {kind}")
    if faults:
        raise DeclarationError("; ".join(faults) + ": correct the declaration or the source")
