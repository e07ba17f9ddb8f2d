"""Hypothesis strategies: small histories with every oddity, and features that read them."""

from __future__ import annotations

from typing import Any

import pandas as pd
from hypothesis import strategies as st

from features import language as say
from features.schema import History
from features.times import DAY, from_micros

START = 1_700_000_000_000_000
LEADS = ["1", "10", "2", "00123", "None", "é"]
KINDS = ["call", "page visit", "a'b", 'c"d', "é🙂", "None", "00123", "back\\slash", "%s ?"]
IDS = ["2", "10", "é", "Z", "a", "🙂", "\uffff", "01", "1", " ", "00", "B"]
TEXTS = st.sampled_from(
    [None, None, "x", "X", " ", "NaN", "ß🙂", "o'k", "01", "\\n", "a\x01b", "\uffff", "null"]
)
NUMBERS = st.one_of(st.none(), st.floats(0, 1e9), st.integers(0, 5).map(float))
SCORES = st.sampled_from([None, -3.0, -0.5, 0.0, 2.0])
WINDOWS = [None, "1d", "7d", "30d", "1us", "36h"]
STEPS = [0, 1, DAY, 7 * DAY, 30 * DAY, DAY * 3 // 2]

_HOUR = st.integers(0, 40 * 24).map(lambda hour: START + hour * DAY // 24)
_MOMENT = st.one_of(_HOUR, _HOUR, _HOUR, _HOUR, st.sampled_from([-20_000 * DAY, -1]))
_CHANNELS = st.sampled_from([None, "web", "phone"])
_KIND = st.sampled_from([*["call"] * 15, *["page visit"] * 3, *KINDS])
_FIELD = st.sampled_from(["stage", "stage", "owner"])


@st.composite
def histories(draw: st.DrawFn) -> tuple[History, pd.DataFrame]:
    """A history and a spine over its leads.

    All times are a few moments or a window away from them, so facts tie with each other, and
    as_of falls on facts and their windows' edges.
    """
    moments = draw(st.lists(_MOMENT, min_size=1, max_size=3))
    moment = st.sampled_from(moments)
    ids = draw(st.lists(st.sampled_from(LEADS), min_size=2, max_size=4, unique=True))
    owner = st.sampled_from([ids[0], *ids])
    leads = [
        {
            "lead_id": lead,
            "created_at": draw(moment) + draw(st.sampled_from([-9, -9, -9, 0, 9])) * DAY,
            "account_id": draw(st.sampled_from(["acme", "acme", "acme", "1", None])),
            "industry": draw(TEXTS),
            "size": draw(NUMBERS),
        }
        for lead in ids
    ]
    order = draw(st.permutations(IDS))
    number = draw(st.sampled_from([0, 3, 6, 9, 12]))
    events = [_event(draw, owner, moment, one) for one in order[:number]]
    changes = [
        {
            "lead_id": draw(owner),
            "change_id": one,
            "field": draw(_FIELD),
            "value": draw(TEXTS),
            "known_at": draw(moment),
        }
        for one in order[: draw(st.integers(0, 5))]
    ]
    spine = [
        {
            "lead_id": draw(owner),
            "as_of": draw(moment) + draw(st.sampled_from(STEPS)) + draw(st.integers(-1, 1)),
        }
        for _ in range(draw(st.integers(1, 5)))
    ]
    return history(leads, events, changes), frame(spine, "lead_id", "as_of")


def _event(
    draw: st.DrawFn, owner: st.SearchStrategy[str], moment: st.SearchStrategy[int], one: str
) -> dict[str, Any]:
    occurred = draw(moment)
    return {
        "lead_id": draw(owner),
        "event_id": one,
        "kind": draw(_KIND),
        "occurred_at": occurred,
        "known_at": occurred + draw(st.sampled_from([0, 0, 0, 1, DAY, 9 * DAY])),
        "channel": draw(_CHANNELS),
        "campaign": draw(TEXTS),
        "value": draw(NUMBERS),
        "page": draw(TEXTS),
        "score": draw(SCORES),
    }


def frame(rows: list[dict[str, Any]], *columns: str) -> pd.DataFrame:
    """A table in canonical types."""
    made = {}
    for name in columns:
        values = [row[name] for row in rows]
        if name.endswith("_at") or name == "as_of":
            made[name] = from_micros(values)
        elif name in ("value", "score", "size", "deal_value") and "field" not in columns:
            made[name] = pd.Series(values, dtype="float64")
        else:
            made[name] = pd.Series(values, dtype="str")
    return pd.DataFrame(made)


def history(leads: list[Any], events: list[Any], changes: list[Any]) -> History:
    """A history from records."""
    return History(
        leads=frame(leads, "lead_id", "created_at", "account_id", "industry", "size"),
        events=frame(events, "lead_id", "event_id", "kind", "occurred_at", "known_at", "channel",
                     "campaign", "value", "page", "score"),
        changes=frame(changes, "lead_id", "change_id", "field", "value", "known_at"),
        outcomes=frame([], "lead_id", "outcome", "occurred_at", "known_at", "deal_value", "reason"),
    )  # fmt: skip


@st.composite
def facts(draw: st.DrawFn) -> say.Facts:
    """A selection of facts."""
    if draw(st.integers(0, 4)) == 0:
        return say.changes(draw(st.sampled_from(["stage", "stage", "owner", ("stage", "owner")])))
    kinds = draw(st.one_of(st.none(), st.none(), _KIND, st.lists(_KIND, min_size=1, max_size=3)))
    channel = draw(st.sampled_from([None, None, None, "web", ("web", "phone")]))
    build = draw(st.sampled_from([say.events, say.account_events]))
    return build(kinds, channel=channel)


@st.composite
def features(draw: st.DrawFn) -> say.Feature:
    """Any feature of the language."""
    if draw(st.integers(0, 9)) == 0:
        fit = [say.age(), say.attribute("industry", "text"), say.attribute("size", "number")]
        return draw(st.sampled_from(fit))
    chosen, window = draw(facts()), draw(st.sampled_from(WINDOWS))
    of_changes = chosen.count().source == "changes"
    timed = ["count", "since_first", "since_last"]
    numeric = [] if of_changes else ["sum", "mean", "min", "max"]
    aggregate = draw(st.sampled_from([*timed, "ratio", *["latest"] * 4, "distinct", *numeric]))
    if aggregate == "ratio":
        return chosen.ratio(*draw(st.sampled_from([("1d", "7d"), ("7d", "30d"), ("7d", None)])))
    if aggregate in timed:
        return getattr(chosen, aggregate)(window)
    text = "value" if of_changes else draw(st.sampled_from(["page", "campaign"]))
    number = draw(st.sampled_from(["value", "score"]))
    if aggregate == "distinct":
        return chosen.distinct(text, window)
    if aggregate == "latest":
        of_text = of_changes or draw(st.booleans())
        return chosen.latest(*((text, "text") if of_text else (number, "number")), window)
    return getattr(chosen, aggregate)(number, window)


FEATURE_SETS = st.lists(features(), min_size=1, max_size=4, unique_by=lambda one: one.name).map(
    say.FeatureSet
)
