"""A training set for one more day of history: extended from the day before, against a full build.

    python -m benchmarks.incremental

A simulated funnel of 18 months, every open lead at every midnight, the default features. Both
sides label all rows, leave the set in files and end with the signature that the next day needs;
processor seconds of all threads, best of the rounds. The two sets have one digest, or it stops.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from benchmarks.bar import bar, cpu_seconds
from features import catalog
from features.outcomes import observed_until
from features.schema import History
from features.simulate import simulate
from features.source import Population
from features.times import DAY
from training.dataset import build, followed
from training.extend import keep


def rows(history: History) -> pd.DataFrame:
    """Those of a training set: labelled, and those whose horizon is not over."""
    population = Population("daily", None, 28 * DAY, 0, "won")
    return pd.concat(followed(history, population), ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leads", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=2)
    said = parser.parse_args()
    history = simulate(leads=said.leads).history
    yesterday = history.until(observed_until(history) - DAY)
    features = catalog.default(yesterday)
    memory, whole, more = [], [], []
    with TemporaryDirectory() as name:
        before = keep(rows(yesterday), features, yesterday, Path(name, "before"))
        for number in range(said.rounds):
            start = cpu_seconds()
            build(rows(history), features, history)
            memory.append(cpu_seconds() - start)
            start = cpu_seconds()
            full = keep(rows(history), features, history, Path(name, f"f{number}"))
            whole.append(cpu_seconds() - start)
            there = Path(name, f"m{number}")
            shutil.copytree(Path(name, "before"), there)
            start = cpu_seconds()
            extended = keep(rows(history), features, history, there)
            more.append(cpu_seconds() - start)
            pd.testing.assert_frame_equal(extended.rows, full.rows)
            if extended.digest != full.digest:
                raise SystemExit("the extended set is not the one that a full build makes")
    print(
        f"{len(before):,} rows and {len(features)} features, one more day: {min(more):.2f} CPU s; "
        f"the full build {min(whole):.2f}, or {min(memory):.2f} when it stays in memory"
    )
    bar("incremental-day-over-full", min(more) / min(whole), 0.05)


if __name__ == "__main__":
    main()
