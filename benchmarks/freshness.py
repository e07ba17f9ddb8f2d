"""From an event to the score that knows it: seconds, beside callers who score.

    python -m benchmarks.freshness [--quick]

Events of open leads come in by `POST /v1/events`, ten a second, while others ask for a hundred
scores a second. For each, the current score is asked for until it was made after the event was
sent; the seconds count from the sending.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

import httpx
import numpy as np

from benchmarks.bar import bar
from benchmarks.funnel_requests import bodies, leads, model
from benchmarks.load import load
from benchmarks.serving import free_port
from features.simulate import simulate
from features.times import instant, iso, now
from serving.run import serving
from serving.store import Store

RATE, SCORES = 10, 100
LIMIT = 30.0


def seconds_to(client: httpx.Client, lead: str, number: int) -> float:
    """Send an event of a lead, and wait for the score that knows it."""
    sent, start = now(), time.perf_counter()
    event = {
        "lead_id": lead,
        "event_id": f"fresh{number}",
        "kind": "visit",
        "occurred_at": iso(sent),
    }
    client.post("/v1/events", json={"events": [event]}).raise_for_status()
    while time.perf_counter() < start + LIMIT:
        told = client.get(f"/v1/leads/{lead}/score")
        if told.status_code == 200 and instant(told.json()["as_of"]) > sent:
            return time.perf_counter() - start
        time.sleep(0.002)
    return LIMIT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 events instead of 400")
    events = 100 if parser.parse_args().quick else 400
    history = simulate(leads=3_000, seed=5).history
    with TemporaryDirectory() as directory:
        scratch = Path(directory)
        model(history, scratch / "bundle")
        scratch.joinpath("scores").write_bytes(
            b"\n".join(bodies(history, [[lead] for lead in leads(history, 10, 50)]))
        )
        store = Store(scratch / "store.db")
        store.load(history)
        store.close()
        settled = set(history.outcomes["lead_id"])
        unsettled = [one for one in history.leads["lead_id"] if one not in settled]
        with (
            serving(scratch / "bundle", scratch / "store.db", free_port()) as running,
            httpx.Client(base_url=running.url, timeout=60) as client,
        ):
            while client.get(f"/v1/leads/{unsettled[-1]}/score").status_code != 200:
                time.sleep(0.1)  # the first sweep goes through all of them
            asked = (running.url, "/v1/score", scratch / "scores", 2 + events / RATE, SCORES)
            others = Thread(target=load, args=asked)
            others.start()
            took = []
            for number in range(events):
                due = time.perf_counter() + 1 / RATE
                took.append(seconds_to(client, unsettled[number % len(unsettled)], number))
                time.sleep(max(0.0, due - time.perf_counter()))
            others.join()
    p50, p99 = np.quantile(took, [0.5, 0.99])
    print(f"{events} events: p50 {p50:.3f} s, p99 {p99:.3f} s, at most {max(took):.3f} s")
    bar("event-to-score-p99-seconds", float(p99), 1)


if __name__ == "__main__":
    main()
