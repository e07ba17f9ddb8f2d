"""The default feature set, derived from the data's own vocabulary; bounded and deterministic."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from features.language import (
    Feature,
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
from features.times import from_micros

KINDS, CHANNELS, FIELDS, COLUMNS, CATEGORIES = 40, 8, 10, 12, 50
"""At most so many kinds, channels, changing fields, properties of events, values of a text."""

_EVENT_COLUMNS = {
    "lead_id", "event_id", "kind", "occurred_at", "known_at", "channel", "campaign", "value",
}  # fmt: skip


def default(
    history: History,
    *,
    before: int | None = None,
    exclude: Collection[str] = (),
    timeless: bool = False,
) -> FeatureSet:
    """Features over whatever the history speaks of: kinds, channels, fields, attributes.

    Looks only at facts known before ``before`` (microseconds; None: all), most frequent first,
    names break ties. ``exclude`` names attributes, properties and changing fields never to be used.
    ``timeless`` leaves out every feature that depends on when something happened.
    """
    leads, facts, moves, ended = history.leads, history.events, history.changes, history.outcomes
    if before is not None:
        limit = from_micros([before])[0]
        leads = leads[leads["created_at"] < limit]
        facts, moves = facts[facts["known_at"] < limit], moves[moves["known_at"] < limit]
        ended = ended[ended["known_at"] < limit]
    features: list[Feature] = _attributes(leads, exclude)
    if not timeless:
        features.append(age())
    if len(facts):
        features += _overall(facts) + _by_kind(facts) + _properties(facts, exclude)
        if leads["account_id"].duplicated(keep=False).where(leads["account_id"].notna()).any():
            features += _account(ended)
    moving = moves["field"]
    for field in _frequent(moving[~moving.isin(list(exclude))], FIELDS):
        features += [changes(field).latest(), changes(field).count(), changes(field).since_last()]
    return FeatureSet(features)


def _frequent(values: pd.Series, most: int) -> list[str]:
    counts = values.value_counts()
    ordered = sorted(counts.items(), key=lambda pair: (-int(pair[1]), str(pair[0])))
    return [str(value) for value, _ in ordered[:most]]


def _attributes(leads: pd.DataFrame, exclude: Collection[str]) -> list[Feature]:
    """Numbers as they are; texts unless they look like an identifier or never vary."""
    names = [
        name
        for name in leads.columns
        if name not in {"lead_id", "created_at", "account_id", *exclude}
        and leads[name].nunique(dropna=False) > 1
    ]
    return [
        attribute(name, "number" if leads[name].dtype.kind == "f" else "text")
        for name in names
        if leads[name].dtype.kind == "f" or not _identifier(leads[name])
    ]


def _identifier(texts: pd.Series) -> bool:
    return texts.nunique() > max(CATEGORIES, 0.5 * texts.notna().sum())


def _overall(facts: pd.DataFrame) -> list[Feature]:
    any_event = events()
    features = [any_event.count(window) for window in ("1d", "7d", "14d", "30d", None)]
    features += [
        any_event.decayed("14d"),
        any_event.ratio("7d", "30d"),
        any_event.trend("7d", "30d"),
        any_event.since_first(),
        any_event.since_last(),
        any_event.mean_gap(),
        any_event.last_gap(),
        any_event.regularity(),
        any_event.distinct("kind"),
        any_event.entropy("kind"),
        *any_event.sequence(3),
    ]
    for channel in _frequent(facts["channel"], CHANNELS):
        chosen = events(channel=channel)
        features += [chosen.count("30d"), chosen.count(), chosen.since_last(), chosen.share("30d")]
    if facts["campaign"].notna().any():
        features += [any_event.distinct("campaign")]
        if not _identifier(facts["campaign"]):
            features += [any_event.latest("campaign")]
    return features


def _by_kind(facts: pd.DataFrame) -> list[Feature]:
    carried = facts.loc[facts["value"].notna(), "kind"]
    with_value = set(_frequent(carried, KINDS))
    features: list[Feature] = []
    for kind in _frequent(facts["kind"], KINDS):
        chosen = events(kind)
        features += [chosen.count(), chosen.count("7d"), chosen.count("14d"), chosen.since_last()]
        if kind in with_value:
            features += [chosen.sum("value"), chosen.mean("value")]
    return features


def _properties(facts: pd.DataFrame, exclude: Collection[str]) -> list[Feature]:
    names = [n for n in facts.columns if n not in _EVENT_COLUMNS and n not in set(exclude)]
    features: list[Feature] = []
    for name in names[:COLUMNS]:
        if facts[name].dtype.kind == "f":
            features += [events().mean(name), events().max(name), events().latest(name, "number")]
        elif facts[name].notna().any():
            features.append(events().distinct(name))
            if not _identifier(facts[name]):
                features.append(events().latest(name))
    return features


def _account(outcomes: pd.DataFrame) -> list[Feature]:
    chosen, others = account_events(), other_leads()
    features = [chosen.count("30d"), chosen.count(), chosen.since_last(), others.count()]
    features += [other_events().count("30d"), other_events().since_last()]
    features += [other_outcomes(one).count() for one in sorted(outcomes["outcome"].unique())]
    return features
