"""What was acknowledged is there, once, whoever is killed while it comes in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from serving.run import Running, serving
from serving.store import Store
from tests.postgres import fresh, missing, server
from tests.serving.asking import free_port

BATCH, PATIENCE = 50, 180.0
KILLS = 20

LEAD = {"lead_id": "scored", "created_at": "2026-01-01T00:00:00Z"}


class Sender(Thread):
    """Sends batches and asks for scores until it is ended, each until it is acknowledged."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url, self._ended = url, Event()
        self.events, self.scores = list[str](), list[str]()
        self.odd: list[str] = []
        self.refused = 0

    def run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60) as client:
            number = 0
            while not self._ended.is_set():
                events = [
                    {"lead_id": f"{place % 7}", "event_id": f"{number}-{place}", "kind": "call",
                     "occurred_at": "2026-01-02T00:00:00Z"}
                    for place in range(BATCH)
                ]  # fmt: skip
                told = self._insist(client, "/v1/events", {"events": events})
                results = [one["status"] for one in told.json()["results"]]
                if set(results) <= {"stored", "known"} and len(results) == BATCH:
                    self.events += [one["event_id"] for one in events]
                else:
                    self.odd.append(told.text)
                told = self._insist(client, "/v1/score", {"leads": [LEAD], "reasons": 0})
                self.scores.append(told.headers["x-request-id"])
                number += 1

    def end(self) -> None:
        """Send no more; returns when the last batch is acknowledged."""
        self._ended.set()
        self.join(PATIENCE)
        assert not self.is_alive()

    def _insist(self, client: httpx.Client, path: str, body: dict[str, Any]) -> httpx.Response:
        limit = time.monotonic() + PATIENCE
        while time.monotonic() < limit:
            try:
                told = client.post(path, json=body)
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            if told.status_code == 200:
                return told
            self.refused += 1
            fine = told.status_code == 503 and "retry-after" in told.headers
            if not (fine and told.headers["content-type"] == "application/problem+json"):
                self.odd.append(f"{told.status_code}: {told.text}")
            time.sleep(0.05)
        raise AssertionError(f"{path} is not answered any more")


@contextmanager
def sending(running: Running) -> Iterator[Sender]:
    sender = Sender(running.url)
    sender.start()
    try:
        yield sender
    finally:
        sender.end()


def kills(sender: Sender, kill: Callable[[], None]) -> None:
    """Kill again and again; before each time and at the end something new is acknowledged."""
    for number in range(KILLS + 1):
        since, limit = len(sender.scores), time.monotonic() + PATIENCE
        while len(sender.scores) < since + 3:
            assert time.monotonic() < limit, "nothing is acknowledged any more"
            time.sleep(0.02)
        if number < KILLS:
            kill()


def check(sender: Sender, place: str) -> None:
    """Each event that was acknowledged is there once, and each score in the ledger."""
    assert not sender.odd
    store = Store(place)
    store.open()
    events = [one for (one,) in store.rows("SELECT event_id FROM events")]
    scores = {one for (one,) in store.rows("SELECT request_id FROM scores")}
    store.close()
    assert sorted(events) == sorted(sender.events)
    assert set(sender.scores) <= scores


def kill_server(url: str) -> None:
    """Kill a process of the server: all its others end with it, and it recovers from its log."""
    import psycopg

    try:
        with psycopg.connect(url) as con:
            [pid] = con.execute(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'"
            ).fetchone() or [None]
    except psycopg.OperationalError:
        return  # not there again yet
    if pid is not None:
        psutil.Process(pid).kill()


@pytest.mark.slow
def test_a_postgres_that_is_killed_loses_nothing(directory: Path) -> None:
    lacking = missing()
    if lacking is not None:
        pytest.skip(lacking)
    with server(durable=True) as url:
        place = fresh(url)
        with serving(directory, place, free_port()) as running, sending(running) as sender:
            kills(sender, lambda: kill_server(url))
        assert sender.refused
        check(sender, place)


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing(directory: Path, tmp_path: Path) -> None:
    place = tmp_path / "store.db"

    def kill() -> None:
        for one in psutil.Process(running.process.pid).children(recursive=True):
            one.kill()

    with serving(directory, place, free_port()) as running, sending(running) as sender:
        kills(sender, kill)
        assert running.process.poll() is None, "another worker takes its place"
    check(sender, str(place))


@pytest.mark.slow
def test_a_service_that_is_killed_loses_nothing(directory: Path, tmp_path: Path) -> None:
    place, port = tmp_path / "store.db", free_port()
    with ExitStack() as lives:
        life = [lives.enter_context(serving(directory, place, port))]

        def kill() -> None:
            root = psutil.Process(life.pop().process.pid)
            for one in (*root.children(recursive=True), root):
                one.kill()
            lives.pop_all().close()
            life.append(lives.enter_context(serving(directory, place, port)))

        with sending(life[0]) as sender:
            kills(sender, kill)
    check(sender, str(place))
