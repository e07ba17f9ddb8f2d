"""From 1 to 100 million events: time, memory, and whether both stay in bounds.

    python -m benchmarks.scale [--quick] [--events 100]

Writes a simulated log to Parquet (in the order of time, as a log is; 50 events a lead, 20 kinds),
then computes 150 features of every lead at 10 as-of dates in a child process that a control group
limits to 4 GiB (where one can be made; else its peak is only reported), features to Parquet.
Processor seconds, so that other work on the machine counts little. ``--quick`` stops at 10 million
events.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.bar import ROOT, bar
from features.engines.outofcore import compute_files
from features.language import Feature, FeatureSet, age, attribute, events
from features.times import DAY, instant

CHANNELS = ["web", "mail", "phone", "fair"]
A_LEAD, KINDS, DATES, CHUNK = 50, 20, 10, 1_000_000
LIMIT = 4 * 1024**3
START = instant("2024-01-01")
PERIOD = 365 * DAY
PLOT = Path(__file__).parent / "scale.svg"


def feature_set() -> FeatureSet:
    """150 features: seven of each kind, and what all events say."""
    found: list[Feature] = [age(), attribute("industry", "text"), attribute("size", "number")]
    for kind in range(KINDS):
        facts = events(f"kind {kind}")
        found += [facts.count(), facts.count("7d"), facts.count("30d"), facts.since_first(),
                  facts.since_last(), facts.sum("value", "90d"), facts.decayed("14d")]  # fmt: skip
    everything = events()
    found += [everything.count(), everything.count("30d"), everything.trend("7d", "30d"),
              everything.since_last(), everything.mean_gap(), everything.latest("channel"),
              everything.distinct("kind")]  # fmt: skip
    return FeatureSet(found)


def write(place: Path, millions: int) -> dict[str, str]:
    """A log of so many million events, and a spine; returns where each table is."""
    draw, count = np.random.default_rng(millions), millions * 1_000_000
    leads = count // A_LEAD
    created = START + draw.integers(0, PERIOD // 2, leads)
    ids = np.array([f"L{number:09}" for number in range(leads)])
    industry = np.array(["bank", "retail", "health", "public"])[draw.integers(0, 4, leads)]
    pq.write_table(
        pa.table({
            "lead_id": ids, "account_id": pa.nulls(leads, pa.string()), "created_at": created,
            "industry": industry, "size": draw.integers(1, 5_000, leads).astype(float),
        }),
        place / "leads.parquet",
    )  # fmt: skip
    (place / "events").mkdir()
    chunks = max(count // CHUNK, 1)
    for number in range(chunks):
        table = _chunk(draw, ids, number, chunks)
        pq.write_table(table, place / "events" / f"{number:05}.parquet")
    spine = pq.ParquetWriter(place / "spine.parquet", pa.schema(
        [("lead_id", pa.string()), ("as_of", pa.int64())]))  # fmt: skip
    with spine:
        for date in range(1, DATES + 1):
            as_of = np.full(leads, START + PERIOD * date // DATES)
            spine.write_table(pa.table({"lead_id": pa.array(ids), "as_of": as_of}))
    return {"leads": f"{place}/leads.parquet", "events": f"{place}/events/*.parquet"}


def _chunk(draw: np.random.Generator, ids: np.ndarray, number: int, chunks: int) -> pa.Table:
    """A million events of one slice of time; a few are known late."""
    width = PERIOD // chunks
    occurred = np.sort(START + number * width + draw.integers(0, width, CHUNK))
    late = np.where(draw.random(CHUNK) < 0.02, draw.integers(0, 3 * DAY, CHUNK), 0)
    kind = np.minimum(draw.geometric(0.15, CHUNK) - 1, KINDS - 1)
    return pa.table({
        "lead_id": ids[draw.integers(0, len(ids), CHUNK)],
        "event_id": pa.array(np.arange(number * CHUNK, (number + 1) * CHUNK)).cast(pa.string()),
        "kind": pa.DictionaryArray.from_arrays(
            pa.array(kind.astype(np.int32)), [f"kind {one}" for one in range(KINDS)]),
        "occurred_at": occurred,
        "known_at": occurred + late,
        "channel": pa.DictionaryArray.from_arrays(
            pa.array(draw.integers(0, 4, CHUNK).astype(np.int32)), CHANNELS),
        "value": np.where(draw.random(CHUNK) < 0.3, draw.random(CHUNK) * 100, np.nan),
    })  # fmt: skip


def child(place: str, out: str) -> None:
    """Compute within the limit, and print what it took."""
    limited = _limited()
    wall, cpu = time.perf_counter(), time.process_time()
    tables = {"leads": f"{place}/leads.parquet", "events": f"{place}/events/*.parquet"}
    rows = compute_files(
        feature_set(), f"{place}/spine.parquet", tables, Path(out), memory="1500MB",
        scratch=Path(place),
    )  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({
        "rows": rows, "cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall,
        "peak": peak, "limited": limited,
    }))  # fmt: skip


def _limited() -> bool:
    """Put this process in a control group of 4 GiB, cache included, where the system lets us."""
    group = Path(f"/sys/fs/cgroup/memory/leadcast-{os.getpid()}")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(LIMIT))
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError:
        return False
    return True


def measured(millions: int) -> dict[str, float]:
    """One size, in a process of its own."""
    with TemporaryDirectory(prefix="leadcast-scale-") as name:
        place = Path(name)
        write(place, millions)
        command = [sys.executable, "-m", "benchmarks.scale", "--child", name, f"{name}/out"]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    limit = "limited to 4 GiB" if found["limited"] else "not limited here"
    print(
        f"{millions:>4} M events  {found['rows']:>12,.0f} rows  {found['cpu']:>8,.1f} CPU s  "
        f"{found['wall']:>8,.1f} s  peak {found['peak'] / 1024**3:.2f} GiB ({limit})",
        flush=True,
    )
    return found


def plot(found: dict[int, dict[str, float]]) -> None:
    """Seconds over events, both logarithmic, beside a straight line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 4.2), layout="constrained")
    axes = figure.subplots()
    sizes = sorted(found)
    seconds = [found[size]["cpu"] for size in sizes]
    axes.loglog(sizes, seconds, "o-", label="150 features, 10 as-of dates")
    straight = [seconds[0] * size / sizes[0] for size in sizes]
    axes.loglog(sizes, straight, ":", color="grey", label="linear")
    axes.set(xlabel="million events", ylabel="processor seconds")
    axes.legend(frameon=False)
    figure.savefig(PLOT, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="up to 10 million events")
    parser.add_argument("--events", type=int, default=100, help="millions of events, at most")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        return child(*asked.child)
    most = 10 if asked.quick else asked.events
    found = {size: measured(size) for size in (1, 10, 100) if size <= most}
    if not asked.quick:
        plot(found)
    sizes = sorted(found)
    for small, large in pairwise(sizes):
        growth = found[large]["cpu"] / found[small]["cpu"] / (large / small)
        bar(f"scale-{small}-to-{large}-million-over-linear", growth, 1.2)
    bar(f"scale-{sizes[-1]}-million-peak-gib", found[sizes[-1]]["peak"] / 1024**3, 4)
    return None


if __name__ == "__main__":
    main()
