"""BPIC 2012 under the protocol of Teinemaa, Dumas, La Rosa and Maggi (TKDD 2019), and honestly.

Cases whose last offer event is O_ACCEPTED, O_CANCELLED or O_DECLINED, one binary task for each; the
first 1 to 40 events of a case are a row each; cases in the order of their first event, four fifths
train; events of training cases after the split are dropped. As published, the labels of all
training cases are used, though a sixth was not settled at the split, and prefixes may hold the
outcome. Honest: training cases are those settled by then, and every prefix ends before its outcome.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from features import catalog
from features.engines import compute
from features.language import FeatureSet, events, rate, recent
from features.schema import History
from features.times import from_micros, instant, micros
from training.dataset import TrainingSet

TASKS = ("accepted", "cancelled", "declined")
SPLIT = instant("2012-01-27T15:58:46.061+01:00")
PREFIXES = 40
_OFFERS = {f"O_{task.upper()}:COMPLETE": task for task in TASKS}
_SETTLED = ["A_APPROVED", "A_REGISTERED", "A_ACTIVATED", "A_DECLINED", "A_CANCELLED"]


@dataclass(frozen=True, eq=False)
class Prefixes:
    """Every prefix, in the order of (case, time).

    ``spine`` has lead_id and as_of, a microsecond after the prefix's last event; ``outcome`` the
    case's outcome, ``trains`` whether the case is a training one, ``told`` whether the prefix
    already shows the outcome, ``settled`` whether the case's outcome was known at the split.
    """

    spine: pd.DataFrame
    outcome: npt.NDArray[np.object_]
    trains: npt.NDArray[np.bool_]
    told: npt.NDArray[np.bool_]
    settled: npt.NDArray[np.bool_]
    columns: pd.DataFrame
    features: FeatureSet

    def rows(self, task: str, honest: bool) -> tuple[TrainingSet, TrainingSet]:
        """The rows that teach and those that are judged, for one of :data:`TASKS`."""
        converted = self.outcome == task
        value = np.where(converted, np.nan, 0.0)
        labels = self.spine.assign(converted=converted, value=value)
        whole = TrainingSet(labels, self.columns, self.features)
        teach, test = self.trains, ~self.trains
        if honest:
            teach, test = teach & self.settled & ~self.told, test & ~self.told
        return whole.where(teach), whole.where(test)


def prefixes(history: History) -> Prefixes:
    """The prefixes of a checked BPIC 2012 with their features."""
    facts = in_order(history.events)
    cases = _cases(facts)
    facts = facts[facts["lead_id"].isin(cases.index)].reset_index(drop=True)
    case = cases.loc[facts["lead_id"]].reset_index(drop=True)
    at = micros(facts["occurred_at"])
    kept = ~case["trains"].to_numpy() | (at < SPLIT)
    facts, case, at = facts[kept].reset_index(drop=True), case[kept], at[kept]
    first = (facts.groupby("lead_id").cumcount() < PREFIXES).to_numpy()
    lead = facts["lead_id"][first].reset_index(drop=True)
    spine = pd.DataFrame({"lead_id": lead, "as_of": from_micros(at[first] + 1)})
    told = at >= case["told_at"].to_numpy()
    seen = _history(history, facts, cases)
    features = _features(seen)
    chosen = case[first]
    return Prefixes(
        spine,
        chosen["outcome"].to_numpy(dtype=object),
        chosen["trains"].to_numpy(),
        told[first],
        chosen["told_at"].to_numpy() < SPLIT,
        compute(features, spine, seen),
        features,
    )


def in_order(facts: pd.DataFrame) -> pd.DataFrame:
    """Events by case and time, the order of the file breaking ties, no two at the same moment.

    A tied event is moved by a microsecond (the log's times are whole milliseconds), so that the
    first k events of a case are what is visible a microsecond after the k-th.
    """
    ordered = facts.sort_values(["lead_id", "occurred_at"], kind="stable", ignore_index=True)
    place = ordered.groupby("lead_id").cumcount().to_numpy()
    gap = pd.Series(micros(ordered["occurred_at"]) - place)
    moment = from_micros(gap.groupby(ordered["lead_id"]).cummax().to_numpy() + place)
    return ordered.assign(occurred_at=moment, known_at=moment)


def _cases(facts: pd.DataFrame) -> pd.DataFrame:
    """By lead_id of the kept cases: outcome, trains, told_at (microseconds)."""
    offers = facts[facts["kind"].str.startswith("O_")].groupby("lead_id").tail(1)
    offers = offers[offers["kind"].isin(list(_OFFERS))]
    settled = facts[facts["kind"].isin([f"{kind}:COMPLETE" for kind in _SETTLED])]
    told = pd.concat([offers, settled[settled["lead_id"].isin(offers["lead_id"])]])
    first = facts.groupby("lead_id")["occurred_at"].min()
    outcome = offers.set_index("lead_id")["kind"].map(_OFFERS)
    return pd.DataFrame({
        "outcome": outcome,
        "trains": micros(first.loc[outcome.index]) < SPLIT,
        "told_at": pd.Series(micros(told["occurred_at"]), told["lead_id"].to_numpy())
                     .groupby(level=0).min(),
    })  # fmt: skip


def _history(history: History, facts: pd.DataFrame, cases: pd.DataFrame) -> History:
    """What is left of the history; outcomes are those that its events still tell."""
    told = cases[~cases["trains"] | (cases["told_at"] < SPLIT)]
    moment = from_micros(told["told_at"].to_numpy())
    outcomes = pd.DataFrame({
        "lead_id": told.index.to_numpy(), "outcome": told["outcome"].to_numpy(),
        "occurred_at": moment, "known_at": moment, "deal_value": np.nan, "reason": None,
    }).astype({"lead_id": "str", "outcome": "str", "reason": "str"})  # fmt: skip
    leads = history.leads[history.leads["lead_id"].isin(cases.index)].reset_index(drop=True)
    return History(leads, facts, history.changes, outcomes)


def _features(history: History) -> FeatureSet:
    """The catalog before the split, and how the cases of the resource at work ended so far."""
    resource = events().latest("resource")
    record = [made(task, by=resource) for made in (rate, recent) for task in TASKS]
    return catalog.default(history, before=SPLIT) + record
