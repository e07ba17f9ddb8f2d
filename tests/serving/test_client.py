"""The client says what the service says, and tries again where that helps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import httpx
import msgspec
import pytest

from serving.api import Refused
from serving.client import Leadcast, Refusal
from serving.scorer import Score

LEAD = {"lead_id": "of a/client", "created_at": "2026-01-01T00:00:00Z"}
CALL = {"lead_id": "of a/client", "kind": "call", "occurred_at": "2026-02-01T00:00:00Z"}


@pytest.fixture
def ours(service: httpx.Client) -> Iterator[Leadcast]:
    with Leadcast(str(service.base_url)) as made:
        yield made


def test_a_lead_from_its_first_fact_to_its_last(ours: Leadcast) -> None:
    [stored] = ours.leads([LEAD])
    assert stored.refused == 0
    [events] = ours.events([CALL, {**CALL, "kind": ""}])
    assert (events.refused, events.stored + events.known) == (1, 1)
    [answer] = ours.score([{"lead_id": LEAD["lead_id"]}, {"lead_id": "unknown"}], reasons=2)
    score, refused = answer.scores
    assert isinstance(score, Score)
    assert len(score.reasons) == 2
    assert not isinstance(refused, Score)
    assert refused.problem.field == "leads[1].lead_id"
    assert answer.model_version == ours.model().version
    assert next(ours.past_scores(LEAD["lead_id"])).probability == score.probability
    decision = ours.decide(LEAD["lead_id"], "c1", "sales", "they called", "ann")
    assert ours.decisions(LEAD["lead_id"]) == [decision]
    assert ours.consent(LEAD["lead_id"], given=False).given is False
    [withdrawn] = ours.score([{"lead_id": LEAD["lead_id"]}])
    assert not isinstance(withdrawn.scores[0], Score)
    assert set(ours.export(LEAD["lead_id"]).held) >= {"leads", "events", "scores", "decisions"}
    assert ours.erase(LEAD["lead_id"]).rows >= 5
    with pytest.raises(Refusal, match=r"404 .* remedy: check the id"):
        ours.export(LEAD["lead_id"])


def test_long_lists_are_cut_and_pages_are_joined(ours: Leadcast) -> None:
    many = [{**LEAD, "lead_id": f"one of many {number}"} for number in range(1_001)]
    answers = ours.leads(many)
    assert [answer.stored + answer.known for answer in answers] == [1_000, 1]
    limit = time.monotonic() + 180
    while ours.cut("20/week").leads < 20:  # they are scored in the background
        assert time.monotonic() < limit
        time.sleep(0.1)
    entries = [one.lead_id for one in islice(ours.work_list(limit=7), 20)]
    assert len(entries) == 20
    assert ours.cut("20/week").wins.mean > 0
    body = [{"lead_id": one["lead_id"]} for one in many]
    assert [len(answer.scores) for answer in ours.score(body, reasons=0)] == [1_000, 1]


def answering(*answers: httpx.Response | Exception) -> tuple[Leadcast, list[float]]:
    """A client of a service that answers so in turn, and how long it paused."""
    waited: list[float] = []
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        del request
        told = left.pop(0)
        if isinstance(told, Exception):
            raise told
        return told

    made = Leadcast("http://here", pause=waited.append)
    made._http = httpx.Client(base_url="http://here", transport=httpx.MockTransport(answer))
    return made, waited


BUSY = httpx.Response(503, headers={"Retry-After": "2"}, json={
    "type": "urn:leadcast:problem:overloaded", "title": "The service is busy", "status": 503,
    "detail": "more is asked than can be answered in time",
})  # fmt: skip
GOOD = httpx.Response(200, json={"decisions": []})


def test_a_file_of_leads_is_scored_as_a_job(ours: Leadcast, tmp_path: Path) -> None:
    leads = tmp_path / "leads.ndjson"
    leads.write_bytes(msgspec.json.Encoder().encode_lines([LEAD, {"lead_id": ""}]))
    job = ours.submit(leads, reasons=1)
    limit = time.monotonic() + 180
    while ours.job(job.job_id).ended_at is None:
        assert time.monotonic() < limit
        time.sleep(0.1)
    score, refused = ours.answers(job.job_id)
    assert isinstance(score, Score)
    assert (score.lead_id, len(score.reasons)) == (LEAD["lead_id"], 1)
    assert isinstance(refused, Refused)
    with pytest.raises(Refusal, match="404"):
        ours.job("0" * 16)
    with pytest.raises(Refusal, match="404"):
        next(ours.answers("0" * 16))
    leads.write_text("")
    with pytest.raises(Refusal, match="no lead in the file"):
        ours.submit(leads)


def test_what_is_busy_or_lost_is_asked_again_when_it_says() -> None:
    client, waited = answering(BUSY, httpx.ConnectError("gone"), GOOD)
    assert client.decisions("x") == []
    assert waited == [2.0, 0.4]


def test_it_gives_up_with_what_was_said_last() -> None:
    client, waited = answering(*[BUSY] * 5)
    with pytest.raises(Refusal, match="503 The service is busy"):
        client.decisions("x")
    assert len(waited) == 4
    client, _ = answering(*[httpx.ConnectError("gone")] * 5)
    with pytest.raises(httpx.ConnectError):
        client.decisions("x")


def test_what_will_not_change_is_not_asked_again() -> None:
    client, waited = answering(httpx.Response(502, text="<html>"))
    with pytest.raises(Refusal, match="502"):
        client.decisions("x")
    assert waited == []
