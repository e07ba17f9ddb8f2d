"""From a score to a grade, a route and a work list that fits the capacity of sales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

Grade = Literal["A", "B", "C", "D", "E"]
Route = Literal["sales", "nurture", "leave"]
Floats = npt.NDArray[np.float64]

GRADES: tuple[tuple[Grade, float], ...] = (("A", 95), ("B", 80), ("C", 50), ("D", 20))
"""A grade and the standing from which on it is given: A the top 5 %, B the next 15 %; else E."""


@dataclass(frozen=True)
class Policy:
    """Shares of the leads: the best ``sales`` are handed over, the last ``leave`` left alone."""

    sales: float = 0.20
    leave: float = 0.30

    def __post_init__(self) -> None:
        if min(self.sales, self.leave) < 0 or self.sales + self.leave > 1:
            raise ValueError("sales and leave are shares of the leads: at least 0, together 1")

    def route(self, standing: float) -> Route:
        """What to do with a lead of this standing (0..100)."""
        if standing >= 100 * (1 - self.sales):
            return "sales"
        return "leave" if standing < 100 * self.leave else "nurture"


def standing(values: Floats, percentiles: Sequence[float] | Floats) -> Floats:
    """The share of the reference population below each value, 0..100 (n,).

    ``percentiles`` are those of the reference, 0..100. Among equals, the middle of their range: in
    a population of equals everybody stands at 50.
    """
    reference = np.asarray(percentiles)
    below = np.searchsorted(reference, values, side="left")
    up_to = np.searchsorted(reference, values, side="right")
    return ((below + up_to - 1) / 2).clip(0.0, 100.0)


def grade(standing: float) -> Grade:
    """The letter for a standing (0..100)."""
    return next((letter for letter, least in GRADES if standing >= least), "E")


def work_list(ranked: pd.DataFrame, capacity: int) -> pd.DataFrame:
    """The list of ``score_table`` routed to an exact capacity instead of a share.

    The first ``capacity`` leads go to sales; others that would have gone there are nurtured.
    Raises ``ValueError`` for a negative capacity.
    """
    if capacity < 0:
        raise ValueError("capacity is the number of leads that sales can take: 0 or more")
    route = ranked["route"].replace({"sales": "nurture"}).to_list()
    route[:capacity] = ["sales"] * min(capacity, len(route))
    return ranked.assign(route=pd.Series(route, index=ranked.index, dtype="str"))
