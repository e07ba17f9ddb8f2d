"""Spine x features x labels -> a training set that is named by its content."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.engines import Engine, Progress, compute
from features.language import FeatureSet
from features.outcomes import cases, observed_until
from features.schema import History
from features.source import Population
from features.times import micros
from training import parts
from training.parts import Listed, Part

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


BLOCK = 8_192
"""Rows that are read, encoded and scored together; a row group of a training set on disk."""


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
    def known_at(self) -> Ints:
        """(n,) microseconds: from when on the label is certain; without such a column, at once."""
        return micros(self.rows["known_at" if "known_at" in self.rows else "as_of"])

    @property
    def converted(self) -> Bools:
        """(n,) the label; not known yet where ``known_at`` is to come."""
        return self.rows["converted"].to_numpy(dtype=bool)

    @property
    def value(self) -> Floats:
        """(n,) realised deal value within the horizon."""
        return self.rows["value"].to_numpy(dtype=np.float64)

    @property
    def lead_number(self) -> Ints:
        """(n,) the leads numbered from 0."""
        return pd.factorize(self.rows["lead_id"])[0].astype(np.int64)

    @property
    def group(self) -> Ints:
        """(n,) a number for what folds keep together: a lead's account or, without one, the lead.

        What is known of an account's other leads tells of this one.
        """
        lead = self.lead_number
        if "account_id" not in self.rows:
            return lead
        account = pd.factorize(self.rows["account_id"])[0].astype(np.int64)
        return np.where(account < 0, lead, account + int(lead.max(initial=0)) + 1)


@dataclass(frozen=True, eq=False)
class TrainingSet(_Labelled):
    """n labelled rows in the order of as_of and, within it, of the leads in the history.

    ``rows`` has lead_id, as_of, converted (bool), value (0 when not converted, NaN unknown) and,
    where outcomes take time, known_at, and, where leads have one, account_id;
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
        """The rows at the given places, in that order; a run of rows is not copied."""
        run = len(places) > 0 and (np.diff(places) == 1).all()
        chosen = slice(places[0], places[-1] + 1) if run else places
        return TrainingSet(
            self.rows.iloc[chosen].reset_index(drop=True),
            self.columns.iloc[chosen].reset_index(drop=True),
            self.features,
        )

    @property
    def digest(self) -> str:
        """SHA-256 of rows, columns and the feature set's fingerprint."""
        found = [
            parts.digested(self.rows.iloc[cut], self.columns.iloc[cut], self.features)
            for cut in parts.cuts(self.as_of)
        ]
        return Listed(self.features.fingerprint, tuple(found)).digest


@dataclass(frozen=True, eq=False)
class StoredSet(_Labelled):
    """A training set whose columns stay in files: for more rows than memory holds.

    ``places`` are the rows of the listed parts that belong to it, ascending. What belongs to a row
    but its features is in memory, as in :class:`TrainingSet`.
    """

    directory: Path
    listed: Listed
    rows: pd.DataFrame
    features: FeatureSet
    places: Ints

    @staticmethod
    def open(path: Path, features: FeatureSet) -> StoredSet:
        """Read what :func:`store` wrote, all but the features.

        Raises ``ValueError`` when the file holds other features.
        """
        return StoredSet.of(path.parent, Listed.read(path, features), features)

    @staticmethod
    def of(directory: Path, listed: Listed, features: FeatureSet) -> StoredSet:
        """All rows of the listed parts of a directory."""
        rows = parts.read_rows(listed.parts, directory)
        return StoredSet(directory.resolve(), listed, rows, features, np.arange(len(rows)))

    @property
    def path(self) -> Path:
        """The file that lists the parts."""
        return self.directory / f"{self.listed.digest}.json"

    @property
    def columns(self) -> pd.DataFrame:
        """All features in memory, as :class:`TrainingSet` has them: for a few rows."""
        return self.read(0, len(self)).reset_index(drop=True)

    def read(self, first: int, last: int) -> pd.DataFrame:
        """The columns of the rows ``first <= row < last``; one row group at a time is in memory."""
        places = self.places[first:last]
        if not len(places):
            return self._groups.none
        starts, found = self._groups.starts, []
        for number in np.unique(np.searchsorted(starts, places, side="right") - 1).tolist():
            inside = places[(places >= starts[number]) & (places < starts[number + 1])]
            found.append(self._groups.read(number).take(pa.array(inside - starts[number])))
        return pa.concat_tables(found).to_pandas()

    @cached_property
    def _groups(self) -> _Groups:
        return _Groups(self.listed.parts, self.directory, self.features)

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
        return StoredSet(self.directory, self.listed, rows, self.features, self.places[places])

    @property
    def digest(self) -> str:
        """The same as that of the rows in memory."""
        if len(self) == sum(part.rows for part in self.listed.parts):
            return self.listed.digest
        found = [
            parts.digested(self.rows.iloc[cut], self.read(cut.start, cut.stop), self.features)
            for cut in parts.cuts(self.as_of)
        ]
        return Listed(self.features.fingerprint, tuple(found)).digest


