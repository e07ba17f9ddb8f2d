"""Hypothesis strategies: small histories with every oddity, and features that read them."""

from __future__ import annotations

import random
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
            "industry": draw(st.one_of(st.sampled_from(["bank", "bank", "it"]), TEXTS)),
            "size": draw(NUMBERS),
        }
        for lead in ids
    ]
    order = draw(st.permutations(IDS))
    number = draw(st.sampled_from([0, 3, 6, 12, 12]))
    events = [_event(draw, owner, moment, one) for one in order[:number]]
    changes = [
        {
            "lead_id": draw(owner),
            "change_id": one,
            "field": draw(_FIELD),
            "value": draw(st.one_of(st.sampled_from(["eva", "eva", "tom"]), TEXTS)),
            "known_at": draw(moment),
        }
        for one in order[: draw(st.sampled_from([0, 4, 7]))]
    ]
    outcomes = [_outcome(draw, lead, moment) for lead in ids if draw(st.integers(0, 3))]
    spine = [
        {
            "lead_id": draw(owner),
            "as_of": draw(moment) + draw(st.sampled_from(STEPS)) + draw(st.integers(-1, 1)),
        }
        for _ in range(draw(st.integers(1, 5)))
    ]
    return history(leads, events, changes, outcomes), frame(spine, "lead_id", "as_of")


def _outcome(draw: st.DrawFn, lead: str, moment: st.SearchStrategy[int]) -> dict[str, Any]:
    occurred = draw(moment) + draw(st.sampled_from([0, 1, DAY, -DAY, -7 * DAY]))
    return {
        "lead_id": lead,
        "outcome": draw(st.sampled_from(["won", "won", "lost"])),
        "occurred_at": occurred,
        "known_at": occurred + draw(st.sampled_from([0, 0, 1, DAY])),
        "deal_value": draw(NUMBERS),
        "reason": draw(TEXTS),
    }


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


def history(
    leads: list[Any], events: list[Any], changes: list[Any], outcomes: list[Any] | None = None
) -> History:
    """A history from records."""
    return History(
        leads=frame(leads, "lead_id", "created_at", "account_id", "industry", "size"),
        events=frame(events, "lead_id", "event_id", "kind", "occurred_at", "known_at", "channel",
                     "campaign", "value", "page", "score"),
        changes=frame(changes, "lead_id", "change_id", "field", "value", "known_at"),
        outcomes=frame(outcomes or [], "lead_id", "outcome", "occurred_at", "known_at",
                       "deal_value", "reason"),
    )  # fmt: skip


_SOURCES = ["events"] * 9 + ["changes"] * 3 + ["leads", "outcomes"]
_TIMED = ("count", "since_first", "since_last", "mean_gap", "regularity")
_TIMED_ONLY = ("ratio", "trend", "decayed", "last_gap", "last_hour", "last_weekday", "business")
_NUMERIC = ("sum", "mean", "min", "max", "std")


@st.composite
def facts(draw: st.DrawFn) -> say.Facts:
    """A selection of facts."""
    source = draw(st.sampled_from(_SOURCES))
    if source == "changes":
        return say.changes(draw(st.sampled_from(["stage", "stage", "owner", ("stage", "owner")])))
    if source == "leads":
        return say.other_leads()
    if source == "outcomes":
        return say.other_outcomes(draw(st.sampled_from([None, "won", "lost"])))
    kinds = draw(st.one_of(st.none(), st.none(), _KIND, st.lists(_KIND, min_size=1, max_size=3)))
    channel = draw(st.sampled_from([None, None, None, "web", ("web", "phone")]))
    build = draw(
        st.sampled_from([say.events, say.account_events, say.account_events, say.other_events])
    )
    return build(kinds, channel=channel)


@st.composite
def features(draw: st.DrawFn) -> say.Feature:
    """Any feature of the language."""
    which = draw(st.integers(0, 11))
    if which == 0:
        fit = [say.age(), say.attribute("industry", "text"), say.attribute("size", "number")]
        return draw(st.sampled_from(fit))
    if which == 1:
        return draw(segment_features())
    chosen = draw(facts())
    build = draw(st.sampled_from([_timed, _of_number, _of_text, _of_text, _of_text, _of_two]))
    return build(draw, chosen)


