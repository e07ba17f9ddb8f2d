"""The default set: drawn from the data's own words, bounded, and never from the future."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import catalog
from features.engines import check_columns, compute
from features.language import (
    FeatureSet,
    account_events,
    age,
    attribute,
    changes,
    events,
    other_events,
    other_leads,
    other_outcomes,
)
from features.schema import History
from features.simulate import simulate
from features.times import DAY, micros
from tests.histories import START, busy, frame, histories, history


@pytest.fixture(scope="module")
def funnel() -> History:
    return simulate(leads=300, seed=2).history


def leads(number: int, **columns: Any) -> list[dict[str, Any]]:
    """Leads a day apart; a column is a function of the lead's number."""
    plain = {"account_id": None, "industry": None, "size": None}
    return [
        {"lead_id": str(one), "created_at": START + one * DAY, **plain,
         **{name: made(one) for name, made in columns.items()}}
        for one in range(number)
    ]  # fmt: skip


def event(number: int, kind: str, **more: Any) -> dict[str, Any]:
    """An event of lead 0, on day ``number``."""
    moment = START + number * DAY
    plain = {"channel": None, "campaign": None, "value": None, "page": None, "score": None}
    return {"lead_id": "0", "event_id": str(number), "kind": kind, "occurred_at": moment,
            "known_at": moment, **plain, **more}  # fmt: skip


def change(number: int, field: str) -> dict[str, Any]:
    return {"lead_id": "0", "change_id": str(number), "field": field, "value": "x",
            "known_at": START + number * DAY}  # fmt: skip


def outcome(lead: str, word: str) -> dict[str, Any]:
    moment = START + 50 * DAY
    return {"lead_id": lead, "outcome": word, "occurred_at": moment, "known_at": moment,
            "deal_value": None, "reason": None}  # fmt: skip


def mentioned(features: FeatureSet) -> set[str]:
    """Every column and every word of a filter that the features read."""
    read = {column for feature in features.features for _, column, _ in feature.reads}
    filters = (values for feature in features.features for _, values in feature.where)
    return read.union(*filters)


@settings(max_examples=30)
@given(histories())
def test_every_feature_can_be_computed(generated: tuple[History, pd.DataFrame]) -> None:
    known, spine = generated
    declared = catalog.default(known)
    check_columns(declared, known)
    assert list(compute(declared, spine, known).columns) == list(declared.names)


@settings(max_examples=10)
@given(st.integers(0, 2**32))
def test_every_feature_can_be_computed_on_busy_histories(seed: int) -> None:
    known, spine, _ = busy(seed)
    declared = catalog.default(known)
    for engine in ("duckdb", "sqlite"):
        assert list(compute(declared, spine, known, engine).columns) == list(declared.names)


def test_every_feature_can_be_computed_on_the_funnel(funnel: History) -> None:
    declared = catalog.default(funnel)
    check_columns(declared, funnel)
    spine = funnel.leads[["lead_id"]].assign(as_of=funnel.events["known_at"].max())
    found = compute(declared, spine, funnel)
    assert len(declared) > 80
    assert not found.columns[found.isna().all()].size


