"""Features of BPIC 2012 against the bare join: every lead's first 40 events as as-of times.

    python -m benchmarks.features

The floor is one ``count(*)`` over the same inequality join in DuckDB, on the same tables, in the
same run; both are timed in processor seconds (all threads), interleaved, best of the rounds.
"""

from __future__ import annotations

import argparse
import resource

import duckdb
import pandas as pd
import pyarrow as pa

from benchmarks.bar import DATA, ROOT, bar, cpu_seconds
from features.engines import compute
from features.feature import Feature
from features.language import FeatureSet, events
from features.schema import History
from features.source import Source
from features.times import from_micros, micros

PREFIXES = 40


def spine_of(history: History) -> pd.DataFrame:
    """One row for each of a lead's first 40 events: just after it."""
    ordered = history.events.sort_values(["lead_id", "occurred_at", "event_id"])
    first = ordered[ordered.groupby("lead_id").cumcount() < PREFIXES]
    as_of = from_micros(micros(first["occurred_at"]) + 1)
    return pd.DataFrame({"lead_id": first["lead_id"].to_numpy(), "as_of": as_of}).astype(
        {"lead_id": "str"}
    )


def feature_set(history: History) -> FeatureSet:
    """For each kind: how many, how many lately, how long since the first and the last."""
    kinds = sorted(history.events["kind"].unique())
    counted = [events(k).count() for k in kinds] + [events(k).count("7d") for k in kinds]
    timed = [events(k).since_first() for k in kinds] + [events(k).since_last() for k in kinds]
    return FeatureSet([*counted, *timed])


def broad_set(history: History) -> FeatureSet:
    """The same, and of each kind a month's count and a count that decays."""
    kinds = sorted(history.events["kind"].unique())
    month = [events(k).count("30d") for k in kinds]
    decayed = [events(k).decayed("14d") for k in kinds]
    return FeatureSet([*feature_set(history).features, *month, *decayed])


def overall() -> tuple[Feature, ...]:
    """What all events together say: a second pass over every visible pair."""
    every = events()
    return (
        every.count(), every.count("7d"), every.trend("7d", "30d"), every.ratio("7d", "30d"),
        every.since_first(), every.since_last(), every.mean_gap(), every.latest("kind"),
        every.distinct("kind"), every.last_hour(1), every.business("30d", 1),
    )  # fmt: skip


def bare_join(history: History, spine: pd.DataFrame) -> tuple[float, int]:
    """CPU seconds and result of ``count(*)`` over the join that decides what is visible."""
    facts = history.events
    con = duckdb.connect()
    con.register("e", pa.table({
        "lead_id": pa.array(facts["lead_id"]),
        "occurred_at": micros(facts["occurred_at"]),
        "known_at": micros(facts["known_at"]),
    }))  # fmt: skip
    con.register(
        "s", pa.table({"lead_id": pa.array(spine["lead_id"]), "as_of": micros(spine["as_of"])})
    )
    join = (
        "SELECT count(*) FROM s JOIN e ON e.lead_id = s.lead_id "
        "AND e.occurred_at < s.as_of AND e.known_at < s.as_of"
    )
    start = cpu_seconds()
    pairs = con.sql(join).fetchall()[0][0]
    return cpu_seconds() - start, pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    if not DATA.is_dir():
        print("no real data here: set LEADCAST_DATA")
        return
    history = Source.from_toml(ROOT / "examples" / "bpic2012.toml").load()
    spine = spine_of(history)
    broad = broad_set(history)
    sets = {
        "features": feature_set(history),
        "200-features": broad,
        "and overall": broad + overall(),
    }
    bare: list[float] = []
    ours: dict[str, list[float]] = {name: [] for name in sets}
    pairs = 0
    for _ in range(rounds):
        floor, pairs = bare_join(history, spine)
        bare.append(floor)
        for name, chosen in sets.items():
            start = cpu_seconds()
            compute(chosen, spine, history)
            ours[name].append(cpu_seconds() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(spine):,} rows, {pairs:,} visible pairs, peak {peak:,.0f} MiB")
    for name, chosen in sets.items():
        ratio = min(ours[name]) / min(bare)
        print(f"{len(chosen)} features: {min(ours[name]):.3f} CPU s, {ratio:.1f} times bare")
    bar("features-over-bare-join", min(ours["features"]) / min(bare), 10)
    bar("200-features-over-bare-join", min(ours["200-features"]) / min(bare), 15)


if __name__ == "__main__":
    main()