def _timed(draw: st.DrawFn, chosen: say.Facts) -> say.Feature:
    name = draw(st.sampled_from([*_TIMED, *_TIMED_ONLY]))
    if name in _TIMED:
        return getattr(chosen, name)(draw(st.sampled_from(WINDOWS)))
    if name == "ratio":
        return chosen.ratio(*draw(st.sampled_from([("1d", "7d"), ("7d", "30d"), ("7d", None)])))
    if name == "trend":
        return chosen.trend(*draw(st.sampled_from([("1d", "7d"), ("7d", "30d"), ("36h", "7d")])))
    if name == "decayed":
        return chosen.decayed(draw(st.sampled_from(["1d", "30d", "1h", "1us"])))
    if name == "last_gap":
        return chosen.last_gap()
    offset = draw(st.sampled_from([0, 1, -5, 5.5]))
    if name == "business":
        return chosen.business(draw(st.sampled_from(WINDOWS)), offset)
    return getattr(chosen, name)(offset)


def _of_number(draw: st.DrawFn, chosen: say.Facts) -> say.Feature:
    columns = {"events": ["value", "score"], "outcomes": ["deal_value"]}
    source = chosen.count().source
    if source not in columns:
        return chosen.count()
    column = draw(st.sampled_from(columns[source]))
    name = draw(st.sampled_from([*_NUMERIC, "latest", "previous"]))
    if name == "previous":
        return chosen.previous(column, "number", draw(st.integers(1, 3)))
    window = draw(st.sampled_from(WINDOWS))
    if name == "latest":
        return chosen.latest(column, "number", window)
    return getattr(chosen, name)(column, window)


def _of_text(draw: st.DrawFn, chosen: say.Facts) -> say.Feature:
    columns = {"events": ["page", "campaign", "kind"], "changes": ["value"], "outcomes": ["reason"]}
    source = chosen.count().source
    if source not in columns:
        return chosen.since_last()
    column = draw(st.sampled_from(columns[source]))
    name = draw(st.sampled_from([*["latest"] * 6, "previous", "distinct", "entropy"]))
    if name == "previous":
        return chosen.previous(column, back=draw(st.integers(1, 3)))
    window = draw(st.sampled_from(WINDOWS))
    if name == "latest":
        return chosen.latest(column, window=window)
    return getattr(chosen, name)(column, window)


def _of_two(draw: st.DrawFn, chosen: say.Facts) -> say.Feature:
    del chosen
    build = draw(st.sampled_from([say.events, say.events, say.account_events, say.other_events]))
    one, other = build("call"), build(["call", "page visit"])
    if draw(st.booleans()):
        other = build(None, channel="web")
    if draw(st.booleans()):
        one, other = other, one
    name = draw(st.sampled_from(["response", "response", "open", "share"]))
    if name == "response":
        return one.response(other, draw(st.sampled_from(WINDOWS)))
    return one.open(other) if name == "open" else one.share(draw(st.sampled_from(WINDOWS)))


@st.composite
def segment_features(draw: st.DrawFn) -> say.Feature:
    """A feature over all leads of a segment."""
    segments = [
        say.attribute("industry", "text"),
        say.changes("owner").latest(),
        say.changes("stage").latest(),
        say.events().latest("channel"),
    ]
    name = draw(st.sampled_from(["rate", "rate", "recent", "open_leads"]))
    if name == "open_leads":
        return say.open_leads(draw(st.sampled_from(segments[:-1])))
    by, window = draw(st.sampled_from(segments)), draw(st.sampled_from(WINDOWS))
    return getattr(say, name)(draw(st.sampled_from(["won", "lost"])), by, window)


FEATURE_SETS = st.lists(features(), min_size=1, max_size=4, unique_by=lambda one: one.name).map(
    say.FeatureSet
)


