"""The judge: a slow, obvious reading of the feature language, one row at a time."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from features.language import Feature, FeatureSet
from features.schema import History
from features.times import DAY, micros

Fact = dict[str, Any]


def judge(features: FeatureSet, spine: pd.DataFrame, history: History) -> list[list[Any]]:
    """One list of values a spine row; null is None."""
    tables = {name: records(getattr(history, name)) for name in ("leads", "events", "changes")}
    for fact in tables["events"]:
        fact["id"] = fact["event_id"]
    for fact in tables["changes"]:
        fact["occurred_at"] = fact["known_at"]
        fact["id"] = fact["change_id"]
    return [
        [_value(feature, row["lead_id"], row["as_of"], tables) for feature in features.features]
        for row in records(spine)
    ]


def records(frame: pd.DataFrame) -> list[Fact]:
    """The rows of a table; times as integer microseconds, missing values as None."""
    plain = {}
    for name in frame.columns:
        if frame[name].dtype.kind == "M":
            plain[name] = micros(frame[name]).tolist()
        else:
            plain[name] = [None if pd.isna(value) else value for value in frame[name]]
    return [dict(zip(plain, values, strict=True)) for values in zip(*plain.values(), strict=True)]


def _value(feature: Feature, lead_id: str, as_of: int, tables: dict[str, list[Fact]]) -> Any:
    known_leads = {lead["lead_id"]: lead for lead in tables["leads"] if lead["created_at"] < as_of}
    lead = known_leads.get(lead_id)
    if feature.source == "leads":
        if lead is None:
            return None
        if feature.aggregate == "age":
            return (as_of - lead["created_at"]) / DAY
        return lead[feature.column]
    if feature.scope == "lead":
        owners = {lead_id}
    elif lead is None or lead["account_id"] is None:
        owners = set()
    else:
        account = lead["account_id"]
        owners = {key for key, one in known_leads.items() if one["account_id"] == account}
    facts = [
        fact
        for fact in tables[feature.source]
        if fact["lead_id"] in owners
        and fact["occurred_at"] < as_of
        and fact["known_at"] < as_of
        and all(fact[field] in values for field, values in feature.where)
    ]
    if feature.aggregate == "ratio":
        long = _within(facts, feature.against, as_of)
        return len(_within(facts, feature.window, as_of)) / len(long) if long else None
    return _aggregate(feature, _within(facts, feature.window, as_of), as_of)


def _within(facts: list[Fact], window: int | None, as_of: int) -> list[Fact]:
    return [fact for fact in facts if window is None or as_of - window <= fact["occurred_at"]]


def _aggregate(feature: Feature, facts: list[Fact], as_of: int) -> Any:
    if feature.aggregate == "count":
        return len(facts)
    if feature.aggregate == "since_first":
        return max(((as_of - fact["occurred_at"]) / DAY for fact in facts), default=None)
    if feature.aggregate == "since_last":
        return min(((as_of - fact["occurred_at"]) / DAY for fact in facts), default=None)
    values = [fact[feature.column] for fact in facts if fact[feature.column] is not None]
    if feature.aggregate == "latest":
        order = sorted(facts, key=lambda fact: (fact["occurred_at"], fact["lead_id"], fact["id"]))
        return order[-1][feature.column] if order else None
    if feature.aggregate == "distinct":
        return len(set(values))
    if feature.aggregate == "sum":
        return math.fsum(values)
    if not values:
        return None
    if feature.aggregate == "mean":
        return math.fsum(values) / len(values)
    return min(values) if feature.aggregate == "min" else max(values)


def alike(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Assert that two results are the same; floats may differ by the order of their summing."""
    pd.testing.assert_frame_equal(found, expected, check_exact=False, rtol=1e-9, atol=0)
