"""The leads under audit: how they ended, what features read of them, and how much is compared."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.language import FeatureSet
from features.outcomes import at_risk
from features.schema import History
from features.source import Population
from features.times import micros
from training.contrasts import simultaneous

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

ALPHA = 0.01
"""The chance, at most, that a clean history yields any finding by chance."""

FEWEST = 20
"""Fewer leads than this are no evidence of anything deterministic."""


@dataclass(frozen=True, eq=False)
class Seen:
    """The leads of the population, one element each, and how they ended."""

    history: History
    population: Population
    rows: pd.DataFrame
    features: FeatureSet
    timeless: bool

    @cached_property
    def leads(self) -> pd.DataFrame:
        """In the order of their creation."""
        ids = set(at_risk(self.history, self.population)["lead_id"]) | set(self.rows["lead_id"])
        leads = self.history.leads
        return leads[leads["lead_id"].isin(ids)].sort_values("created_at", kind="stable")

    @cached_property
    def place(self) -> pd.Series:
        """From a lead's id to its position."""
        return pd.Series(np.arange(len(self.leads)), index=self.leads["lead_id"].to_numpy())

    @cached_property
    def won(self) -> Bools:
        """Leads that reached the target."""
        outcomes = self.history.outcomes
        return self._among(outcomes["lead_id"][outcomes["outcome"] == self.population.target])

    @cached_property
    def settled(self) -> Bools:
        """Leads with any outcome."""
        return self._among(self.history.outcomes["lead_id"])

    @cached_property
    def lost(self) -> Bools:
        """Settled otherwise; all that did not reach the target where hardly any was ever lost."""
        lost = self.settled & ~self.won
        return lost if lost.sum() >= FEWEST else ~self.won

    def _among(self, ids: pd.Series) -> Bools:
        return np.asarray(self.leads["lead_id"].isin(set(ids)), dtype=bool)

    @cached_property
    def columns(self) -> dict[str, pd.Series]:
        """The attributes that features read."""
        read = [f if f.by is None else f.by for f in self.features.features]
        names = dict.fromkeys(str(f.column) for f in read if f.aggregate == "attribute")
        return {name: self.leads[name].reset_index(drop=True) for name in names}

    @cached_property
    def judged(self) -> Bools:
        """Won or lost."""
        return self.won | self.lost

    @cached_property
    def tenths(self) -> npt.NDArray[np.int64]:
        """The tenth of each lead, 0 the oldest."""
        return np.arange(len(self.leads)) * 10 // max(len(self.leads), 1)

    @cached_property
    def ended(self) -> Floats:
        """When each lead's first outcome occurred, microseconds; NaN: open."""
        outcomes = self.history.outcomes
        moment = pd.Series(micros(outcomes["occurred_at"]), index=outcomes["lead_id"].to_numpy())
        first = moment.groupby(level=0).min().reindex(self.place.index)
        return first.to_numpy(dtype=np.float64, na_value=np.nan)

    @cached_property
    def facts(self) -> pd.DataFrame:
        """What features read, by name (a kind, or "field = value"): name, lead, occurred, known."""
        kinds, fields = self._named("events"), self._named("changes")
        events, moves = self.history.events, self.history.changes
        if kinds is not None:
            events = events[events["kind"].isin(kinds)]
        if fields is not None:
            moves = moves[moves["field"].isin(fields)]
        told = moves["field"] + " = " + moves["value"].fillna("")
        parts = [
            (events["kind"], events["lead_id"], events["occurred_at"], events["known_at"]),
            (told, moves["lead_id"], moves["known_at"], moves["known_at"]),
        ]
        made = [
            pd.DataFrame({
                "name": name.to_numpy(), "lead": lead.map(self.place).to_numpy(),
                "occurred": micros(occurred), "known": micros(known),
            })
            for name, lead, occurred, known in parts
        ]  # fmt: skip
        every = pd.concat(made, ignore_index=True).dropna(subset=["lead", "name"])
        return every.astype({"lead": np.int64})

    def _named(self, source: str) -> set[str] | None:
        """The kinds or fields that are read; None: all."""
        head = {"events": "kind", "changes": "field"}[source]
        reads = [dict(f.where).get(head) for f in self.features.features if f.source == source]
        if any(words is None for words in reads):
            return None
        return {word for words in reads if words is not None for word in words}

    @cached_property
    def comparisons(self) -> int:
        """How many the audit makes, counted generously."""
        texts = [column for column in self.columns.values() if column.dtype.kind != "f"]
        values = sum(int(column.nunique()) for column in texts)
        names = int(self.facts["name"].nunique())
        numbers = len(self.columns) - len(texts)
        return 6 * values + 100 * len(self.columns) + (3 + numbers) * names + 10

    @cached_property
    def z(self) -> float:
        """Of every bound in the audit."""
        return simultaneous(ALPHA, self.comparisons)
