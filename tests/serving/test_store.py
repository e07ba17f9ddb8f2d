"""What is put is there, once, in whatever order it came."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from features.databases import is_postgres
from features.databases import postgres as postgres_server
from features.engines import rows_of
from features.schema import TABLES, History
from features.times import micros
from serving.scorer import Scorer
from serving.store import Store, StoreConflict, StoreUnavailable
from serving.store.database import UnfitRow
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
def store(new_place: str) -> Iterator[Store]:
    store = Store(new_place)
    yield store
    store.close()


@pytest.fixture(scope="module")
def part(history: History) -> History:
    """The first leads of the history."""
    leads = history.leads["lead_id"].head(100)
    held: list[pd.DataFrame] = [getattr(history, table) for table in TABLES]
    return History(*(one[one["lead_id"].isin(leads)].reset_index(drop=True) for one in held))


def delivered(history: History) -> dict[str, list[Record]]:
    """The records of a history, as ``put`` takes them."""
    made = {}
    for table in TABLES:
        frame: pd.DataFrame = getattr(history, table)
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
        found.append((sorted(facts.leads), sorted(facts.events, key=repr), sorted(facts.changes)))
        found.append(store.standing(lead)[0])
    return found


def test_order_and_repeats_of_arrival_do_not_matter(
    part: History, scorer: Scorer, store: Store, tmp_path: Path
) -> None:
    records = delivered(part)
    leads = [one["lead_id"] for one in records["leads"]]
    whole = Store(tmp_path / "whole.db")
    whole.put(**records)
    parts = [(table, one) for table, many in records.items() for one in many[:50]] * 2
    random.Random(0).shuffle(parts)
    for table, one in parts:
        store.put(**{table: [one]})
    again = store.put(**records)
    assert {table: set(found[:50]) for table, found in again.items()} == {
        table: {"known"} for table in records
    }
    assert set(again["events"][50:]) == {"stored"}
    assert content(store, scorer, leads) == content(whole, scorer, leads)
    whole.close()


def test_a_history_and_its_records_are_the_same_store(
    part: History, scorer: Scorer, store: Store
) -> None:
    records = delivered(part)
    leads = [one["lead_id"] for one in records["leads"]]
    store.load(part)
    before = content(store, scorer, leads)
    store.load(part)
    found = store.put(**records)
    assert found == {table: ["known"] * len(one) for table, one in records.items()}
    assert content(store, scorer, leads) == before


def test_rows_come_back_as_the_engine_reads_them(
    part: History, scorer: Scorer, store: Store
) -> None:
    store.load(part)
    for lead in part.leads["lead_id"].head(20):
        facts = store.read(lead, scorer.columns, account=False)
        assert facts is not None
        for table in ("leads", "events", "changes"):
            frame: pd.DataFrame = getattr(part, table)
            wanted = rows_of(frame[frame["lead_id"] == lead], scorer.columns[table])
            assert sorted(getattr(facts, table), key=repr) == sorted(wanted, key=repr)


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
    assert store.standing("nobody")[0] is None


CHANGE = {"lead_id": "00123", "change_id": "1", "field": "stage", "value": "new", "known_at": 7}
WON = {"lead_id": "00123", "outcome": "won", "occurred_at": 20, "deal_value": 10.0}
WHOLE = {"leads": [LEAD], "events": [CALL], "changes": [CHANGE], "outcomes": [WON]}
MOVED: dict[str, Record] = {
    "leads": {**LEAD, "attributes": {"size": 4.0}},
    "events": {**CALL, "occurred_at": 10},
    "changes": {**CHANGE, "value": None},
    "outcomes": {**WON, "deal_value": None},
}


@pytest.mark.parametrize("table", TABLES)
def test_another_content_under_an_id_is_refused_alone(store: Store, table: str) -> None:
    assert store.put(**WHOLE) == {table: ["stored"] for table in WHOLE}
    fresh_lead = {**LEAD, "lead_id": "fresh"}
    more = {"leads": [fresh_lead], table: [*([fresh_lead] if table == "leads" else []),
                                           MOVED[table], *WHOLE[table]]}  # fmt: skip
    found = store.put(**more)
    assert found[table][-2:] == ["conflict", "known"]
    assert found["leads"][0] == "stored"
    assert store.put(**WHOLE) == {table: ["known"] for table in WHOLE}


def test_a_history_that_contradicts_the_store_leaves_it_as_it_was(
    part: History, store: Store
) -> None:
    lead = part.leads.iloc[-1]
    store.put(leads=[{**LEAD, "lead_id": lead["lead_id"]}])
    with pytest.raises(StoreConflict, match=f"leads: lead_id '{lead['lead_id']}'"):
        store.load(part)
    assert store.read(part.leads["lead_id"].iloc[0], COLUMNS, account=False) is None


def test_callers_at_once_are_each_told_of_their_own(store: Store) -> None:
    """Eight at a time, of which some repeat, some contradict and one sends what no column holds."""

    def deliver(number: int) -> list[str]:
        calls = [{**CALL, "event_id": f"{one}", "value": float(one % 3 == number % 3)}
                 for one in range(50)]  # fmt: skip
        if number == 5:
            calls[-1]["occurred_at"] = 2**70
        return list(store.put(events=calls)["events"])

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(deliver, number) for number in range(8)]
        errors = [one.exception() for one in futures]
    assert [type(one).__name__ for one in errors if one] == ["UnfitRow"]
    assert errors[5]
    told = [one.result() for one, error in zip(futures, errors, strict=True) if not error]
    for event in range(50):
        assert [one[event] for one in told].count("stored") == 1
    facts = store.read("00123", {**COLUMNS, "events": ("event_id",)}, account=False)
    assert facts is None
    store.put(leads=[LEAD])
    facts = store.read("00123", {**COLUMNS, "events": ("event_id",)}, account=False)
    assert facts is not None
    assert len(facts.events) == 50


def test_who_writes_a_row_need_not_wait_for_thousands_of_others(store: Store) -> None:
    calls = [{**CALL, "event_id": f"{number}"} for number in range(6_000)]
    calls[3_050] |= {"event_id": "17"}  # the same again, in another part
    calls[4_050] |= {"event_id": "17", "value": 8.0}
    store.put(leads=[LEAD])
    with ThreadPoolExecutor(1) as pool:
        many = pool.submit(store.put, events=calls)
        for number in range(5):
            assert store.put(leads=[{**LEAD, "lead_id": f"{number}"}])["leads"] == ["stored"]
        assert not many.done()
        told = many.result()["events"]
    assert (told[3_050], told[4_050]) == ("known", "conflict")
    assert told.count("stored") == len(calls) - 2
    facts = store.read("00123", {**COLUMNS, "events": ("event_id",)}, account=False)
    assert facts is not None
    assert len(facts.events) == len(calls) - 2
    assert store.put(events=calls)["events"].count("known") == len(calls) - 1
    calls[2_000] |= {"event_id": "new", "occurred_at": 2**70}
    store.put(leads=[{**LEAD, "lead_id": "last"}])
    with pytest.raises(UnfitRow):
        store.put(events=calls)


def test_two_stores_of_one_place_agree(new_place: str) -> None:
    """As two processes do: opened at once, each made or found the tables."""
    stores = [Store(new_place) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: one.put(**WHOLE)["events"][0], stores))
    assert sorted(found) == ["known"] * 3 + ["stored"]
    for one in stores:
        one.close()


def test_a_store_that_is_gone_is_missed_and_used_again_when_it_is_back(tmp_path: Path) -> None:
    path, away = tmp_path / "store.db", tmp_path / "away.db"
    store = Store(path)
    store.put(leads=[LEAD])
    for _ in range(2):
        path.rename(away)
        with pytest.raises(StoreUnavailable, match="gone"):
            store.put(events=[CALL])
        with pytest.raises(StoreUnavailable, match="gone"):
            store.read("00123", COLUMNS, account=False)
        away.rename(path)
        assert store.put(leads=[LEAD]) == {"leads": ["known"]}
    store.close()


def test_a_store_of_a_newer_version_is_not_touched(store: Store, new_place: str) -> None:
    store.put(leads=[LEAD])
    store.close()
    write_version(new_place, 1_000)
    newer = Store(new_place)
    with pytest.raises(StoreUnavailable, match="version 1000: update leadcast"):
        newer.open()
    newer.close()


def write_version(new_place: str, number: int) -> None:
    statement = f"INSERT INTO schema_version VALUES ({number})"
    if is_postgres(new_place):
        with postgres_server(new_place) as con:
            con.execute(statement.encode())
        return
    with closing(sqlite3.connect(new_place)) as con, con:
        con.execute(statement)


def test_no_password_is_told() -> None:
    store = Store("postgresql://leadcast:pa55word@127.0.0.1:1/nowhere")
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1") as told:
        store.open()
    store.close()
    assert "pa55word" not in str(told.value)


def test_a_record_without_its_id_is_refused(store: Store) -> None:
    with pytest.raises(KeyError, match="event_id"):
        store.put(leads=[LEAD], events=[{**CALL, "event_id": None}])
    assert store.read("00123", COLUMNS, account=False) is None


def test_a_closed_store_opens_again_with_all_it_held(store: Store, new_place: str) -> None:
    store.put(leads=[LEAD], events=[CALL])
    store.close()
    again = Store(new_place)
    facts = again.read("00123", COLUMNS, account=True)
    assert facts is not None
    assert len(facts.events) == 1
    again.close()


def test_an_outcome_settles_a_lead_when_it_is_known(store: Store) -> None:
    store.put(leads=[LEAD])
    assert store.standing("00123")[0] is None
    lost = {"lead_id": "00123", "outcome": "lost", "occurred_at": 20, "known_at": 30}
    won = {"lead_id": "00123", "outcome": "won", "occurred_at": 25}
    store.put(outcomes=[lost])
    assert store.standing("00123")[0] == 30
    store.put(outcomes=[won])
    assert store.standing("00123")[0] == 25


def test_times_of_a_history_are_microseconds(history: History, stored: Path) -> None:
    store = Store(stored)
    first = history.leads.iloc[[0]]
    facts = store.read(first["lead_id"].iloc[0], COLUMNS, account=False)
    assert facts is not None
    assert facts.leads[0][2] == micros(first["created_at"])[0]
    store.close()
