"""What is taken in is on disk once, and what is not is kept with its reason."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from features.schema import TABLES, History
from tests.serving.asking import Asking, by_id, records

SECRET = "bob@example.com"
LEAD = {"lead_id": "00123", "created_at": "2026-01-01T00:00:00+02:00", "attributes": {"a": "b"}}
CALL = {"lead_id": "00123", "event_id": "1", "kind": "call", "occurred_at": "2026-01-02T00:00:00Z"}
CHANGE = {"lead_id": "00123", "change_id": "1", "field": "stage", "value": "new",
          "known_at": "2026-01-02T00:00:00Z"}  # fmt: skip
WON = {"lead_id": "00123", "outcome": "won", "occurred_at": "2026-01-03T00:00:00Z",
       "deal_value": 10}  # fmt: skip
ITEMS: dict[str, dict[str, Any]] = {
    "leads": LEAD, "events": CALL, "changes": CHANGE, "outcomes": WON,
}  # fmt: skip
MOVED: dict[str, dict[str, Any]] = {
    "leads": {"account_id": "acme"}, "events": {"kind": "visit"}, "changes": {"value": None},
    "outcomes": {"deal_value": 11},
}  # fmt: skip


def take(client: httpx.Client, kind: str, *items: Any) -> Any:
    answer = client.post(f"/v1/{kind}", json={kind: items})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    statuses = [one["status"] for one in told["results"]]
    assert len(statuses) == len(items)
    for name in ("stored", "known", "refused"):
        assert told[name] == statuses.count(name)
    assert SECRET not in answer.text
    return told["results"]


def letters(client: httpx.Client) -> list[dict[str, Any]]:
    """All dead letters, three a page."""
    found: list[dict[str, Any]] = []
    page: dict[str, Any] = {"limit": 3}
    while True:
        told = client.get("/v1/dead-letters", params=page).json()
        found += told["dead_letters"]
        if told["next"] is None:
            return found
        page["cursor"] = told["next"]


def test_a_history_sent_in_batches_scores_as_one_sent_with_the_request(
    service: httpx.Client, history: History, asking: Asking, today: int
) -> None:
    settled = set(history.outcomes["lead_id"])
    chosen = [one for one in history.leads["lead_id"] if one not in settled][:20]
    accounts = history.leads[history.leads["lead_id"].isin(chosen)]["account_id"].dropna()
    near = history.leads["account_id"].isin(accounts) | history.leads["lead_id"].isin(chosen)
    sent = set(history.leads["lead_id"][near])
    for kind in TABLES:
        frame = getattr(history, kind)
        extra = {"leads": "attributes", "events": "properties"}.get(kind)
        items = [
            {k: v for k, v in one.items() if k in TABLES[kind]}
            | ({extra: {k: v for k, v in one.items() if k not in TABLES[kind]}} if extra else {})
            for one in records(frame[frame["lead_id"].isin(sent)])
        ]
        for start in range(0, len(items), 1_000):
            part = items[start : start + 1_000]
            assert {one["status"] for one in take(service, kind, *part)} == {"stored"}
            assert {one["status"] for one in take(service, kind, *part)} == {"known"}
    read = service.post("/v1/score", json=by_id(chosen, today, vector=True)).json()
    with_history = service.post("/v1/score", json=asking.body(chosen, today, vector=True)).json()
    assert {one["status"] for one in read["scores"]} == {"scored"}
    assert read == with_history


@pytest.mark.parametrize("kind", ITEMS)
def test_each_item_has_its_own_result(service: httpx.Client, kind: str) -> None:
    item = {**ITEMS[kind], "lead_id": f"own {kind}"}
    lacking = {name: value for name, value in item.items() if name != "lead_id"}
    moved = {**item, **MOVED[kind]}
    first = take(service, kind, item, {**item, "note": SECRET}, item, lacking, moved)
    assert [one["status"] for one in first] == ["stored", "refused", "known", "refused", "refused"]
    assert first[1]["problem"]["field"] == f"{kind}[1].note"
    assert first[3]["problem"]["field"] == f"{kind}[3].lead_id"
    assert first[4]["problem"]["type"] == "urn:leadcast:problem:conflict"
    assert all(first[place]["problem"]["remedy"] for place in (1, 3, 4))
    again = take(service, kind, item, moved)
    assert [one["status"] for one in again] == ["known", "refused"]
    assert again[1]["dead_letter"] == first[4]["dead_letter"]


BAD_EVENTS: dict[str, tuple[Any, str]] = {
    "no object": (SECRET, ""),
    "number as id": ({**CALL, "lead_id": 123}, ".lead_id"),
    "seconds": ({**CALL, "occurred_at": 1_767_312_000}, ".occurred_at"),
    "no offset": ({**CALL, "occurred_at": "2026-01-01T00:00:00"}, ".occurred_at"),
    "known before": ({**CALL, "known_at": "2026-01-01T00:00:00Z"}, ".known_at"),
    "truth as value": ({**CALL, "value": True}, ".value"),
    "NUL": ({**CALL, "channel": "a\0b"}, ""),
    "NUL in a name": ({**CALL, "properties": {"a\0b": 1}}, ""),
    "number for text": ({**CALL, "properties": {"page": 5}}, ".properties.page"),
    "nested": ({**CALL, "properties": {"page": [SECRET]}}, ".properties[...]"),
}


@pytest.mark.parametrize("name", BAD_EVENTS)
def test_a_bad_event_is_kept_with_its_reason(service: httpx.Client, name: str) -> None:
    event, field = BAD_EVENTS[name]
    good = [{**CALL, "lead_id": "bad ones", "event_id": f"{name} {place}"} for place in (0, 2)]
    [first, refused, last] = take(service, "events", good[0], event, good[1])
    assert first["status"] == last["status"] == "stored"
    assert refused["problem"]["field"] == f"events[1]{field}"
    assert refused["problem"]["remedy"]
    [kept] = [one for one in letters(service) if one["id"] == refused["dead_letter"]]
    assert kept["content"] == event
    assert kept["kind"] == "events"
    assert kept["problem"]["detail"] == refused["problem"]["detail"]


def test_an_event_without_an_id_is_stored_once(service: httpx.Client) -> None:
    event = {name: value for name, value in CALL.items() if name != "event_id"}
    later = {**event, "occurred_at": "2026-01-02T00:00:01Z"}
    same = {**event, "occurred_at": "2026-01-02T01:00:00+01:00"}
    statuses = [one["status"] for one in take(service, "events", event, later, same)]
    assert statuses == ["stored", "stored", "known"]


def test_a_dead_letter_is_replayed_corrected(service: httpx.Client) -> None:
    bad = {**CALL, "lead_id": "replayed", "value": -1}
    [refused] = take(service, "events", bad)
    path = f"/v1/dead-letters/{refused['dead_letter']}/replay"
    still = service.post(path, json={}).json()
    assert (still["status"], still["problem"]["field"]) == ("refused", "value")
    assert service.post(path, json={"item": {**bad, "value": 1}}).json() == {"status": "stored"}
    gone = service.post(path, json={})
    assert (gone.status_code, gone.json()["remedy"]) == (404, "see GET /v1/dead-letters")
    assert refused["dead_letter"] not in [one["id"] for one in letters(service)]
    assert take(service, "events", {**bad, "value": 1}) == [{"status": "known"}]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b'{"events": [', 400, None),
        (b"[]", 422, None),
        (b"{}", 422, "events"),
        (b'{"events": []}', 422, "events"),
        (b'{"events": [{}], "more": 1}', 422, "more"),
        (json.dumps({"events": [CALL] * 1_001}).encode(), 422, "events"),
    ],
)
def test_a_bad_batch_is_a_problem(
    service: httpx.Client, body: bytes, status: int, field: str | None
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = service.post("/v1/events", content=body, headers=headers)
    assert (answer.status_code, answer.json().get("field")) == (status, field)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "cursor=x", "limit=5&more=1"])
def test_a_bad_page_is_a_problem(service: httpx.Client, query: str) -> None:
    answer = service.get(f"/v1/dead-letters?{query}")
    assert answer.status_code == 422
    assert answer.json()["field"] in query


@pytest.mark.parametrize("database", ["sqlite"])
def test_a_file_that_is_gone_refuses_cleanly_and_is_used_again(
    service: httpx.Client, place: str, tmp_path: Path
) -> None:
    event = {**CALL, "lead_id": "when gone"}
    assert take(service, "events", event) == [{"status": "stored"}]
    path, away = Path(place), tmp_path / "away.db"
    path.rename(away)
    by_its_id = {"leads": [{"lead_id": "when gone"}]}
    with_history = {"leads": [{"lead_id": "when gone", "created_at": "2026-01-01T00:00:00Z"}]}
    for url, body in (
        ("/v1/events", {"events": [event]}),
        ("/v1/score", by_its_id),
        ("/v1/score", with_history),
    ):
        gone = service.post(url, json=body)
        assert gone.status_code == 503
        assert gone.json()["type"] == "urn:leadcast:problem:store-unavailable"
        assert gone.headers["retry-after"]
    away.rename(path)
    assert service.post("/v1/score", json=with_history).status_code == 200
    assert take(service, "events", event) == [{"status": "known"}]
    with closing(sqlite3.connect(path)) as con:
        found = con.execute("SELECT count(*) FROM events WHERE lead_id = 'when gone'").fetchone()
    assert found == (1,)
