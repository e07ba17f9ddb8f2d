"""The whole score over HTTP against bare predicts and constants, all on loopback in one run.

    python -m benchmarks.serving [--quick]

Ours answers features, both heads and reasons for leads whose history is in the request, and has
each score in the ledger on disk before it answers; without reasons there is no ledger. The peers
answer the conversion booster's bare predict for ready-made rows: `mlflow models serve` and BentoML
as it comes; the floors answer a constant. Load comes from a process of its own
(:mod:`benchmarks.load`); processor time is that of the server's processes.

MLflow is asked in two forms: `dataframe_split` ("frame"), that of its documentation, and arrays
(`inputs`): there is a bar for each.
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

import lightgbm as lgb
import msgspec
import numpy as np
import pandas as pd

from benchmarks.bar import bar
from benchmarks.funnel_requests import bodies, leads, model
from benchmarks.load import Measured, load, measure
from benchmarks.rival_services import started
from features.schema import History
from features.simulate import simulate
from serving.current import Refresher
from serving.run import Running, process, serving
from serving.scorer import Scorer
from serving.store import Store
from training.bundle import load as load_bundle

EVENTS, MOST_EVENTS, LEADS, MANY = 10, 50, 50, 100
SUSTAINED = 30.0
"""Seconds of what is measured as sustained, and of the crowd."""

HEADERS = {"Content-Type": "application/json"}
FORMS = ("frame", "array")
"""How MLflow can be asked: `dataframe_split` and `inputs`."""

Told = dict[str, Measured]


def prepare(history: History, scratch: Path) -> None:
    """Write the bundle, MLflow's model and the bodies: JSON lines, one file a kind of load."""
    from mlflow.lightgbm import save_model

    rows = np.nan_to_num(model(history, scratch / "bundle"))[-MANY:]  # JSON knows no NaN
    booster = lgb.Booster(model_file=scratch / "bundle" / "conversion.txt")
    save_model(booster, scratch / "mlflow")
    few, chosen = leads(history, EVENTS, LEADS), leads(history, EVENTS, MANY)
    one, every = [[lead] for lead in few], rows.tolist()
    columns = list(range(rows.shape[1]))

    def frame(data: list[list[float]]) -> bytes:
        return msgspec.json.encode({"dataframe_split": {"columns": columns, "data": data}})

    asked = {
        "reasons": bodies(history, one),
        "plain": bodies(history, one, reasons=0),
        "many": bodies(history, [chosen], reasons=0),
        "frame": [frame([row]) for row in every],
        "frames": [frame(every)],
        "array": [msgspec.json.encode({"inputs": [row]}) for row in every],
        "arrays": [msgspec.json.encode({"inputs": every})],
        "rows": [msgspec.json.encode({"rows": [row]}) for row in every],
    }
    for name, made in asked.items():
        (scratch / name).write_bytes(b"\n".join(made))


def peers(scratch: Path, seconds: float, told: Told) -> None:
    """Load MLflow, BentoML as it comes and the bare floor, one at a time."""
    with started.mlflow(scratch / "mlflow", free_port()) as server:
        path = "/invocations"
        for form in FORMS:
            measure(server, path, scratch / form, 1)
            told[f"mlflow, {form}"] = measure(server, path, scratch / form, seconds)
            told[f"mlflow, 100 rows, {form}"] = measure(server, path, scratch / f"{form}s", seconds)
            told[f"mlflow, 500/s, {form}"] = measure(server, path, scratch / form, seconds, 500)
    with started.bento(scratch / "bundle" / "conversion.txt", free_port()) as server:
        measure(server, "/predict", scratch / "rows", 1)
        told["bentoml"] = measure(server, "/predict", scratch / "rows", seconds)
    with started.starlette(free_port()) as server:
        told["starlette, constant"] = measure(server, "/constant", scratch / "plain", seconds)


def ours(scratch: Path, seconds: float, told: Told) -> None:
    """Load our service in all its ways: with reasons, also with the ledger on disk."""
    path = "/v1/score"
    with serving(scratch / "bundle", None, free_port()) as server:
        measure(server, path, scratch / "plain", 1)
        told["no reasons"] = measure(server, path, scratch / "plain", seconds)
        told["100 leads"] = measure(server, path, scratch / "many", seconds)
        told["three reasons, no ledger"] = measure(server, path, scratch / "reasons", seconds)
    with serving(scratch / "bundle", scratch / "ledger.db", free_port()) as server:
        measure(server, path, scratch / "reasons", 1)
        told["three reasons"] = measure(server, path, scratch / "reasons", seconds)
        for rate, long in ((200, SUSTAINED), (500, seconds), (1_000, SUSTAINED)):
            told[f"{rate:,}/s"] = measure(server, path, scratch / "reasons", long, rate)
        overload(server, scratch / "reasons", told)


