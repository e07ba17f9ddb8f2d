"""Order: neither the order of the tables nor a second delivery changes anything."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.engines import compute
from features.language import FeatureSet, account_events, changes, events
from features.schema import History, check
from tests.histories import FEATURE_SETS, IDS, START, frame, histories, history, readable
from tests.judge import alike

Generated = tuple[History, pd.DataFrame]
ENGINES = ["duckdb", "sqlite", "memory"]


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=75)
@given(histories(), FEATURE_SETS, st.integers(0, 2**32 - 1))
def test_shuffled_tables_give_the_same(
    engine: str, generated: Generated, features: FeatureSet, seed: int
) -> None:
    history, spine = generated
    features = readable(features, engine)
    shuffled = History(
        leads=history.leads.sample(frac=1, random_state=seed),
        events=history.events.sample(frac=1, random_state=seed),
        changes=history.changes.sample(frac=1, random_state=seed),
        outcomes=history.outcomes.sample(frac=1, random_state=seed),
    )
    found = compute(features, spine, shuffled, engine)
    alike(found, compute(features, spine, history, engine))


@settings(max_examples=50)
@given(histories(), FEATURE_SETS)
def test_facts_delivered_twice_count_once(generated: Generated, features: FeatureSet) -> None:
    history, spine = generated
    leads = history.leads.assign(created_at=history.leads["created_at"].min())
    outcomes = history.outcomes[history.outcomes["occurred_at"] >= leads["created_at"].min()]
    tables = (leads, history.events, history.changes, outcomes)
    numeric = {"leads": ["size"], "events": ["score"]}
    once = check(*tables, numeric=numeric)
    twice = check(*(pd.concat([table, table[::-1]]) for table in tables), numeric=numeric)
    alike(compute(features, spine, twice), compute(features, spine, once))


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=50)
@given(st.lists(st.sampled_from(IDS), min_size=2, max_size=5, unique=True))
def test_the_greater_id_is_the_later_of_two_facts_at_one_time(engine: str, ids: list[str]) -> None:
    told = history([_lead("1")], [_event("1", one) for one in ids], [_change(one) for one in ids])
    declared = FeatureSet([events().latest("page"), changes("stage").latest()])
    spine = frame([{"lead_id": "1", "as_of": START + 1}], "lead_id", "as_of")
    found = compute(declared, spine, told, engine)
    assert found.iloc[0].tolist() == [f"page {max(ids)}", f"stage {max(ids)}"]


@pytest.mark.parametrize("engine", ENGINES)
def test_across_an_account_the_greater_lead_goes_first(engine: str) -> None:
    leads = ["10", "9"]
    told = history([_lead(one) for one in leads], [_event("10", "z"), _event("9", "a")], [])
    spine = frame([{"lead_id": one, "as_of": START + 1} for one in leads], "lead_id", "as_of")
    found = compute(FeatureSet([account_events().latest("page")]), spine, told, engine)
    assert found.iloc[:, 0].tolist() == ["page a", "page a"]


def _lead(lead_id: str) -> dict[str, object]:
    return {
        "lead_id": lead_id, "created_at": START - 1, "account_id": "acme", "industry": None,
        "size": None,
    }  # fmt: skip


def _event(lead_id: str, event_id: str) -> dict[str, object]:
    return {
        "lead_id": lead_id, "event_id": event_id, "kind": "call", "occurred_at": START,
        "known_at": START, "channel": None, "campaign": None, "value": None,
        "page": f"page {event_id}", "score": None,
    }  # fmt: skip


def _change(change_id: str) -> dict[str, object]:
    return {
        "lead_id": "1", "change_id": change_id, "field": "stage", "value": f"stage {change_id}",
        "known_at": START,
    }  # fmt: skip
