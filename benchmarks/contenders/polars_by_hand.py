"""Polars, several ways: ``python polars_by_hand.py <directory> <way>``.

``asof`` needs every fact to be known the moment it occurs; the others let facts be late, like ours.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl
from rounds import DAY, WEEK, answer

directory = Path(sys.argv[1])
events = pl.read_parquet(directory / "events.parquet").select(
    "lead_id", "kind", "occurred_at", "known_at"
)
spine = pl.read_parquet(directory / "spine.parquet").select("lead_id", "as_of")
kinds = sorted(events["kind"].unique())
AGGREGATES = ("count", "count7", "since_first", "since_last")


def micros(name: str) -> pl.Expr:
    return pl.col(name).dt.timestamp("us").alias(name)


def values() -> list[pl.Expr]:
    age = pl.col("as_of") - pl.col("occurred_at")
    return [
        pl.len().alias("count"),
        (age <= WEEK).sum().alias("count7"),
        (age.max() / DAY).alias("since_first"),
        (age.min() / DAY).alias("since_last"),
    ]


def tables() -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Both tables with times as integers, leads and kinds as numbers, rows numbered."""
    leads = pl.concat([events["lead_id"], spine["lead_id"]]).unique().sort()
    enum, named = pl.Enum(leads), pl.Enum(kinds)
    facts = events.lazy().select(
        pl.col("lead_id").cast(enum).to_physical(),
        pl.col("kind").cast(named).to_physical(),
        micros("occurred_at"),
        micros("known_at"),
    )
    rows = (
        spine.lazy()
        .with_row_index("row")
        .select("row", pl.col("lead_id").cast(enum).to_physical(), micros("as_of"))
    )
    return rows, facts


def visible() -> pl.Expr:
    return (pl.col("occurred_at") < pl.col("as_of")) & (pl.col("known_at") < pl.col("as_of"))


def joined() -> pl.LazyFrame:
    rows, facts = tables()
    return rows.join(facts, on="lead_id").filter(visible())


def joined_where() -> pl.LazyFrame:
    rows, facts = tables()
    return rows.join_where(
        facts,
        pl.col("lead_id") == pl.col("lead_id_right"),
        pl.col("occurred_at") < pl.col("as_of"),
        pl.col("known_at") < pl.col("as_of"),
    )


def laid_out(pairs: pl.LazyFrame) -> pl.DataFrame:
    """Group by row and kind, then one column a kind and aggregate, every row of the spine."""
    long = pairs.group_by("row", "kind").agg(values()).collect()
    wide = long.pivot("kind", index="row", values=list(AGGREGATES), aggregate_function="first")
    names = {f"{a}_{i}": f"{a}|{kind}" for a in AGGREGATES for i, kind in enumerate(kinds)}
    wide = wide.rename(names, strict=False)
    every = pl.select(pl.int_range(len(spine), dtype=pl.get_index_type()).alias("row"))
    counts = pl.col("^count7?\\|.*$").fill_null(0)
    return every.join(wide, on="row", how="left", maintain_order="left").with_columns(counts)


def scattered(pairs: pl.LazyFrame) -> pl.DataFrame:
    """Group by row and kind, then scatter the long result into a NumPy array, a line a feature."""
    long = pairs.group_by("row", "kind").agg(values()).collect()
    row, kind = long["row"].to_numpy(), long["kind"].to_numpy()
    made: dict[str, np.ndarray] = {}
    for aggregate in AGGREGATES:
        lines = np.full((len(kinds), len(spine)), 0.0 if "count" in aggregate else np.nan)
        lines[kind, row] = long[aggregate].to_numpy()
        made |= {f"{aggregate}|{name}": line for name, line in zip(kinds, lines, strict=True)}
    return pl.DataFrame(made)


WAYS = {
    "join, pivot": lambda: laid_out(joined()),
    "join_where, pivot": lambda: laid_out(joined_where()),
    "join, scatter": lambda: scattered(joined()),
    "join_where, scatter": lambda: scattered(joined_where()),
    "asof": lambda: running(),
}


def running() -> pl.DataFrame:
    """Running totals of each kind by lead, then two as-of joins: facts known as they occur."""
    rows, facts = tables()
    when = pl.col("occurred_at")
    is_kind = {kind: pl.col("kind") == i for i, kind in enumerate(kinds)}
    totals = facts.sort("lead_id", "occurred_at").select(
        "lead_id", "occurred_at",
        *(one.cast(pl.UInt16).cum_sum().over("lead_id").alias(f"count|{k}")
          for k, one in is_kind.items()),
        *(pl.when(one).then(when).min().over("lead_id").alias(f"first|{k}")
          for k, one in is_kind.items()),
        *(pl.when(one).then(when).forward_fill().over("lead_id").alias(f"last|{k}")
          for k, one in is_kind.items()),
    )  # fmt: skip
    base = pl.col("as_of")
    rows = rows.with_columns(_before=base - 1, _week=base - WEEK - 1)
    now = rows.sort("_before").join_asof(
        totals.sort("occurred_at"), left_on="_before", right_on="occurred_at", by="lead_id"
    )
    counts = totals.select("lead_id", pl.col("occurred_at").alias("_then"), pl.col("^count.*$"))
    both = now.sort("_week").join_asof(
        counts.sort("_then"), left_on="_week", right_on="_then", by="lead_id", suffix=".then"
    )
    made = []
    for k in kinds:
        count, then = pl.col(f"count|{k}").fill_null(0), pl.col(f"count|{k}.then").fill_null(0)
        first, last = pl.col(f"first|{k}"), pl.col(f"last|{k}")
        made += [
            count.alias(f"count|{k}"),
            (count - then).alias(f"count7|{k}"),
            pl.when(count > 0).then((base - first) / DAY).alias(f"since_first|{k}"),
            pl.when(count > 0).then((base - last) / DAY).alias(f"since_last|{k}"),
        ]
    return both.select("row", *made).sort("row").collect()


answer(WAYS[sys.argv[2]], lambda found, path: found.write_parquet(path))
