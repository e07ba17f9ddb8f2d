"""What a model carries of its evaluation, so that who is told a number can look at how it did."""

from __future__ import annotations

import msgspec

from features.times import iso
from training.evaluate import Bin, Estimate, Evaluation


class Evidence(msgspec.Struct, frozen=True):
    """How its recipe did on rows that lie after all that it had learnt from; intervals are of 90 %.

    ``measures`` are those of :data:`training.evaluate.RANGES`; ``against`` has, for each other
    contender, the model's AUC and log loss minus the other's, paired; ``reliability`` holds what
    was predicted beside what came to be. ``first`` and ``last`` are moments of the rows; null for
    data without times.
    """

    first: str | None
    last: str | None
    rows: int
    leads: int
    conversions: int
    measures: dict[str, Estimate]
    against: dict[str, dict[str, Estimate]]
    reliability: tuple[Bin, ...]

    @staticmethod
    def of(found: Evaluation, timeless: bool) -> Evidence:
        """What is carried of an evaluation."""
        first, last = (None, None) if timeless else map(iso, found.period)
        return Evidence(
            first, last, found.rows, found.leads, found.conversions,
            dict(found.measures[found.main]),
            {name: dict(measures) for name, measures in found.differences.items()},
            found.reliability,
        )  # fmt: skip
