"""What is put is there, once, in whatever order it came."""

from __future__ import annotations

import random
from pathlib import Path

import pandas as pd
import pytest

from features.engines import rows_of
from features.schema import TABLES, History
from features.times import micros
from serving.scorer import Scorer
from serving.store import Store, StoreConflict
from tests.serving.asking import Record, records

LEAD = {"lead_id": "00123", "created_at": 5, "account_id": "acme", "attributes": {"size": 3.0}}
CALL = {"lead_id": "00123", "event_id": "1", "kind": "call", "occurred_at": 9,
        "properties": {"note": "None"}}  # fmt: skip
COLUMNS = {
    "leads": ("lead_id", "size", "created_at", "absent"),
    "events": ("lead_id", "event_id", "note", "known_at", "kind"),
    "changes": ("lead_id", "change_id", "known_at", "field", "value"),
    "outcomes": ("lead_id", "outcome", "occurred_at", "known_at"),
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store.db")


def delivered(history: History, share: float) -> dict[str, list[Record]]:
    """The records of the first leads of a history, as ``put`` takes them."""
    leads = set(history.leads["lead_id"].head(int(share * len(history.leads))))
    made = {}
    for table in TABLES:
        frame: pd.DataFrame = getattr(history, table)
        frame = frame[frame["lead_id"].isin(leads)]
        extra = {"leads": "attributes", "events": "properties"}.get(table)
        made[table] = [
            {k: v for k, v in one.items() if k in TABLES[table]}
            | ({extra: {k: v for k, v in one.items() if k not in TABLES[table]}} if extra else {})
            for one in records(frame, times=False)
        ]
    return made


def content(store: Store, scorer: Scorer, leads: list[str]) -> list[object]:
    found = []
    for lead in leads:
        facts = store.read(lead, scorer.columns, account=True)
        assert facts is not None
        found.append((sorted(facts.leads), sorted(facts.events, key=repr), facts.changes))
        found.append(store.settled(lead))
    return found


def test_order_and_repeats_of_arrival_do_not_matter(
    history: History, scorer: Scorer, tmp_path: Path
) -> None:
    records = delivered(history, 0.1)
    leads = [one["lead_id"] for one in records["leads"]]
    whole = Store(tmp_path / "whole.db")
    whole.put(**records)
    pieces = Store(tmp_path / "pieces.db")
    parts = [(table, one) for table, many in records.items() for one in many[:400]] * 2
    random.Random(0).shuffle(parts)
    for table, one in parts:
        pieces.put(**{table: [one]})
    pieces.put(**records)
    assert content(pieces, scorer, leads) == content(whole, scorer, leads)


def test_a_history_and_its_records_are_the_same_store(
    history: History, scorer: Scorer, stored: Path
) -> None:
    store, part = Store(stored), delivered(history, 0.1)
    before = content(store, scorer, [one["lead_id"] for one in part["leads"]])
    store.put(**part)
    assert content(store, scorer, [one["lead_id"] for one in part["leads"]]) == before
    store.close()


def test_rows_come_back_as_the_engine_reads_them(
    history: History, scorer: Scorer, stored: Path
) -> None:
    store = Store(stored)
    for lead in history.leads["lead_id"].head(20):
        facts = store.read(lead, scorer.columns, account=False)
        assert facts is not None
        for table in ("leads", "events", "changes"):
            frame: pd.DataFrame = getattr(history, table)
            wanted = rows_of(frame[frame["lead_id"] == lead], scorer.columns[table])
            assert sorted(getattr(facts, table), key=repr) == sorted(wanted, key=repr)
    store.close()


def test_an_account_brings_its_other_leads(store: Store) -> None:
    other = {**LEAD, "lead_id": "2"}
    stranger = {**LEAD, "lead_id": "3", "account_id": None}
    store.put(leads=[LEAD, other, stranger], events=[CALL, {**CALL, "lead_id": "2"}])
    alone, together = (store.read("00123", COLUMNS, account) for account in (False, True))
    assert alone is not None
    assert together is not None
    assert [row[0] for row in alone.leads] == ["00123"]
    assert sorted(row[0] for row in together.leads) == ["00123", "2"]
    assert sorted(row[0] for row in together.events) == ["00123", "2"]
    lonely = store.read("3", COLUMNS, account=True)
    assert lonely is not None
    assert [row[0] for row in lonely.leads] == ["3"]


def test_values_keep_their_type_and_absence(store: Store) -> None:
    store.put(leads=[LEAD], events=[CALL])
    facts = store.read("00123", COLUMNS, account=True)
    assert facts is not None
    assert facts.leads == [("00123", 3.0, 5, None)]
    assert facts.events == [("00123", "1", "None", 9, "call")]
    assert facts.changes == []


def test_an_unknown_lead_is_none(store: Store) -> None:
    assert store.read("nobody", COLUMNS, account=True) is None
    assert store.settled("nobody") is None


@pytest.mark.parametrize(
    "table", ["leads", "events", "changes", "outcomes"]
)  # fmt: skip
def test_another_content_under_an_id_is_refused_and_nothing_stored(
    store: Store, table: str
) -> None:
    change = {"lead_id": "00123", "change_id": "1", "field": "stage", "value": "new", "known_at": 7}
    won = {"lead_id": "00123", "outcome": "won", "occurred_at": 20, "deal_value": 10.0}
    given = {"leads": [LEAD], "events": [CALL], "changes": [change], "outcomes": [won]}
    store.put(**given)
    moved = {
        "leads": {**LEAD, "attributes": {"size": 4.0}},
        "events": {**CALL, "occurred_at": 10},
        "changes": {**change, "value": None},
        "outcomes": {**won, "deal_value": None},
    }[table]
    fresh = {**LEAD, "lead_id": "fresh"}
    more: dict[str, list[Record]] = {"leads": [fresh]}
    more[table] = [*more.get(table, []), moved]
    with pytest.raises(StoreConflict, match="00123"):
        store.put(**more)
    assert store.read("fresh", COLUMNS, account=False) is None
    store.put(**given)


def test_a_record_without_its_id_is_refused(store: Store) -> None:
    with pytest.raises(KeyError, match="event_id"):
        store.put(leads=[LEAD], events=[{**CALL, "event_id": None}])
    assert store.read("00123", COLUMNS, account=False) is None


def test_a_closed_store_opens_again_with_all_it_held(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = Store(path)
    store.put(leads=[LEAD], events=[CALL])
    store.close()
    again = Store(path)
    facts = again.read("00123", COLUMNS, account=True)
    assert facts is not None
    assert len(facts.events) == 1
    again.close()


def test_an_outcome_settles_a_lead_when_it_is_known(store: Store) -> None:
    store.put(leads=[LEAD])
    assert store.settled("00123") is None
    lost = {"lead_id": "00123", "outcome": "lost", "occurred_at": 20, "known_at": 30}
    won = {"lead_id": "00123", "outcome": "won", "occurred_at": 25}
    store.put(outcomes=[lost])
    assert store.settled("00123") == 30
    store.put(outcomes=[won])
    assert store.settled("00123") == 25


def test_times_of_a_history_are_microseconds(history: History, stored: Path) -> None:
    store = Store(stored)
    first = history.leads.iloc[[0]]
    facts = store.read(first["lead_id"].iloc[0], COLUMNS, account=False)
    assert facts is not None
    assert facts.leads[0][2] == micros(first["created_at"])[0]
    store.close()
