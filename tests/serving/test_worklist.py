"""Current scores follow facts, model and clock; the work list ranks, cuts and remembers people."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest

from features.schema import History
from features.times import DAY, instant, iso, now
from serving import current, privacy, worklist
from serving.current import Refresher
from serving.decide import Policy
from serving.scorer import Scorer
from serving.store import Store
from tests.bundles import shifted
from tests.serving.asking import settle
from training import bundle


@pytest.fixture
def store(newest: History, tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "store.db")
    made.load(newest)
    yield made
    made.close()


@pytest.fixture
def refresher(store: Store, scorer: Scorer, refreshing: Callable[..., Refresher]) -> Refresher:
    return refreshing(store, scorer)


def listed(store: Store, **wanted: Any) -> Any:
    asked = worklist.Wanted(**{"limit": 1_000, **wanted})
    return msgspec.json.decode(worklist.work_list(store, asked))


def everyone(store: Store) -> dict[str, Any]:
    return {one["lead_id"]: one for one in listed(store)["entries"]}


@pytest.mark.usefixtures("refresher")
def test_every_open_lead_has_its_score_and_no_other(
    store: Store, scorer: Scorer, newest: History
) -> None:
    found = everyone(store)
    settled = set(newest.outcomes["lead_id"])
    assert set(found) == set(newest.leads["lead_id"]) - settled
    assert settled
    for lead, one in found.items():
        facts = store.read(lead, scorer.columns, scorer.account)
        assert facts
        [score] = scorer.score([(lead, facts)], instant(one["as_of"]))
        assert one["probability"] == score.probability
        assert one["expected_value"] == msgspec.to_builtins(score.expected_value)
        assert (one["grade"], one["route"]) == (score.grade, score.route)
        assert one["reasons"] == msgspec.to_builtins(score.reasons)


@pytest.mark.usefixtures("refresher")
def test_the_list_is_ranked_filtered_and_comes_page_by_page(store: Store) -> None:
    entries = listed(store)["entries"]
    worth = [one["expected_value"]["mean"] for one in entries]
    assert worth == sorted(worth, reverse=True)
    paged, cursor = list[Any](), None
    while True:
        page = listed(store, limit=7, cursor=cursor)
        paged += page["entries"]
        cursor = page["next"]
        if cursor is None:
            break
    assert paged == entries
    for name in ("A", "B", "C", "D", "E"):
        assert listed(store, grade=name)["entries"] == [e for e in entries if e["grade"] == name]
    likely = listed(store, route="sales", least_probability=0.2)["entries"]
    assert likely == [e for e in entries if e["route"] == "sales" and e["probability"] >= 0.2]


@pytest.mark.usefixtures("refresher")
def test_the_cut_tells_what_the_best_bring(store: Store) -> None:
    told = listed(store, capacity="10/week", limit=3)
    best = listed(store)["entries"][:10]
    cut, chance = told["cut"], np.array([one["probability"] for one in best])
    assert (cut["leads"], cut["capacity"]) == (10, "10/week")
    assert cut["least"] == best[-1]["expected_value"]["mean"]
    assert cut["wins"]["mean"] == pytest.approx(chance.sum())
    draws = (np.random.default_rng(0).random((20_000, 10)) < chance).sum(axis=1)
    inside = (draws >= cut["wins"]["low"]) & (draws <= cut["wins"]["high"])
    assert 0.8 <= inside.mean() <= 0.98
    revenue = cut["revenue"]
    assert revenue["mean"] == pytest.approx(sum(one["expected_value"]["mean"] for one in best))
    assert revenue["low"] < revenue["mean"] < revenue["high"]


def test_a_fact_an_outcome_and_a_word_change_the_list(store: Store, refresher: Refresher) -> None:
    before = everyone(store)
    first, second, third = list(before)[:3]
    at = now()
    store.put(events=[{"lead_id": first, "event_id": "new", "kind": "demo", "occurred_at": at}],
              outcomes=[{"lead_id": second, "outcome": "lost", "occurred_at": at}])  # fmt: skip
    privacy.consented(store, third, privacy.Consent(given=False))
    refresher.changed([first, second, third])
    settle(refresher)
    after = everyone(store)
    assert after[first]["as_of"] > before[first]["as_of"]
    assert not {second, third} & set(after)
    privacy.consented(store, third, privacy.Consent(given=True))
    refresher.changed([third])
    settle(refresher)
    assert third in everyone(store)
    privacy.erase(store, first, "0badcafe")
    refresher.changed([first])
    settle(refresher)
    assert first not in everyone(store)


def test_another_policy_makes_routes_anew(
    store: Store, scorer: Scorer, refresher: Refresher
) -> None:
    assert {one["route"] for one in everyone(store).values()} > {"sales"}
    refresher.serve(Scorer(scorer.bundle, Policy(sales=1.0, leave=0.0)))
    settle(refresher)
    made = everyone(store)
    assert {one["route"] for one in made.values()} == {"sales"}
    refresher.serve(Scorer(scorer.bundle, Policy(sales=1.0, leave=0.0, capacity=3)))
    settle(refresher)
    assert everyone(store) == made, "room changes no route"


def test_another_model_and_the_clock_make_scores_anew(
    store: Store, refresher: Refresher, directory: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    before = everyone(store)
    rival = shifted(directory, tmp_path / "rival", by=-1.0)
    refresher.serve(Scorer(bundle.load(tmp_path / "rival")))
    settle(refresher)
    after = everyone(store)
    assert {one["model_version"] for one in after.values()} == {rival.version}
    assert all(after[lead]["probability"] < before[lead]["probability"] for lead in before)
    later = now() + 2 * DAY
    monkeypatch.setattr(current, "now", lambda: later)
    refresher._sweep_at = 0.0
    settle(refresher)
    assert {one["as_of"] for one in everyone(store).values()} == {iso(later)}


def test_a_lead_that_cannot_be_scored_costs_no_other_one_its_score(
    store: Store, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, bad = current.current, store.rows("SELECT min(lead_id) FROM leads")[0][0]

    def broken(store: Store, scorer: Scorer, leads: Any, as_of: int) -> Any:
        if bad in leads:
            raise RuntimeError("this one")
        return real(store, scorer, leads, as_of)

    monkeypatch.setattr(current, "current", broken)
    monkeypatch.setattr(current, "_SWEEP_REST", 0.0)
    refresher = Refresher(store)
    refresher.serve(scorer)
    settle(refresher)
    assert len(everyone(store)) >= 20
    assert bad not in everyone(store)


def test_over_http_the_list_follows_and_decisions_are_kept(service: httpx.Client) -> None:
    lead = {"lead_id": "w/1", "created_at": "2026-01-01T00:00:00Z"}
    service.post("/v1/leads", json={"leads": [lead]})
    limit = time.monotonic() + 60
    while not (found := mine(service)):
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert found["decision"] is None
    made = {"decision_id": "d1", "route": "leave", "reason": "a student", "decided_by": "ann"}
    told = service.post("/v1/leads/w%2F1/decisions", json=made).json()
    assert (told["route"], told["advised"]) == ("leave", found["route"])
    assert service.post("/v1/leads/w%2F1/decisions", json=made).json() == told
    other = service.post("/v1/leads/w%2F1/decisions", json={**made, "route": "sales"})
    assert (other.status_code, other.json()["field"]) == (409, "decision_id")
    later = service.post("/v1/leads/w%2F1/decisions", json={**made, "decision_id": "d2"}).json()
    held = service.get("/v1/leads/w%2F1/decisions").json()["decisions"]
    assert held == [later, told]
    assert mine(service)["decision"] == later
    held = service.get("/v1/leads/w%2F1/score").json()
    assert (held["lead_id"], held["decision"]) == ("w/1", later)
    assert service.get("/v1/leads/nobody/score").status_code == 404
    spoilt = service.post("/v1/leads/w%2F1/decisions", json={**made, "decided_by": "a\0b"})
    assert (spoilt.status_code, spoilt.json()["field"]) == (422, "decided_by")
    nobody = service.post("/v1/leads/nobody/decisions", json=made)
    assert nobody.status_code == 404


def mine(service: httpx.Client) -> Any:
    entries = service.get("/v1/worklist?limit=1000").json()["entries"]
    return next((one for one in entries if one["lead_id"] == "w/1"), None)


@pytest.mark.parametrize("query", ["capacity=0", "capacity=80/year", "cursor=eA", "route=phone"])
def test_a_bad_question_is_a_problem(service: httpx.Client, query: str) -> None:
    answer = service.get(f"/v1/worklist?{query}")
    assert (answer.status_code, answer.json()["field"]) == (422, query.partition("=")[0])
