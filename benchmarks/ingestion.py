"""Events taken in over HTTP against a bare executemany, and what it costs the scores beside it.

    python -m benchmarks.ingestion

Batches of 500 events go through `POST /v1/events` over two connections, answered when they are on
disk; the floor is `executemany` of the same rows into the same table, committed batch by batch with
the same durability. The two take turns. Then scores on a schedule, each kept in the ledger, without
and with batches coming in beside them at a steady rate.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any

import msgspec
import numpy as np

from benchmarks.bar import bar
from benchmarks.funnel_requests import bodies, leads, model
from benchmarks.load import load
from benchmarks.serving import Client, free_port
from features.simulate import simulate
from features.times import instant, iso
from serving.run import Running, serving
from serving.scorer import Row
from serving.store import Store
from serving.store.tables import COLUMNS
from tests.postgres import fresh, missing, server

SIZE, BATCHES, ROUNDS, CONNECTIONS = 500, 24, 5, 2
SCORES, SECONDS, BATCHES_A_SECOND, SETTLE = 100, 8.0, 4, 10.0
START, KINDS = instant("2026-01-01"), ("visit", "call", "reply", "download")
Bare = Callable[[Sequence[Row]], None]


def batch(number: int) -> tuple[bytes, list[Row]]:
    """The events of a batch as a body, and as rows of the store."""
    rows: list[Row] = []
    for place in range(number * SIZE, (number + 1) * SIZE):
        lead, at = f"{place * 7919 % 20_011:06d}", START + place * 1_000_000
        rows.append((lead, f"e{place:09d}", KINDS[place % 4], at, at, "web", None, 2.5, "{}"))
    names = COLUMNS["events"]
    events = [
        {**dict(zip(names, row, strict=True)), "occurred_at": iso(row[3]), "known_at": iso(row[4]),
         "properties": {}}
        for row in rows
    ]  # fmt: skip
    return msgspec.json.encode({"events": events}), rows


@contextmanager
def bare_sqlite(path: Path) -> Iterator[Bare]:
    """executemany into a store's file of its own, synced at each commit."""
    store = Store(path)
    store.open()
    store.close()
    marks = ", ".join("?" * len(COLUMNS["events"]))
    with closing(sqlite3.connect(path)) as con:
        con.execute("PRAGMA synchronous = FULL")

        def put(rows: Sequence[Row]) -> None:
            with con:
                con.executemany(f"INSERT INTO events VALUES ({marks})", rows)

        yield put


@contextmanager
def bare_postgres(url: str) -> Iterator[Bare]:
    """executemany into a store's tables of a database of its own, synced at each commit."""
    import psycopg

    store = Store(url)
    store.open()
    store.close()
    marks = ", ".join(["%s"] * len(COLUMNS["events"]))
    with psycopg.connect(url) as con:

        def put(rows: Sequence[Row]) -> None:
            with con.transaction(), con.cursor() as cursor:
                cursor.executemany(f"INSERT INTO events VALUES ({marks})".encode(), rows)

        yield put


def over_executemany(running: Running, bare: Bare) -> float:
    """The rate of ours over that of the floor, in turn; the median of the rounds."""
    clients = [Client(running.url) for _ in range(CONNECTIONS)]
    ratios, number = [], 0
    with ThreadPoolExecutor(CONNECTIONS) as pool:

        def send(client: Client, given: Sequence[bytes]) -> None:
            for body in given:
                _, told = client.post("/v1/events", body)
                assert told.startswith(b'{"stored":%d,' % SIZE), told[:200]

        for turn in range(-1, ROUNDS):
            given = [batch(one) for one in range(number, number + BATCHES)]
            number += BATCHES
            sent = [body for body, _ in given]
            start = time.perf_counter()
            parts = [sent[place::CONNECTIONS] for place in range(CONNECTIONS)]
            list(pool.map(send, clients, parts))
            ours = time.perf_counter() - start
            start = time.perf_counter()
            for _, rows in given:
                bare(rows)
            theirs = time.perf_counter() - start
            if turn >= 0:
                ratios.append(theirs / ours)
                print(f"ours {BATCHES * SIZE / ours:>8,.0f} events/s, "
                      f"executemany {BATCHES * SIZE / theirs:>8,.0f}")  # fmt: skip
    return float(np.median(ratios))


def beside(running: Running, asked: Path) -> float:
    """The p99 of scores while events come in, over that without."""
    ended = Event()

    def take_in() -> None:
        client = Client(running.url)  # only now: an idle one is closed
        number, due = 1_000_000, time.perf_counter()
        while not ended.is_set():
            client.post("/v1/events", batch(number)[0])
            number, due = number + 1, due + 1 / BATCHES_A_SECOND
            time.sleep(max(0.0, due - time.perf_counter()))

    time.sleep(SETTLE)  # what came in before is still being scored anew
    load(running.url, "/v1/score", asked, 1)
    alone = load(running.url, "/v1/score", asked, SECONDS, SCORES)
    feeding = Thread(target=take_in)
    feeding.start()
    with_others = load(running.url, "/v1/score", asked, SECONDS, SCORES)
    ended.set()
    feeding.join()
    for name, one in (("alone", alone), ("while ingesting", with_others)):
        print(f"scores {name:<16} p50 {1e3 * one['p50']:.2f} ms, p99 {1e3 * one['p99']:.2f} ms, "
              f"{one['refused']:.0f} refused")  # fmt: skip
    return with_others["p99"] / alone["p99"]


def main() -> None:
    history = simulate(leads=3_000, seed=5).history
    ratios: dict[str, Any] = {}
    with TemporaryDirectory() as directory:
        scratch = Path(directory)
        model(history, scratch / "bundle")
        asked = bodies(history, [[lead] for lead in leads(history, 10, 50)])
        (scratch / "scores").write_bytes(b"\n".join(asked))
        place = scratch / "store.db"
        with (
            serving(scratch / "bundle", place, free_port()) as running,
            bare_sqlite(scratch / "bare.db") as bare,
        ):
            ratios["sqlite"] = over_executemany(running, bare)
            slower = beside(running, scratch / "scores")
        lacking = missing()
        if lacking is None:
            with (
                server(durable=True) as url,
                serving(scratch / "bundle", fresh(url), free_port()) as running,
                bare_postgres(fresh(url)) as bare,
            ):
                ratios["postgres"] = over_executemany(running, bare)
        else:
            print(lacking)
    for name, ratio in ratios.items():
        bar(f"ingest-over-executemany-{name}", ratio, 0.5, ">=")
    bar("score-p99-while-ingesting", slower, 2)


if __name__ == "__main__":
    main()