def busy(seed: int) -> tuple[History, pd.DataFrame, say.FeatureSet]:
    """A history as busy as real ones, drawn evenly, and ten of :func:`every_feature`.

    Hypothesis looks for oddities in few facts; this is for what needs many.
    """
    chance = random.Random(seed)
    ids = chance.sample(LEADS, chance.randint(3, 6))

    def moment(first: int = 0, last: int = 40) -> int:
        return START + chance.randrange(first * 24, last * 24) * DAY // 24

    leads = [
        {
            "lead_id": lead,
            "created_at": moment(0, 15),
            "account_id": chance.choice(["acme", "acme", "b", None]),
            "industry": chance.choice(["bank", "bank", "it", None]),
            "size": chance.choice([None, 1.0, 20.0]),
        }
        for lead in ids
    ]
    late = [0, 0, 0, DAY, 5 * DAY]
    events = [
        {
            "lead_id": chance.choice(ids),
            "event_id": str(number),
            "kind": chance.choice(["call", "call", "page visit", "mail"]),
            "occurred_at": (occurred := moment()),
            "known_at": occurred + chance.choice(late),
            "channel": chance.choice(["web", "web", "phone", None]),
            "campaign": chance.choice(["spring", "autumn", None]),
            "value": chance.choice([None, 1.0, 2.5, 1e6]),
            "page": chance.choice(["home", "price", "price", None]),
            "score": chance.choice([None, -3.0, 0.5]),
        }
        for number in range(chance.randint(20, 90))
    ]
    changes = [
        {
            "lead_id": chance.choice(ids),
            "change_id": str(number),
            "field": chance.choice(["stage", "owner", "owner"]),
            "value": chance.choice(["eva", "tom", "eva", None]),
            "known_at": moment(),
        }
        for number in range(chance.randint(5, 25))
    ]
    outcomes = [
        {
            "lead_id": lead,
            "outcome": chance.choice(["won", "won", "lost"]),
            "occurred_at": (occurred := moment(15, 35)),
            "known_at": occurred + chance.choice(late),
            "deal_value": chance.choice([None, 10.0, 500.0]),
            "reason": chance.choice([None, "price"]),
        }
        for lead in chance.sample(ids, chance.randint(1, len(ids)))
    ]
    spine = [{"lead_id": chance.choice(ids), "as_of": moment(10, 45)} for _ in range(6)]
    chosen = say.FeatureSet(chance.sample(every_feature(), 10))
    made = history(leads, events, changes, outcomes)
    return made, frame(spine, "lead_id", "as_of"), chosen


def every_feature() -> list[say.Feature]:
    """Every aggregate in every scope, with and without window and filter."""
    made: list[say.Feature] = [say.age(), say.attribute("industry", "text")]
    for scope in (say.events, say.account_events, say.other_events):
        for facts in (scope(), scope("call"), scope(["call", "mail"]), scope(channel="web")):
            made += _on_facts(facts)
        call, visit = scope("call"), scope("page visit")
        made += [call.response(visit), visit.response(call, "14d"), call.open(visit)]
        made += [call.share(), call.share("7d"), scope("call", channel="web").share("30d")]
    moves, leads, won = say.changes("owner"), say.other_leads(), say.other_outcomes("won")
    made += [moves.latest(), moves.previous(), moves.count("14d"), moves.last_gap()]
    made += [moves.entropy("value"), moves.distinct("value"), moves.regularity()]
    made += [leads.count(), leads.since_last(), leads.mean_gap(), leads.decayed("7d")]
    made += [won.count(), won.sum("deal_value"), won.latest("deal_value", "number")]
    for by in (say.attribute("industry", "text"), moves.latest(), say.events().latest("campaign")):
        made += [say.rate("won", by), say.rate("lost", by, "14d"), say.recent("won", by, "7d")]
        made += [say.recent("won", by)] if by.source == "events" else [say.open_leads(by)]
    return made


def _on_facts(facts: say.Facts) -> list[say.Feature]:
    made = [facts.ratio("7d", "30d"), facts.ratio("7d"), facts.trend("7d", "30d")]
    made += [facts.decayed("7d"), facts.decayed("1h"), facts.last_gap(), facts.last_hour(-5)]
    made += [facts.last_weekday(5.5), facts.business(), facts.business("14d", 1)]
    made += [*facts.sequence(3), facts.previous("value", "number", 2)]
    for window in (None, "14d"):
        made += [facts.count(window), facts.since_first(window), facts.since_last(window)]
        made += [facts.mean_gap(window), facts.regularity(window)]
        made += [getattr(facts, name)("value", window) for name in _NUMERIC]
        made += [facts.distinct("page", window), facts.entropy("page", window)]
        made += [facts.latest("page", window=window), facts.latest("score", "number", window)]
    return made


def readable(features: say.FeatureSet, engine: str) -> say.FeatureSet:
    """The features that an engine can read: those of a segment need all leads together."""
    if engine != "memory":
        return features
    return say.FeatureSet(one for one in features.features if not one.segment)
