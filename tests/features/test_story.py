"""Six leads worked out by hand: the independent check on what the features mean.

The question is asked on 31 March 2024 at midnight UTC. So 7 days begin on 24 March at midnight,
30 days on 1 March at midnight. Everything below was counted on paper, not computed.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from features.engines import compute
from features.language import FeatureSet, account_events, age, attribute, changes, events
from features.schema import History
from features.times import instant
from tests.histories import frame, history
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
NONE = None
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
]  # fmt: skip
LATER = [  # for A and E, asked a microsecond later
    (events("call").count(), 5, 1),  # 7 and 8 as well
    (events("call").count("7d"), 2, 1),  # 7 and 8; 3 has left the window
    (events("call").sum("value"), 4157, 5),  # 157 + 1000 + 3000
    (events("call").latest("value", "number"), 3000, 5),
    (changes("stage").latest(), "demo", NONE),
    (attribute("industry", "text"), "bank", "bank"),
    (account_events("call").count(), 7, 2),  # 5 + 2; E's and F's
]


@pytest.mark.parametrize("engine", ["duckdb", "sqlite", "judge"])
def test_the_story_as_it_was_on_31_march(engine: str) -> None:
    told(engine, "ABCDEF", "2024-03-31 00:00", STORY)


@pytest.mark.parametrize("engine", ["duckdb", "sqlite", "judge"])
def test_the_story_a_microsecond_later(engine: str) -> None:
    told(engine, "AE", "2024-03-31 00:00:00.000001", LATER)


def told(engine: str, leads: str, as_of: str, story: list[tuple[Any, ...]]) -> None:
    features = FeatureSet(feature for feature, *_ in story)
    spine = frame(
        [{"lead_id": lead, "as_of": instant(as_of)} for lead in leads], "lead_id", "as_of"
    )
    if engine == "judge":
        found = pd.DataFrame(judge(features, spine, the_history()), columns=list(features.names))
    else:
        found = compute(features, spine, the_history(), engine)
    for feature, *expected in story:
        for lead, value, right in zip(leads, found[feature.name], expected, strict=True):
            where = f"{feature.name} of {lead}: {value} is not {right}"
            if right is None:
                assert pd.isna(value), where
            elif isinstance(right, str):
                assert value == right, where
            else:
                assert value == pytest.approx(right, rel=1e-12, abs=0), where


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
    )  # fmt: skip
