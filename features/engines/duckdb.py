"""DuckDB: many rows, in blocks of leads, long layout, one thread a core."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise

import duckdb
import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from features.compile import Cells, long, wide
from features.engines.tables import KEYS, TIMES, Progress, reads
from features.feature import Feature, Where
from features.language import FeatureSet
from features.schema import History
from features.times import micros

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

BLOCK = 32_768
"""Rows of a block of leads: its hash table stays in the processor's cache."""

_FACTS_A_ROW = 8
"""So many facts weigh as much as a row: they are read, but no group is kept for them."""

_TIE_BREAKERS = ("event_id", "change_id")


class _Codes:
    """Numbers for texts, in the order of the text so that they sort alike; -1 for null."""

    def __init__(self, *columns: pd.Series) -> None:
        known: set[str] = set().union(*(_encoded(c).dictionary.to_pylist() for c in columns))
        self._texts = sorted(known)
        self._numbers = {text: number for number, text in enumerate(self._texts)}
        self._absent: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def of(self, texts: pd.Series) -> Ints:
        encoded = _encoded(texts)
        numbers = [self._numbers.get(text, -1) for text in encoded.dictionary.to_pylist()]
        places = encoded.indices.fill_null(len(numbers)).to_numpy()
        return np.array([*numbers, -1])[places]

    def one(self, text: str) -> int:
        """Its number, or one below -1 of its own: two absent texts stay two conditions."""
        if text in self._numbers:
            return self._numbers[text]
        return self._absent.setdefault(text, -2 - len(self._absent))

    def texts(self, codes: Ints) -> pd.Series:
        known = pa.array(self._texts, pa.large_string())
        return known.take(pa.array(codes, mask=codes < 0)).to_pandas()


def _encoded(texts: pd.Series) -> pa.DictionaryArray:
    array = pa.array(texts, pa.large_string(), from_pandas=True)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return array.dictionary_encode()


class _Blocks:
    """A spine and a history as numbers, cut into blocks of leads that share no fact.

    Leads are ordered by group: the account when account features are asked for, else the lead.
    Place i of that order is spine row ``rows[i]``; a block is a range of groups.
    """

    def __init__(self, features: FeatureSet, spine: pd.DataFrame, history: History) -> None:
        self.codes: dict[tuple[str, str], _Codes] = {}
        self._leads = _Codes(history.leads["lead_id"], spine["lead_id"])
        self._group = self._groups(features, history.leads)
        self._tables: dict[str, tuple[pa.Table, Ints]] = {}
        self.rows = self._add("spine", spine, ("lead_id", "as_of"))
        for name in KEYS:
            self._add(name, getattr(history, name), reads(features, name))
        self.edges = self._edges()

    def tables(self, first: int, last: int) -> dict[str, pa.Table]:
        """The tables of the groups ``first <= group < last``."""
        return {
            name: table.slice(starts[first], starts[last] - starts[first])
            for name, (table, starts) in self._tables.items()
        }

    def places(self, first: int, last: int) -> Ints:
        """The spine rows of the groups ``first <= group < last``, in the order of their table."""
        starts = self._tables["spine"][1]
        return self.rows[starts[first] : starts[last]]

    def _groups(self, features: FeatureSet, leads: pd.DataFrame) -> Ints:
        group = np.arange(len(self._leads), dtype=np.int64)
        if any(feature.scope != "lead" for feature in features.features):
            account = _Codes(leads["account_id"]).of(leads["account_id"])
            mine = self._leads.of(leads["lead_id"])
            group[mine[account >= 0]] = len(group) + account[account >= 0]
            group = np.unique(group, return_inverse=True)[1]
        return group

    def _add(self, name: str, frame: pd.DataFrame, columns: Sequence[str]) -> Ints:
        lead = self._leads.of(frame["lead_id"])
        group = self._group[lead]
        order = np.argsort(group, kind="stable")
        arrays: dict[str, pa.Array] = {"lead_id": pa.array(lead[order].astype(np.int32))}
        for column in columns[1:]:
            values = frame[column]
            if column in TIMES:
                arrays[column] = pa.array(micros(values)[order])
            elif values.dtype.kind == "f":
                arrays[column] = pa.array(values.to_numpy()[order], from_pandas=True)
            elif column not in _TIE_BREAKERS:
                codes = self.codes.setdefault((name, column), _Codes(values)).of(values)[order]
                arrays[column] = pa.array(codes.astype(np.int32), mask=codes < 0)
            else:
                arrays[column] = pa.array(values, pa.large_string(), from_pandas=True).take(order)
        starts = np.searchsorted(group[order], np.arange(len(self._leads) + 1))
        self._tables[name] = (pa.table(arrays), starts)
        return order

    def _edges(self) -> list[int]:
        """Where blocks begin and the last one ends; groups without spine rows weigh nothing."""
        starts = self._tables["spine"][1]
        wanted = np.diff(starts) > 0
        facts = sum(np.diff(self._tables[name][1]) for name in ("events", "changes", "outcomes"))
        weight = np.diff(starts) + facts / _FACTS_A_ROW
        block = np.cumsum(weight * wanted) // BLOCK
        return [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(wanted)]


