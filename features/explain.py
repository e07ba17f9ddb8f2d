"""What a feature is, in words, in SQL and on three worked rows."""

from __future__ import annotations

import msgspec
import numpy as np
import pandas as pd
import sqlglot

from features import words
from features.compile import wide
from features.engines import compute
from features.feature import HEAD, Feature, Where
from features.language import FeatureSet
from features.schema import History
from features.segments import SMOOTHING
from features.times import DTYPE, iso, micros

_SAMPLE, _FACTS = 2_000, 8
_ID = {"events": "event_id", "changes": "change_id", "outcomes": "outcome", "leads": "lead_id"}


def explain(
    feature: Feature, history: History, spine: pd.DataFrame, dialect: str = "duckdb"
) -> str:
    """The meaning of a feature, its statement, and three rows of ``spine`` worked out.

    The rows are the ones with the least, the median and the greatest value of a sample (for text:
    three different values), each with the visible facts behind it. Raises
    :class:`features.language.DeclarationError` when the history cannot feed the feature.
    """
    declared = FeatureSet([feature])
    statement = sqlglot.parse_one(wide(declared, dialect), read=dialect).sql(dialect, pretty=True)
    lines = [
        feature.name,
        "=" * len(feature.name),
        f"meaning  {feature.sentence}",
        f"unit     {feature.unit}",
        f"missing  {feature.null}",
        f"says     {'who the lead is' if feature.group == 'fit' else 'what was done'}",
        "",
        f"SQL ({dialect}; times are microseconds since 1970, UTC)",
        *(f"  {line}" for line in statement.splitlines()),
        "",
        "Worked rows",
    ]
    chosen = _rows(declared, history, spine)
    for _, row in chosen.iterrows():
        lines += _worked(feature, history, row)
    return "\n".join(lines) if len(chosen) else "\n".join([*lines, "  the history has no rows"])


def _rows(declared: FeatureSet, history: History, spine: pd.DataFrame) -> pd.DataFrame:
    """Up to three rows of the spine with their value, as different as can be."""
    draw = np.random.default_rng(0).permutation(len(spine))[:_SAMPLE]
    sample = spine.iloc[np.sort(draw)].reset_index(drop=True)
    found = sample.assign(value=compute(declared, sample, history).iloc[:, 0])
    order = found.sort_values("value", kind="stable", na_position="first")
    apart = order.drop_duplicates("value")
    ends = np.unique(np.linspace(0, len(apart) - 1, min(len(apart), 3)).round().astype(int))
    return apart.iloc[ends]


def _worked(feature: Feature, history: History, row: pd.Series) -> list[str]:
    as_of = pd.DatetimeIndex([row["as_of"]])
    value = "missing" if pd.isna(row["value"]) else row["value"]
    lines = ["", f"  lead {row['lead_id']} as of {iso(int(micros(as_of)[0]))}: {value}"]
    if not feature.of_facts:
        lead = history.leads[history.leads["lead_id"] == row["lead_id"]]
        columns = dict.fromkeys(("lead_id", "created_at", feature.column or "created_at"))
        return [*lines, *_table(lead[list(columns)])]
    if feature.by is not None:
        told, facts = _of_segment(feature, feature.by, history, row)
        lines.append(f"    {told}")
    else:
        facts = _behind(feature, history, row)
        lines += _counted(feature, history, row, facts)
    if not len(facts):
        return [*lines, f"    no visible {feature.source}"]
    shown = _table(facts.tail(_FACTS))
    more = len(facts) - _FACTS
    return [*lines, *([f"    {more:,} earlier ones, then"] if more > 0 else []), *shown]


def _counted(feature: Feature, history: History, row: pd.Series, facts: pd.DataFrame) -> list[str]:
    """What is divided or subtracted, where the facts alone do not show it."""
    count = f"{len(facts):,}"
    if feature.aggregate == "share":
        every = _behind(msgspec.structs.replace(feature, where=()), history, row)
        return [f"    {count} of {len(every):,} {feature.source}"]
    if feature.aggregate in ("ratio", "trend"):
        since = row["as_of"] - pd.Timedelta(feature.window or 0, unit="us")
        short = int((facts.iloc[:, 1] >= since).sum())
        return [f"    {short:,} in the shorter window, {count} in the longer"]
    if feature.aggregate == "open":
        started = int(_chosen(facts, feature.where).sum())
        ended = int(_chosen(facts, feature.other or ()).sum())
        return [f"    {started:,} started, {ended:,} ended"]
    return []


