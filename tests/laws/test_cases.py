"""The laws are worth what their cases are: every oddity must turn up often in a sample of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pandas as pd
from hypothesis import given, settings

from features.language import FeatureSet
from features.schema import History
from tests.histories import FEATURE_SETS, histories
from tests.judge import Fact, records

CASES, ENOUGH = 1_000, 5
ODDITIES = {
    "two events of a lead at one time",
    "two changes of a field at one time",
    "tie for the latest",
    "tie for the latest of the account",
    "happened before, known later",
    "happened at as_of",
    "known at as_of",
    "on the edge of a window",
    "just outside a window",
    "before 1970",
    "lead without events",
    "odd kind",
    "odd text",
    "missing value",
    "below zero",
    "change seen",
    "row before creation",
    "repeated row",
    "event of another lead of the account",
    "other lead not yet created",
    "lead without account",
    "several filters",
}


def test_the_generated_cases_hold_every_oddity() -> None:
    cases: Counter[str] = Counter()

    @settings(max_examples=CASES)
    @given(histories(), FEATURE_SETS)
    def look(generated: tuple[History, pd.DataFrame], features: FeatureSet) -> None:
        cases.update(set(oddities(*generated, features)))

    look()
    assert set(cases) <= ODDITIES
    rare = {name: cases[name] for name in ODDITIES if cases[name] < ENOUGH}
    assert not rare, f"too few of {CASES} cases have: {rare}"


def oddities(history: History, spine: pd.DataFrame, features: FeatureSet) -> Iterator[str]:
    """What is odd about a case, named where some feature of the case could trip over it."""
    leads = {lead["lead_id"]: lead for lead in records(history.leads)}
    rows, events, changes = records(spine), records(history.events), records(history.changes)
    if spine.duplicated().any():
        yield "repeated row"
    if any(len(feature.where) > 1 for feature in features.features):
        yield "several filters"
    for row in rows:
        lead, as_of = leads[row["lead_id"]], row["as_of"]
        mine = [event for event in events if event["lead_id"] == row["lead_id"]]
        changed = [change for change in changes if change["lead_id"] == row["lead_id"]]
        others = [
            event | {"created_at": leads[event["lead_id"]]["created_at"]}
            for event in events
            if event["lead_id"] != row["lead_id"]
            and leads[event["lead_id"]]["account_id"] == lead["account_id"]
        ]
        yield from _of_events(mine, as_of, features)
        if any(feature.source == "changes" for feature in features.features):
            yield from _of_changes(changed, as_of)
        if any(feature.scope == "account" for feature in features.features):
            yield from _of_account(lead, mine, others, as_of, features)
        if lead["created_at"] >= as_of:
            yield "row before creation"


def _of_events(mine: list[Fact], as_of: int, features: FeatureSet) -> Iterator[str]:
    if not mine:
        yield "lead without events"
    for event in mine:
        if event["occurred_at"] == as_of:
            yield "happened at as_of"
        elif event["occurred_at"] < as_of <= event["known_at"]:
            yield "happened before, known later"
            if event["known_at"] == as_of:
                yield "known at as_of"
    seen = _visible(mine, as_of)
    if _tied(seen, "occurred_at"):
        yield "two events of a lead at one time"
    for event in seen:
        ago = as_of - event["occurred_at"]
        if any(feature.window == ago for feature in features.features):
            yield "on the edge of a window"
        if any(feature.window == ago - 1 for feature in features.features):
            yield "just outside a window"
        if event["occurred_at"] < 0:
            yield "before 1970"
        if not event["kind"].isalpha():
            yield "odd kind"
        if event["page"] is not None and not event["page"].isalnum():
            yield "odd text"
        if event["value"] is None:
            yield "missing value"
        if (event["score"] or 0) < 0:
            yield "below zero"
    for feature in features.features:
        if feature.aggregate == "latest" and feature.scope == "lead" and _tie(seen, feature.where):
            yield "tie for the latest"


def _of_changes(changed: list[Fact], as_of: int) -> Iterator[str]:
    seen = [change for change in changed if change["known_at"] < as_of]
    if seen:
        yield "change seen"
    if _tied(seen, "known_at", "field"):
        yield "two changes of a field at one time"


def _of_account(
    lead: Fact, mine: list[Fact], others: list[Fact], as_of: int, features: FeatureSet
) -> Iterator[str]:
    if lead["created_at"] >= as_of:
        return
    if lead["account_id"] is None:
        yield "lead without account"
        return
    known = [event for event in _visible(others, as_of) if event["created_at"] < as_of]
    if known:
        yield "event of another lead of the account"
    if len(known) < len(_visible(others, as_of)):
        yield "other lead not yet created"
    seen = _visible(mine, as_of) + known
    for feature in features.features:
        if (
            feature.aggregate == "latest"
            and feature.scope == "account"
            and _tie(seen, feature.where)
            and {event["lead_id"] for event in seen} > {lead["lead_id"]}
        ):
            yield "tie for the latest of the account"


def _visible(events: list[Fact], as_of: int) -> list[Fact]:
    return [event for event in events if max(event["occurred_at"], event["known_at"]) < as_of]


def _tied(facts: list[Fact], *columns: str) -> bool:
    return len({tuple(fact[name] for name in columns) for fact in facts}) < len(facts)


def _tie(seen: list[Fact], where: tuple[tuple[str, tuple[str, ...]], ...]) -> bool:
    """Whether the last of the facts selected comes at the time of another."""
    times = sorted(
        event["occurred_at"]
        for event in seen
        if all(event.get(field) in values for field, values in where)
    )
    return len(times) > 1 and times[-1] == times[-2]
