"""The judge: a slow, obvious reading of the feature language, one row at a time."""

from __future__ import annotations

import math
import statistics
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pandas as pd

from features.feature import Feature
from features.language import FeatureSet
from features.schema import History
from features.times import DAY, micros

Fact = dict[str, Any]
Tables = dict[str, list[Fact]]


def judge(features: FeatureSet, spine: pd.DataFrame, history: History) -> list[list[Any]]:
    """One list of values a spine row; null is None."""
    names = ("leads", "events", "changes", "outcomes")
    tables = {name: records(getattr(history, name)) for name in names}
    for name, identity in (("events", "event_id"), ("changes", "change_id"),
                           ("outcomes", "outcome"), ("leads", "lead_id")):  # fmt: skip
        for fact in tables[name]:
            fact["id"] = fact[identity]
            if name == "changes":
                fact["occurred_at"] = fact["known_at"]
            if name == "leads":
                fact["occurred_at"] = fact["known_at"] = fact["created_at"]
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


def _value(feature: Feature, lead_id: str, as_of: int, tables: Tables) -> Any:
    known_leads = {lead["lead_id"]: lead for lead in tables["leads"] if lead["created_at"] < as_of}
    lead = known_leads.get(lead_id)
    if feature.aggregate == "attribute":
        return None if lead is None else lead[feature.column]
    if feature.aggregate == "age":
        return None if lead is None else (as_of - lead["created_at"]) / DAY
    if feature.by is not None:
        return _of_segment(feature, lead_id, as_of, tables)
    if feature.scope == "lead":
        owners = {lead_id}
    elif lead is None or lead["account_id"] is None:
        owners = set()
    else:
        account = lead["account_id"]
        owners = {key for key, one in known_leads.items() if one["account_id"] == account}
        if feature.scope == "others":
            owners -= {lead_id}
    visible = sorted(
        (
            fact
            for fact in tables[feature.source]
            if fact["lead_id"] in owners and _visible(fact, as_of)
        ),
        key=lambda fact: (fact["occurred_at"], fact["lead_id"], fact["id"]),
    )
    return _aggregate(feature, visible, as_of)


def _visible(fact: Fact, as_of: int) -> bool:
    return fact["occurred_at"] < as_of and fact["known_at"] < as_of


def _chosen(facts: list[Fact], where: Any) -> list[Fact]:
    return [fact for fact in facts if all(fact[field] in values for field, values in where)]


def _within(facts: list[Fact], window: int | None, as_of: int) -> list[Fact]:
    return [fact for fact in facts if window is None or as_of - window <= fact["occurred_at"]]


def _aggregate(feature: Feature, visible: list[Fact], as_of: int) -> Any:
    """``visible`` is every visible fact of the source, the oldest first."""
    mine = _chosen(visible, feature.where)
    facts = _within(mine, feature.window, as_of)
    longer = _within(mine, feature.against, as_of)
    everything = _within(visible, feature.window, as_of)
    ages = [(as_of - fact["occurred_at"]) / DAY for fact in facts]
    match feature.aggregate:
        case "count":
            return len(facts)
        case "ratio":
            return len(facts) / len(longer) if longer else None
        case "trend":
            pace, long_pace = len(facts) / feature.window, len(longer) / feature.against
            return pace / long_pace if longer else None
        case "share":
            return len(facts) / len(everything) if everything else None
        case "open":
            return max(len(mine) - len(_chosen(visible, feature.other)), 0)
        case "decayed":
            halvings = [age * DAY / feature.half_life for age in ages]
            return math.fsum(2.0**-halved for halved in halvings if halved < 1_000)
        case "since_first":
            return max(ages, default=None)
        case "since_last":
            return min(ages, default=None)
        case "last_hour" | "last_weekday":
            if not facts:
                return None
            local = _local(facts[-1], feature)
            return local.hour if feature.aggregate == "last_hour" else local.weekday()
        case "business":
            inside = [_in_business_hours(_local(fact, feature)) for fact in facts]
            return sum(inside) / len(inside) if inside else None
        case "mean_gap" | "last_gap" | "regularity":
            return _of_gaps(feature.aggregate, [fact["occurred_at"] for fact in facts])
        case "response":
            return _response(feature, visible, as_of)
        case "latest" | "previous":
            place = 1 + (feature.back or 0)
            return facts[-place][feature.column] if len(facts) >= place else None
    values = [fact[feature.column] for fact in facts if fact[feature.column] is not None]
    return _of_values(feature.aggregate, values)


