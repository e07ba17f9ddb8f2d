"""The whole job on a simulated funnel, a step at a time, saying where to look."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import httpx

from features.outcomes import observed_until
from features.schema import History
from features.source import Source
from features.times import iso
from serving.commands.data import write_simulation
from serving.commands.models import promote_model, train_source
from serving.commands.scoring import show, worklist
from serving.commands.shared import console, load, steps
from serving.run import serving
from serving.store import Store

LEADS, SEED = 20_000, 7


def run(directory: Path, mlruns: Path) -> None:
    """Simulate, check, train, promote, score the open leads, and score one over HTTP.

    Everything lands in ``directory``; the service it starts has ended when it returns.
    """
    shutil.rmtree(directory, ignore_errors=True)
    say = console.rule
    say("1 of 6  Simulate 18 months of a funnel whose truth is known", align="left")
    config = write_simulation(directory / "funnel", LEADS, SEED)
    say("2 of 6  Check every row against the data contract", align="left")
    source = Source.from_toml(config)
    history = load(source)
    console.print("  The contract holds.")
    say("3 of 6  Train both heads and judge them out of time", align="left")
    train_source(config, mlruns, None, directory / "report.html")
    say("4 of 6  Promote the challenger to champion", align="left")
    champion = directory / "champion"
    promote_model(mlruns, source.name, "challenger", champion)
    say("5 of 6  Score today's open leads", align="left")
    lists = [str(directory / f"worklist.{kind}") for kind in ("csv", "parquet")]
    ranked = worklist(history, champion, None, lists)
    show(ranked)
    say("6 of 6  Score the first of them over HTTP", align="left")
    _over_http(champion, directory / "store.db", str(ranked["lead_id"].iloc[0]), history)
    say("Done", align="left")
    console.print(
        f"  {directory}/report.html    the report with plots\n"
        f"  {directory}/worklist.csv   whom to call first, and why\n"
        f"  mlflow ui --backend-store-uri sqlite:///{mlruns}/mlflow.db   every run\n"
        f"  leadcast serve --bundle {champion} --store {directory}/store.db   the service"
    )


def _over_http(champion: Path, store: Path, lead_id: str, history: History) -> None:
    """Fill a store, start the service, ask for one lead by its id and show the answer."""
    with steps() as say:
        say("store the history", 0.0)
        kept = Store(store)
        kept.load(history)
        kept.close()
        say("start the service", 0.0)
        asked = {"leads": [{"lead_id": lead_id}], "as_of": iso(observed_until(history))}
        with serving(champion, store, free_port()) as running:
            say("ask", 0.0)
            answer = httpx.post(f"{running.url}/v1/score", json=asked, timeout=30)
    answer.raise_for_status()
    console.print(f"  POST /v1/score {json.dumps(asked)}", markup=False)
    console.print(json.dumps(answer.json(), indent=2, ensure_ascii=False), markup=False)


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