def _of_segment(
    feature: Feature, by: Feature, history: History, row: pd.Series
) -> tuple[str, pd.DataFrame]:
    """The lead's segment with its counts, and the outcomes, or open leads, that are in it."""
    mine = _segments(by, history, pd.DataFrame(row[["lead_id", "as_of"]]).T).iloc[0]
    outcomes = history.outcomes
    seen = (outcomes["occurred_at"] < row["as_of"]) & (outcomes["known_at"] < row["as_of"])
    if feature.aggregate == "open_leads":
        facts = history.leads[history.leads["created_at"] < row["as_of"]]
        facts = facts[~facts["lead_id"].isin(outcomes["lead_id"][seen])]
        columns, moments = ["lead_id", "created_at"], facts.assign(as_of=row["as_of"])
    else:
        if feature.window is not None:
            first = row["as_of"] - pd.Timedelta(feature.window, unit="us")
            seen &= outcomes["occurred_at"] >= first
        facts = outcomes[seen].sort_values("occurred_at", kind="stable")
        columns = ["lead_id", "occurred_at", "known_at", "outcome"]
        moments = facts.assign(as_of=facts["occurred_at"])
    of = _segments(by, history, moments[["lead_id", "as_of"]]).set_axis(facts.index)
    same = facts[(of == mine).fillna(False)]
    told = f"{words.segment(feature)} is {'not known' if pd.isna(mine) else repr(mine)}"
    if feature.aggregate == "open_leads":
        return f"{told}: {len(same):,} open leads", same[columns]
    hits = int(_chosen(same, feature.where).sum())
    told += f": {hits:,} of {len(same):,} outcomes"
    every = facts[of.notna()]
    if feature.aggregate == "rate" and len(every):
        overall = f"{int(_chosen(every, feature.where).sum())} / {len(every)}"
        told += f"; ({hits} + {SMOOTHING} x {overall}) / ({len(same)} + {SMOOTHING})"
    return told, same[columns]


def _segments(by: Feature, history: History, spine: pd.DataFrame) -> pd.Series:
    """The segment of each lead at each time."""
    typed = spine.astype({"lead_id": "str", "as_of": DTYPE}).reset_index(drop=True)
    return compute(FeatureSet([by]), typed, history).iloc[:, 0]


def _chosen(facts: pd.DataFrame, where: Where) -> pd.Series:
    """Which facts are of a selection."""
    inside = pd.Series(True, index=facts.index)
    for field, values in where:
        inside &= facts[field].isin(list(values))
    return inside


def _behind(feature: Feature, history: History, row: pd.Series) -> pd.DataFrame:
    """The visible facts of the selection, for a person to look at, in the order of time."""
    leads = history.leads[history.leads["created_at"] < row["as_of"]].set_index("lead_id")
    owners = {row["lead_id"]}
    if feature.scope != "lead":
        account = leads["account_id"].get(row["lead_id"])
        owners = set(leads.index[leads["account_id"] == account])
    if feature.scope == "others":
        owners -= {row["lead_id"]}
    facts: pd.DataFrame = getattr(history, feature.source)
    at, known = {
        "changes": ("known_at", "known_at"), "leads": ("created_at", "created_at"),
    }.get(feature.source, ("occurred_at", "known_at"))  # fmt: skip
    chosen = facts["lead_id"].isin(owners)
    chosen &= (facts[at] < row["as_of"]) & (facts[known] < row["as_of"])
    window = feature.against if feature.aggregate in ("ratio", "trend") else feature.window
    if window is not None:
        chosen &= facts[at] >= row["as_of"] - pd.Timedelta(window, unit="us")
    selected = _chosen(facts, feature.where)
    if feature.other is not None:
        selected |= _chosen(facts, feature.other)
    columns = dict.fromkeys(
        ("lead_id", at, known, HEAD[feature.source], feature.column,
         *(field for _, field, _ in feature.reads))
    )  # fmt: skip
    order = list(dict.fromkeys((at, "lead_id", _ID[feature.source])))
    behind = facts[chosen & selected].sort_values(order)
    if feature.aggregate == "response":
        answers = _chosen(behind, feature.where)
        asked = ~answers.shift(fill_value=True)
        waited = (behind[at].diff() / pd.Timedelta(days=1)).where(answers & asked)
        behind, columns["waited days"] = behind.assign(**{"waited days": waited}), None
    return behind[[c for c in columns if c]]


def _table(frame: pd.DataFrame) -> list[str]:
    shown = frame.to_string(index=False, max_cols=8, na_rep="")
    return [f"    {line.rstrip()}" for line in shown.splitlines()]
