"""Score leads on Spark with the bundle that serves one lead: features there, the model there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, StringType, StructField, StructType

from features.engines.spark import Spark, Tables, in_microseconds
from serving.decide import Policy
from serving.listing import rows_schema, score_columns
from serving.scorer import Scorer
from training.bundle import Bundle, load

Files = tuple[tuple[str, bytes], ...]
Batches = Iterable[pa.RecordBatch]


def score_spark(
    session: SparkSession,
    bundle: Path,
    history: Tables,
    as_of: int,
    reasons: int = 3,
    policy: Policy | None = None,
) -> DataFrame:
    """Score every lead open at ``as_of`` (microseconds), a row a lead, where the data is.

    The columns are those of :func:`serving.listing.score_table` but for rank, in no order: a rank
    needs all rows in one place, so order by expected_value (else probability) and lead_id where
    the list is read. ``history`` is as :meth:`features.engines.spark.Spark.table` takes it, with
    outcomes. The executors need leadcast installed; the bundle travels with the job. Nothing is
    computed yet.
    """
    files = tuple((path.name, path.read_bytes()) for path in sorted(bundle.iterdir()))
    known = load(bundle)
    spine = open_leads(history, as_of)
    seen = dict(history)
    if known.about.reveals and "events" in history:
        seen["events"] = history["events"].where(~F.col("kind").isin(*known.about.reveals))
    found = Spark(session).table(known.model.features, spine, seen)
    # By number: mapInArrow looks columns up by name, and a dot in a name would mislead it.
    columns = found.toDF(*(str(number) for number in range(len(found.columns))))
    rows = rows_schema(known.model.features)
    empty = score_columns(Scorer(known), rows.empty_table(), reasons)
    schema = StructType([
        StructField(one.name, DoubleType() if pa.types.is_floating(one.type) else StringType())
        for one in empty.schema
    ])  # fmt: skip
    return columns.mapInArrow(_scoring(files, reasons, policy), schema)


def open_leads(history: Tables, as_of: int) -> DataFrame:
    """The spine (lead_id, as_of) of the leads created before ``as_of`` and not settled by then."""
    leads, outcomes = history["leads"], history["outcomes"]
    settled = outcomes.where(
        (in_microseconds(outcomes, "occurred_at") < as_of)
        & (in_microseconds(outcomes, "known_at") < as_of)
    )
    created = leads.where(in_microseconds(leads, "created_at") < as_of)
    waiting = created.join(settled.select("lead_id"), "lead_id", "left_anti")
    return waiting.select("lead_id", F.lit(as_of).cast("bigint").alias("as_of"))


def _scoring(
    files: Files, reasons: int, policy: Policy | None
) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    def score(batches: Batches) -> Iterator[pa.RecordBatch]:
        scorer = Scorer(_loaded(files), policy)
        wanted = rows_schema(scorer.features)
        for batch in batches:
            found = pa.Table.from_batches([batch]).rename_columns(wanted.names)
            rows = found.cast(wanted)
            yield from score_columns(scorer, rows, reasons).to_batches()

    return score


@lru_cache(maxsize=1)
def _loaded(files: Files) -> Bundle:
    """The bundle, verified and loaded once a worker process."""
    with TemporaryDirectory() as directory:
        for name, content in files:
            (Path(directory) / name).write_bytes(content)
        return load(Path(directory))
