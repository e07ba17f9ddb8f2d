"""A store that is lost, full or read-only: refused cleanly meanwhile, and used again afterwards."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from features.times import iso, now
from serving.run import process
from tests.postgres import fresh, installed, missing
from tests.serving.asking import free_port

LOST_SECONDS = 30.0
LEAD = {"lead_id": "scored", "created_at": "2026-01-01T00:00:00Z"}


def event(number: int) -> dict[str, Any]:
    one = {"lead_id": "scored", "event_id": str(number), "kind": "call", "occurred_at": iso(now())}
    return {"events": [one]}


@contextmanager
def served(bundle: Path, store: str, log: Path) -> Iterator[httpx.Client]:
    environment = {"LEADCAST_BUNDLE": str(bundle), "LEADCAST_STORE": store}
    with (
        log.open("w+b") as said,
        process("serving.service:Leadcast", free_port(), environment, log=said) as running,
        httpx.Client(base_url=running.url, timeout=60) as client,
    ):
        yield client


def becomes(what: Callable[[], bool], seconds: float = 20.0) -> bool:
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if what():
            return True
        time.sleep(0.1)
    return False


def refused(answer: httpx.Response) -> bool:
    """Whether it is the documented refusal of a store that cannot do it now."""
    told = answer.json()["type"].rpartition(":")[2]
    known = told in ("store-unavailable", "overloaded")
    return answer.status_code == 503 and known and "retry-after" in answer.headers


def accepted(client: httpx.Client, number: int) -> bool:
    told = client.post("/v1/events", json=event(number))
    assert told.status_code == 200 or refused(told), told.text
    return told.status_code == 200 and told.json()["refused"] == 0


def scored(client: httpx.Client) -> bool:
    told = client.post("/v1/score", json={"leads": [LEAD], "reasons": 0})
    assert told.status_code == 200 or refused(told), told.text
    return told.status_code == 200


@pytest.mark.slow
def test_a_postgres_that_is_lost_for_half_a_minute(directory: Path, tmp_path: Path) -> None:
    lacking = missing()
    if lacking is not None:
        pytest.skip(lacking)
    log = tmp_path / "log"
    with installed(durable=True) as server:
        server.start()
        place = fresh(server.url)
        server.stop()
        with served(directory, place, log) as client:
            unready = client.get("/readyz")
            assert (unready.status_code, unready.json()["status"]) == (503, "fail")
            assert "store" in unready.json()["output"]
            assert not accepted(client, 0)
            server.start()
            assert becomes(lambda: client.get("/readyz").status_code == 200)
            assert becomes(lambda: accepted(client, 1))
            assert scored(client)
            server.stop()
            lost = time.monotonic() + LOST_SECONDS
            while time.monotonic() < lost:
                assert not accepted(client, 2)
                assert not scored(client)
                time.sleep(0.5)
            assert client.get("/livez").status_code == 200
            assert client.get("/readyz").status_code == 503
            assert client.get("/v1/model").status_code == 200
            server.start()
            assert becomes(lambda: accepted(client, 2))
            assert scored(client)
            assert client.get("/readyz").status_code == 200
            assert 'reason="store-unavailable"' in client.get("/metrics").text
    assert "Traceback" not in log.read_text()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of eight megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here: run the tests as root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.slow
def test_a_disk_that_is_full_and_one_that_is_read_only(
    directory: Path, small_disk: Path, tmp_path: Path
) -> None:
    log, store = tmp_path / "log", small_disk / "store.db"
    with served(directory, str(store), log) as client:
        assert accepted(client, 0)
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        number = 1
        while accepted(client, number):  # what is left of the last pages
            number += 1
            assert number < 1_000
        assert not scored(client)
        assert client.get("/livez").status_code == 200
        filler.unlink()
        assert becomes(lambda: accepted(client, number))
        assert scored(client)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with served(directory, str(store), log) as client:
        assert client.get("/readyz").status_code == 503
        assert not accepted(client, number + 1)
        assert not scored(client)
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
        assert becomes(lambda: accepted(client, number + 1))
        held = client.get("/v1/leads/scored/export").json()["held"]
    assert [one["event_id"] for one in held["events"]] == sorted(map(str, range(number + 2)))
    assert "Traceback" not in log.read_text()
