"""What a feature is, in words, in SQL and on three worked rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import sqlglot

from features.compile import wide
from features.engines import compute
from features.feature import HEAD, Feature
from features.language import FeatureSet
from features.schema import History
from features.times import iso, micros

_SAMPLE, _FACTS = 2_000, 8


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
    if not feature.of_facts or feature.by is not None:
        lead = history.leads[history.leads["lead_id"] == row["lead_id"]]
        return [*lines, *_table(lead)]
    facts = _behind(feature, history, row)
    if not len(facts):
        return [*lines, f"    no visible {feature.source}"]
    shown = _table(facts.tail(_FACTS))
    more = len(facts) - _FACTS
    return [*lines, *([f"    {more:,} earlier ones, then"] if more > 0 else []), *shown]


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
    selected = pd.Series(False, index=facts.index)
    for where in (feature.where, feature.other or feature.where):
        inside = pd.Series(True, index=facts.index)
        for field, values in where:
            inside &= facts[field].isin(list(values))
        selected |= inside
    columns = dict.fromkeys(
        ("lead_id", at, known, HEAD[feature.source], feature.column,
         *(field for _, field, _ in feature.reads))
    )  # fmt: skip
    return facts[chosen & selected].sort_values(at, kind="stable")[[c for c in columns if c]]


def _table(frame: pd.DataFrame) -> list[str]:
    return [f"    {line}" for line in frame.to_string(index=False, max_cols=8).splitlines()]
