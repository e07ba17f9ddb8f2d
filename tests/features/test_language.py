"""The declarations: names, fingerprints, refusals and the words a marketer reads."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.language import (
    DeclarationError,
    Feature,
    FeatureSet,
    account_events,
    age,
    attribute,
    changes,
    describe,
    events,
)
from tests.histories import FEATURE_SETS

# Texts made of the pieces that names are made of, so that names come as near as they can.
PIECES = [
    "a", "of", " ", " of ", "events", "changes", "changes of ", ", ", ",", "[", "]", "=", "|",
    "7d", "7d/30d", "always", '"', "\\", "(", ")", "count(a)", "account.", "age()", "é", "/", ":",
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
]


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
            ]
        )
    )
    column, window = draw(TEXTS), draw(WINDOWS)
    return draw(
        st.sampled_from(
            [
                attribute(column, "text"), age(), facts.count(window), facts.sum(column, window),
                facts.mean(column, window), facts.latest(column, window=window),
                facts.latest("value", window=window), facts.distinct(column, window),
                facts.since_last(window), facts.ratio("7d"), facts.ratio("7d", "30d"),
            ]
        )
    )  # fmt: skip


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
        ]
    )
    assert declared.names == (
        "count(call, 7d)",
        "sum(value of call|page visit [channel=web], 36h)",
        "account.ratio(events, 1d/14d)",
        "latest(changes of stage)",
        "company size",
        'count("say \\"hi\\"")',
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
]


@pytest.mark.parametrize(("declare", "what", "remedy"), REFUSED)
def test_what_cannot_be_declared_is_refused_with_a_remedy(
    declare: Any, what: str, remedy: str
) -> None:
    with pytest.raises(DeclarationError) as refused:
        declare()
    assert what in str(refused.value)
    assert remedy in str(refused.value)


SENTENCES = [
    (events("call").count("7d"), "number of 'call' events in the last 7 days"),
    (events().count(), "number of events"),
    (
        events(["call", "page_visit"], channel="web").sum("value", "36h"),
        "total value of 'call' or 'page visit' events with channel 'web' in the last 36 hours",
    ),
    (events("call").mean("seconds", "1d"), "average 'seconds' of 'call' events in the last 1 day"),
    (events("call").min(), "smallest value of 'call' events"),
    (events("call").max("value", "2w"), "largest value of 'call' events in the last 14 days"),
    (events("visit").distinct("page"), "number of different 'page' values of 'visit' events"),
    (events("visit").since_first(), "days since the first 'visit' event"),
    (events().since_last(), "days since the last event"),
    (events("visit").latest("page"), "'page' of the latest 'visit' event"),
    (
        events("call").ratio("7d", "30d"),
        "share of 'call' events in the last 30 days that fall in the last 7 days",
    ),
    (events("call").ratio("7d"), "share of 'call' events so far that fall in the last 7 days"),
    (
        account_events("demo").count("30m"),
        "number of 'demo' events across the account in the last 30 minutes",
    ),
    (changes("stage").latest(), "value of the latest change of 'stage'"),
    (changes("stage").count("1w"), "number of changes of 'stage' in the last 7 days"),
    (changes("stage").since_last(), "days since the last change of 'stage'"),
    (
        changes(["stage", "owner"]).distinct("value"),
        "number of different values of changes of 'owner' or 'stage'",
    ),
    (attribute("company_size", "number"), "company size"),
    (age(), "days since the lead was created"),
]


@pytest.mark.parametrize(
    ("feature", "sentence"), SENTENCES, ids=lambda one: getattr(one, "name", "")
)
def test_a_feature_says_in_plain_english_what_it_is(feature: Feature, sentence: str) -> None:
    assert feature.sentence == sentence


@given(named())
def test_every_feature_has_its_words(feature: Feature) -> None:
    [told] = describe(FeatureSet([feature]))
    assert list(told) == ["name", "type", "unit", "null", "sentence", "group"]
    assert told["unit"]
    assert told["null"]
    assert "None" not in " ".join(told.values())
    assert not re.search(r"\d(d|h|m|s|us)\b", re.sub("'.*'", "", feature.sentence)) or (
        feature.source == "leads"
    )


def test_unit_and_missing_value_are_explained() -> None:
    told = {
        (f["unit"], f["null"])
        for f in describe(
            FeatureSet(
                [
                    events("call").count(),
                    changes("stage").count(),
                    events("call").distinct("page"),
                    events("call").since_last(),
                    events("call").since_last("7d"),
                    events("call").ratio("7d", "30d"),
                    events("call").ratio("7d"),
                    events("call").mean("amount", "7d"),
                    events("call").latest("page"),
                    attribute("industry", "text"),
                    age(),
                ]
            )
        )
    }
    assert told == {
        ("events", "never missing"),
        ("changes", "never missing"),
        ("values", "never missing"),
        ("days", "no events yet"),
        ("days", "no events in the window"),
        ("share", "no events in the longer window"),
        ("share", "no events yet"),
        ("unit of amount", "no events in the window that carry 'amount'"),
        ("text", "no events yet, or the latest carries no 'page'"),
        ("text", "not known at creation"),
        ("days", "lead not created yet"),
    }