@given(histories(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(
    generated: tuple[History, pd.DataFrame], chance: Any
) -> None:
    known, _ = generated
    seed = chance.randrange(1_000)
    shuffled = History(
        *(
            table.sample(frac=1, random_state=seed).reset_index(drop=True)
            for table in (known.leads, known.events, known.changes, known.outcomes)
        )
    )
    assert catalog.default(shuffled).fingerprint == catalog.default(known).fingerprint


@given(histories(), histories(), st.integers(0, 40))
def test_only_what_was_known_before_is_looked_at(
    generated: tuple[History, pd.DataFrame], other: tuple[History, pd.DataFrame], day: int
) -> None:
    """Another future, or none, gives the same set."""
    before = START + day * DAY
    past, future = _split(generated[0], before)[0], _split(other[0], before)[1]
    both = History(
        *(
            pd.concat([one, two], ignore_index=True)
            for one, two in zip(_tables(past), _tables(future), strict=True)
        )
    )
    whole = catalog.default(generated[0], before=before)
    assert whole == catalog.default(both, before=before)
    assert whole == catalog.default(past)


def _tables(known: History) -> list[pd.DataFrame]:
    return [known.leads, known.events, known.changes, known.outcomes]


def _split(known: History, before: int) -> tuple[History, History]:
    """What was known before a moment, and what was not."""
    parts: tuple[list[pd.DataFrame], list[pd.DataFrame]] = ([], [])
    for table in _tables(known):
        at = "known_at" if "known_at" in table else "created_at"
        early = micros(table[at]) < before
        for part, rows in zip(parts, (table[early], table[~early]), strict=True):
            part.append(rows.reset_index(drop=True))
    return History(*parts[0]), History(*parts[1])


def test_kinds_and_channels_and_fields_are_bounded_most_frequent_first() -> None:
    rows = [event(2 * n + again, f"kind {n:03}", channel=f"channel {n:03}")
            for n in range(60) for again in range(2)]  # fmt: skip
    rows += [event(200, "kind 059", channel="channel 059")]
    moves = [change(n, f"field {n:03}") for n in range(30)]
    known = history(leads(2), rows, [*moves, change(40, "field 029")])
    declared = mentioned(catalog.default(known))
    first = ["059", *(f"{n:03}" for n in range(59))]  # names break ties
    for word, most in (("kind", catalog.KINDS), ("channel", catalog.CHANNELS)):
        assert {one for one in declared if one.startswith(f"{word} ")} == {
            f"{word} {number}" for number in first[:most]
        }
    fields = ["029", *(f"{n:03}" for n in range(29))][: catalog.FIELDS]
    assert {one for one in declared if one.startswith("field ")} == {f"field {n}" for n in fields}


def test_properties_are_bounded() -> None:
    known = history(leads(2), [event(n, "call") for n in range(9)], [])
    names = [f"property {n:02}" for n in range(30)]
    numbers = pd.DataFrame({name: range(9) for name in names}).astype("float64")
    wide = History(known.leads, known.events.join(numbers), known.changes, known.outcomes)
    read = {name for name in mentioned(catalog.default(wide)) if name.startswith("property ")}
    # "page" and "score" are properties, too, and come first.
    assert read == set(names[: catalog.COLUMNS - 2])


def test_the_number_of_features_is_bounded() -> None:
    """Four hundred kinds, channels and fields cost no more than a hundred."""
    few, many = (
        history(
            leads(2),
            [event(n, f"kind {n}", channel=f"channel {n}") for n in range(size)],
            [change(n, f"field {n}") for n in range(size)],
        )
        for size in (100, 400)
    )
    assert len(catalog.default(many)) == len(catalog.default(few))


def test_excluded_names_never_appear(funnel: History) -> None:
    whole = catalog.default(funnel)
    assert {"industry", "attendees", "page"} <= mentioned(whole)
    less = catalog.default(funnel, exclude=("industry", "attendees", "page"))
    assert not {"industry", "attendees", "page"} & mentioned(less)
    assert set(less.features) < set(whole.features)


def test_leads_alone_give_attributes_and_age() -> None:
    known = history(leads(20, industry=lambda n: "ab"[n % 2], size=float), [], [])
    fit = {attribute("industry", "text"), attribute("size", "number")}
    assert set(catalog.default(known).features) == {*fit, age()}
    assert set(catalog.default(known, timeless=True).features) == fit


def test_an_attribute_that_never_varies_is_left_out() -> None:
    known = history(leads(20, industry=lambda _: "bank", size=lambda _: 3.0), [], [])
    assert catalog.default(known).features == (age(),)


def test_text_that_looks_like_an_identifier_is_left_out() -> None:
    def rows(letter: str) -> list[dict[str, Any]]:
        return [event(n, "call", page=f"{letter}{n}", campaign=f"{letter}{n}") for n in range(60)]

    known = history(leads(60, industry=lambda n: f"no. {n}"), rows("id"), [])
    declared = catalog.default(known).features
    assert attribute("industry", "text") not in declared
    assert events().latest("page") not in declared
    assert events().latest("campaign") not in declared
    assert events().distinct("page") in declared  # how many different ones is still worth knowing
    few = history(leads(60, industry=lambda n: f"no. {n % 5}"), rows("id")[:4], [])
    declared = catalog.default(few).features
    assert attribute("industry", "text") in declared
    assert {events().latest("page"), events().latest("campaign")} <= set(declared)


def test_values_are_summed_where_the_kind_carries_them() -> None:
    known = history(leads(2), [event(1, "call", value=5.0), event(2, "mail")], [])
    declared = catalog.default(known).features
    assert events("call").sum("value") in declared
    assert events("mail").sum("value") not in declared
    assert {events("mail").count("7d"), events("mail").since_last()} <= set(declared)


ACCOUNT = {account_events().count(), other_leads().count(), other_events().since_last()}


def test_accounts_of_several_leads_give_account_features() -> None:
    shared = history(leads(4, account_id=lambda n: "acme" if n < 2 else None), [event(1, "a")], [])
    assert set(catalog.default(shared).features) >= ACCOUNT
    alone = history(leads(4, account_id=lambda n: f"acme {n}"), [event(1, "a")], [])
    nobody = history(leads(4), [event(1, "a")], [])
    for known in (alone, nobody):
        assert {feature.scope for feature in catalog.default(known).features} == {"lead"}


def test_outcomes_of_others_are_counted_by_their_words() -> None:
    people = leads(4, account_id=lambda _: "acme")
    ended = [outcome("0", "won"), outcome("1", "renewal")]
    declared = set(catalog.default(history(people, [event(1, "a")], [], ended)).features)
    assert {other_outcomes("won").count(), other_outcomes("renewal").count()} <= declared
    assert other_outcomes("lost").count() not in declared
    earlier = catalog.default(history(people, [event(1, "a")], [], ended), before=START + 9 * DAY)
    assert {feature.source for feature in earlier.features} == {"leads", "events"}


def test_changes_give_their_fields() -> None:
    known = history(leads(2), [], [change(1, "stage")])
    stage = changes("stage")
    wanted = {stage.latest(), stage.count(), stage.since_last()}
    assert set(catalog.default(known).features) == {*wanted, age()}


def test_nothing_at_all_is_the_age() -> None:
    empty = History(
        frame([], "lead_id", "created_at", "account_id"),
        *(table.iloc[:0] for table in _tables(history([], [], []))[1:]),
    )
    assert catalog.default(empty).features == (age(),)
