"""What a feature set has read of a history, as one number a lead: does the past still hold?

A row at ``as_of`` reads facts known before ``as_of``. So the rows up to ``before`` stay as they are
for as long as the facts known before ``before`` do; where those were edited, backfilled or deleted,
the number of their lead differs.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.engines import check_columns
from features.engines.tables import KEYS, TIMES, quoted, reads
from features.language import FeatureSet
from features.schema import History
from features.times import micros

_HASHING = f"duckdb {duckdb.__version__}"
"""Whose hash function it is: another version's may differ."""


@dataclass(frozen=True, eq=False)
class Signature:
    """What was read of the facts known before ``before`` (microseconds).

    ``leads``: lead_id, account_id and facts (uint64), a row for each lead created before then.
    ``features`` is the fingerprint of the feature set; ``hashing`` the hash function.
    """

    features: str
    before: int
    leads: pd.DataFrame
    hashing: str = _HASHING

    def fits(self, features: FeatureSet) -> bool:
        """Whether it can be compared with a signature that is made here and now."""
        return (self.features, self.hashing) == (features.fingerprint, _HASHING)

    def write(self, path: Path, of: str) -> None:
        """Write it as Parquet, whole or not at all; ``of`` names what was computed."""
        about = {"features": self.features, "before": self.before, "hashing": self.hashing,
                 "of": of}  # fmt: skip
        table = pa.Table.from_pandas(self.leads, preserve_index=False)
        partial = path.with_suffix(".partial")
        texts = {key: str(value) for key, value in about.items()}
        pq.write_table(table.replace_schema_metadata(texts), partial)
        partial.replace(path)

    @staticmethod
    def read(path: Path) -> tuple[Signature, str]:
        """What :meth:`write` wrote, and of what."""
        table = pq.read_table(path)
        about = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
        leads = table.replace_schema_metadata(None).to_pandas()
        made = Signature(about["features"], int(about["before"]), leads, about["hashing"])
        return made, about["of"]


def sign(features: FeatureSet, history: History, *before: int) -> list[Signature]:
    """The signatures of what is known before each of the moments, in one pass over the facts.

    The order of the facts does not count. Raises :class:`features.language.DeclarationError` when
    a feature reads a column that the history lacks.
    """
    check_columns(features, history)
    numbers = range(len(before))
    sums = ", ".join(f"sum(fact) FILTER (WHERE seen < ?) AS s{i}" for i in numbers)
    totals = ", ".join(f"(sum(s{i}) % 18446744073709551616)::UBIGINT AS s{i}" for i in numbers)
    con = duckdb.connect(config={"threads": 1})
    parts = []
    for name in _read_tables(features):
        table = _table(features, history, name)
        con.register(name, table)
        seen = "created_at" if name == "leads" else "known_at"
        # Hashed twice: the first hash of many columns is linear in the last, and would cancel out.
        fact = f"hash(hash('{name}', {', '.join(map(quoted, table.column_names))}))"
        parts.append(
            f"SELECT lead_id, {sums} FROM (SELECT lead_id, {seen} AS seen, {fact} AS fact "
            f"FROM {name}) GROUP BY lead_id"
        )
    statement = f"SELECT lead_id, {totals} FROM ({' UNION ALL '.join(parts)}) GROUP BY lead_id"
    found = con.sql(statement, params=[*before] * len(parts)).to_arrow_table().to_pandas()
    place = pd.Index(found["lead_id"]).get_indexer(pd.Index(history.leads["lead_id"]))
    return [
        _of_leads(features, history, moment, found[f"s{i}"].to_numpy()[place])
        for i, moment in enumerate(before)
    ]


def reached(features: FeatureSet, old: Signature, new: Signature) -> Collection[str]:
    """The leads of which an old row may differ now: their facts, or their account's, changed.

    Both signatures are of the facts known before one moment, in two histories. Features of a
    segment read everyone's facts: any change reaches all leads.
    """
    both = old.leads.merge(new.leads, on="lead_id", how="outer", suffixes=("_old", "_new"))
    same = (both["facts_old"] == both["facts_new"]).fillna(False).to_numpy(dtype=bool)
    changed = both[~same]
    if changed.empty:
        return ()
    if any(feature.segment for feature in features.features):
        return frozenset(both["lead_id"])
    if not any(feature.scope != "lead" for feature in features.features):
        return frozenset(changed["lead_id"])
    accounts = pd.concat([changed["account_id_old"], changed["account_id_new"]]).dropna()
    mates = new.leads.loc[new.leads["account_id"].isin(accounts), "lead_id"]
    return frozenset(changed["lead_id"]) | frozenset(mates)


def _of_leads(features: FeatureSet, history: History, moment: int, facts: np.ndarray) -> Signature:
    created = micros(history.leads["created_at"]) < moment
    leads = history.leads.loc[created, ["lead_id", "account_id"]].reset_index(drop=True)
    leads["facts"] = facts[created].astype(np.uint64)
    return Signature(features.fingerprint, moment, leads)


def _read_tables(features: FeatureSet) -> list[str]:
    """The tables whose facts can move a feature; a segment's load also ends with outcomes."""
    read = {"leads", *(feature.source for feature in features.features)}
    read |= {source for feature in features.features for source, _, _ in feature.reads}
    if any(feature.segment for feature in features.features):
        read |= {"outcomes", *(f.by.source for f in features.features if f.by is not None)}
    return [name for name in KEYS if name in read]


def _table(features: FeatureSet, history: History, name: str) -> pa.Table:
    """The columns that are read; numbers as their bits, so that what is hashed is exact."""
    frame: pd.DataFrame = getattr(history, name)
    arrays = {}
    for column in reads(features, name):
        values = frame[column]
        if column in TIMES:
            arrays[column] = pa.array(micros(values))
        elif values.dtype.kind == "f":
            bits = values.to_numpy(dtype=np.float64)
            arrays[column] = pa.array(bits.view(np.int64), mask=np.isnan(bits))
        else:
            arrays[column] = pa.array(values, pa.large_string(), from_pandas=True)
    return pa.table(arrays)
