"""A lead sees what is held of it, is not scored against its will, and is forgotten wholly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from features.times import now
from serving import privacy
from serving.letters import letter
from serving.problems import Breach, invalid
from serving.store import Store
from serving.store.tables import OF_A_LEAD

MARK, OTHER = "mark-7f3a/é", "somebody else"


def planted(store: Store, lead: str, text: str, events: int) -> None:
    """Every column of every table that takes a text holds ``text``."""
    at = now()
    store.put(
        leads=[{"lead_id": lead, "created_at": at, "account_id": text, "attributes": {text: text}}],
        events=[
            {"lead_id": lead, "event_id": f"{text} {number}", "kind": text, "occurred_at": at,
             "channel": text, "campaign": text, "value": 1.0, "properties": {text: text}}
            for number in range(events)
        ],
        changes=[{"lead_id": lead, "change_id": text, "field": text, "value": text,
                  "known_at": at}],
        outcomes=[{"lead_id": lead, "outcome": text, "occurred_at": at, "reason": text}],
    )  # fmt: skip
    bad = letter("events", msgspec.json.encode({"lead_id": lead, text: text}),
                 invalid(text, text, text))  # fmt: skip
    store.put_rows({
        "dead_letters": [bad],
        "scores": [(lead, at, text, at, text, text, 0.5, 1.0, text, text, text)],
        "consents": [(lead, "scoring", at, 1, text)],
        "decisions": [(lead, text, at, text, text, text, text)],
        "current_scores": [(lead, at, text, *[0.5] * 8, text, text, text, text)],
    })  # fmt: skip


def on_disk(directory: Path, text: str) -> list[str]:
    """The files that hold a text, as it is or as JSON escapes it."""
    wanted = {text.encode(), text.encode("utf-16-le"), msgspec.json.encode(text)[1:-1]}
    return [one.name for one in directory.iterdir() if any(w in one.read_bytes() for w in wanted)]


def test_an_erased_lead_is_nowhere_on_disk(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db")
    for number in range(40):
        planted(store, f"{OTHER} {number}", OTHER, events=20)
    planted(store, MARK, MARK, events=400)  # pages of its own, and splits of others'
    for number in range(40, 60):
        planted(store, f"{OTHER} {number}", OTHER, events=20)
    assert on_disk(tmp_path, MARK)
    held = msgspec.json.decode(privacy.export(store, MARK))["held"]
    assert set(held) == set(OF_A_LEAD)
    told = msgspec.json.decode(privacy.erase(store, MARK, "0badcafe"))
    assert told["rows"] == sum(map(len, held.values()))
    assert on_disk(tmp_path, MARK) == []
    assert on_disk(tmp_path, OTHER)
    [(rows, key)] = store.rows("SELECT facts, key_id FROM erasures")
    assert (rows, key) == (told["rows"], "0badcafe")
    assert len(store.held(f"{OTHER} 3")["events"]) == 20
    store.close()
    assert on_disk(tmp_path, MARK) == []


def test_an_erased_lead_is_gone_from_postgres(postgres: str) -> None:
    store = Store(postgres)
    planted(store, MARK, MARK, events=3)
    planted(store, OTHER, OTHER, events=3)
    privacy.erase(store, MARK, "0badcafe")
    assert store.held(MARK) == {}
    for table in OF_A_LEAD:
        [(left,)] = store.rows(f"SELECT count(*) FROM {table} WHERE {table}::text LIKE ?",
                               (f"%{MARK}%",))  # fmt: skip
        assert left == 0
    assert set(store.held(OTHER)) == set(OF_A_LEAD)
    store.close()


@pytest.fixture
def lead(service: httpx.Client) -> str:
    made = "a/b c%"
    lead = {"lead_id": made, "created_at": "2026-01-01T00:00:00Z", "attributes": {"source": "web"}}
    assert service.post("/v1/leads", json={"leads": [lead]}).json()["stored"] == 1
    return made


def path(lead: str, what: str) -> str:
    return (
        f"/v1/leads/{httpx.URL('http://x').copy_with(path='/' + lead).raw_path[1:].decode()}{what}"
    )


def scored(service: httpx.Client, lead: str) -> Any:
    told = service.post("/v1/score", json={"leads": [{"lead_id": lead}], "reasons": 0}).json()
    return told["scores"][0]


def test_consent_export_and_erasure_over_http(service: httpx.Client, lead: str) -> None:
    assert scored(service, lead)["status"] == "scored"
    told = service.post(path(lead, "/consent"), json={"given": False, "source": "a letter"})
    assert told.json()["given"] is False
    refused = scored(service, lead)
    assert refused["problem"]["type"] == "urn:leadcast:problem:consent-withdrawn"
    service.post(path(lead, "/consent"), json={"given": True})
    assert scored(service, lead)["status"] == "scored"
    assert len(service.get(path(lead, "/scores")).json()["scores"]) == 2
    held = service.get(path(lead, "/export")).json()["held"]
    held.pop("current_scores", None)  # made when there is time
    assert {name: len(rows) for name, rows in held.items()} == {
        "leads": 1, "scores": 2, "consents": 2
    }  # fmt: skip
    assert held["leads"][0]["created_at"] == "2026-01-01T00:00:00Z"
    assert held["leads"][0]["attributes"] == {"source": "web"}
    assert service.request("DELETE", path(lead, "")).json()["rows"] in (5, 6)
    assert service.get(path(lead, "/export")).status_code == 404
    assert service.request("DELETE", path(lead, "")).status_code == 404
    assert scored(service, lead)["problem"]["field"] == "leads[0].lead_id"


def test_two_words_of_one_moment_do_not_both_count(service: httpx.Client) -> None:
    word = {"given": True, "at": "2026-02-03T00:00:00Z"}
    assert service.post("/v1/leads/torn/consent", json=word).status_code == 200
    assert service.post("/v1/leads/torn/consent", json=word).status_code == 200
    other = service.post("/v1/leads/torn/consent", json={**word, "given": False})
    assert (other.status_code, other.json()["field"]) == (409, "at")


def test_what_is_not_held_cannot_be_exported_or_erased(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db")
    for act in (privacy.export, lambda store, lead: privacy.erase(store, lead, "0badcafe")):
        with pytest.raises(Breach, match="knows no such lead"):
            act(store, "nobody")
    store.close()
