"""The same promise to everyone? Calibration and selection by group of leads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.evaluate import LEVEL, Outcomes, Predictions, observed_rate

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

LEAST_LEADS = 30
"""Groups of fewer leads are shown together as ``other``."""

MOST = 8
FOUR_FIFTHS = 0.8
"""Selected less than this, relative to the group selected most, asks for a reason (US Uniform
Guidelines on Employee Selection Procedures, 29 CFR 1607.4 D)."""


@dataclass(frozen=True)
class Group:
    """How the leads of one value of a field fare.

    ``predicted`` and ``observed`` are mean probability and conversion rate of their rows, ``low``
    and ``high`` bound the latter (90 % over all groups of the field together); ``selected`` is the
    share of their rows among the best, ``ratio`` that over the most selected group's.
    """

    field: str
    value: str
    protected: bool
    rows: int
    leads: int
    predicted: float
    observed: float
    low: float
    high: float
    selected: float
    ratio: float

    @property
    def calibrated(self) -> bool:
        """Whether the prediction lies in the interval of what came true."""
        return self.low <= self.predicted <= self.high


def by_group(
    outcomes: Outcomes,
    said: Predictions,
    fields: Mapping[str, tuple[pd.Series, bool]],
    capacity: float,
) -> tuple[Group, ...]:
    """Each group of each field; ``fields``: name -> (a value a test row (n,), protected or not).

    Numbers are cut at their quartiles. The best ``capacity`` of the rows are taken in order of
    expected value where there is one, else of probability.
    """
    worth = said.probability if said.expected_value is None else said.expected_value
    best = np.zeros(len(worth), dtype=bool)
    best[np.argsort(-worth, kind="stable")[: round(capacity * len(worth))]] = True
    found: list[Group] = []
    for name, (values, protected) in fields.items():
        code, names = _coded(values, outcomes)
        level = 1 - (1 - LEVEL) / max(len(names), 1)
        made = []
        for number, value in enumerate(names):
            inside = code == number
            rate, low, high, leads = observed_rate(outcomes, inside, level)
            made.append((value, inside, rate, low, high, leads, float(best[inside].mean())))
        most = max((one[-1] for one in made), default=0.0)
        found += [
            Group(
                name, value, protected, int(inside.sum()), leads,
                float(said.probability[inside].mean()), rate, low, high, chosen,
                chosen / most if most else 1.0,
            )
            for value, inside, rate, low, high, leads, chosen in made
        ]  # fmt: skip
    return tuple(found)


def _coded(values: pd.Series, outcomes: Outcomes) -> tuple[npt.NDArray[np.int64], list[str]]:
    """The group of each row (n,) and the groups' names, the largest first."""
    if values.dtype.kind == "f":
        cut = pd.qcut(values, 4, precision=1, duplicates="drop")
        values = cut.astype("str").where(values.notna())
    told = values.astype("object").where(values.notna(), "not known").astype(str)
    told = told.replace("nan", "not known").reset_index(drop=True)
    leads = pd.Series(outcomes.lead_id).groupby(told).nunique().sort_values(ascending=False)
    kept = [str(name) for name in leads.index[:MOST] if leads[name] >= LEAST_LEADS]
    told = told.where(told.isin(kept), "other")
    names = [*kept, *(["other"] if (told == "other").any() and "other" not in kept else [])]
    return pd.Index(names).get_indexer(pd.Index(told)).astype(np.int64), names
