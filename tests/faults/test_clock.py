"""A clock that is stepped by an hour, either way: nothing is lost, and nothing seen too early."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from features.times import HOUR, iso, now
from serving import current, ledger
from serving.ingest import INTAKES, take
from serving.routes import score as routes
from serving.routes.score import Desk
from serving.scorer import Scorer
from serving.store import Store
from training import bundle

Step = Callable[[int], None]


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Step:
    """Steps the clock of everything that asks for the time, by microseconds from the true one."""

    def stepped(by: int) -> None:
        for module in (routes, ledger, current):
            monkeypatch.setattr(module, "now", lambda: now() + by)

    return stepped


@pytest.fixture
def desk(directory: Path, tmp_path: Path) -> Desk:
    return Desk(Scorer(bundle.load(directory)), Store(tmp_path / "store.db"))


def told(desk: Desk, lead: str) -> Any:
    body = msgspec.json.encode({"leads": [{"lead_id": lead}], "vector": True})
    answer, kept = desk.answer(body, "request")
    if kept:
        assert desk._store is not None
        desk._store.put_rows({"scores": kept})
    return msgspec.json.decode(answer)["scores"][0]


def stored(desk: Desk, **items: Any) -> None:
    assert desk._store is not None
    for kind, held in items.items():
        batch = INTAKES[kind].read(msgspec.json.encode({kind: held}), desk.reader)
        answer = msgspec.json.decode(asyncio.run(take(batch, desk._store)))
        assert answer["stored"] == len(held)


def test_back_and_forth_by_an_hour(desk: Desk, step: Step) -> None:
    assert desk._store is not None
    half_an_hour_ago = iso(now() - HOUR // 2)
    stored(desk, leads=[{"lead_id": "old", "created_at": iso(now() - 48 * HOUR)},
                        {"lead_id": "new", "created_at": half_an_hour_ago}],
           events=[{"lead_id": "old", "kind": "call", "event_id": "1",
                    "occurred_at": half_an_hour_ago}])  # fmt: skip
    before = told(desk, "old")
    assert before["status"] == told(desk, "new")["status"] == "scored"
    step(-HOUR)
    back = told(desk, "old")
    assert back["status"] == "scored"
    assert back["as_of"] < before["as_of"]
    assert back["vector"] != before["vector"], "the call has not happened yet"
    refused = told(desk, "new")
    assert refused["problem"]["field"] == "leads[0].created_at"
    rows = current.current(desk._store, desk._scorer, ["old", "new"], current.now())
    assert [row[0] for row in rows] == ["old"]
    step(0)
    again = told(desk, "old")
    assert again["as_of"] >= before["as_of"]
    assert told(desk, "new")["status"] == "scored"
    step(HOUR)
    assert told(desk, "old")["as_of"] > again["as_of"]
    [(kept,)] = desk._store.rows("SELECT count(*) FROM scores")
    assert kept == 6, "each answer is in the ledger, whatever the clock said"
