"""The feature engine against the ones people use instead: same rows, same features, same run.

    python -m benchmarks.peers [--quick]

BPIC 2012, the rows and features of `benchmarks.features`. Each contender is a process of its own,
in a virtual environment of its own under benchmarks/.peers (made on the first run) where its pins
differ from ours. All compute in turn, round after round; a bar takes the best round's seconds on
the clock, on all cores that a contender uses. Beside them stand the processor seconds of all its
threads and helper processes. A time counts only when the numbers equal ours. featuretools computes
a sample of the rows, and its time a row is compared.
The bar against pandas is the merge: it counts facts that are known late, as ours does. NumPy's
running totals are shown beside it; they are right only where no fact is known late, as here.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from benchmarks.bar import DATA, ROOT, bar
from benchmarks.environments import python_of
from benchmarks.features import spine_of
from features.source import Source

SCRIPTS = Path(__file__).parent / "contenders"
NETWORK = [
    "unshare",
    "--net",
    "--map-root-user",
    "sh",
    "-c",
    'ip link set lo up && exec "$@"',
    "sh",
]
"""A network of its own with loopback only, for an engine that listens on every address."""


@dataclass
class Contender:
    """A script of benchmarks/contenders, the packages it needs (none: ours), and its rounds."""

    name: str
    script: str
    way: str = ""
    packages: tuple[str, ...] = ()
    sampled: bool = False
    alone: bool = False
    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)
    peak: float = 0.0
    process: subprocess.Popen[str] | None = None

    @property
    def output(self) -> str:
        """The file it writes what it found to."""
        return f"{self.script}{self.way and ' ' + self.way}.parquet"

    def start(self, directory: Path) -> None:
        """Start the script; it waits for rounds."""
        python = python_of(self.script, self.packages)
        command = [str(python), "-W", "ignore", str(SCRIPTS / f"{self.script}.py"), str(directory)]
        self.process = subprocess.Popen(
            [*(NETWORK if self.alone else []), *command, *([self.way] if self.way else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": "" if self.packages else str(ROOT)},
        )

    def round(self, word: str = "go") -> None:
        """Compute once; raises ``RuntimeError`` when the script has ended."""
        assert self.process is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(word + "\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: the script ended: run it by hand to see why")
        said = json.loads(line)
        self.walls.append(said["wall"])
        self.cpus.append(said["cpu"])
        self.peak = max(self.peak, said["peak"])

    def end(self) -> None:
        """Let the script end, and wait for it."""
        assert self.process is not None
        with suppress(BrokenPipeError):
            self.process.communicate()


def contenders(quick: bool) -> list[Contender]:
    polars = ("polars==2.1.0", "pyarrow", "numpy")
    ways = ["join_where, scatter", *([] if quick else ["join, scatter", "join, pivot", "asof"])]
    return [
        Contender("leadcast", "leadcast"),
        Contender("pandas (merge and group by)", "pandas_by_hand", "pairs"),
        Contender("NumPy (running totals, no late facts)", "pandas_by_hand", "running"),
        *(Contender(f"Polars ({way})", "polars_by_hand", way, polars) for way in ways),
        Contender("getML FastProp", "getml_fastprop", packages=("getml==1.5.1",), alone=True),
        Contender(
            "featuretools", "featuretools_dfs",
            packages=("featuretools==1.31.0", "pandas<3", "setuptools<81", "pyarrow"),
            sampled=True,
        ),
    ]  # fmt: skip


def differing(found: pd.DataFrame, ours: pd.DataFrame) -> list[str]:
    """The columns that are missing or differ; days within 1e-11 (a microsecond)."""
    if len(found) != len(ours):
        return ["rows"]
    return [
        name
        for name in ours.columns
        if name not in found
        or not np.allclose(
            found[name].to_numpy(dtype=float), ours[name], rtol=1e-9, atol=2e-11, equal_nan=True
        )
    ]


def race(
    entered: list[Contender], rounds: int, directory: Path, sample: np.ndarray
) -> dict[str, list[str]]:
    """Compute in turn, all but the sampled in every round; returns whose columns differ from ours.

    The first round writes what was found and is not timed, but for the sampled. A contender that
    cannot run here is told and left out.
    """
    with ExitStack() as stack:
        for one in list(entered):
            try:
                one.start(directory)
                stack.callback(one.end)
                one.round("write")
            except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
                print(f"{one.name} does not run here: {error}", file=sys.stderr)
                entered.remove(one)
                continue
            if not one.sampled:
                one.walls.clear()
                one.cpus.clear()
        for _ in range(rounds):
            for one in entered:
                if not one.sampled:
                    one.round()
    ours = pd.read_parquet(directory / "leadcast.parquet")
    found = {}
    for one in entered:
        expected = ours.iloc[sample] if one.sampled else ours
        found[one.name] = differing(pd.read_parquet(directory / one.output), expected)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and rows, 3 minutes")
    parser.add_argument("--without", action="append", default=[], metavar="SCRIPT")
    said = parser.parse_args()
    if not DATA.is_dir():
        print("no real data here: set LEADCAST_DATA")
        return 0
    history = Source.from_toml(ROOT / "examples" / "bpic2012.toml").load()
    spine = spine_of(history)
    few = 20 if said.quick else 200
    sample = np.sort(np.random.default_rng(0).choice(len(spine), few, replace=False))
    entered = [one for one in contenders(said.quick) if one.script not in said.without]
    with TemporaryDirectory() as name:
        directory = Path(name)
        facts = ["lead_id", "event_id", "kind", "occurred_at", "known_at"]
        history.events[facts].to_parquet(directory / "events.parquet")
        spine.to_parquet(directory / "spine.parquet")
        spine.iloc[sample].to_parquet(directory / "sample.parquet")
        wrong = race(entered, 2 if said.quick else 5, directory, sample)
    return _report(entered, wrong, len(spine), len(sample))


def _report(entered: list[Contender], wrong: dict[str, list[str]], rows: int, sampled: int) -> int:
    """The table and the bars; 1 when a contender's numbers are not ours."""

    size = {one.name: sampled if one.sampled else rows for one in entered}
    clock = {one.name: min(one.walls) / size[one.name] for one in entered}
    cpu = {one.name: min(one.cpus) / size[one.name] for one in entered}
    print("| contender | rows | s | over ours | CPU s | over ours | peak | numbers |")
    print("|---|---|---|---|---|---|---|---|")
    for one in entered:
        numbers = f"{len(wrong[one.name])} columns differ" if wrong[one.name] else "equal"
        print(
            f"| {one.name} | {size[one.name]:,} | {min(one.walls):.2f} | "
            f"{clock[one.name] / clock['leadcast']:,.2f} | {min(one.cpus):.2f} | "
            f"{cpu[one.name] / cpu['leadcast']:,.2f} | {one.peak:,.0f} MiB | {numbers} |"
        )
    bars = {
        "featuretools_dfs": ("features-over-featuretools", 100.0),
        "getml_fastprop": ("features-over-getml", 1.0),
        "pandas_by_hand": ("features-over-pandas", 3.0),
        "polars_by_hand": ("features-over-polars", 1.0),
    }
    for script, (name, limit) in bars.items():
        them = [
            clock[one.name]
            for one in entered
            if one.script == script and one.way != "running" and not wrong[one.name]
        ]
        if them:
            bar(name, min(them) / clock["leadcast"], limit, ">=")
    return 1 if any(wrong.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
