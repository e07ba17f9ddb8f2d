"""Six leads worked out by hand: the independent check on what the features mean.

The question is asked on 31 March 2024 at midnight UTC. So 7 days begin on 24 March at midnight,
30 days on 1 March at midnight. It is a Sunday, and 1 March is a Friday. Everything below was
counted on paper, not computed.
"""

from __future__ import annotations

from math import log, sqrt
from typing import Any, get_args

import pandas as pd
import pytest

from features.engines import compute
from features.feature import Aggregate
from features.language import (
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
from features.schema import History
from features.times import instant
from tests.histories import frame, history, readable
from tests.judge import judge

LEADS = [  # id, created, account, industry, size
    ("A", "2024-02-20 00:00", "acme", "bank", 50),
    ("B", "2024-03-20 00:00", "acme", None, 200),
    ("C", "2024-03-24 00:00", None, "retail", None),  # nothing ever happened
    ("D", "2024-03-05 12:00", None, "bank", 10),
    ("E", "2024-03-31 00:00", "zeta", "bank", 20),  # created at the very moment of the question
    ("F", "2024-01-01 00:00", "zeta", "farm", 30),
]
EVENTS = [  # lead, id, kind, occurred, known (when later), channel, value, page, campaign
    ("A", "1", "call", "2024-03-01 00:00", None, "phone", 100, None, None),  # 30 days to the dot
    ("A", "2", "email", "2024-03-10 00:00", None, None, None, None, "spring"),
    ("A", "3", "call", "2024-03-24 00:00", None, "phone", 50, None, None),  # 7 days to the dot
    ("A", "4", "call", "2024-03-23 23:59:59.999999", None, "web", 7, None, None),  # 1 us older
    ("A", "5", "visit", "2024-03-30 12:00", None, "web", None, "pricing", None),
    ("A", "6", "visit", "2024-03-30 12:00", None, "web", None, "demo", None),  # tie: 6 is later
    ("A", "7", "call", "2024-03-29 00:00", "2024-03-31 00:00", "phone", 1000, None, None),  # late
    ("A", "8", "call", "2024-03-31 00:00", None, "phone", 3000, None, None),  # now: not yet
    ("B", "1", "call", "2024-03-19 00:00", None, "phone", 30, None, None),  # before B was created
    ("B", "2", "visit", "2024-03-30 12:00", None, "web", None, "home", None),  # ties with A
    ("B", "3", "call", "2024-03-28 06:00", "2024-03-30 23:59:59.999999", "phone", None, None, None),
    ("D", "1", "email", "2024-02-01 00:00", None, None, None, None, "winter"),
    ("D", "2", "email", "2024-03-25 00:00", None, None, None, None, None),
    ("E", "1", "call", "2024-03-30 00:00", None, "phone", 5, None, None),
    ("F", "1", "call", "2024-03-30 00:00", None, "phone", 20, None, None),
]
CHANGES = [  # lead, id, field, value, known
    ("A", "1", "stage", "new", "2024-03-02 00:00"),
    ("A", "2", "owner", "kim", "2024-03-10 00:00"),
    ("A", "3", "stage", "working", "2024-03-15 00:00"),
    ("A", "4", "stage", "demo", "2024-03-31 00:00"),  # now: not yet
    ("B", "1", "stage", "new", "2024-03-21 00:00"),
    ("B", "2", "stage", "working", "2024-03-21 00:00"),  # tie: 2 is later
    ("F", "1", "stage", "nurture", "2024-03-12 00:00"),
]
OUTCOMES = [  # lead, outcome, occurred, known (when later), deal value
    ("B", "won", "2024-03-29 00:00", None, 500),
    ("C", "won", "2024-03-31 00:00", None, 80),  # now: not yet
    ("D", "lost", "2024-03-30 12:00", "2024-03-31 00:00", None),  # late
    ("F", "lost", "2024-03-20 00:00", None, None),
]
NONE = None
US = 1 / 86_400_000_000  # a microsecond in days
INDUSTRY, STAGE = attribute("industry", "text"), changes("stage").latest()
STORY = [  # feature, then A, B, C, D, E, F
    # A: 1, 3, 4 (7 was known too late, 8 is not before now); B: 1, 3
    (events("call").count(), 3, 2, 0, 0, 1, 1),
    # A: 3 (4 is a microsecond too old); B: 3
    (events("call").count("7d"), 1, 1, 0, 0, 1, 1),
    # A: 1 lies on the edge and counts
    (events("call").count("30d"), 3, 2, 0, 0, 1, 1),
    # A: 3, 5, 6; B: 2, 3
    (events(["call", "visit"]).count("7d"), 3, 2, 0, 0, 1, 1),
    # A: 1, 3 (4 came by web)
    (events("call", channel="phone").count(), 2, 2, 0, 0, 1, 1),
    # A: 100 + 50 + 7; B: 30 and a call without a value
    (events("call").sum("value"), 157, 30, 0, 0, 5, 20),
    # A: 157 / 3; B: 30 / 1, the other call carries none
    (events("call").mean("value"), 157 / 3, 30, NONE, NONE, 5, 20),
    (events("call").min("value"), 7, 30, NONE, NONE, 5, 20),
    (events("call").max("value", "7d"), 50, NONE, NONE, NONE, 5, 20),
    # A, B: 30 March noon is half a day ago; D: 25 March to 31 March
    (events().since_last(), 0.5, 0.5, NONE, 6, 1, 1),
    # A: 1 to 31 March; B: 19 to 31; D: 29 days of February and 30 of March
    (events().since_first(), 30, 12, NONE, 59, 1, 1),
    # A: pricing, demo; B: home
    (events("visit").distinct("page"), 2, 1, 0, 0, 0, 0),
    # A: 5 and 6 tie, the greater id is the later
    (events("visit").latest("page"), "demo", "home", NONE, NONE, NONE, NONE),
    # D: the latest e-mail has no campaign; the older one does not count
    (events("email").latest("campaign"), "spring", NONE, NONE, NONE, NONE, NONE),
    # A: 3; B: 3 carries no value
    (events("call").latest("value", "number"), 50, NONE, NONE, NONE, 5, 20),
    # A: 1 of 3; B: 1 of 2
    (events("call").ratio("7d", "30d"), 1 / 3, 1 / 2, NONE, NONE, 1, 1),
    # A: 3, 5, 6 of six; B: 2, 3 of three; D: one of two
    (events().ratio("7d"), 1 / 2, 2 / 3, NONE, 1 / 2, 1, 1),
    # acme: 3 + 2; C and D have no account; E is not yet known, so neither it nor F counts E's call
    (account_events("call").count(), 5, 5, 0, 0, 0, 1),
    # acme: A 5, A 6 and B 2 tie; the greater lead goes first
    (account_events("visit").latest("page"), "home", "home", NONE, NONE, NONE, NONE),
    # acme: A 1, 3, 4 and B 1 carry one
    (account_events().sum("value", "30d"), 187, 187, 0, 0, 0, 20),
    # A: the third change comes now, so not yet; B: a tie, the greater id is the later
    (changes("stage").latest(), "working", "working", NONE, NONE, NONE, "nurture"),
    (changes("stage").latest(window="15d"), NONE, "working", NONE, NONE, NONE, NONE),
    (changes("stage").count(), 2, 2, 0, 0, 0, 1),
    # A: 15 to 31 March; B: 21 to 31; F: 12 to 31
    (changes("stage").since_last(), 16, 10, NONE, NONE, NONE, 19),
    # A: new, working, kim; B: new, working
    (changes(["stage", "owner"]).distinct("value"), 3, 2, 0, 0, 0, 1),
    # E is not known before it is created
    (attribute("industry", "text"), "bank", NONE, "retail", "bank", NONE, "farm"),
    (attribute("size", "number"), 50, 200, NONE, 10, NONE, 30),
    # A: 10 days of February and 30 of March; D: from 5 March noon; F: 31 + 29 + 30
    (age(), 40, 11, 7, 25.5, NONE, 90),
    # A: 100, 50 and 7 sum to 157, their squares to 12,549; B: one value alone
    (events("call").std(), sqrt((12_549 - 157**2 / 3) / 2), NONE, NONE, NONE, NONE, NONE),
    # A: 3 calls, 2 visits, 1 email of 6; B: 2 calls, 1 visit of 3; the others have one kind
    (events().entropy("kind"), log(2) / 2 + log(3) / 3 + log(6) / 6, log(3) - 2 / 3 * log(2),
     NONE, 0, 0, 0),
    # A, the newest first: 6, 5, 3, 4, 2, 1; B: 2, 3, 1; D: 2, 1
    (events().latest("kind"), "visit", "visit", NONE, "email", "call", "call"),
    (events().previous("kind"), "visit", "call", NONE, "email", NONE, NONE),
    (events().previous("kind", back=2), "call", "call", NONE, NONE, NONE, NONE),
    # A: 3, then 4; B: 3, then 1
    (events("call").previous("value", "number"), 7, 30, NONE, NONE, NONE, NONE),
    # B: a tie, the smaller id is the earlier
    (changes("stage").previous(), "new", "new", NONE, NONE, NONE, NONE),
    # A: 1 in 7 days against 3 in 30; B: 1 against 2; E, F: 1 against 1
    (events("call").trend("7d", "30d"), 10 / 7, 15 / 7, NONE, NONE, 30 / 7, 30 / 7),
    # A: 3 of 6; B: 2 of 3; D: none of 2
    (events("call").share(), 1 / 2, 2 / 3, NONE, 0, 1, 1),
    # A: 3 of 3, 5, 6; B: 3 of 2, 3; D: none of 2
    (events("call").share("7d"), 1 / 3, 1 / 2, NONE, 0, 1, 1),
    # acme: 5 of 9; F: its own only, E is not yet known
    (account_events("call").share(), 5 / 9, 5 / 9, NONE, NONE, NONE, 1),
    # A: 21 days old, three half-lives; D: 59 and 6 days old
    (events("email").decayed("7d"), 1 / 8, 0, 0, 2 ** (-59 / 7) + 2 ** (-6 / 7), 0, 0),
    # A: two, half a day old each; B: one
    (events("visit").decayed("12h"), 1, 1 / 2, 0, 0, 0, 0),
    # A: five gaps from 1 to 30 March noon; B: two from 19 to 30 noon; D: 1 February to 25 March
    (events().mean_gap(), 29.5 / 5, 11.5 / 2, NONE, 53, NONE, NONE),
    # A: 3, 5, 6, from 24 to 30 noon; B: 3, 2, from 28 at six o'clock to 30 noon
    (events().mean_gap("7d"), 6.5 / 2, 2.25, NONE, NONE, NONE, NONE),
    # A: 5 and 6 tie
    (events().last_gap(), 0, 2.25, NONE, 53, NONE, NONE),
    # A: 4 and 3; B: 1 and 3, from 19 to 28 at six o'clock
    (events("call").last_gap(), US, 9.25, NONE, NONE, NONE, NONE),
    (changes("stage").last_gap(), 13, 0, NONE, NONE, NONE, NONE),
    # A: gaps of 20.5 (10 to 30 noon) and 0 days: mean 10.25, deviation 20.5 / sqrt 2
    (events(["email", "visit"]).regularity(), sqrt(2), NONE, NONE, NONE, NONE, NONE),
    # acme: A 1, B 1, A 3, B 3: gaps of 18, 5 and 4.25, which sum to 27.25, squares to 367.0625
    (account_events(channel="phone").regularity(), *[sqrt((367.0625 - 27.25**2 / 3) / 2)
     / (27.25 / 3)] * 2, NONE, NONE, NONE, NONE),
    # A: from 3 to 5 (6 follows a visit); B: from 3 to 2
    (events("visit").response(to=events("call")), 6.5, 2.25, NONE, NONE, NONE, NONE),
    # A: 3 lies on the edge of 7 days and counts, but not of 6
    (events("visit").response(to=events("call"), window="7d"), 6.5, 2.25, NONE, NONE, NONE, NONE),
    (events("visit").response(to=events("call"), window="6d"), NONE, 2.25, NONE, NONE, NONE, NONE),
    # A: from 2 to 4; no call comes after a visit
    (events("call").response(to=events("email")), 14 - US, NONE, NONE, NONE, NONE, NONE),
    (events("call").response(to=events("visit")), NONE, NONE, NONE, NONE, NONE, NONE),
    # acme: from B 3 to A 5
    (account_events("visit").response(to=account_events("call")), 2.25, 2.25, NONE, NONE, NONE,
     NONE),
    # A: 3 calls, 2 visits; B: 2 and 1
    (events("call").open(events("visit")), 1, 1, 0, 0, 1, 1),
    (events("visit").open(events("call")), 0, 0, 0, 0, 0, 0),
    # A, B: Saturday noon; D: Monday 25 March, midnight; E, F: Saturday, midnight
    (events().last_hour(), 12, 12, NONE, 0, 0, 0),
    (events().last_hour(-5), 7, 7, NONE, 19, 19, 19),
    (events().last_weekday(), 5, 5, NONE, 0, 5, 5),
    (events().last_weekday(-5), 5, 5, NONE, 6, 4, 4),
    # Midnight is nine o'clock there. A: 1, a Friday; B: 1 and 3, Tuesday at nine and Thursday at
    # three; D: Thursday and Monday; E, F: Saturday
    (events().business(utc_offset=9), 1 / 6, 2 / 3, NONE, 1, 0, 0),
    (events().business("7d", 9), 0, 1 / 2, NONE, 1, 0, 0),
    # Midnight is eighteen o'clock there: too late
    (events().business(utc_offset=-6), 0, 0, NONE, 0, 0, 0),
    # A has B, B has A; F has E, which is not yet known, and E is not known itself
    (other_leads().count(), 1, 1, 0, 0, 0, 0),
    (other_leads().since_last(), 11, 40, NONE, NONE, NONE, NONE),
    (other_events("call").count(), 2, 3, 0, 0, 0, 0),
    (other_events().latest("page"), "home", "demo", NONE, NONE, NONE, NONE),
    (other_events().mean_gap(), 11.5 / 2, 29.5 / 5, NONE, NONE, NONE, NONE),
    (other_outcomes("won").count(), 1, 0, 0, 0, 0, 0),
    (other_outcomes("won").sum("deal_value"), 500, 0, 0, 0, 0, 0),
    (other_outcomes().since_last(), 2, NONE, NONE, NONE, NONE, NONE),
    # Known: B won while working, F lost while in nurture, so one of two was won in all.
    # Working: (1 + 20 / 2) / 21; nurture: (0 + 20 / 2) / 21
    (rate("won", by=STAGE), 11 / 21, 11 / 21, NONE, NONE, NONE, 10 / 21),
    # B won within 10 days, F lost 11 days ago: all of one were won, (0 + 20) / 20 in nurture
    (rate("won", by=STAGE, window="10d"), 1, 1, NONE, NONE, NONE, 1),
    (recent("lost", by=STAGE, window="11d"), 0, 0, NONE, NONE, NONE, 1),
    (recent("lost", by=STAGE, window="10d"), 0, 0, NONE, NONE, NONE, 0),
    # B has no industry, D's loss is not known yet
    (recent("lost", by=INDUSTRY), 0, NONE, 0, 0, NONE, 1),
    # Open: A and D (bank), C (retail), for their outcomes are not known; F is settled
    (open_leads(by=INDUSTRY), 2, NONE, 1, 2, NONE, 0),
    # Working: A, for B is settled
    (open_leads(by=STAGE), 1, 1, NONE, NONE, NONE, 0),
]  # fmt: skip
LATER = [  # for A and E, asked a microsecond later
    (events("call").count(), 5, 1),  # 7 and 8 as well
    (events("call").count("7d"), 2, 1),  # 7 and 8; 3 has left the window
    (events("call").sum("value"), 4157, 5),  # 157 + 1000 + 3000
    (events("call").latest("value", "number"), 3000, 5),
    (changes("stage").latest(), "demo", NONE),
    (attribute("industry", "text"), "bank", "bank"),
    (account_events("call").count(), 7, 2),  # 5 + 2; E's and F's
    (other_leads().count(), 1, 1),  # E has F
    (other_outcomes("lost").count(), 0, 1),  # F's
    (events("visit").response(to=events("call")), 1.5, NONE),  # from 7 to 5
    (events("call").response(to=events("visit")), 0.5, NONE),  # from 6 to 8
    (events("call").last_weekday(), 6, 5),  # 8 is on a Sunday
    (recent("lost", by=INDUSTRY), 1, 1),  # D's
    # Lost were F (farm) and D (bank), won C (retail): (1 + 20 x 2 / 3) / 21
    (rate("lost", by=INDUSTRY), 43 / 63, 43 / 63),
    (open_leads(by=INDUSTRY), 2, 2),  # A and E
    # A is in demo, where nobody was settled; C and D have no stage: (0 + 20 / 2) / 20
    (rate("won", by=STAGE), 1 / 2, NONE),
]


def test_the_story_uses_every_aggregate() -> None:
    assert {feature.aggregate for feature, *_ in STORY} == set(get_args(Aggregate))


@pytest.mark.parametrize("engine", ["duckdb", "sqlite", "memory", "judge"])
def test_the_story_as_it_was_on_31_march(engine: str) -> None:
    told(engine, "ABCDEF", "2024-03-31 00:00", STORY)


@pytest.mark.parametrize("engine", ["duckdb", "sqlite", "memory", "judge"])
def test_the_story_a_microsecond_later(engine: str) -> None:
    told(engine, "AE", "2024-03-31 00:00:00.000001", LATER)


def told(engine: str, leads: str, as_of: str, story: list[tuple[Any, ...]]) -> None:
    features = readable(FeatureSet(feature for feature, *_ in story), engine)
    spine = frame(
        [{"lead_id": lead, "as_of": instant(as_of)} for lead in leads], "lead_id", "as_of"
    )
    if engine == "judge":
        found = pd.DataFrame(judge(features, spine, the_history()), columns=list(features.names))
    else:
        found = compute(features, spine, the_history(), engine)
    for feature, *expected in story:
        if feature not in features.features:
            continue
        for lead, value, right in zip(leads, found[feature.name], expected, strict=True):
            where = f"{feature.name} of {lead}: {value} is not {right}"
            if right is None:
                assert pd.isna(value), where
            elif isinstance(right, str):
                assert value == right, where
            else:
                # Entropies are added up in whole units of 2^-36.
                near = 1e-11 if feature.aggregate == "entropy" else 1e-12
                assert value == pytest.approx(right, rel=near, abs=0), where


def the_history() -> History:
    return history(
        [
            {"lead_id": lead, "created_at": instant(created), "account_id": account,
             "industry": industry, "size": size}
            for lead, created, account, industry, size in LEADS
        ],
        [
            {"lead_id": lead, "event_id": one, "kind": kind, "occurred_at": instant(occurred),
             "known_at": instant(known or occurred), "channel": channel, "value": value,
             "page": page, "campaign": campaign, "score": None}
            for lead, one, kind, occurred, known, channel, value, page, campaign in EVENTS
        ],
        [
            {"lead_id": lead, "change_id": one, "field": field, "value": value,
             "known_at": instant(known)}
            for lead, one, field, value, known in CHANGES
        ],
        [
            {"lead_id": lead, "outcome": outcome, "occurred_at": instant(occurred),
             "known_at": instant(known or occurred), "deal_value": value, "reason": None}
            for lead, outcome, occurred, known, value in OUTCOMES
        ],
    )  # fmt: skip
