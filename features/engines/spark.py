"""Spark: history that outgrows one machine, in the long layout; rows need not visit the driver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa
import sqlglot
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import LongType, NumericType, TimestampType
from sqlglot import exp

from features.compile import Cells, long, wide
from features.engines import check_columns
from features.engines.tables import KEYS, TIMES, Progress, reads
from features.language import FeatureSet
from features.schema import History
from features.times import micros

Tables = Mapping[str, DataFrame]

_AS_WRITTEN = {
    "spark.sql.variable.substitute": "false",
    "spark.sql.parser.escapedStringLiterals": "false",
}
"""Without these a kind such as ``${user}`` or ``back\\slash`` would not mean itself."""


class Spark:
    """An :class:`features.engines.Engine` on a Spark session, local or of a cluster."""

    def __init__(self, session: SparkSession) -> None:
        self.session = session

    def run(
        self, features: FeatureSet, spine: pd.DataFrame, history: History, progress: Progress
    ) -> pd.DataFrame:
        """Send pandas tables, compute, fetch; see :func:`features.engines.compute`."""
        read = {name: reads(features, name) for name in KEYS}
        tables = {name: self._sent(getattr(history, name)[list(read[name])]) for name in KEYS}
        rows = self._sent(spine[["lead_id", "as_of"]].assign(place=np.arange(len(spine))))
        found = self.table(features, rows, tables).toArrow()
        order = pa.compute.sort_indices(found.column(2))
        columns = [found.column(3 + at).take(order) for at in range(len(features))]
        progress(1.0)
        return pd.DataFrame(
            {
                name: column.to_pandas().astype("str" if feature.type == "text" else "float64")
                for name, feature, column in zip(
                    features.names, features.features, columns, strict=True
                )
            }
        )

    def table(self, features: FeatureSet, spine: DataFrame, history: Tables) -> DataFrame:
        """The columns of ``spine`` and one column a feature, a row a spine row, in no order.

        ``spine`` has lead_id and as_of, and any other column that can be grouped by. ``history``
        has leads, and of events, changes and the other tables of :class:`History` those that the
        features read, their values as :func:`features.schema.check` leaves them: frames of
        ``session.read.parquet("s3a://...")`` for example. Times are timestamps or bigint
        microseconds; features are double or string. Nothing is computed yet.

        Raises :class:`features.language.DeclarationError` when a feature reads a column that the
        history lacks, ``ValueError`` for times without a time zone.
        """
        check_columns(features, _without_rows(history))
        names = spine.columns
        same = spine.groupBy(*map(_quoted, names)).agg(F.count(F.lit(1)).alias("_times"))
        row = F.struct(*map(_quoted, same.columns)).alias("_row")
        tables = {
            name: history[name].select(*_typed(history[name], reads(features, name)))
            for name in KEYS
            if name in history
        }
        tables["spine"] = same.select(row, *_typed(same, ("lead_id", "as_of")))
        found = self._wide(features, tables)
        copy = F.explode(F.sequence(F.lit(1), F.col("_row._times"))).alias("_copy")
        kept = [F.col("_row")[name] for name in names]
        made = found.select("*", copy).select(*kept, *_filled(features))
        return made.toDF(*names, *features.names)

    def _wide(self, features: FeatureSet, tables: Tables) -> DataFrame:
        """``_row, p0, p1, ...``: the columns of the features, null where a row has no fact.

        Hundreds of filtered aggregates over every visible pair are more than Spark can compile:
        they are grouped by key first, and the few cells of each row then looked up in a map.
        """
        cells, rest = long(features, "spark")
        segments = [position for position in rest if features.features[position].segment]
        others = [position for position in rest if position not in segments]
        found = self._part(features, others, tables)
        if segments:
            found = found.join(self._of_segments(features, segments, tables), "_row", "left")
        for one in cells:
            found = found.join(_laid_out(one, self._sql(one.sql, tables)), "_row", "left")
        return found

    def _part(self, features: FeatureSet, positions: Sequence[int], tables: Tables) -> DataFrame:
        chosen = FeatureSet(features.features[position] for position in positions)
        found = self._sql(wide(chosen, "spark"), tables)
        return found.toDF("_row", *(f"p{position}" for position in positions))

    def _of_segments(
        self, features: FeatureSet, positions: Sequence[int], tables: Tables
    ) -> DataFrame:
        """Features over all leads: their statement tells rows from outcomes by number."""
        number = F.row_number().over(Window.orderBy("_row")).cast("bigint").alias("_number")
        rows = tables["spine"].select("*", number)
        spine = rows.select(F.col("_number").alias("_row"), "lead_id", "as_of")
        found = self._part(features, positions, {**tables, "spine": spine})
        found = found.withColumnRenamed("_row", "_number")
        return rows.select("_row", "_number").join(found, "_number").drop("_number")

    def _sql(self, statement: str, tables: Tables) -> DataFrame:
        """Run a statement over tables, whose names may mean something else in the session."""
        tree = sqlglot.parse_one(statement, read="spark")
        mark, views = uuid4().hex, []
        for table in list(tree.find_all(exp.Table)):
            if table.name in tables:
                view = f"{table.name}_{mark}"
                tables[table.name].createOrReplaceTempView(view)
                table.set("this", exp.to_identifier(view))
                views.append(view)
        try:
            with self._set(_AS_WRITTEN):
                return self.session.sql(tree.sql(dialect="spark"))
        finally:
            for view in set(views):
                self.session.catalog.dropTempView(view)

    @contextmanager
    def _set(self, options: Mapping[str, str]) -> Iterator[None]:
        before = {name: str(self.session.conf.get(name)) for name in options}
        try:
            for name, value in options.items():
                self.session.conf.set(name, value)
            yield
        finally:
            for name, kept in before.items():
                self.session.conf.set(name, kept)

    def _sent(self, frame: pd.DataFrame) -> DataFrame:
        """A pandas table in Spark, times as microseconds."""
        arrays = {}
        for name, values in frame.items():
            if name in TIMES:
                arrays[str(name)] = pa.array(micros(values))
            else:
                kind = {"f": pa.float64(), "i": pa.int64()}.get(values.dtype.kind, pa.string())
                arrays[str(name)] = pa.array(values, kind, from_pandas=True)
        return self.session.createDataFrame(pa.table(arrays))


def _laid_out(cells: Cells, found: DataFrame) -> DataFrame:
    """The long result of one statement as ``_row`` and a column p<position> a feature."""
    values = [f"f{number}" for number in range(len(cells.aggregates))]
    if not cells.shape:
        picked = [F.col(values[n]).alias(f"p{at}") for n, at in cells.places[()]]
        return found.select("_row", *picked)
    key = _key([F.col(_quoted(name)) for name in found.columns[1 : 1 + len(cells.shape)]])
    wanted = [_key([F.lit(value) for value in one]) for one in cells.places]
    cell = F.struct(key.alias("key"), F.struct(*values).alias("value"))
    held = found.where(key.isin(*wanted)).groupBy("_row").agg(F.collect_list(cell).alias("cells"))
    held = held.select("_row", F.map_from_entries("cells").alias("cells"))
    # Each key is looked up once for all its features.
    looked = [F.col("cells")[one].alias(f"k{number}") for number, one in enumerate(wanted)]
    return held.select("_row", *looked).select(
        "_row",
        *(
            F.col(f"k{number}")[values[n]].alias(f"p{at}")
            for number, places in enumerate(cells.places.values())
            for n, at in places
        ),
    )


def _key(values: Sequence[Column]) -> Column:
    return values[0] if len(values) == 1 else F.struct(*values)


def _filled(features: FeatureSet) -> Iterator[Column]:
    for position, feature in enumerate(features.features):
        column = F.col(f"p{position}").cast("string" if feature.type == "text" else "double")
        yield column if feature.empty is None else F.coalesce(column, F.lit(feature.empty))


def in_microseconds(frame: DataFrame, name: str) -> Column:
    """A time column as bigint; ``ValueError`` for one that is neither that nor a timestamp."""
    kind, column = frame.schema[name].dataType, F.col(_quoted(name))
    if not isinstance(kind, TimestampType | LongType):
        raise ValueError(f"{name}: {kind.simpleString()} is not a time in UTC: use a timestamp")
    return F.unix_micros(column) if isinstance(kind, TimestampType) else column


def _typed(frame: DataFrame, names: Sequence[str]) -> Iterator[Column]:
    """Columns of a table: times as microseconds, numbers as doubles (no NaN), the rest as text."""
    for name in names:
        column = F.col(_quoted(name))
        if name in TIMES:
            column = in_microseconds(frame, name)
        elif isinstance(frame.schema[name].dataType, NumericType):
            column = F.nanvl(column.cast("double"), F.lit(None).cast("double"))
        else:
            column = column.cast("string")
        yield column.alias(name)


def _without_rows(history: Tables) -> History:
    """What the tables hold, as empty pandas tables."""

    def columns(frame: DataFrame) -> pd.DataFrame:
        numbers = {f.name: isinstance(f.dataType, NumericType) for f in frame.schema.fields}
        kinds = {name: "float64" if number else "str" for name, number in numbers.items()}
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})

    names = ("leads", "events", "changes", "outcomes")
    return History(**{
        name: columns(history[name]) if name in history else pd.DataFrame() for name in names
    })  # fmt: skip


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
