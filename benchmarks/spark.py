"""Spark on a standalone cluster of two workers, cell by cell against DuckDB.

    python -m benchmarks.spark [--quick]

BPIC 2012 with the default features, sent from this process; then generated events that the cluster
reads from Parquet by itself. Counts and texts must be the same, other numbers within 1e-9.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.bar import DATA, ROOT, bar
from benchmarks.features import spine_of
from features import catalog
from features.engines import compute
from features.engines.spark import Spark
from features.language import FeatureSet, account_events, attribute, events
from features.schema import TABLES, History, check
from features.source import Source
from features.times import DAY, from_micros, instant
from tests import cluster

Made = TypeVar("Made")
KINDS = ("open", "click", "visit", "form", "call", "meeting", "reply", "demo")
EVENTS_A_LEAD = 50
START, DAYS = instant("2025-01-01"), 500
FEATURES = FeatureSet(
    [
        attribute("industry", "text"),
        *(events(kind).count() for kind in KINDS),
        *(events(kind).count("30d") for kind in KINDS),
        *(events(kind).since_last() for kind in KINDS),
        *(events(kind).sum("value", "30d") for kind in KINDS),
        events().latest("page"),
        events().distinct("page"),
        events(["call", "meeting"]).count("7d"),
        account_events("demo").count("30d"),
    ]
)


def generated(number: int) -> tuple[History, pd.DataFrame]:
    """``number`` events of leads with 50 each on average, and two as-of times a lead."""
    rng = np.random.default_rng(1)
    leads = number // EVENTS_A_LEAD
    ids = pa.array([f"lead-{n}" for n in range(leads)])

    def text(values: pa.Array, codes: np.ndarray[Any, Any]) -> pd.Series:
        return values.take(pa.array(codes)).to_pandas()

    def one_of(values: list[str | None], size: int) -> pd.Series:
        return text(pa.array(values, pa.string()), rng.integers(len(values), size=size))

    created = START + rng.integers(DAYS * DAY // 2, size=leads)
    occurred = START + rng.integers(DAYS * DAY, size=number)
    value = rng.exponential(100, size=number).round(2)
    tables = {
        "leads": pd.DataFrame({
            "lead_id": ids.to_pandas(),
            "created_at": from_micros(created),
            "account_id": text(ids, rng.integers(leads // 3, size=leads)),
            "industry": one_of(["finance", "retail", "media", None], leads),
        }),
        "events": pd.DataFrame({
            "lead_id": text(ids, rng.integers(leads, size=number)),
            "kind": one_of(list(KINDS), number),
            "occurred_at": from_micros(occurred),
            "known_at": from_micros(occurred + rng.integers(2 * DAY, size=number)),
            "value": np.where(rng.random(number) < 0.5, value, np.nan),
            "page": one_of(["home", "pricing", "docs", "é🙂", None], number),
        }),
    }  # fmt: skip
    as_of = np.repeat(START + DAYS * DAY * np.array([3, 4]) // 4, leads)
    lead_id = pd.concat([tables["leads"]["lead_id"]] * 2, ignore_index=True)
    return check(**tables), pd.DataFrame({"lead_id": lead_id, "as_of": from_micros(as_of)})


def differing(features: FeatureSet, found: pd.DataFrame, expected: pd.DataFrame) -> int:
    """How many cells are not the same."""
    assert list(found.columns) == list(expected.columns) == list(features.names)
    assert len(found) == len(expected)
    total = 0
    for feature in features.features:
        ours, theirs = found[feature.name], expected[feature.name]
        same = (ours == theirs) | (ours.isna() & theirs.isna())
        if feature.type == "number" and feature.aggregate not in ("count", "distinct"):
            same |= (ours - theirs).abs() <= 1e-9 * theirs.abs()
        total += int((~same).sum())
    return total


def bpic2012(spark: Spark, quick: bool) -> None:
    history = Source.from_toml(ROOT / "examples" / "bpic2012.toml").load()
    spine = spine_of(history)
    if quick:
        spine = spine[spine["lead_id"].str.endswith("7")].reset_index(drop=True)
    features = catalog.default(history)
    found, took = _timed(lambda: compute(features, spine, history, spark))
    expected, alone = _timed(lambda: compute(features, spine, history))
    _told(history, spine, features, took, alone)
    bar("spark-equals-duckdb-bpic2012", differing(features, found, expected), 0)


def from_parquet(spark: Spark, number: int) -> None:
    history, spine = generated(number)
    with TemporaryDirectory() as scratch:
        for name in TABLES:
            getattr(history, name).to_parquet(Path(scratch) / f"{name}.parquet", index=False)
        numbered = spine.assign(place=np.arange(len(spine)))
        numbered.to_parquet(Path(scratch) / "spine.parquet", index=False)
        read = {name: spark.session.read.parquet(f"{scratch}/{name}.parquet")
                for name in ("spine", *TABLES)}  # fmt: skip
        rows = read.pop("spine")
        made, took = _timed(lambda: spark.table(FEATURES, rows, read).toArrow())
    expected, alone = _timed(lambda: compute(FEATURES, spine, history))
    _told(history, spine, FEATURES, took, alone)
    found = made.sort_by("place").select(list(FEATURES.names)).to_pandas()
    bar(f"spark-equals-duckdb-{number // 1_000_000}m-events",
        differing(FEATURES, found, expected), 0)  # fmt: skip


def _timed(work: Callable[[], Made]) -> tuple[Made, float]:
    start = time.perf_counter()
    made = work()
    return made, time.perf_counter() - start


def _told(
    history: History, spine: pd.DataFrame, features: FeatureSet, took: float, alone: float
) -> None:
    print(
        f"{len(history.events):,} events, {len(spine):,} rows, {len(features)} features: "
        f"Spark {took:.0f} s, DuckDB {alone:.1f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of both")
    quick = parser.parse_args().quick
    if shutil.which("java") is None:
        print("no Java here: Spark is left out")
        return
    with (
        TemporaryDirectory() as scratch,
        cluster.standalone(Path(scratch)) as master,
        cluster.session(master, partitions=4 if quick else 16) as session,
    ):
        spark = Spark(session)
        if DATA.is_dir():
            bpic2012(spark, quick)
        else:
            print("no real data here: set LEADCAST_DATA")
        from_parquet(spark, 1_000_000 if quick else 10_000_000)


if __name__ == "__main__":
    main()
