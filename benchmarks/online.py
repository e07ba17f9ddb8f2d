"""The features of one lead with 50 events, 150 of them: at hand, and out of PostgreSQL.

    python -m benchmarks.online

The lead is one of 3,000 simulated ones. The floor of PostgreSQL is the bare indexed select of the
rows that the features read, one a table, prepared, on the same connection, with nothing made of
them; the two take turns. What serves is given the rows, so its figure is a time.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.bar import bar
from features import catalog
from features.engines import Row, rows_of
from features.engines.memory import Leads
from features.engines.tables import KEYS
from features.language import FeatureSet, events
from features.schema import History
from features.simulate import simulate
from features.times import micros
from tests.postgres import missing, server

if TYPE_CHECKING:
    from psycopg import Connection

EVENTS, FEATURES, WARM_UP = 50, 150, 100


def feature_set(history: History) -> FeatureSet:
    """What the default set says of the lead alone, then more of each kind of event."""
    more = [
        feature
        for kind in sorted(history.events["kind"].unique())
        for feature in (
            events(kind).count("30d"),
            events(kind).sum("value", "30d"),
            events(kind).ratio("7d", "30d"),
            events(kind).since_first(),
            events(kind).count("90d"),
        )
    ]
    own = [one for one in catalog.default(history).features if one.scope == "lead"]
    return FeatureSet([*own, *more][:FEATURES])


def lead_of(history: History) -> str:
    """The first lead with 50 events."""
    counts = history.events["lead_id"].value_counts()
    return str(min(counts[counts == EVENTS].index))


def in_turn(asked: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each, all taking turns, after a warm-up."""
    gc.disable()
    took: dict[str, list[float]] = {name: [] for name in asked}
    for number in range(-WARM_UP, rounds):
        for name, ask in asked.items():
            start = time.perf_counter()
            ask()
            if number >= 0:
                took[name].append(time.perf_counter() - start)
    medians = {name: 1_000 * float(np.median(seconds)) for name, seconds in took.items()}
    for name, median in medians.items():
        print(f"{name:<36} p50 {median:.3f} ms")
    return medians


def at_hand(chosen: FeatureSet, history: History, lead: str, as_of: int, rounds: int) -> Row:
    """Measure the engine that serves; returns what it found."""
    reader = Leads(chosen)
    held = []
    for name, columns in reader.columns.items():
        frame = getattr(history, name)
        held.append(rows_of(frame[frame["lead_id"] == lead], columns))
    ours = f"at hand, {len(chosen)} features"
    took = in_turn({ours: lambda: reader.vector(lead, as_of, *held)}, rounds)
    bar("online-lead-ms", took[ours], 0.5)
    return reader.vector(lead, as_of, *held)


def postgres(
    con: Connection, chosen: FeatureSet, history: History, lead: str, as_of: int, rounds: int
) -> Row:
    """Store the whole history with its keys, measure one lead of it; returns what was found."""
    from psycopg import RawCursor

    from features.engines.postgres import PostgresLead, fill

    reader = PostgresLead(chosen)
    for name, columns in reader.columns.items():
        arrived = getattr(history, name).sort_values(KEYS[name][2], kind="stable")
        fill(con, "public", name, arrived, columns)
    con.execute("VACUUM ANALYZE")
    selects = {}
    for name, columns in reader.columns.items():
        quoted = ", ".join(f'"{column}"' for column in columns)
        selects[name] = f"SELECT {quoted} FROM {name} WHERE lead_id = $1".encode()

    def select(*names: str) -> int:
        count = 0
        for name in names:
            cursor = RawCursor(con)
            cursor.execute(selects[name], (lead,), prepare=True, binary=True)
            count += len(cursor.fetchall())
        return count

    assert select("events") == EVENTS
    ours = f"PostgreSQL, {len(chosen)} features"
    took = in_turn(
        {
            "bare select of the 50 events": lambda: select("events"),
            "bare selects of all rows read": lambda: select(*selects),
            ours: lambda: reader.vector(con, lead, as_of),
        },
        rounds,
    )
    bar("online-postgres-over-select", took[ours] / took["bare selects of all rows read"], 2)
    return reader.vector(con, lead, as_of)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2_000)
    rounds = parser.parse_args().rounds
    history = simulate(leads=3_000, seed=5).history
    chosen, lead = feature_set(history), lead_of(history)
    assert len(chosen) == FEATURES
    as_of = int(micros(history.events["known_at"]).max()) + 1
    found = at_hand(chosen, history, lead, as_of, rounds)
    lacking = missing()
    if lacking is not None:
        print(lacking)
        return
    from features.databases import postgres as connect

    with server() as url, connect(url) as con:
        again = postgres(con, chosen, history, lead, as_of, rounds)
    for name, one, other in zip(chosen.names, found, again, strict=True):
        same = one == other or (isinstance(one, float) and np.isclose(one, other, rtol=1e-9))
        assert same, f"{name}: {one} at hand, {other} in PostgreSQL"


if __name__ == "__main__":
    main()