def run(
    features: FeatureSet, spine: pd.DataFrame, history: History, progress: Progress
) -> pd.DataFrame:
    """Compute in blocks of leads; see :func:`features.engines.compute`."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        laid = pool.submit(_Layout, features, len(spine))  # mostly waits for memory
        blocks = _Blocks(features, spine, history)
        layout = laid.result()
        work = _Work(features, blocks, layout)
        work.segments()
        pairs = list(pairwise(blocks.edges))
        for done, _ in enumerate(pool.map(work.block, pairs), start=1):
            progress(done / len(pairs))
    return layout.frame(blocks)


class _Layout:
    """The result in one array, a line a feature: numbers first, then the codes of texts.

    The last line takes the cells that no feature wants.
    """

    def __init__(self, features: FeatureSet, rows: int) -> None:
        self._features = features
        self._text = np.array([feature.type == "text" for feature in features.features], dtype=bool)
        self.line = np.empty(len(features), dtype=np.int64)
        self.line[np.argsort(self._text, kind="stable")] = np.arange(len(features))
        self.values = np.empty((len(features) + 1, rows))
        for line, feature in zip(self.line, features.features, strict=True):
            self.values[line].fill(np.nan if feature.empty is None else feature.empty)

    def frame(self, blocks: _Blocks) -> pd.DataFrame:
        """Lay the lines out as columns; the numeric ones share the memory of the array."""
        names = np.array(self._features.names, dtype=object)
        numeric = self.values[: int((~self._text).sum())]
        frame = pd.DataFrame(numeric.T, columns=pd.Index(names[~self._text]), copy=False)
        for position in np.flatnonzero(self._text).tolist():
            feature = self._features.features[position]
            codes = np.nan_to_num(self.values[self.line[position]], nan=-1).astype(np.int64)
            text = blocks.codes[feature.source, str(feature.column)].texts(codes)
            frame.insert(position, feature.name, text)
        return frame


_IDLE: dict[int, list[duckdb.DuckDBPyConnection]] = defaultdict(list)
"""Engines that wait for work, by process: to make one costs as much as a small block, and a forked
child must neither use nor close those of its parent."""


@contextmanager
def _connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """An engine of one's own while the context is open; blocks run side by side, a core each."""
    idle = _IDLE[os.getpid()]
    try:
        con = idle.pop()
    except IndexError:
        con = duckdb.connect()
        con.execute("SET threads = 1; SET preserve_insertion_order = false")
        # The sides of a join decide in which order facts are summed: never by their number.
        con.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
    try:
        yield con
    finally:
        idle.append(con)


