"""Spine x features x labels -> a training set that is named by its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.engines import Engine, Progress, compute
from features.language import FeatureSet
from features.outcomes import at_risk, label
from features.schema import History
from features.source import Population
from features.times import micros

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


BLOCK = 8_192
"""Rows that are read, encoded and scored together; a row group of a training set on disk."""

BUILD_ROWS = 32 * BLOCK
"""Rows whose features are computed together when the training set goes to disk."""


class _Labelled:
    """What a training set knows of its rows, wherever its columns are."""

    rows: pd.DataFrame

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lead_id(self) -> npt.NDArray[Any]:
        """(n,) the lead of each row, as objects."""
        return self.rows["lead_id"].to_numpy(dtype=object)

    @property
    def as_of(self) -> Ints:
        """(n,) microseconds."""
        return micros(self.rows["as_of"])

    @property
    def converted(self) -> Bools:
        """(n,) the label."""
        return self.rows["converted"].to_numpy(dtype=bool)

    @property
    def value(self) -> Floats:
        """(n,) realised deal value within the horizon."""
        return self.rows["value"].to_numpy(dtype=np.float64)

    @property
    def lead_number(self) -> Ints:
        """(n,) the leads numbered from 0."""
        return pd.factorize(self.rows["lead_id"])[0].astype(np.int64)


@dataclass(frozen=True, eq=False)
class TrainingSet(_Labelled):
    """n labelled rows in the order of (lead_id as in the history, as_of).

    ``rows`` has lead_id, as_of, converted (bool), value (0 when not converted, NaN unknown);
    ``columns`` the features, float64 or str; both have the same RangeIndex.
    """

    rows: pd.DataFrame
    columns: pd.DataFrame
    features: FeatureSet

    def read(self, first: int, last: int) -> pd.DataFrame:
        """The columns of the rows ``first <= row < last``."""
        return self.columns.iloc[first:last]

    def where(self, chosen: Bools) -> TrainingSet:
        """The rows chosen by a mask (n,)."""
        return self.take(np.flatnonzero(chosen))

    def take(self, places: Ints) -> TrainingSet:
        """The rows at the given places, in that order."""
        return TrainingSet(
            self.rows.iloc[places].reset_index(drop=True),
            self.columns.iloc[places].reset_index(drop=True),
            self.features,
        )

    @property
    def digest(self) -> str:
        """SHA-256 over rows, columns and the feature set's fingerprint."""
        total = _Digest(self.rows, self.features)
        total.add(self.columns)
        return total.hex()

    def write(self, directory: Path) -> Path:
        """Write ``<digest>.parquet`` into ``directory`` unless it is there; returns its path."""
        return _write(self.rows, self.features, [self.columns], directory)


@dataclass(frozen=True, eq=False)
class StoredSet(_Labelled):
    """A training set whose columns stay in a Parquet file: for more rows than memory holds.

    ``places`` are the rows of the file that belong to it, ascending. What belongs to a row but its
    features is in memory, as in :class:`TrainingSet`.
    """

    path: Path
    rows: pd.DataFrame
    features: FeatureSet
    places: Ints

    @staticmethod
    def open(path: Path, features: FeatureSet) -> StoredSet:
        """Read what :meth:`TrainingSet.write` wrote, all but the features.

        Raises ``ValueError`` when the file holds other features.
        """
        found = tuple(pq.read_schema(path).names)[len(_ROWS) :]
        if found != features.names:
            raise ValueError(f"{path.name} does not hold these features: build the set again")
        rows = pd.read_parquet(path, columns=list(_ROWS))
        return StoredSet(path.resolve(), rows, features, np.arange(len(rows)))

    @property
    def columns(self) -> pd.DataFrame:
        """All features in memory, as :class:`TrainingSet` has them: for a few rows."""
        return self.read(0, len(self)).reset_index(drop=True)

    def read(self, first: int, last: int) -> pd.DataFrame:
        """The columns of the rows ``first <= row < last``; one row group at a time is in memory."""
        places, names = self.places[first:last], list(self.features.names)
        with pq.ParquetFile(self.path, metadata=_metadata(self.path)) as file:
            if not len(places):
                return file.schema_arrow.empty_table().select(names).to_pandas()
            starts = _starts(self.path)
            parts = []
            for group in np.unique(np.searchsorted(starts, places, side="right") - 1).tolist():
                inside = places[(places >= starts[group]) & (places < starts[group + 1])]
                table = file.read_row_group(group, columns=names)
                parts.append(table.take(pa.array(inside - starts[group])))
        return pa.concat_tables(parts).to_pandas()

    def where(self, chosen: Bools) -> StoredSet:
        """The rows chosen by a mask (n,)."""
        return self._at(np.flatnonzero(chosen))

    def take(self, places: Ints) -> TrainingSet:
        """The rows at the given places, in that order, in memory: for a few rows."""
        order = np.sort(places)
        some = TrainingSet(self._at(order).rows, self._at(order).columns, self.features)
        return some.take(np.argsort(np.argsort(places, kind="stable"), kind="stable"))

    def _at(self, places: Ints) -> StoredSet:
        rows = self.rows.iloc[places].reset_index(drop=True)
        return StoredSet(self.path, rows, self.features, self.places[places])

    @property
    def digest(self) -> str:
        """The same as that of the rows in memory."""
        total = _Digest(self.rows, self.features)
        for columns in blocks(self):
            total.add(columns)
        return total.hex()


