"""The words a marketer reads: sentences, units, what a missing value means."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from hypothesis import given

from features.feature import Aggregate
from features.language import (
    Feature,
    FeatureSet,
    account_events,
    age,
    attribute,
    changes,
    describe,
    events,
    open_leads,
    other_events,
    other_leads,
    other_outcomes,
    rate,
    recent,
)
from tests.features.test_language import named

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
    (events("call").std("seconds"), "standard deviation of 'seconds' of 'call' events"),
    (
        events("call").entropy("page", "30d"),
        "variety of 'page' among 'call' events in the last 30 days (0 when all are the same)",
    ),
    (events().previous("kind"), "'kind' of the event before the latest one"),
    (changes("stage").previous(), "value of the change of 'stage' before the latest one"),
    (
        events("visit").previous("page", back=2),
        "'page' of the 'visit' event 2 before the latest one",
    ),
    (
        events("call").trend("7d", "30d"),
        "daily number of 'call' events in the last 7 days, as a multiple of that in the last"
        " 30 days",
    ),
    (
        account_events("call").share("30d"),
        "share of all events across the account in the last 30 days that are 'call' events",
    ),
    (
        events(channel="web").share(),
        "share of all events that are events with channel 'web'",
    ),
    (
        events("call").decayed("14d"),
        "number of 'call' events, older ones counting less (half after 14 days)",
    ),
    (
        events("call").mean_gap("30d"),
        "average days from one 'call' event to the next in the last 30 days",
    ),
    (events("call").last_gap(), "days between the two latest 'call' events"),
    (
        changes("stage").regularity("90d"),
        "unevenness of the gaps between changes of 'stage' in the last 90 days"
        " (0 like clockwork, 1 at random)",
    ),
    (
        events("call").response(to=events("visit"), window="30d"),
        "average days from one 'visit' event in the last 30 days to the 'call' event"
        " right after it",
    ),
    (
        account_events("call").response(to=account_events("visit")),
        "average days from one 'visit' event to the 'call' event right after it across the account",
    ),
    (
        events("task_started").open(events("task_ended")),
        "number of 'task started' events without a matching 'task ended' event",
    ),
    (events("call").last_hour(), "hour of the day of the last 'call' event (UTC)"),
    (events("call").last_hour(-5), "hour of the day of the last 'call' event (UTC-5)"),
    (events().last_weekday(5.5), "day of the week of the last event (UTC+5:30)"),
    (
        events("call").business("30d", 1),
        "share of 'call' events in the last 30 days on Monday to Friday from 9 to 18 o'clock"
        " (UTC+1)",
    ),
    (
        other_leads().count("30d"),
        "number of other leads created in the account in the last 30 days",
    ),
    (other_leads().since_last(), "days since the last other lead created in the account"),
    (
        other_events("call").count("7d"),
        "number of 'call' events of other leads of the account in the last 7 days",
    ),
    (
        other_outcomes("won").sum("deal_value"),
        "total 'deal value' of 'won' outcomes of other leads of the account",
    ),
    (other_outcomes().count(), "number of outcomes of other leads of the account"),
    (
        rate("won", by=changes("owner").latest(), window="90d"),
        "share of 'won' among outcomes of leads of the same 'owner' in the last 90 days,"
        " drawn towards that of all leads while they are few",
    ),
    (
        recent("won", by=attribute("lead_source", "text"), window="30d"),
        "number of leads of the same 'lead source' that ended as 'won' in the last 30 days",
    ),
    (
        open_leads(by=changes("owner").latest()),
        "number of open leads of the same 'owner', this one included",
    ),
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


MEANINGS = [  # feature, unit, what a missing value means
    (
        events("call").std("seconds"),
        "unit of seconds",
        "fewer than two events that carry 'seconds'",
    ),
    (
        events().std("seconds", "7d"),
        "unit of seconds",
        "fewer than two events in the window that carry 'seconds'",
    ),
    (events().entropy("kind"), "nats", "no events that carry 'kind'"),
    (
        events().previous("kind", back=2),
        "text",
        "fewer than 3 events yet, or that one carries no 'kind'",
    ),
    (
        events().previous("score", "number"),
        "unit of score",
        "fewer than 2 events yet, or that one carries no 'score'",
    ),
    (events("call").trend("7d", "30d"), "times", "no events in the longer window"),
    (events("call").share(), "share", "no events yet"),
    (events("call").share("7d"), "share", "no events in the window"),
    (events("call").decayed("7d"), "weighted events", "never missing"),
    (events("call").mean_gap(), "days", "fewer than two events"),
    (events("call").mean_gap("7d"), "days", "fewer than two events in the window"),
    (changes("stage").last_gap(), "days", "fewer than two changes yet"),
    (
        events("call").regularity("7d"),
        "times",
        "fewer than three events in the window, or all at one time",
    ),
    (events("call").response(events("visit")), "days", "no events answered yet"),
    (events("call").response(events("visit"), "7d"), "days", "no events answered in the window"),
    (events("call").open(events("visit")), "open events", "never missing"),
    (events("call").last_hour(), "hour of day", "no events yet"),
    (events("call").last_weekday(), "day of week, Monday 0", "no events yet"),
    (events("call").business("7d"), "share", "no events in the window"),
    (other_leads().count(), "leads", "never missing"),
    (other_leads().since_last(), "days", "no leads yet"),
    (other_outcomes("won").sum("deal_value"), "unit of deal_value", "never missing"),
    (
        rate("won", by=attribute("industry", "text")),
        "share",
        "'industry' not known, or no outcome is known yet",
    ),
    (
        rate("won", by=changes("owner").latest(), window="7d"),
        "share",
        "'owner' not known, or no outcome is known in the window",
    ),
    (recent("won", by=changes("owner").latest(), window="7d"), "outcomes", "'owner' not known"),
    (open_leads(by=changes("owner").latest()), "leads", "'owner' not known"),
]


@pytest.mark.parametrize(
    ("feature", "unit", "null"), MEANINGS, ids=lambda one: getattr(one, "name", "")
)
def test_each_aggregate_has_its_unit_and_its_reason_to_be_missing(
    feature: Feature, unit: str, null: str
) -> None:
    assert (feature.unit, feature.null) == (unit, null)


def test_every_aggregate_is_read_aloud() -> None:
    every = set(get_args(Aggregate))
    assert {feature.aggregate for feature, _ in SENTENCES} == every
