"""What was said of a lead is kept as it was said, before it is answered."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from features.schema import History
from serving.problems import Breach
from serving.repeats import Repeats
from serving.store import Store
from tests.serving.asking import Asking


def past(client: httpx.Client, lead_id: str, limit: int = 100) -> list[dict[str, Any]]:
    """All past scores of a lead, so many a page."""
    found: list[dict[str, Any]] = []
    page: dict[str, Any] = {"limit": limit}
    while True:
        told = client.get(f"/v1/leads/{lead_id}/scores", params=page).json()
        assert len(told["scores"]) <= limit
        found += told["scores"]
        if told["next"] is None:
            return found
        page["cursor"] = told["next"]


def test_every_score_is_kept_as_it_was_answered(
    service: httpx.Client, history: History, asking: Asking, today: int
) -> None:
    chosen = history.leads["lead_id"].tail(20).tolist()
    before = {lead: past(service, lead) for lead in chosen}
    body = asking.body(chosen, today, reasons=0)
    body["leads"].append({**body["leads"][0], "note": "refused"})
    told = service.post("/v1/score", json=body, headers={"X-Request-Id": "0" * 15 + "-aB"})
    model = service.get("/v1/model").json()
    *scored, refused = told.json()["scores"]
    assert refused["status"] == "refused"
    for lead, score in zip(chosen, scored, strict=True):
        kept, *older = past(service, lead)
        assert older == before[lead]
        assert kept.pop("answered_at") > "2026"
        assert kept == {
            "as_of": score["as_of"],
            "model_version": model["version"],
            "fingerprint": model["fingerprint"],
            "probability": score["probability"],
            "expected_value": score["expected_value"] and score["expected_value"]["mean"],
            "grade": score["grade"],
            "route": score["route"],
            "request_id": told.headers["x-request-id"],
        }


def test_past_scores_come_page_by_page_the_latest_first(service: httpx.Client) -> None:
    lead = {"lead_id": "paged", "created_at": "2026-01-01T00:00:00Z"}
    moments = [f"2026-03-0{day}T00:00:00Z" for day in range(1, 8)]
    for moment in moments:
        body = {"leads": [lead, lead], "as_of": moment, "reasons": 0}
        assert service.post("/v1/score", json=body).status_code == 200
    found = past(service, "paged")
    told = [one["as_of"][:10] for one in found]
    assert told == [moment[:10] for moment in reversed(moments) for _ in range(2)]
    for limit in (1, 3, 14):
        assert past(service, "paged", limit) == found


def test_a_lead_that_was_never_scored_has_no_past(service: httpx.Client) -> None:
    assert service.get("/v1/leads/nobody/scores").json() == {"scores": [], "next": None}


@pytest.mark.parametrize("query", ["limit=1001", "cursor=5", "since=1"])
def test_a_bad_page_of_scores_is_a_problem(service: httpx.Client, query: str) -> None:
    answer = service.get(f"/v1/leads/anybody/scores?{query}")
    assert (answer.status_code, answer.json()["field"]) == (422, query.partition("=")[0])


def test_an_id_that_no_store_can_hold_is_refused_alone(service: httpx.Client) -> None:
    good = {"lead_id": "beside NUL", "created_at": "2026-01-01T00:00:00Z"}
    answer = service.post("/v1/score", json={"leads": [{**good, "lead_id": "a\0b"}, good]})
    refused, scored = answer.json()["scores"]
    assert (refused["status"], scored["status"]) == ("refused", "scored")
    assert refused["problem"]["field"] == "leads[0].lead_id"
    assert len(past(service, "beside NUL")) == 1


def test_a_request_that_is_sent_again_is_answered_as_it_was_and_kept_once(
    service: httpx.Client,
) -> None:
    lead = {"lead_id": "sent again", "created_at": "2026-01-01T00:00:00Z"}
    body, headers = {"leads": [lead], "reasons": 1}, {"Idempotency-Key": "a-request"}
    first = service.post("/v1/score", json=body, headers=headers)
    assert first.status_code == 200
    again = service.post("/v1/score", json=body, headers=headers)
    assert again.content == first.content
    assert len(past(service, "sent again")) == 1
    other = service.post("/v1/score", json={**body, "reasons": 2}, headers=headers)
    assert (other.status_code, other.json()["field"]) == (422, "Idempotency-Key")
    service.post("/v1/score", json=body, headers={"Idempotency-Key": "another"})
    assert len(past(service, "sent again")) == 2
    for bad in ("", "x" * 256):
        refused = service.post("/v1/score", json=body, headers={"Idempotency-Key": bad})
        assert refused.json()["field"] == "Idempotency-Key"
    service.request("DELETE", "/v1/leads/sent again")
    fresh = service.post("/v1/score", json=body, headers=headers)
    assert fresh.json()["as_of"] > first.json()["as_of"], "the answer was forgotten with the lead"


def test_the_same_request_is_worked_on_once_at_a_time(tmp_path: Path) -> None:
    store, repeats, runs = Store(tmp_path / "store.db"), Repeats(), list[int]()

    async def work() -> tuple[bytes, list[Any]]:
        runs.append(1)
        await asyncio.sleep(0.05)
        return b"told", []

    async def scene() -> list[Any]:
        asked = [repeats.answer(store, "key", "one", b"body", work) for _ in range(4)]
        return await asyncio.gather(*asked, return_exceptions=True)

    told = asyncio.run(scene())
    assert told.count(b"told") == len(runs) == 1
    assert [one.status for one in told if isinstance(one, Breach)] == [409] * 3
    assert asyncio.run(repeats.answer(store, "key", "one", b"body", work)) == b"told"
    assert asyncio.run(repeats.answer(store, "another", "one", b"body", work)) == b"told"
    assert len(runs) == 2
    store.close()