class _Groups:
    """The row groups of the files of parts, as one run of rows; the last one read is kept."""

    def __init__(self, listed: Sequence[Part], directory: Path, features: FeatureSet) -> None:
        self._names, self._last = list(features.names), (-1, pa.table({}))
        types = {f.name: "str" if f.type == "text" else "float64" for f in features.features}
        self.none = pd.DataFrame(columns=pd.Index(self._names)).astype(types)
        self._at: list[tuple[pq.ParquetFile, int]] = []
        sizes = []
        for part in listed:
            file = pq.ParquetFile(parts.file_of(part, directory))
            for group in range(file.num_row_groups):
                self._at.append((file, group))
                sizes.append(file.metadata.row_group(group).num_rows)
        self.starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def read(self, number: int) -> pa.Table:
        """The features of one row group."""
        if self._last[0] != number:
            file, group = self._at[number]
            self._last = number, file.read_row_group(group, columns=self._names)
        return self._last[1]


Training = TrainingSet | StoredSet


def blocks(data: Training) -> Iterator[pd.DataFrame]:
    """The columns of a training set, a block of rows at a time."""
    return (data.read(first, first + BLOCK) for first in range(0, len(data), BLOCK))


def labelled(history: History, population: Population) -> pd.DataFrame:
    """Every (open lead, as_of) whose horizon and grace are over.

    lead_id, as_of, converted, value, known_at (:func:`features.outcomes.label`) and, where leads
    have accounts, account_id.
    """
    return followed(history, population)[0]


def followed(history: History, population: Population) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of :func:`labelled`, and those after them, whose horizon is not over.

    Of the latter a label is certain only where known_at has come.
    """
    rows = cases(history, population)
    close = micros(rows["as_of"]) + population.horizon + population.grace
    ripens = (close > observed_until(history)) & rows["known_at"].notna().to_numpy()
    mature = rows.pop("mature").to_numpy()
    return rows[mature].reset_index(drop=True), rows[ripens].reset_index(drop=True)


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


Compute = Callable[[Ints], pd.DataFrame]
"""From the places (m,) of some rows of a set to their features."""


def store(
    rows: pd.DataFrame,
    features: FeatureSet,
    history: History,
    directory: Path,
    progress: Progress | None = None,
) -> StoredSet:
    """The training set of :func:`build`, computed some rows at a time into files in ``directory``.

    Sums may differ in their last digit: facts are added up in another order.
    """

    def computed(places: Ints) -> pd.DataFrame:
        spine = rows[["lead_id", "as_of"]].iloc[places].reset_index(drop=True)
        return compute(features, spine, history)

    return write(rows, features, computed, directory, progress=progress)


def write(
    rows: pd.DataFrame,
    features: FeatureSet,
    columns: Compute,
    directory: Path,
    kept: Sequence[Part | None] = (),
    progress: Progress | None = None,
) -> StoredSet:
    """Write a training set whose features ``columns`` gives, some rows at a time.

    ``kept``: for each of its :func:`training.parts.cuts` the part that lies in ``directory``
    already, or None; without, nothing does.
    """
    say, directory = progress or (lambda _: None), directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    cuts = list(parts.cuts(micros(rows["as_of"])))
    found = list(kept) or [None] * len(cuts)
    missing = [number for number, part in enumerate(found) if part is None]
    for some in _together(missing, cuts):
        places = np.concatenate([np.arange(cuts[one].start, cuts[one].stop) for one in some])
        made, first = columns(places), 0
        for one in some:
            mine = rows.iloc[cuts[one]]
            columns_of = made.iloc[first : first + len(mine)]
            found[one] = parts.write(mine, columns_of, features, directory, BLOCK)
            first += len(mine)
        say(cuts[some[-1]].stop / len(rows))
    listed = Listed(features.fingerprint, tuple(part for part in found if part is not None))
    listed.write(directory)
    return StoredSet(directory, listed, rows, features, np.arange(len(rows)))


def _together(numbers: Sequence[int], cuts: Sequence[slice]) -> Iterator[list[int]]:
    """Parts whose features are computed together: about PART_ROWS rows."""
    some: list[int] = []
    rows = 0
    for number in numbers:
        size = cuts[number].stop - cuts[number].start
        if some and rows + size > parts.PART_ROWS:
            yield some
            some, rows = [], 0
        some.append(number)
        rows += size
    if some:
        yield some
