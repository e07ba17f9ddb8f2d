"""The declarations: names, fingerprints and refusals."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.language import (
    DeclarationError,
    Facts,
    Feature,
    FeatureSet,
    account_events,
    age,
    attribute,
    changes,
    events,
    open_leads,
    other_events,
    other_leads,
    other_outcomes,
    rate,
    recent,
)
from features.times import HOUR
from tests.histories import FEATURE_SETS

# Texts made of the pieces that names are made of, so that names come as near as they can.
PIECES = [
    "a", "of", " ", " of ", "events", "changes", "changes of ", ", ", ",", "[", "]", "=", "|",
    "7d", "7d/30d", "always", '"', "\\", "(", ")", "count(a)", "account.", "age()", "é", "/", ":",
    "to a", "until a", "by a", "2 back", "half-life 7d", "UTC+1h", "outcomes", "outcomes of ",
    "leads", "others.", "latest(a)", "latest(changes of a)",
]  # fmt: skip
TEXTS = st.one_of(
    st.lists(st.sampled_from(["a", "of"]), max_size=3).map(" ".join),
    st.lists(st.sampled_from(PIECES), max_size=3).map("".join),
)
VALUES = st.one_of(TEXTS, st.lists(TEXTS, min_size=1, max_size=2))
FIELDS = TEXTS.filter(lambda field: field != "kind")
WINDOWS = st.sampled_from([None, "7d", "30d", "36h"])

SHAPES: list[Callable[..., Feature]] = [
    lambda a, b, *_: events(a).sum(b),
    lambda a, b, c: account_events([a, c]).sum(b),
    lambda a, b, c: events([a, b, c]).count(),
    lambda a, b, c: events(c, **{a: b}).count(),
    lambda a, b, c: events(**{a: b, "z": c}).distinct(c),
    lambda a, b, *_: changes(a).latest(b),
    lambda a, b, c: changes([a, c]).sum(b, "7d"),
    lambda a, *_: attribute(a, "text"),
    lambda a, b, *_: events(a).std(b, "7d"),
    lambda a, b, *_: events(a).entropy(b),
    lambda a, b, *_: other_events(a).previous(b, back=2),
    lambda a, b, c: events(a, **{b: c}).trend("7d", "30d"),
    lambda a, b, c: events([a, b], z=c).share(),
    lambda a, b, *_: account_events(a).response(events_beside(account_events, a, b)),
    lambda a, b, *_: events(a).open(
        events_beside(events, a, b),
    ),
    lambda a, b, c: events(a, z=b).response(events(a, z=[b, c, "!"]), "7d"),
    lambda a, b, *_: rate(a, by=attribute(b, "text")),
    lambda a, b, *_: rate(a, by=changes(b).latest(), window="7d"),
    lambda a, b, c: recent([a, b], by=events(b).latest(c)),
    lambda a, b, *_: open_leads(by=changes(a).latest(b)),
    lambda a, *_: other_outcomes(a).count(),
]


def events_beside(build: Any, kind: str, other: str) -> Facts:
    """A selection that differs from that of the kind alone."""
    return build([kind, other]) if kind != other else build(kind, z="z")


@st.composite
def named(draw: st.DrawFn) -> Feature:
    """A feature with names as misleading as can be; a column has one type throughout."""
    where = draw(st.dictionaries(FIELDS, VALUES, max_size=2))
    facts = draw(
        st.sampled_from(
            [
                events(draw(st.none() | VALUES), **where),
                account_events(draw(st.none() | VALUES), **where),
                changes(draw(VALUES)),
                other_events(draw(st.none() | VALUES), **where),
                other_outcomes(draw(st.none() | VALUES)),
                other_leads(),
            ]
        )
    )
    column, window = draw(TEXTS), draw(WINDOWS)
    by = draw(
        st.sampled_from([attribute(column, "text"), changes(draw(VALUES.filter(is_one))).latest()])
    )
    beside = account_events("!", **where), account_events(column, **where)
    return draw(
        st.sampled_from(
            [
                attribute(column, "text"), age(), facts.count(window), facts.sum(column, window),
                facts.mean(column, window), facts.latest(column, window=window),
                facts.latest("value", window=window), facts.distinct(column, window),
                facts.since_last(window), facts.ratio("7d"), facts.ratio("7d", "30d"),
                facts.std(column, window), facts.entropy(column, window), facts.trend("7d", "30d"),
                facts.previous(column), facts.previous(column, back=2), facts.decayed("36h"),
                facts.mean_gap(window), facts.last_gap(), facts.regularity(window),
                facts.last_hour(), facts.last_hour(-5), facts.last_weekday(5.5),
                facts.business(window, 1), beside[0].share(window), beside[0].open(beside[1]),
                beside[0].response(beside[1], window), beside[1].response(beside[0], window),
                rate(draw(VALUES), by, window), recent(draw(VALUES), by, window), open_leads(by),
            ]
        )
    )  # fmt: skip


def is_one(values: str | list[str]) -> bool:
    return isinstance(values, str)


@settings(max_examples=300)
@given(st.data())
def test_two_definitions_never_share_a_name(data: st.DataObject) -> None:
    words = st.sampled_from(data.draw(st.lists(TEXTS, min_size=2, max_size=5, unique=True)))
    build = data.draw(st.sampled_from(SHAPES))
    several = data.draw(st.lists(st.tuples(words, words, words), min_size=10, max_size=10))
    named_apart(build(*texts) for texts in several)


def test_misleading_words_are_named_apart() -> None:
    words = [*PIECES, *(f"{one} {other}" for one in PIECES[:6] for other in PIECES[:6])]
    pairs = [*itertools.product(words, repeat=2)]
    named_apart(build(one, other, "a") for build in SHAPES for one, other in pairs)


def named_apart(features: Iterable[Feature]) -> None:
    by_name: dict[str, Feature] = {}
    for feature in features:
        assert by_name.setdefault(feature.name, feature) == feature


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (events("b").sum("a of"), events("of b").sum("a")),
        (events("of b").sum("a"), events("b").sum("a of")),
        (events("c").sum("a of b"), events("b of c").sum("a")),
        (changes("stage").latest("field"), changes("stage").latest()),
        (changes("stage").latest(""), changes("stage").latest()),
        (changes("stage").count(), events("changes of stage").count()),
        (events("events").count(), events().count()),
        (events("a|b").count(), events(["a", "b"]).count()),
        (events("a", channel="x").count(), events("a [channel=x]").count()),
        (events("a").count("7d"), events("a, 7d").count()),
        (attribute("age()", "number"), age()),
        (attribute("count(a)", "number"), events("a").count()),
        (account_events("a").count(), events("a").count()),
        (other_events("a").count(), account_events("a").count()),
        (other_outcomes().count(), other_outcomes("outcomes").count()),
        (other_outcomes("a").count(), other_events("outcomes of a").count()),
        (other_leads().count(), other_events("leads").count()),
        (events("a").previous(), events("a").previous(back=2)),
        (events("a").previous(), events("a").latest()),
        (events("a").previous(back=2), events("a, 2 back").previous()),
        (events("a").decayed("7d"), events("a, half-life 7d").decayed("14d")),
        (events("a").last_hour(), events("a").last_hour(1)),
        (events("a").last_hour(1), events("a").last_hour(-1)),
        (events("a").business("7d"), events("a").business("7d", 1)),
        (events("a").trend("7d", "30d"), events("a").ratio("7d", "30d")),
        (events("a").response(events("b")), events("b").response(events("a"))),
        (events("a").response(events("b")), events("a").response(events("b", x="y"))),
        (events("a").open(events("b")), events("a").open(events(["b", "c"]))),
        (rate("won", attribute("a", "text")), rate("won", changes("a").latest())),
        (rate("won", attribute("a", "text")), recent("won", attribute("a", "text"))),
        (rate("won", attribute("a, 7d", "text")), rate("won", attribute("a", "text"), "7d")),
        (
            rate("won", attribute("latest(changes of a)", "text")),
            rate("won", changes("a").latest()),
        ),
        (rate("won", changes("a").latest()), rate("won", events("changes of a").latest())),
    ],
)
def test_what_looks_alike_is_named_apart(one: Feature, other: Feature) -> None:
    assert one.name != other.name
    assert len(FeatureSet([one, other])) == 2


def test_names_read_like_their_definitions() -> None:
    declared = FeatureSet(
        [
            events("call").count("7d"),
            events(["call", "page visit"], channel="web").sum("value", "36h"),
            account_events().ratio("1d", "14d"),
            changes("stage").latest(),
            attribute("company size", "number"),
            events('say "hi"').count(),
            *events().sequence(3),
            events("call").trend("1d", "14d"),
            events("call").decayed("14d"),
            events("call", channel="phone").response(events("visit"), "30d"),
            events("task started").open(events("task ended")),
            events("call").last_hour(-5),
            events("call").business("30d", 5.5),
            other_leads().count("30d"),
            other_outcomes().count(),
            other_outcomes("won").sum("deal_value"),
            rate("won", by=attribute("industry", "text"), window="90d"),
            recent("won", by=changes("owner").latest()),
            open_leads(by=changes("owner").latest()),
        ]
    )
    assert declared.names == (
        "count(call, 7d)",
        "sum(value of call|page visit [channel=web], 36h)",
        "account.ratio(events, 1d/14d)",
        "latest(changes of stage)",
        "company size",
        'count("say \\"hi\\"")',
        "latest(kind of events)",
        "previous(kind of events)",
        "previous(kind of events, 2 back)",
        "trend(call, 1d/14d)",
        "decayed(call, half-life 14d)",
        "response(call [channel=phone], to visit, 30d)",
        "open(task started, until task ended)",
        "last_hour(call, UTC-5h)",
        "business(call, 30d, UTC+330m)",
        "others.count(leads, 30d)",
        "others.count(outcomes)",
        "others.sum(deal_value of outcomes of won)",
        "rate(outcomes of won, by industry, 90d)",
        "recent(outcomes of won, by latest(changes of owner))",
        "open_leads(leads, by latest(changes of owner))",
    )


def test_the_order_of_a_filter_does_not_matter() -> None:
    assert events(["b", "a", "a"], x="1", c="2").count() == events(["a", "b"], c="2", x="1").count()


def test_equal_windows_are_one_feature() -> None:
    assert events("call").count("168h") == events("call").count("1w")


@given(FEATURE_SETS)
def test_json_keeps_the_set_and_its_fingerprint(features: FeatureSet) -> None:
    read = FeatureSet.from_json(features.to_json())
    assert read == features
    assert hash(read) == hash(features)
    assert read.names == features.names
    assert read.fingerprint == features.fingerprint


@given(st.lists(named(), min_size=2, max_size=5, unique_by=lambda one: one.name))
def test_every_part_of_a_definition_is_in_the_fingerprint(features: list[Feature]) -> None:
    prints = {FeatureSet(features).fingerprint, FeatureSet(features[::-1]).fingerprint}
    prints |= {FeatureSet([feature]).fingerprint for feature in features}
    assert len(prints) == 2 + len(features)


def test_the_fingerprint_stays_what_it_was() -> None:
    """Models and logged scores carry it: a change here refuses all of them."""
    declared = FeatureSet([events("call", channel="web").count("7d"), age()])
    json = (
        b'[{"aggregate":"count","source":"events","where":[["channel",["web"]],["kind",["call"]]],'
        b'"window":604800000000},{"aggregate":"age","source":"leads"}]'
    )
    assert declared.to_json() == json
    assert declared.fingerprint == hashlib.sha256(json).hexdigest()


def test_text_that_is_no_feature_set_is_refused() -> None:
    for text in (b"{}", b'[{"aggregate":"median","source":"events"}]', b'[{"source":"events"}]'):
        with pytest.raises(msgspec.ValidationError):
            FeatureSet.from_json(text)


NOT_DECLARED = [
    {"aggregate": "share", "source": "events"},
    {"aggregate": "trend", "source": "events", "window": 2, "against": 1},
    {"aggregate": "trend", "source": "events", "window": 2},
    {"aggregate": "ratio", "source": "events"},
    {"aggregate": "ratio", "source": "events", "window": 2, "against": 2},
    {"aggregate": "decayed", "source": "events"},
    {"aggregate": "decayed", "source": "events", "half_life": 0},
    {"aggregate": "decayed", "source": "events", "half_life": -1},
    {"aggregate": "count", "source": "events", "window": -1},
    {"aggregate": "count", "source": "events", "window": 10**18},
    {"aggregate": "count", "source": "events", "column": "value"},
    {"aggregate": "count", "source": "events", "back": 1},
    {"aggregate": "count", "source": "changes"},
    {"aggregate": "count", "source": "changes", "where": [["field", ["a"]]], "scope": "account"},
    {"aggregate": "count", "source": "leads"},
    {"aggregate": "count", "source": "outcomes"},
    {"aggregate": "count", "source": "events", "where": [["kind", ["b", "a"]]]},
    {"aggregate": "count", "source": "events", "where": [["kind", []]]},
    {"aggregate": "count", "source": "events", "where": [["kind", ["a"]], ["channel", ["b"]]]},
    {"aggregate": "sum", "source": "events"},
    {"aggregate": "sum", "source": "events", "column": "value", "type": "text"},
    {"aggregate": "previous", "source": "events", "column": "value", "type": "text", "back": 0},
    {"aggregate": "previous", "source": "events", "column": "value", "type": "text"},
    {"aggregate": "last_hour", "source": "events", "offset": 15 * HOUR},
    {"aggregate": "last_hour", "source": "events", "offset": 1},
    {"aggregate": "response", "source": "events"},
    {"aggregate": "open", "source": "events", "where": [["kind", ["a"]]]},
    {
        "aggregate": "open", "source": "events", "where": [["kind", ["a"]]],
        "other": [["kind", ["a"]]],
    },
    {"aggregate": "age", "source": "leads", "window": 1},
    {"aggregate": "age", "source": "events"},
    {"aggregate": "attribute", "source": "leads"},
    {"aggregate": "rate", "source": "outcomes", "where": [["outcome", ["won"]]]},
    {
        "aggregate": "rate", "source": "outcomes", "where": [["outcome", ["won"]]],
        "by": {"aggregate": "age", "source": "leads"},
    },
    {
        "aggregate": "open_leads", "source": "leads",
        "by": {"aggregate": "latest", "source": "events", "column": "page", "type": "text"},
    },
    {
        "aggregate": "count", "source": "events",
        "by": {"aggregate": "attribute", "source": "leads", "column": "a", "type": "text"},
    },
]  # fmt: skip


@pytest.mark.parametrize("feature", NOT_DECLARED, ids=str)
def test_json_that_no_function_declares_is_refused(feature: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError, match=f'"{feature["aggregate"]}"'):
        FeatureSet.from_json(msgspec.json.encode([feature]))


@given(st.lists(named(), max_size=5, unique_by=lambda one: one.name))
def test_json_of_whatever_is_declared_is_read(features: list[Feature]) -> None:
    declared = FeatureSet(features)
    assert FeatureSet.from_json(declared.to_json()) == declared


def test_a_set_grows_by_addition() -> None:
    first = FeatureSet([age()])
    both = first + FeatureSet([events("call").count()]).features
    assert both.names == ("age()", "count(call)")
    assert len(first) == 1


REFUSED: list[tuple[Any, str, str]] = [  # what is declared, what is named, what to do
    (lambda: events([]).count(), "kind", "leave the filter out"),
    (lambda: events("call", channel=()).count(), "channel", "leave the filter out"),
    (lambda: events("a\nb").count(), "a\\nb", "use text of visible signs"),
    (lambda: events("call", channel="\x00").count(), "\\x00", "use text of visible signs"),
    (lambda: events("\ud800").count(), "\\ud800", "use text of visible signs"),
    (lambda: changes("sta\x7fge").latest(), "sta\\x7fge", "use text of visible signs"),
    (lambda: FeatureSet([attribute("a\tb", "text")]), "a\\tb", "rename it"),
    (lambda: FeatureSet([age(), age()]), "age()", "leave one of each"),
    (lambda: events("call").count("7 days"), "'7 days'", "write a number and us, s, m, h, d or w"),
    (lambda: events("call").count("0d"), "'0d'", "write a number and us, s, m, h, d or w"),
    (lambda: events("call").count("-1d"), "'-1d'", "write a number and us, s, m, h, d or w"),
    (lambda: events("call").ratio("30d", "7d"), "30d, 7d", "the first window must be the shorter"),
    (lambda: events("call").ratio("7d", "1w"), "7d, 1w", "the first window must be the shorter"),
    (lambda: events("call").trend("30d", "7d"), "30d, 7d", "the first window must be the shorter"),
    (
        lambda: events("call").trend("7d", "168h"),
        "7d, 168h",
        "the first window must be the shorter",
    ),
    (lambda: events("call").trend("7d", None), "None", "write a number and us, s, m, h, d or w"),
    (lambda: events("call").ratio(None), "None", "write a number and us, s, m, h, d or w"),
    (lambda: events("call").decayed(None), "None", "write a number and us, s, m, h, d or w"),
    (lambda: events("call").decayed("0d"), "0d", "write a number and us, s, m, h, d or w"),
    (lambda: events("call").count("36526d"), "36526d", "leave the window out"),
    (lambda: events("call").previous(back=0), "back = 0", "write 1"),
    (lambda: events("call").sequence(0), "sequence(0)", "write 1"),
    (lambda: events("call").last_hour(15), "utc_offset = 15", "write hours, such as -5 or 5.5"),
    (lambda: events("call").last_weekday(-14.5), "-14.5", "write hours, such as -5 or 5.5"),
    (lambda: events("call").business(utc_offset=0.001), "0.001", "write hours"),
    (lambda: events("call").last_hour(math.nan), "nan", "write hours, such as -5 or 5.5"),
    (lambda: events().share("7d"), "share of everything", "name a kind or a column"),
    (lambda: events("a").response(to=events("a")), "two selections", "each by a kind or a column"),
    (lambda: events("a").response(to=events()), "two selections", "each by a kind or a column"),
    (lambda: events().response(to=events("a")), "two selections", "each by a kind or a column"),
    (lambda: events("a").open(events("a")), "two selections", "each by a kind or a column"),
    (lambda: events("a").open(account_events("b")), "both selections", "of one source and scope"),
    (lambda: events("a").response(to=changes("b")), "both selections", "of one source and scope"),
    (lambda: events("a").response(to="b"), "'b'", 'write events("visit")'),
    (
        lambda: rate("won", by="industry"),
        "rate by 'industry'",
        'write attribute("industry", "text")',
    ),
    (lambda: rate("won", by=attribute("size", "number")), "rate by size", "use a text attribute"),
    (lambda: rate("won", by=age()), "rate by age()", "use a text attribute"),
    (lambda: rate("won", by=events().count()), "rate by count(events)", "use a text attribute"),
    (lambda: rate("won", by=events().latest("page", window="7d")), "7d", "without a window"),
    (lambda: recent("won", by=account_events().latest("page")), "account.", "the lead's own"),
    (lambda: recent("won", by=events().previous("page")), "previous(", "use a text attribute"),
    (lambda: rate("won", by=changes(["a", "b"]).latest()), "a|b", "name one field"),
    (lambda: open_leads(by=events().latest("page")), "latest(page of events)", "use an attribute"),
    (lambda: open_leads(by="owner"), "open_leads by 'owner'", "write attribute"),
    (lambda: rate("won", by=rate("won", by=attribute("a", "text"))), "rate by rate(", "use a text"),
]


@pytest.mark.parametrize(("declare", "what", "remedy"), REFUSED)
def test_what_cannot_be_declared_is_refused_with_a_remedy(
    declare: Any, what: str, remedy: str
) -> None:
    with pytest.raises(DeclarationError) as refused:
        declare()
    assert what in str(refused.value)
    assert remedy in str(refused.value)