Training = TrainingSet | StoredSet


def blocks(data: Training) -> Iterator[pd.DataFrame]:
    """The columns of a training set, a block of rows at a time."""
    return (data.read(first, first + BLOCK) for first in range(0, len(data), BLOCK))


_ROWS = ("lead_id", "as_of", "converted", "value")


@lru_cache(maxsize=4)
def _metadata(path: Path) -> pq.FileMetaData:
    return pq.read_metadata(path)  # long to read where there are many row groups


@lru_cache(maxsize=4)
def _starts(path: Path) -> Ints:
    meta = _metadata(path)
    sizes = [meta.row_group(group).num_rows for group in range(meta.num_row_groups)]
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


class _Digest:
    """Grows with the columns, block by block."""

    def __init__(self, rows: pd.DataFrame, features: FeatureSet) -> None:
        self._total = hashlib.sha256(features.fingerprint.encode())
        self._add(rows, list(rows.columns))
        self._names: list[str] | None = list(features.names)

    def add(self, columns: pd.DataFrame) -> None:
        self._add(columns, self._names)
        self._names = None

    def _add(self, frame: pd.DataFrame, names: list[str] | None) -> None:
        if names is not None:
            self._total.update(json.dumps([str(name) for name in names]).encode())
        self._total.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())

    def hex(self) -> str:
        return self._total.hexdigest()


def _write(
    rows: pd.DataFrame, features: FeatureSet, blocks: Iterable[pd.DataFrame], directory: Path
) -> Path:
    """Write consecutive blocks of columns beside their rows; the content names the file."""
    directory.mkdir(parents=True, exist_ok=True)
    total, first = _Digest(rows, features), 0
    partial, writer = directory / f"{uuid4().hex}.partial", None
    try:
        for columns in blocks:
            total.add(columns)
            table = _table(rows.iloc[first : first + len(columns)], columns)
            first += len(columns)
            writer = writer or pq.ParquetWriter(partial, table.schema, write_statistics=False)
            writer.write_table(table, row_group_size=BLOCK)
        if writer is not None:
            writer.close()
        return partial.rename(directory / f"{total.hex()}.parquet")
    finally:
        partial.unlink(missing_ok=True)


def _table(rows: pd.DataFrame, columns: pd.DataFrame) -> pa.Table:
    moments = pa.array(micros(rows["as_of"])).cast(pa.timestamp("us", "UTC"))
    arrays = {name: moments if name == "as_of" else pa.array(rows[name]) for name in _ROWS}
    return pa.table(arrays | {name: pa.array(columns[name]) for name in columns.columns})


def labelled(history: History, population: Population) -> pd.DataFrame:
    """Every (open lead, as_of) whose label is complete: lead_id, as_of, converted, value."""
    spine = at_risk(history, population)
    labels = label(spine, history, population)
    rows = pd.concat([spine, labels[["converted", "value"]]], axis=1)
    return rows[labels["mature"].to_numpy()].reset_index(drop=True)


def build(
    rows: pd.DataFrame,
    features: FeatureSet,
    history: History,
    progress: Progress | None = None,
    engine: str | Engine = "duckdb",
) -> TrainingSet:
    """Labelled rows with what was known at each as_of; see :func:`features.engines.compute`."""
    columns = compute(features, rows[["lead_id", "as_of"]], history, engine, progress)
    return TrainingSet(rows, columns, features)


def store(
    rows: pd.DataFrame,
    features: FeatureSet,
    history: History,
    directory: Path,
    progress: Progress | None = None,
    columns: Callable[[int, int], pd.DataFrame] | None = None,
) -> StoredSet:
    """The training set of :func:`build`, computed some rows at a time into a file in ``directory``.

    Sums may differ in their last digit: facts are added up in another order. ``columns`` gives the
    features of the rows ``first <= row < last`` where they are not all to be computed.
    """
    say = progress or (lambda _: None)

    def computed(first: int, last: int) -> pd.DataFrame:
        spine = rows[["lead_id", "as_of"]].iloc[first:last]
        return compute(features, spine.reset_index(drop=True), history)

    def made() -> Iterator[pd.DataFrame]:
        for first in range(0, max(len(rows), 1), BUILD_ROWS):
            yield (columns or computed)(first, min(first + BUILD_ROWS, len(rows)))
            say(min((first + BUILD_ROWS) / max(len(rows), 1), 1.0))

    path = _write(rows, features, made(), directory)
    return StoredSet.open(path, features)
