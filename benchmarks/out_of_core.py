"""Train on a training set whose float64 matrix would not fit: peak memory over the matrix's size.

    python -m benchmarks.out_of_core

The rows of a simulated funnel, written again and again under other lead ids until there are enough
of them. A child process opens the set and trains both heads on it; its peak memory counts.
Boosting rounds are few: memory does not grow with them.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from benchmarks.bar import ROOT, bar
from features import catalog
from features.language import FeatureSet
from features.simulate import simulate
from features.source import Population
from features.times import DAY
from training.dataset import StoredSet, build, labelled, write
from training.model import train
from training.recipe import Recipe

LEADS, COPIES, ROUNDS = 4_000, 120, 16
FEATURES = "features"


def written(directory: Path, copies: int = COPIES) -> StoredSet:
    """The training set in a directory, its features as JSON beside it."""
    history = simulate(leads=LEADS).history
    once = labelled(history, Population("weekly", None, 28 * DAY, 0, "won"))
    features = catalog.default(history)
    columns = build(once, features, history).columns
    place = np.arange(len(once)).repeat(copies)  # in the order of time, as the rows are
    rows = once.iloc[place].reset_index(drop=True)
    copy = pd.Series(np.arange(len(rows)) % copies, dtype="str")
    rows["lead_id"] = copy + "-" + rows["lead_id"]
    (directory / FEATURES).write_bytes(features.to_json())
    return write(rows, features, lambda places: columns.iloc[place[places]], directory)


def child(path: Path) -> None:
    """Train, and print what it took."""
    features = FeatureSet.from_json((path.parent / FEATURES).read_bytes())
    start = time.perf_counter()
    data = StoredSet.open(path, features)
    opened = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = train(data, Recipe(rounds=ROUNDS))
    print(json.dumps({
        "seconds": time.perf_counter() - start,
        "opened": opened * 1024,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "matrix": len(data) * len(features) * 8,
        "rows": len(data),
        "features": len(features),
        "trees": model.booster.num_trees(),
    }))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.child is not None:
        child(said.child)
        return
    with TemporaryDirectory() as name:
        path = written(Path(name)).path
        size = sum(file.stat().st_size for file in path.parent.rglob("*.parquet"))
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.out_of_core", "--child", str(path)],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
    took = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{took['rows']:,} rows, {took['features']} features: matrix {took['matrix'] / 2**20:,.0f} "
        f"MiB, file {size / 2**20:,.0f} MiB, peak {took['peak'] / 2**20:,.0f} MiB (opened: "
        f"{took['opened'] / 2**20:,.0f}), {took['seconds']:.0f} s, {took['trees']} trees"
    )
    bar("training-peak-over-matrix", took["peak"] / took["matrix"], 0.5)


if __name__ == "__main__":
    main()
