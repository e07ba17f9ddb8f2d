"""Ours."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from rounds import answer

from benchmarks.features import feature_set
from features.engines import compute
from features.schema import check

directory = Path(sys.argv[1])
events = pd.read_parquet(directory / "events.parquet")
spine = pd.read_parquet(directory / "spine.parquet")
leads = pd.DataFrame({"lead_id": events["lead_id"].unique()}).assign(
    created_at=events["occurred_at"].min()
)
history = check(leads, events)
features = feature_set(history)


def write(found: pd.DataFrame, path: Path) -> None:
    names = {"": "count", "7d": "count7"}
    columns = []
    for feature in features.features:
        aggregate = names["7d" if feature.window else ""] if feature.aggregate == "count" else ""
        columns.append(f"{aggregate or feature.aggregate}|{feature.where[0][1][0]}")
    found.set_axis(columns, axis=1).to_parquet(path)


answer(lambda: compute(features, spine[["lead_id", "as_of"]], history), write)
