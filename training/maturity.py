"""Outcomes ripen: which are known at a moment, and for how many rows each of those stands.

A row whose horizon is not over is settled early, or its outcome is not known yet. To leave out all
of them loses the latest outcomes; to take the settled ones alone flatters, for a win shows sooner
than that nothing happens. So a settled row stands for older ones that took as long, and for those
younger that may: inverse probability of censoring weights (Robins and Rotnitzky 1992, AIDS
Epidemiology, 297-331; for learners with a horizon Vock et al. 2016, J. Biomedical Informatics 61,
119-131). What censors is the calendar alone, so the probability is counted, not modelled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Maturity:
    """Of rows (n,): ``known``, whether the outcome is; ``weight``, how many rows it stands for.

    ``ripe``: whether it would be, had it taken as long as that of any row. Weights are 0 where
    nothing is known, and 1 everywhere where all is; their sum is about n.
    """

    known: Bools
    ripe: Bools
    weight: Floats

    @staticmethod
    def at(now: int, as_of: Ints, known_at: Ints) -> Maturity:
        """At a moment; rows begin at ``as_of``, before it, and their outcomes show at ``known_at``.

        All in microseconds. A row that took t to show weighs one over the share of rows that began
        t ago or longer: those whose outcome would be known by now had it taken as long.
        """
        known, took = known_at <= now, known_at - as_of
        began = np.sort(now - as_of)
        reach = 1 - np.searchsorted(began, took[known], side="left") / max(len(began), 1)
        weight = np.zeros(len(as_of))
        weight[known] = 1 / reach
        return Maturity(known, as_of + took.max(initial=0) <= now, weight)
