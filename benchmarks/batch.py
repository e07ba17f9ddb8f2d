"""Scores of a million leads, Parquet to Parquet, against the library's own predict.

    python -m benchmarks.batch [--quick] [--rows 1000000]

The features are rows of a simulated funnel's training set, drawn at random, every number that is
not whole moved a little so that no two rows share it, written as the feature engine writes them.
Ours reads them, encodes texts, asks both heads, adds quantiles, intervals, grades and routes, and
writes Parquet. The peer is LightGBM's ``Booster.predict`` of the conversion head alone, of the
same bundle, on a ready float64 matrix, with the same threads; both heads' stands in the table.
With reasons, the peer is ``pred_contrib=True`` of the conversion head on a sample, scaled.

Each is a process of its own, in turn, best of so many rounds; the bars take rows a second.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.bar import ROOT, bar, cpu_seconds
from benchmarks.funnel_requests import model
from features.language import FINGERPRINT
from features.simulate import simulate
from serving.batch import score_parquet
from training.bundle import load
from training.encode import Encoder, Floats

GROUP, SAMPLE, CORES = 131_072, 20_000, os.cpu_count() or 1
OURS = {"ours": 0, "ours, reasons": 3}
PEERS = ("conversion head", "both heads", "contributions")


def prepare(scratch: Path, leads: int, rows: int) -> None:
    """Write the bundle, the Parquet of features, and nothing else."""
    matrix = model(simulate(leads=leads, seed=5).history, scratch / "bundle")
    features = load(scratch / "bundle").model
    draw = np.random.default_rng(5)
    with pq.ParquetWriter(
        scratch / "features.parquet",
        _table(features.encoder, matrix[:0], 0).schema.with_metadata(
            {FINGERPRINT: features.features.fingerprint}
        ),
        write_statistics=False,
        use_dictionary=["lead_id"],
    ) as writer:
        for start in range(0, rows, GROUP):
            chosen = matrix[draw.integers(0, len(matrix), min(GROUP, rows - start))]
            moved = chosen * draw.uniform(1, 1.001, chosen.shape)
            chosen = np.where(chosen == np.floor(chosen), chosen, moved)
            writer.write_table(_table(features.encoder, chosen, start))


def _table(encoder: Encoder, matrix: Floats, start: int) -> pa.Table:
    """Encoded rows as the columns that they were."""
    ids = [f"L{number:09}" for number in range(start, start + len(matrix))]
    moment = pa.scalar(1_780_272_000_000_000, pa.timestamp("us", "UTC"))
    made = {"lead_id": pa.array(ids, pa.string()), "as_of": pa.repeat(moment, len(matrix))}
    for position, name in enumerate(encoder.names):
        values = pa.array(matrix[:, position], from_pandas=True)
        if name in encoder.vocabulary:
            texts = pa.array([*encoder.vocabulary[name], "another"], pa.large_string())
            values = texts.take(values.cast(pa.int64()))
        made[name] = values
    return pa.table(made)


def ready(scratch: Path, most: int | None = None) -> Floats:
    """The encoded matrix (n, features) of the file."""
    encoder = load(scratch / "bundle").model.encoder
    file = pq.ParquetFile(scratch / "features.parquet")
    rows = most or file.metadata.num_rows
    made, place = np.empty((rows, len(encoder.names))), 0
    for batch in file.iter_batches(GROUP, columns=list(encoder.names)):
        part = encoder.matrix(pa.Table.from_batches([batch]))[: rows - place]
        made[place : place + len(part)] = part
        place += len(part)
    return made


def child(scratch: Path, who: str) -> None:
    """Do one thing; print seconds, processor seconds and the peak of memory."""
    work = _work(scratch, who)
    wall, cpu = time.perf_counter(), cpu_seconds()
    rows = work()
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    print(json.dumps({"us": 1e6 * wall / rows, "CPU us": 1e6 * cpu / rows, "peak MiB": peak()}))


def peak() -> float:
    """The most memory that was resident, MiB; getrusage tells the parent's where that is more."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


def _work(scratch: Path, who: str) -> Callable[[], int]:
    """What is measured, ready to go; it returns how many rows it did."""
    made = load(scratch / "bundle")
    if who in OURS:
        files = scratch / "features.parquet", scratch / "scores.parquet"
        return lambda: score_parquet(made, *files, reasons=OURS[who])
    explain = who == "contributions"
    matrix = ready(scratch, SAMPLE if explain else None)
    head = made.model.value_head
    both = head is not None and who == "both heads"
    boosters = [made.model.booster, *(head.trees.values() if head and both else ())]

    def predict() -> int:
        for booster in boosters:
            booster.predict(matrix, raw_score=True, pred_contrib=explain, num_threads=CORES)
        return len(matrix)

    return predict


def measured(scratch: Path, who: str) -> dict[str, float]:
    """One thing in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.batch", "--child", str(scratch), who]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="200,000 rows, one round")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--leads", type=int, default=3_000, help="simulated leads to train on")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        return child(Path(asked.child[0]), asked.child[1])
    rows, rounds = (200_000, 1) if asked.quick else (asked.rows, 3)
    with TemporaryDirectory(prefix="leadcast-batch-") as name:
        prepare(Path(name), asked.leads, rows)
        judge(Path(name), rounds)
    return None


def judge(scratch: Path, rounds: int) -> None:
    """Measure all in turn; print the table and the bars."""
    took: dict[str, list[dict[str, float]]] = {who: [] for who in (*OURS, *PEERS)}
    for _ in range(rounds):
        for who, found in took.items():
            found.append(measured(scratch, who))
    best = pd.DataFrame({who: pd.DataFrame(found).min() for who, found in took.items()}).T
    best["peak MiB"] = [max(one["peak MiB"] for one in found) for found in took.values()]
    print(best.round(2).to_string())
    us = best["us"]
    bar("batch-over-own-predict", us["conversion head"] / us["ours"], 0.7, ">=")
    bar("batch-peak-mib", best["peak MiB"][list(OURS)].max(), 2048)
    bar("batch-reasons-over-contributions", us["contributions"] / us["ours, reasons"], 3, ">=")


if __name__ == "__main__":
    main()
