"""What a policy would have done: the leads of a past moment, routed, and what became of them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pandas as pd

from features.outcomes import observed_until
from features.schema import History
from features.times import iso, micros
from serving.decide import Policy
from serving.listing import score_table
from training.bundle import Bundle

Progress = Callable[[float], None]


class Handed(msgspec.Struct, frozen=True):
    """What a policy hands to sales: how many leads, how many of them won, and their deals' sum.

    ``share_of_wins`` is that of all wins among the leads that were open.
    """

    leads: int
    wins: int
    revenue: float
    share_of_wins: float


class Rehearsal(msgspec.Struct, frozen=True):
    """``present`` and ``proposed`` policy over the same leads, and what they would do otherwise.

    Wins and deals are those between ``as_of`` and ``until``. ``seen``: the model has learned from
    that time, so that both look better than they will.
    """

    as_of: str
    until: str
    open_leads: int
    present: Handed
    proposed: Handed
    added: Handed
    dropped: Handed
    seen: bool


def rehearse(
    bundle: Bundle,
    history: History,
    since: int,
    proposed: Policy,
    present: Policy | None = None,
    progress: Progress | None = None,
) -> Rehearsal:
    """Route the leads that were open ``since`` (microseconds) before the end of a history.

    Each is scored by what was known then. Raises ``ValueError`` when no lead was open then.
    """
    until = observed_until(history)
    as_of = until - since
    then = score_table(bundle, history, as_of, 0, progress, present)
    if then.empty:
        raise ValueError(f"no lead was open at {iso(as_of)}: ask for another time (--since)")
    again = score_table(bundle, history, as_of, 0, progress, proposed)
    old, new = (set(table["lead_id"][table["route"] == "sales"]) for table in (then, again))
    deals = _deals(history, bundle.about.target, as_of, until).reindex(then["lead_id"])
    handed = [_handed(deals, chosen) for chosen in (old, new, new - old, old - new)]
    return Rehearsal(
        as_of=iso(as_of), until=iso(until), open_leads=len(then), present=handed[0],
        proposed=handed[1], added=handed[2], dropped=handed[3],
        seen=bundle.about.trained_until > as_of,
    )  # fmt: skip


def _deals(history: History, target: str, as_of: int, until: int) -> pd.Series:
    """The deal values of leads that reached the target in the time, by lead; 0 where unknown."""
    held = history.outcomes
    at = micros(held["occurred_at"])
    won = held[(held["outcome"] == target) & (as_of <= at) & (at < until)]
    values = won["deal_value"] if "deal_value" in won else pd.Series(np.nan, won.index)
    return values.fillna(0.0).groupby(won["lead_id"]).sum()


def _handed(deals: pd.Series, chosen: set[str]) -> Handed:
    mine = deals[deals.index.isin(chosen)].dropna()
    wins = int(deals.notna().sum())
    return Handed(len(chosen), len(mine), float(mine.sum()), len(mine) / wins if wins else 0.0)
