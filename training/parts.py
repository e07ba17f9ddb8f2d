"""Training sets in parts: runs of rows of one week, each with a digest and, on disk, a file.

A new day of history appends rows and leaves older weeks as they are, so their files serve the new
set too. ``<digest of the set>.json`` lists the parts, which lie in ``parts/``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.language import FINGERPRINT, FeatureSet
from features.times import DAY, micros

Ints = npt.NDArray[np.int64]

ROWS = ("lead_id", "as_of", "converted", "value", "known_at", "account_id")
"""The columns of a part's file before those of the features, the last two where there are such."""

PART_ROWS = 262_144
"""A part has at most so many rows, and so many are computed together."""

_WEEK = 7 * DAY
_NO_ROWS = pa.schema([
    ("lead_id", pa.large_string()), ("as_of", pa.timestamp("us", "UTC")),
    ("converted", pa.bool_()), ("value", pa.float64()),
]).empty_table()  # fmt: skip


class Part(msgspec.Struct, frozen=True):
    """Consecutive rows: ``digest`` of all that is in them, ``labels`` of all but the features."""

    digest: str
    labels: str
    rows: int


class Listed(msgspec.Struct, frozen=True):
    """What a set's file says: the fingerprint of its features, its parts in order."""

    features: str
    parts: tuple[Part, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over the features' fingerprint and the parts."""
        return _sha(self.features, *(part.digest for part in self.parts)).hexdigest()

    def write(self, directory: Path) -> Path:
        """Write ``<digest>.json``, whole or not at all; returns its path."""
        partial = directory / f"{uuid4().hex}.partial"
        partial.write_bytes(msgspec.json.encode(self))
        return partial.rename(directory / f"{self.digest}.json")

    @staticmethod
    def read(path: Path, features: FeatureSet) -> Listed:
        """What :meth:`write` wrote. Raises ``ValueError`` for a set of other features."""
        found = msgspec.json.decode(path.read_bytes(), type=Listed)
        if found.features != features.fingerprint:
            raise ValueError(f"{path.name} does not hold these features: build the set again")
        return found


def cuts(as_of: Ints) -> Iterator[slice]:
    """Where parts begin and end: at every week of rows in the order of time, and PART_ROWS."""
    week = as_of // _WEEK
    if (np.diff(week) < 0).any():
        week = np.zeros_like(week)
    edges = [0, *(np.flatnonzero(np.diff(week)) + 1).tolist(), len(as_of)]
    for first, last in pairwise(edges):
        for start in range(first, last, PART_ROWS):
            yield slice(start, min(start + PART_ROWS, last))


def labels_digest(rows: pd.DataFrame) -> str:
    """SHA-256 of all that rows know but their features."""
    total = _sha()
    for name in _named(rows.columns):
        _add(total, rows[name])
    return total.hexdigest()


def digested(rows: pd.DataFrame, columns: pd.DataFrame, features: FeatureSet) -> Part:
    """What a part of these rows is named."""
    labels = labels_digest(rows)
    total = _sha(features.fingerprint, labels)
    for name in features.names:
        _add(total, columns[name])
    return Part(total.hexdigest(), labels, len(rows))


def file_of(part: Part, directory: Path) -> Path:
    """Where a part lies in the directory of its set."""
    return directory / "parts" / f"{part.digest}.parquet"


def write(
    rows: pd.DataFrame, columns: pd.DataFrame, features: FeatureSet, directory: Path, block: int
) -> Part:
    """Write a part in row groups of ``block`` rows, unless it is there."""
    part = digested(rows, columns, features)
    path = file_of(part, directory)
    if path.exists():
        return part
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{uuid4().hex}.partial")
    try:
        table = _table(rows, columns, features)
        pq.write_table(table, partial, row_group_size=block, write_statistics=False)
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    return part


def read_rows(parts: Sequence[Part], directory: Path) -> pd.DataFrame:
    """All that the rows of the parts know but their features."""
    files = [pq.ParquetFile(file_of(part, directory)) for part in parts]
    found = [file.read(columns=_named(file.schema_arrow.names)) for file in files]
    return pa.concat_tables(found or [_NO_ROWS]).to_pandas()


def _named(columns: Collection[Any]) -> list[str]:
    return [name for name in ROWS if name in columns]


def _table(rows: pd.DataFrame, columns: pd.DataFrame, features: FeatureSet) -> pa.Table:
    arrays = {name: _array(rows[name]) for name in _named(rows.columns)}
    arrays |= {name: pa.array(columns[name]) for name in columns.columns}
    return pa.table(arrays, metadata={FINGERPRINT: features.fingerprint})


def _array(column: pd.Series) -> pa.Array:
    if column.dtype.kind == "M":
        return pa.array(micros(column)).cast(pa.timestamp("us", "UTC"))
    if column.dtype.kind in "bf":
        return pa.array(column)
    return pa.array(column, pa.large_string(), from_pandas=True)  # also where all are missing


def _sha(*texts: str) -> hashlib._Hash:
    return hashlib.sha256("".join(texts).encode())


def _add(total: hashlib._Hash, column: pd.Series) -> None:
    """The values of a column; numbers and times as their bits, texts with their lengths.

    NaN has one form.
    """
    if column.dtype.kind == "M":
        total.update(micros(column).data)
    elif column.dtype.kind == "b":
        total.update(np.ascontiguousarray(column.to_numpy()).data)
    elif column.dtype.kind == "f":
        values = np.ascontiguousarray(column.to_numpy(dtype=np.float64))
        gaps = np.isnan(values)
        total.update((np.where(gaps, np.nan, values) if gaps.any() else values).data)
    else:
        texts = pa.array(column, pa.large_string(), from_pandas=True)
        if isinstance(texts, pa.ChunkedArray):
            texts = texts.combine_chunks()
        start = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset :][: len(texts) + 1]
        total.update(np.where(texts.is_valid(), np.diff(start), -1).data)
        if start[-1] > start[0]:
            total.update(memoryview(texts.buffers()[2])[start[0] : start[-1]])