def _of_values(aggregate: str, values: list[Any]) -> Any:
    match aggregate:
        case "distinct":
            return len(set(values))
        case "sum":
            return math.fsum(values)
        case "std":
            return statistics.stdev(values) if len(values) > 1 else None
        case "entropy":
            shares = [values.count(one) / len(values) for one in set(values)]
            return math.fsum(-share * math.log(share) for share in shares) if values else None
        case "mean":
            return math.fsum(values) / len(values) if values else None
        case "min":
            return min(values, default=None)
        case "max":
            return max(values, default=None)
    raise AssertionError(aggregate)


def _of_gaps(aggregate: str, moments: list[int]) -> Any:
    """``moments`` in microseconds, the oldest first."""
    gaps = [(later - earlier) / DAY for earlier, later in pairwise(moments)]
    if not gaps:
        return None
    if aggregate == "last_gap":
        return gaps[-1]
    mean = math.fsum(gaps) / len(gaps)
    if aggregate == "mean_gap":
        return mean
    return statistics.stdev(gaps) / mean if len(gaps) > 1 and mean > 0 else None


def _response(feature: Feature, visible: list[Fact], as_of: int) -> Any:
    answers = _chosen(visible, feature.where)
    both = [one for one in visible if one in answers or one in _chosen(visible, feature.other)]
    inside = _within(both, feature.window, as_of)
    waits = [
        (answer["occurred_at"] - asked["occurred_at"]) / DAY
        for asked, answer in pairwise(both)
        if answer in answers and asked not in answers and asked in inside
    ]
    return math.fsum(waits) / len(waits) if waits else None


def _local(fact: Fact, feature: Feature) -> datetime:
    since = timedelta(microseconds=fact["occurred_at"] + (feature.offset or 0))
    return datetime(1970, 1, 1, tzinfo=UTC) + since


def _in_business_hours(local: datetime) -> bool:
    return local.weekday() < 5 and 9 <= local.hour < 18


def _of_segment(feature: Feature, lead_id: str, as_of: int, tables: Tables) -> Any:
    by = feature.by
    assert by is not None
    mine = _value(by, lead_id, as_of, tables)
    if mine is None:
        return None
    known = [outcome for outcome in tables["outcomes"] if _visible(outcome, as_of)]
    if feature.aggregate == "open_leads":
        settled = {outcome["lead_id"] for outcome in known}
        return sum(
            1
            for lead in tables["leads"]
            if lead["created_at"] < as_of
            and lead["lead_id"] not in settled
            and _value(by, lead["lead_id"], as_of, tables) == mine
        )
    placed = []
    for outcome in _within(known, feature.window, as_of):
        segment = _value(by, outcome["lead_id"], outcome["occurred_at"], tables)
        if segment is not None:
            placed.append((segment, outcome))
    hits = _chosen([outcome for segment, outcome in placed if segment == mine], feature.where)
    if feature.aggregate == "recent":
        return len(hits)
    if not placed:
        return None
    overall = len(_chosen([outcome for _, outcome in placed], feature.where)) / len(placed)
    count = sum(1 for segment, _ in placed if segment == mine)
    return (len(hits) + 20 * overall) / (count + 20)


def scale(feature: Feature, history: History) -> float:
    """The largest size of the numbers that a difference is taken of; 0 where none is."""
    if feature.aggregate == "std":
        return float(getattr(history, feature.source)[feature.column].abs().max() or 0)
    return 1.0 if feature.aggregate == "regularity" else 0.0


def alike(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Assert that two results are the same; floats may differ by the order of their summing."""
    pd.testing.assert_frame_equal(found, expected, check_exact=False, rtol=1e-9, atol=0)
