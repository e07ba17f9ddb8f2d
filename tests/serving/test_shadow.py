"""A challenger is asked for the same leads, and nobody hears it: what differs is counted."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from features.schema import History
from serving import api
from serving.routes.score import Desk
from serving.run import ServiceError, serving
from serving.scorer import Scorer
from serving.shadow import MOST_WAITING, Shadow
from serving.store import Store
from tests.serving.asking import Asking, by_id, free_port
from training import bundle


@pytest.fixture(scope="module")
def ids(history: History) -> list[str]:
    """Leads of whom some are settled: no model scores those."""
    return history.leads["lead_id"].iloc[-12:].to_list()


def envelope(body: object) -> api.Envelope:
    return api.read_envelope(msgspec.json.encode(body))


@pytest.fixture(scope="module")
def desk(scorer: Scorer, stored: Path) -> Iterator[Desk]:
    store = Store(stored)
    yield Desk(scorer, store)
    store.close()


def test_the_same_model_says_the_same(
    directory: Path, desk: Desk, asking: Asking, ids: list[str], today: int
) -> None:
    shadow = Shadow(directory, None)
    assert (shadow.compared.scored, shadow.compared.distance) == (0, None)
    shadow.start()
    asked = envelope(asking.body(ids, today))
    told, _ = desk.results(asked, today, "")
    shadow.beside(asked, today, told)
    shadow.settle()
    found = shadow.compared
    assert found == type(found)(shadow.version, len(ids), 0, 0, 0.0, 0.0)


def test_another_model_differs_by_what_is_counted(
    rival: Path, stored: Path, desk: Desk, ids: list[str], today: int
) -> None:
    store = Store(stored)
    shadow, asked = Shadow(rival, store), envelope(by_id([*ids, "unknown"], today))
    shadow.start()
    told, _ = desk.results(asked, today, "")
    shadow.beside(asked, today, told)
    shadow.settle()
    found = shadow.compared
    theirs, _ = Desk(Scorer(bundle.load(rival)), store).results(asked, today, "")
    both = [(a, b) for a, b in zip(told, theirs, strict=True) if not isinstance(a, api.Refused)]
    apart = [b.probability - a.probability for a, b in both if not isinstance(b, api.Refused)]
    assert found.scored == len(apart) > 0
    assert found.left_out == len(told) - len(apart) > 0
    assert found.difference == pytest.approx(sum(apart) / len(apart))
    assert found.distance == pytest.approx(-sum(apart) / len(apart))
    store.close()


def test_what_is_too_much_or_fails_is_left_out(
    directory: Path, desk: Desk, asking: Asking, ids: list[str], today: int
) -> None:
    shadow, asked = Shadow(directory, None), envelope(asking.body(ids[:2], today))
    told, _ = desk.results(asked, today, "")
    for _ in range(MOST_WAITING // 2 + 3):
        shadow.beside(asked, today, told)
    assert shadow.compared.left_out == 3 * 2
    shadow.start()
    shadow.settle()
    assert shadow.compared.scored == MOST_WAITING
    shadow.beside(asked, today, told[:1])  # one answer for two leads: it must not end the thread
    shadow.beside(asked, today, told)
    shadow.settle()
    assert shadow.compared.scored >= MOST_WAITING + 2


def test_a_service_tells_of_its_challenger_and_answers_as_the_champion(
    directory: Path, rival: Path, stored: Path, asking: Asking, ids: list[str], today: int
) -> None:
    champion, challenger = bundle.load(directory).version, bundle.load(rival).version
    with (
        serving(directory, stored, free_port(), challenger=rival) as running,
        httpx.Client(base_url=running.url, timeout=60) as client,
    ):
        for one in ids:
            answer = client.post("/v1/score", json=asking.body([one], today)).json()
            assert answer["model_version"] == champion
        for _ in range(100):
            found = client.get("/v1/models").json()["challenger"]
            if found["scored"] == len(ids):
                break
            time.sleep(0.1)
        assert (found["version"], found["scored"], found["left_out"]) == (challenger, len(ids), 0)
        assert found["difference"] == -found["distance"] < -0.001
        text = client.get("/metrics").text
        counted = re.findall(rf'^leadcast_shadow_scores_total.*"{challenger}".* (\S+)$', text, re.M)
        assert sum(map(float, counted)) == len(ids)
        ledger = client.get(f"/v1/leads/{ids[0]}/scores").json()
        assert {one["model_version"] for one in ledger["scores"]} == {champion}


def test_a_damaged_challenger_is_told_at_the_start(
    directory: Path, rival: Path, tmp_path: Path
) -> None:
    shutil.copytree(rival, tmp_path / "damaged")
    (tmp_path / "damaged" / "conversion.txt").write_bytes(b"tree")
    with (
        pytest.raises(ServiceError, match=r"conversion\.txt"),
        serving(directory, None, free_port(), challenger=tmp_path / "damaged"),
    ):
        pass
