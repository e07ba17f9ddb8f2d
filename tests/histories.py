"""Hypothesis strategies: small histories with every oddity, and features that read them."""

from __future__ import annotations

from typing import Any

import pandas as pd
from hypothesis import strategies as st

from features import language as say
from features.schema import History
from features.times import DAY, from_micros

START = 1_700_000_000_000_000
MOMENTS = st.one_of(
    st.integers(0, 40).map(lambda day: START + day * DAY),
    st.integers(0, 40 * 24).map(lambda hour: START + hour * DAY // 24),
    st.integers(0, 40).flatmap(
        lambda day: st.integers(-2, 2).map(lambda shift: START + day * DAY + shift)
    ),
)
KINDS = ["call", "page visit", "a'b", 'c"d', "é🙂", "None", "00123"]
TEXTS = st.one_of(st.none(), st.sampled_from(["x", "X", "", " ", "NaN", "ß🙂", "o'k", "01", "\\n"]))
NUMBERS = st.one_of(st.none(), st.floats(0, 1e9), st.integers(0, 5).map(float))
LEADS = ["1", "10", "2", "00123", "None", "é"]
WINDOWS = st.sampled_from([None, "1d", "7d", "30d", "1us", "36h"])


@st.composite
def histories(draw: st.DrawFn) -> tuple[History, pd.DataFrame]:
    """A history and a spine over its leads; as_of times often fall exactly on a fact."""
    ids = draw(st.lists(st.sampled_from(LEADS), min_size=1, max_size=5, unique=True))
    leads = [
        {
            "lead_id": lead,
            "created_at": draw(MOMENTS),
            "account_id": draw(st.sampled_from([None, "acme", "1"])),
            "industry": draw(TEXTS),
            "size": draw(NUMBERS),
        }
        for lead in ids
    ]
    events = [_event(draw, ids, number) for number in range(draw(st.integers(0, 12)))]
    changes = [
        {
            "lead_id": draw(st.sampled_from(ids)),
            "change_id": str(number),
            "field": draw(st.sampled_from(["stage", "owner"])),
            "value": draw(TEXTS),
            "known_at": draw(MOMENTS),
        }
        for number in range(draw(st.integers(0, 4)))
    ]
    moments = [
        fact[key]
        for fact in (*events, *changes)
        for key in ("occurred_at", "known_at")
        if key in fact
    ]
    as_of = st.one_of(MOMENTS, st.sampled_from(moments).flatmap(_near) if moments else MOMENTS)
    spine = [
        {"lead_id": draw(st.sampled_from(ids)), "as_of": draw(as_of)}
        for _ in range(draw(st.integers(1, 5)))
    ]
    return history(leads, events, changes), frame(spine, "lead_id", "as_of")


def _near(moment: int) -> st.SearchStrategy[int]:
    days = st.sampled_from([0, 1, 7, 30])
    return st.tuples(days, st.integers(-1, 1)).map(lambda pair: moment + pair[0] * DAY + pair[1])


def _event(draw: st.DrawFn, ids: list[str], number: int) -> dict[str, Any]:
    occurred = draw(MOMENTS)
    late = draw(st.sampled_from([0, 0, 0, 1, DAY, 9 * DAY]))
    return {
        "lead_id": draw(st.sampled_from(ids)),
        "event_id": str(number),
        "kind": draw(st.sampled_from(KINDS)),
        "occurred_at": occurred,
        "known_at": occurred + late,
        "channel": draw(st.sampled_from([None, "web", "phone"])),
        "campaign": draw(TEXTS),
        "value": draw(NUMBERS),
        "page": draw(TEXTS),
    }


def frame(rows: list[dict[str, Any]], *columns: str) -> pd.DataFrame:
    """A table in canonical types."""
    made = {}
    for name in columns:
        values = [row[name] for row in rows]
        if name.endswith("_at") or name == "as_of":
            made[name] = from_micros(values)
        elif name in ("value", "size", "deal_value") and "field" not in columns:
            made[name] = pd.Series(values, dtype="float64")
        else:
            made[name] = pd.Series(values, dtype="str")
    return pd.DataFrame(made)


def history(leads: list[Any], events: list[Any], changes: list[Any]) -> History:
    """A history from records."""
    return History(
        leads=frame(leads, "lead_id", "created_at", "account_id", "industry", "size"),
        events=frame(events, "lead_id", "event_id", "kind", "occurred_at", "known_at", "channel",
                     "campaign", "value", "page"),
        changes=frame(changes, "lead_id", "change_id", "field", "value", "known_at"),
        outcomes=frame([], "lead_id", "outcome", "occurred_at", "known_at", "deal_value", "reason"),
    )  # fmt: skip


@st.composite
def facts(draw: st.DrawFn) -> say.Facts:
    """A selection of facts."""
    kinds = draw(
        st.one_of(
            st.none(),
            st.sampled_from(KINDS),
            st.lists(st.sampled_from(KINDS), min_size=1, max_size=3),
        )
    )
    channel = draw(st.sampled_from([None, None, "web", "phone"]))
    build = draw(st.sampled_from([say.events, say.events, say.account_events]))
    if draw(st.integers(0, 6)) == 0:
        return say.changes(draw(st.sampled_from(["stage", "owner", ("stage", "owner")])))
    return build(kinds, channel=channel)


@st.composite
def features(draw: st.DrawFn) -> say.Feature:
    """Any feature of the language."""
    if draw(st.integers(0, 9)) == 0:
        return draw(
            st.sampled_from(
                [say.age(), say.attribute("industry", "text"), say.attribute("size", "number")]
            )
        )
    chosen, window = draw(facts()), draw(WINDOWS)
    timed = ["count", "since_first", "since_last"]
    aggregate = draw(st.sampled_from([*timed, "ratio", "latest", "distinct", "number"]))
    if aggregate == "ratio":
        return chosen.ratio(*draw(st.sampled_from([("1d", "7d"), ("7d", "30d"), ("7d", None)])))
    if aggregate in timed:
        return getattr(chosen, aggregate)(window)
    if chosen._source == "changes":
        return chosen.latest(window=window)
    if aggregate == "number":
        name = draw(st.sampled_from(["sum", "mean", "min", "max"]))
        return getattr(chosen, name)("value", window)
    column, kind = draw(
        st.sampled_from([("page", "text"), ("campaign", "text"), ("value", "number")])
    )
    if aggregate == "distinct":
        return chosen.distinct("page", window)
    return chosen.latest(column, kind, window)


FEATURE_SETS = st.lists(features(), min_size=1, max_size=8, unique_by=lambda one: one.name).map(
    say.FeatureSet
)