def stored(history: History, scratch: Path, seconds: float, told: Told) -> None:
    """Load our service with leads whose current scores are stored."""
    place = scratch / "store.db"
    store = Store(place)
    store.load(history)
    open_leads = history.leads["lead_id"][~history.leads["lead_id"].isin(
        history.outcomes["lead_id"])].tail(MANY)  # fmt: skip
    paths = [f"/v1/leads/{lead}/score" for lead in open_leads]
    (scratch / "paths").write_text("\n".join(paths))
    refresher = Refresher(store)
    refresher.serve(Scorer(load_bundle(scratch / "bundle")))
    while refresher.step():
        pass
    store.close()
    with serving(scratch / "bundle", place, free_port()) as server:
        measure(server, "", scratch / "paths", 1)
        told["by id, stored"] = measure(server, "", scratch / "paths", seconds)


def overload(server: Running, asked: Path, told: Told) -> None:
    """Four times what can be answered, over 64 connections; and how it is a second later."""
    path, rate = "/v1/score", 4 * told["three reasons"].rate
    found = load(server.url, path, asked, SUSTAINED, rate, 64)
    print(f"of {rate:,.0f}/s: {found['requests'] / found['seconds']:,.0f}/s served, p99 "
          f"{1e3 * found['p99']:.1f} ms; {found['refused'] / found['seconds']:,.0f}/s refused, p99 "
          f"{1e3 * found['refused_p99']:.1f} ms")  # fmt: skip
    time.sleep(1)
    after, unloaded = measure(server, path, asked, 3, 200), told["200/s"].p99
    bar("overload-refused-p99-ms", 1e3 * found["refused_p99"], 50)
    bar("overload-served-p99-over-unloaded", found["p99"] / unloaded, 2)
    bar("overload-p99-a-second-later-over-unloaded", after.p99 / unloaded, 2)


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


def over_constant(history: History, scratch: Path, requests: int) -> float:
    """One lead with 50 events over a service that answers a constant: the ratio of medians.

    Both are BentoML services of one configuration; the same requests go to both in turn.
    """
    asked = bodies(history, [[lead] for lead in leads(history, MOST_EVENTS, LEADS)])
    gc.disable()
    took: dict[str, list[float]] = {"50 events": [], "constant": []}
    with ExitStack() as stack:
        ours = stack.enter_context(serving(scratch / "bundle", None, free_port()))
        least = stack.enter_context(process("benchmarks.constant:Constant", free_port(), {}))
        whole, floor = Client(ours.url), Client(least.url)  # both up: an idle one is closed
        for number in range(-200, requests):
            body = asked[number % len(asked)]
            seconds, content = whole.post("/v1/score", body)
            assert b'"status":"scored"' in content, content
            least_seconds, _ = floor.post("/v1/constant", body)
            if number >= 0:
                took["50 events"].append(seconds)
                took["constant"].append(least_seconds)
    gc.enable()
    table = pd.DataFrame(took).quantile([0.5, 0.9, 0.99]).mul(1e6).round().astype(int)
    print(table.rename(index=lambda share: f"p{100 * share:.0f} us").to_string())
    return float(np.median(took["50 events"]) / np.median(took["constant"]))


def judge(told: Told) -> None:
    """Print the table and the bars."""
    table = pd.DataFrame(
        [(one.rate, 1e6 * one.cpu, 1e3 * one.p50, 1e3 * one.p99) for one in told.values()],
        index=list(told), columns=["answers/s", "CPU us", "p50 ms", "p99 ms"],
    )  # fmt: skip
    print(table.round(2).to_string())
    whole, plain = told["three reasons"], told["no reasons"]
    bar("score-p99-at-1000-over-200", told["1,000/s"].p99 / told["200/s"].p99, 3)
    for form in FORMS:
        peer, rows = told[f"mlflow, {form}"], told[f"mlflow, 100 rows, {form}"]
        late = told[f"mlflow, 500/s, {form}"].p99
        bar(f"score-p99-over-mlflow-{form}-at-500", told["500/s"].p99 / late, 0.1)
        bar(f"score-cpu-over-mlflow-{form}", whole.cpu / peer.cpu, 0.5)
        bar(f"throughput-over-mlflow-{form}", plain.rate / peer.rate, 5, ">=")
        bar(f"hundred-leads-over-mlflow-{form}", told["100 leads"].rate / rows.rate, 2, ">=")
    bar("throughput-over-bentoml", plain.rate / told["bentoml"].rate, 2, ">=")
    bare = told["starlette, constant"].rate
    bar("stored-score-over-starlette", told["by id, stored"].rate / bare, 0.5, ">=")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter loads, fewer requests")
    parser.add_argument("--leads", type=int, default=3_000, help="simulated leads to train on")
    options = parser.parse_args()
    seconds, requests = (4, 500) if options.quick else (10, 2_000)
    history = simulate(leads=options.leads, seed=5).history
    told: Told = {}
    with TemporaryDirectory() as directory:
        scratch = Path(directory)
        prepare(history, scratch)
        peers(scratch, seconds, told)
        ours(scratch, seconds, told)
        stored(history, scratch, seconds, told)
        judge(told)
        bar("one-lead-over-constant", over_constant(history, scratch, requests), 3)


if __name__ == "__main__":
    main()
