"""Blindness: whatever happens to facts that are not visible at t changes nothing at t."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.engines import compute
from features.language import FeatureSet
from features.schema import History
from features.times import from_micros, micros
from tests.histories import FEATURE_SETS, busy, histories, readable
from tests.judge import alike

Generated = tuple[History, pd.DataFrame]
ENGINES = ["duckdb", "sqlite", "memory"]


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=75)
@given(histories(), histories(), FEATURE_SETS)
def test_another_future_changes_nothing(
    engine: str, generated: Generated, other: Generated, features: FeatureSet
) -> None:
    history, spine = generated
    features = readable(features, engine)
    row = spine.head(1)
    as_of = row["as_of"].iloc[0]
    changed = another_future(history, other[0], as_of)
    alike(compute(features, row, changed, engine), compute(features, row, history, engine))


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=50)
@given(st.integers(0, 2**32), histories())
def test_another_future_of_a_busy_history_changes_nothing(
    engine: str, seed: int, other: Generated
) -> None:
    history, spine, features = busy(seed)
    features = readable(features, engine)
    row = spine.head(1)
    changed = another_future(history, other[0], row["as_of"].iloc[0])
    alike(compute(features, row, changed, engine), compute(features, row, history, engine))


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=50)
@given(histories(), FEATURE_SETS)
def test_nothing_that_is_not_visible_is_needed(
    engine: str, generated: Generated, features: FeatureSet
) -> None:
    history, spine = generated
    features = readable(features, engine)
    row = spine.head(1)
    seen = past(history, row["as_of"].iloc[0])
    alike(compute(features, row, seen, engine), compute(features, row, history, engine))


def past(history: History, as_of: pd.Timestamp) -> History:
    """What is visible at ``as_of``, and nothing else."""
    leads, events, changes = history.leads, history.events, history.changes
    return History(
        leads=leads[leads["created_at"] < as_of],
        events=events[_visible(events, as_of)],
        changes=changes[changes["known_at"] < as_of],
        outcomes=history.outcomes[_visible(history.outcomes, as_of)],
    )


def _visible(facts: pd.DataFrame, as_of: pd.Timestamp) -> pd.Series:
    return (facts["occurred_at"] < as_of) & (facts["known_at"] < as_of)


def another_future(history: History, other: History, as_of: pd.Timestamp) -> History:
    """What is visible of ``history``, and all of ``other``, moved to where it is not visible.

    So every fact not visible at first is gone, with other ones in its place: leads come to be or
    change their attributes and accounts, facts move, and their ids sort before and behind.
    """
    seen = past(history, as_of)
    leads = other.leads[~other.leads["lead_id"].isin(seen.leads["lead_id"])].copy()
    leads["created_at"] = _not_before(as_of, leads["created_at"])
    events = other.events.assign(event_id=_ids(other.events["event_id"]))
    events["known_at"] = events["known_at"].mask(_visible(events, as_of), as_of)
    changes = other.changes.assign(change_id=_ids(other.changes["change_id"]))
    changes["known_at"] = _not_before(as_of, changes["known_at"])
    everyone = pd.concat([leads["lead_id"], seen.leads["lead_id"]], ignore_index=True)
    won = pd.DataFrame({"lead_id": everyone, "outcome": "won", "occurred_at": as_of})
    won = won.assign(known_at=as_of, deal_value=9.0, reason=None).astype({"reason": "str"})
    won = won[~won["lead_id"].isin(seen.outcomes["lead_id"])]
    return History(
        leads=pd.concat([leads, seen.leads], ignore_index=True),
        events=pd.concat([events, seen.events], ignore_index=True),
        changes=pd.concat([changes, seen.changes], ignore_index=True),
        outcomes=pd.concat([won, seen.outcomes], ignore_index=True),
    )


def _not_before(as_of: pd.Timestamp, times: pd.Series) -> pd.Series:
    moved = [max(moment, as_of.value // 1_000) for moment in micros(times).tolist()]
    return from_micros(moved).set_axis(times.index)


def _ids(ids: pd.Series) -> pd.Series:
    """Ids that no first history has."""
    return pd.Series([f"{'!' if i % 2 else '🙂'}{one}" for i, one in enumerate(ids)], dtype="str")
