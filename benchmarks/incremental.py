"""A training set for one more day of history: extended from the day before, against a full build.

    python -m benchmarks.incremental

A simulated funnel of 18 months, every open lead at every midnight, the default features. Both
sides label all rows and end with the signature that the next day needs; processor seconds of all
threads, best of the rounds. The two sets are the same to the last digit, or it stops.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import pandas as pd

from benchmarks.bar import bar, cpu_seconds
from features import catalog
from features.outcomes import observed_until
from features.schema import History
from features.simulate import simulate
from features.source import Population
from features.times import DAY, from_micros
from training.dataset import build, labelled
from training.extend import extend, signature


def day_before(history: History) -> History:
    """What had been delivered a day before the end."""
    limit = from_micros([observed_until(history) - DAY])[0]
    leads = history.leads[history.leads["created_at"] < limit].reset_index(drop=True)
    known = {
        name: frame[frame["known_at"] < limit].reset_index(drop=True)
        for name, frame in (
            ("events", history.events),
            ("changes", history.changes),
            ("outcomes", history.outcomes),
        )
    }
    return replace(history, leads=leads, **known)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leads", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=2)
    said = parser.parse_args()
    history = simulate(leads=said.leads).history
    yesterday = day_before(history)
    population = Population("daily", None, 28 * DAY, 0, "won")
    features = catalog.default(yesterday)
    old = build(labelled(yesterday, population), features, yesterday)
    signed = signature(old, yesterday)
    whole, more = [], []
    for _ in range(said.rounds):
        start = cpu_seconds()
        full = build(labelled(history, population), features, history)
        known = signature(full, history)
        whole.append(cpu_seconds() - start)
        start = cpu_seconds()
        extended, again = extend(old, signed, labelled(history, population), history)
        more.append(cpu_seconds() - start)
        pd.testing.assert_frame_equal(extended.rows, full.rows)
        pd.testing.assert_frame_equal(extended.columns, full.columns, check_exact=True)
        pd.testing.assert_frame_equal(again.leads, known.leads)
        del full, extended
    print(
        f"{len(old):,} rows and {len(features)} features, one more day: {min(more):.2f} CPU s "
        f"against {min(whole):.2f} for the full build"
    )
    bar("incremental-day-over-full", min(more) / min(whole), 0.05)


if __name__ == "__main__":
    main()