class _Work:
    """Runs the statements of a feature set on one block after another, in any thread."""

    def __init__(self, features: FeatureSet, blocks: _Blocks, layout: _Layout) -> None:
        self._blocks, self._layout = blocks, layout
        statements, rest = long(features, "duckdb")
        self._statements = [(cells, self._targets(cells)) for cells in statements]
        declared = features.features
        self._rest = self._wide([i for i in rest if not declared[i].segment], declared)
        self._segments = self._wide([i for i in rest if declared[i].segment], declared)

    def block(self, groups: tuple[int, int]) -> None:
        """Compute the rows of one block and lay them out."""
        rows = self._blocks.places(*groups)
        if not len(rows):
            return
        with self._read(groups, len(rows)) as con:
            for cells, targets in self._statements:
                self._scatter(con.sql(cells.sql).to_arrow_table(), cells, targets, rows)
            self._run_wide(con, *self._rest, rows)

    def segments(self) -> None:
        """Compute, over all leads at once, what depends on other leads than those of a block."""
        everyone = (self._blocks.edges[0], self._blocks.edges[-1])
        rows = self._blocks.places(*everyone)
        if self._segments[1] and len(rows):
            with self._read(everyone, len(rows)) as con:
                self._run_wide(con, *self._segments, rows)

    @contextmanager
    def _read(self, groups: tuple[int, int], rows: int) -> Iterator[duckdb.DuckDBPyConnection]:
        """An engine with the tables of a block, while the context is open."""
        tables = self._blocks.tables(*groups)
        numbers = pa.array(np.arange(rows, dtype=np.int32))
        tables["spine"] = tables["spine"].append_column("_row", numbers)
        with _connection() as con:
            try:
                for name, table in tables.items():
                    con.register(name, table)
                yield con
            finally:
                for name in tables:
                    con.unregister(name)

    def _wide(self, positions: list[int], declared: Sequence[Feature]) -> tuple[str, list[int]]:
        chosen = FeatureSet(self._coded(declared[position]) for position in positions)
        return wide(chosen, "duckdb"), positions

    def _run_wide(
        self, con: duckdb.DuckDBPyConnection, statement: str, positions: list[int], rows: Ints
    ) -> None:
        if not positions:
            return
        found = con.sql(statement).to_arrow_table()
        at = rows[found.column(0).to_numpy()]
        for number, position in enumerate(positions):
            line = self._layout.line[position]
            self._layout.values[line, at] = found.column(number + 1).to_numpy()

    def _coded(self, feature: Feature) -> Feature:
        """The same feature over tables whose text columns are numbers."""

        def coded(where: Where) -> Where:
            codes = self._blocks.codes
            return tuple(
                (field, tuple(str(codes[feature.source, field].one(value)) for value in values))
                for field, values in where
            )

        return msgspec.structs.replace(
            feature,
            where=coded(feature.where),
            other=None if feature.other is None else coded(feature.other),
            by=None if feature.by is None else self._coded(feature.by),
        )

    def _targets(self, cells: Cells) -> Ints:
        """(aggregate, key code) -> where that feature's line begins in the array."""
        layout = self._layout
        sizes = [len(self._codes(cells, field)) for field in cells.shape]
        lines = np.full((len(cells.aggregates), *sizes), len(layout.line), dtype=np.int64)
        for key, wanted in cells.places.items():
            named = zip(cells.shape, key, strict=True)
            codes = [self._codes(cells, field).one(value) for field, value in named]
            if min(codes, default=0) >= 0:
                for number, position in wanted:
                    lines[(number, *codes)] = layout.line[position]
        return lines * layout.values.shape[1]

    def _codes(self, cells: Cells, field: str) -> _Codes:
        return self._blocks.codes[cells.source, field]

    def _scatter(self, found: pa.Table, cells: Cells, targets: Ints, rows: Ints) -> None:
        at = rows[found.column(0).to_numpy()]
        key = tuple(found.column(1 + i).to_numpy() for i in range(len(cells.shape)))
        flat = self._layout.values.reshape(-1)
        for number in range(len(cells.aggregates)):
            value = found.column(1 + len(cells.shape) + number).to_numpy()
            flat[targets[(number, *key)] + at] = value
