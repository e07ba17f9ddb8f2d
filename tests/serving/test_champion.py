"""A promoted model takes over while the service runs; a bad one changes what is said, no more."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving import run
from tests.serving.asking import by_id, free_port
from training import bundle
from training.bundle import Bundle


@pytest.fixture(scope="module")
def place(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the service reads its model."""
    made = tmp_path_factory.mktemp("place") / "champion"
    bundle.place(directory, made)
    return made


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "service.log"


@pytest.fixture(scope="module")
def service(place: Path, stored: Path, log: Path) -> Iterator[httpx.Client]:
    environment = {"LEADCAST_BUNDLE": str(place), "LEADCAST_STORE": str(stored)}
    with (
        log.open("w+b") as said,
        run.process("serving.service:Leadcast", free_port(), environment, log=said) as running,
        httpx.Client(base_url=running.url, timeout=150) as connected,
    ):
        yield connected


def becomes(service: httpx.Client, made: Bundle) -> bool:
    """Whether the service takes a model up by itself, in a minute or two on a busy machine."""
    for _ in range(600):
        if service.get("/v1/model").json()["version"] == made.version:
            return True
        time.sleep(0.2)
    return False


def told(service: httpx.Client, lead: str, as_of: int) -> tuple[str, float]:
    answer = service.post("/v1/score", json=by_id([lead], as_of)).json()
    [one] = answer["scores"]
    assert one["model_version"] == answer["model_version"]
    return answer["model_version"], one["probability"]


def refused_so_far(service: httpx.Client) -> float:
    text = service.get("/metrics").text
    return float(re.findall(r"^leadcast_model_refused_total (\S+)$", text, re.MULTILINE)[0])


def serving_now(service: httpx.Client) -> list[str]:
    text = service.get("/metrics").text
    return re.findall(r'^leadcast_model_info{version="(\w+)"} 1\.0$', text, re.MULTILINE)


def test_a_promoted_model_takes_over_by_itself_and_the_old_one_comes_back(
    service: httpx.Client, directory: Path, rival: Path, place: Path, history: Any, today: int
) -> None:
    lead = history.leads["lead_id"].iloc[-1]
    old, new = bundle.load(directory), bundle.load(rival)
    before = told(service, lead, today)
    assert before[0] == old.version
    assert serving_now(service) == [old.version]
    bundle.place(rival, place)
    assert becomes(service, new)
    version, probability = told(service, lead, today)
    assert version == new.version
    assert probability < before[1]
    assert serving_now(service) == [new.version]
    bundle.place(directory, place)
    answer = service.post("/v1/model/reload")
    assert (answer.status_code, answer.json()["model_version"]) == (200, old.version)
    assert told(service, lead, today) == before
    again = service.post("/v1/model/reload")
    assert again.json() == {"model_version": old.version, "changed": False}
    models = service.get("/v1/models").json()
    assert (models["serving"]["version"], models["serving"]["target"]) == (old.version, "won")
    assert models["previous"] == [new.version]
    assert models["refused"] == []


def test_a_bad_model_is_refused_and_the_old_one_goes_on(
    service: httpx.Client, directory: Path, rival: Path, place: Path, log: Path
) -> None:
    old, count = bundle.load(directory), refused_so_far(service)
    shown = place.resolve()
    place.unlink()
    shutil.copytree(rival, place)
    model = place / "conversion.txt"
    model.write_bytes(model.read_bytes()[:-2_000])
    answer = service.post("/v1/model/reload")
    assert answer.status_code == 409
    problem = answer.json()
    assert problem["type"] == "urn:leadcast:problem:model-refused"
    assert "conversion.txt is not the file that was written" in problem["detail"]
    assert old.version in problem["remedy"]
    assert service.get("/v1/model").json()["version"] == old.version
    ready = service.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "warn")
    assert old.version in ready.json()["output"]
    assert service.get("/livez").json() == {"status": "pass"}
    assert refused_so_far(service) > count
    assert serving_now(service) == [old.version]
    lines = [json.loads(one) for one in log.read_text().splitlines() if one.startswith("{")]
    reasons = [one["reason"] for one in lines if one["event"] == "model refused"]
    assert "conversion.txt" in reasons[-1]
    assert "Traceback" not in log.read_text()
    models = service.get("/v1/models").json()
    assert models["serving"]["version"] == old.version
    assert models["refused"][0]["version"] == bundle.load(rival).version
    assert "conversion.txt" in models["refused"][0]["reason"]
    shutil.rmtree(place)
    place.symlink_to(shown)
    assert service.post("/v1/model/reload").json()["changed"] is False
    assert service.get("/readyz").json() == {"status": "pass"}


def test_a_model_copied_file_by_file_is_taken_when_it_is_whole(
    service: httpx.Client, rival: Path, place: Path
) -> None:
    count, new = refused_so_far(service), bundle.load(rival)
    place.unlink()
    place.mkdir()
    for path in sorted(rival.iterdir()):
        shutil.copy(path, place)
        time.sleep(0.1)
    assert becomes(service, new)
    assert refused_so_far(service) == count
