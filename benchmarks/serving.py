"""One lead with 50 events over HTTP, against a service that answers a constant.

    python -m benchmarks.serving [--quick]

Both are BentoML services of one configuration on loopback; the constant one reads the whole body.
The same requests go to both in turn, over one kept connection each.
"""

from __future__ import annotations

import argparse
import gc
import http.client
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from benchmarks.bar import bar
from features import catalog
from features.outcomes import observed_until
from features.schema import TABLES, History
from features.simulate import simulate
from features.source import Population
from features.times import DAY, iso, micros
from serving.run import process, serving
from training import bundle
from training.dataset import build, labelled
from training.model import train

EVENTS, LEADS = 50, 50
HEADERS = {"Content-Type": "application/json"}


def model(history: History, directory: Path) -> None:
    """Train on the default features of a weekly population, and write the bundle."""
    population = Population("weekly", None, 28 * DAY, 0, "won")
    data = build(labelled(history, population), catalog.default(history), history)
    made = train(data)
    until = int(data.as_of.max()) + population.horizon
    origin = bundle.Origin("benchmark", population, False, (), until, data.digest)
    bundle.write(made, origin, made.encoder.matrix(data.columns)[-5_000:], directory)
    print(f"{len(data.features)} features, {made.booster.num_trees()} trees")


def bodies(history: History) -> list[bytes]:
    """Requests of one lead with its latest 50 events and its changes."""
    counts = history.events["lead_id"].value_counts()
    chosen = sorted(counts[counts >= EVENTS].index)[:LEADS]
    as_of = iso(observed_until(history))
    return [
        msgspec.json.encode({"as_of": as_of, "leads": [_lead(history, lead)]}) for lead in chosen
    ]


def _lead(history: History, lead_id: str) -> dict[str, Any]:
    def own(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[frame["lead_id"] == lead_id].drop(columns="lead_id")

    lead = records(history.leads[history.leads["lead_id"] == lead_id])[0]
    events = [_nested(one, "events", "properties") for one in records(own(history.events))]
    return {**_nested(lead, "leads", "attributes"), "events": events[-EVENTS:],
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


class Client:
    """One kept connection."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"))
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, path: str, body: bytes) -> tuple[float, bytes]:
        """Seconds from the first byte sent to the last received, and the answer."""
        start = time.perf_counter()
        self._connection.request("POST", path, body, HEADERS)
        answer = self._connection.getresponse()
        content = answer.read()
        took = time.perf_counter() - start
        assert answer.status == 200, content
        return took, content


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def measure(ours: Client, floor: Client, asked: list[bytes], requests: int) -> pd.DataFrame:
    """Seconds of each request to both, interleaved, after a warm-up."""
    gc.disable()
    took: dict[str, list[float]] = {"one lead": [], "constant": []}
    for number in range(-200, requests):
        body = asked[number % len(asked)]
        seconds, content = ours.post("/v1/score", body)
        assert b'"status":"scored"' in content, content
        least, _ = floor.post("/v1/constant", body)
        if number >= 0:
            took["one lead"].append(seconds)
            took["constant"].append(least)
    return pd.DataFrame(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="500 requests instead of 2,000")
    parser.add_argument("--leads", type=int, default=3_000, help="simulated leads to train on")
    options = parser.parse_args()
    history = simulate(leads=options.leads, seed=5).history
    with TemporaryDirectory() as scratch, ExitStack() as stack:
        directory = Path(scratch) / "bundle"
        model(history, directory)
        asked = bodies(history)
        size = int(np.median([len(body) for body in asked]))
        print(f"one lead, {EVENTS} events, {size:,} bytes, three reasons")
        ours = stack.enter_context(serving(directory, None, free_port()))
        floor = stack.enter_context(process("benchmarks.constant:Constant", free_port(), {}))
        took = measure(Client(ours.url), Client(floor.url), asked, 500 if options.quick else 2_000)
    table = took.quantile([0.5, 0.9, 0.99]).mul(1e6).round().astype(int)
    print(table.rename(index=lambda share: f"p{100 * share:.0f} us").to_string())
    ratio = float(took["one lead"].median() / took["constant"].median())
    bar("one-lead-over-constant", ratio, 3)


if __name__ == "__main__":
    main()
