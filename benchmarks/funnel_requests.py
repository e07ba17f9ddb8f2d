"""Requests of simulated leads, and a model of the same funnel, for :mod:`benchmarks.serving`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

from features import catalog
from features.outcomes import observed_until
from features.schema import TABLES, History
from features.source import Population
from features.times import DAY, iso, micros
from training import bundle
from training.dataset import build, labelled
from training.encode import Floats
from training.model import train


def model(history: History, directory: Path) -> Floats:
    """Train on the default features of a weekly population, and write the bundle.

    Returns the encoded rows (n, features) that it was trained on.
    """
    population = Population("weekly", None, 28 * DAY, 0, "won")
    data = build(labelled(history, population), catalog.default(history), history)
    made = train(data)
    until = int(data.as_of.max()) + population.horizon
    origin = bundle.Origin("benchmark", population, False, (), until, data.digest)
    matrix = made.encoder.matrix(data.columns)
    bundle.write(made, origin, matrix[-5_000:], directory)
    print(f"{len(data.features)} features, {made.booster.num_trees()} trees")
    return matrix


def leads(history: History, events: int, count: int) -> list[dict[str, Any]]:
    """Leads with their latest so many events and their changes, as a request holds them."""
    counts = history.events["lead_id"].value_counts()
    chosen = sorted(counts[counts >= events].index)[:count]
    return [_lead(history, lead, events) for lead in chosen]


def bodies(history: History, asked: list[list[dict[str, Any]]], **more: Any) -> list[bytes]:
    """Requests to score leads as of the end of the history."""
    as_of = iso(observed_until(history))
    return [msgspec.json.encode({"as_of": as_of, "leads": one, **more}) for one in asked]


def _lead(history: History, lead_id: str, last: int) -> dict[str, Any]:
    def own(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[frame["lead_id"] == lead_id].drop(columns="lead_id")

    lead = records(history.leads[history.leads["lead_id"] == lead_id])[0]
    events = [_nested(one, "events", "properties") for one in records(own(history.events))]
    return {**_nested(lead, "leads", "attributes"), "events": events[-last:],
            "changes": records(own(history.changes))}  # fmt: skip


def _nested(record: dict[str, Any], table: str, name: str) -> dict[str, Any]:
    own = {key: value for key, value in record.items() if key in TABLES[table]}
    return {**own, name: {key: value for key, value in record.items() if key not in own}}


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON takes them: ISO times, nothing missing."""
    columns = {
        name: [iso(one) for one in micros(frame[name]).tolist()]
        if name.endswith("_at")
        else frame[name]
        for name in frame.columns
    }
    rows = zip(*columns.values(), strict=True)
    return [
        {name: value for name, value in zip(columns, row, strict=True) if value == value}
        for row in rows
    ]
