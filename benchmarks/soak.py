"""Hours of mixed traffic in minutes: memory flat, no descriptor kept, no unexpected answer.

    python -m benchmarks.soak [--quick]

Four callers ask a service with an SQLite store, as fast as it answers up to 200 requests a second
together, for five minutes (``--quick``: one): scores with their history and by id, events and leads
that come in, the work list, exports, erasures, and requests that are wrong. Two hours of a CRM with
8 requests a second. Memory and descriptors are those of the worker, from a fifth of the time to the
end.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import random
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any

import psutil  # type: ignore[import-untyped]

from benchmarks.bar import bar
from benchmarks.funnel_requests import bodies, leads, model
from benchmarks.serving import free_port
from features.simulate import simulate
from features.times import iso, now
from serving.run import Running, serving
from serving.store import Store

CALLERS, RATE = 4, 200
LEADS, EVENTS = 200, 10

Call = tuple[str, str, bytes, set[int]]
"""Method, path, body, and the statuses that are right."""


class Caller(Thread):
    """Asks in turn until it is ended; keeps what was answered otherwise than is right."""

    def __init__(self, port: int, calls: Any, rate: float) -> None:
        super().__init__()
        self._port, self._calls, self._pause = port, calls, 1 / rate
        self.ended = Event()
        self.answers, self.refused = 0, 0
        self.odd: list[str] = []

    def run(self) -> None:
        """Ask on a schedule."""
        connection, due = http.client.HTTPConnection("127.0.0.1", self._port), time.perf_counter()
        for method, path, body, right in self._calls:
            if self.ended.is_set():
                break
            due = max(due + self._pause, time.perf_counter() - 1)
            time.sleep(max(due - time.perf_counter(), 0))
            try:
                connection.request(method, path, body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                told = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.odd.append(f"{method} {path}: {error!r}")
                connection.close()
                continue
            self.answers += 1
            if answer.status == 503 and answer.headers["Retry-After"]:
                self.refused += 1
            elif answer.status not in right:
                self.odd.append(f"{method} {path}: {answer.status} {told[:200]!r}")
        connection.close()


def calls(scored: list[bytes], number: int) -> Any:
    """An endless mixture, the same for the same number."""
    draw = random.Random(number)
    known = [f"soak-{number}-{place}" for place in range(LEADS)]
    for count in itertools.count():
        lead, at = draw.choice(known), iso(now())
        kind = draw.random()
        if kind < 0.35:
            yield "POST", "/v1/score", draw.choice(scored), {200}
        elif kind < 0.55:
            yield "POST", "/v1/score", _json(leads=[{"lead_id": lead}], reasons=2), {200}
        elif kind < 0.75:
            events = [{"lead_id": lead, "event_id": f"{number}-{count}-{place}", "kind": "call",
                       "occurred_at": at} for place in range(5)]  # fmt: skip
            yield "POST", "/v1/events", _json(events=events), {200}
        elif kind < 0.85:
            made = {"lead_id": lead, "created_at": "2026-01-01T00:00:00Z"}
            yield "POST", "/v1/leads", _json(leads=[made]), {200}
        elif kind < 0.90:
            yield "GET", "/v1/worklist?limit=20&capacity=50/week", b"", {200}
        elif kind < 0.94:
            yield "GET", f"/v1/leads/{lead}/export", b"", {200, 404}
        elif kind < 0.96:
            yield "DELETE", f"/v1/leads/{lead}", b"", {200, 404}
        else:
            yield draw.choice([
                ("POST", "/v1/score", b"{", {400}),
                ("POST", "/v1/score", _json(leads=[]), {422}),
                ("POST", "/v1/events", _json(events=[{"kind": "call"}]), {200}),
                ("GET", "/v1/nothing", b"", {404}),
                ("GET", "/metrics", b"", {200}),
            ])  # fmt: skip


def _json(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def held(running: Running) -> tuple[float, int]:
    """Memory (MiB) and open descriptors of the worker."""
    worker = max(psutil.Process(running.process.pid).children(recursive=True),
                 key=lambda one: one.memory_info().rss)  # fmt: skip
    return worker.memory_info().rss / 2**20, worker.num_fds()


def soak(running: Running, scored: list[bytes], seconds: float) -> None:
    """Load the service, and print the bars."""
    port = int(running.url.rpartition(":")[2])
    callers = [
        Caller(port, calls(scored, number), RATE / CALLERS) for number in range(CALLERS)
    ]  # fmt: skip
    for caller in callers:
        caller.start()
    time.sleep(seconds / 5)
    memory, descriptors = held(running)
    time.sleep(4 * seconds / 5)
    for caller in callers:
        caller.ended.set()
    for caller in callers:
        caller.join()
    memory_after, descriptors_after = held(running)
    odd = [one for caller in callers for one in caller.odd]
    print(f"{sum(one.answers for one in callers):,} answers, "
          f"{sum(one.refused for one in callers):,} of them refusals; "
          f"{memory:.0f} MiB then, {memory_after:.0f} at the end; "
          f"{descriptors} descriptors then, {descriptors_after} at the end")  # fmt: skip
    print("\n".join(odd[:5]))
    bar("soak-memory-over-warm", memory_after / memory, 1.05)
    bar("soak-descriptors-more", descriptors_after - descriptors, 4)
    bar("soak-unexpected-answers", len(odd), 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute instead of five")
    seconds = 60 if parser.parse_args().quick else 300
    history = simulate(leads=2_000, seed=5).history
    with TemporaryDirectory() as directory:
        place = Path(directory)
        model(history, place / "bundle")
        scored = bodies(history, [[lead] for lead in leads(history, EVENTS, 50)])
        store = Store(place / "store.db")
        store.load(history)
        store.close()
        with serving(place / "bundle", place / "store.db", free_port()) as running:
            soak(running, scored, seconds)


if __name__ == "__main__":
    main()
