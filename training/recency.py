"""Whether the past has lost some of its meaning: rows fade with age where that shows.

What goes with converting may move: a campaign ends, a form changes. Old rows then mislead, and it
pays to let them count for less; where nothing moves, that costs precision. So it is tried on what
is known: a regression on the first three quarters of the time, once with all rows alike and once
fading, tells what becomes of the leads that come after. The level is not judged here: calibration
follows it (:mod:`training.calibrate`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.grow import Encoded
from training.ladder import gain_of
from training.linear import Design, solved

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

HALF_LIFE = 0.5
"""Where rows fade, one as old as this share of the time that they span counts half."""

LATEST = 0.25
"""The share of the time whose new leads are the judges."""

SURE = 2.0
"""Standard errors, by lead, that fading must be better by."""

FEWEST = 50
"""Late leads that convert, and that do not, without which nothing is tried."""

_LEARN, _JUDGE = 6_000, 4_000
"""Rows drawn at random to learn from and to be judged on: more would cost time and tell little."""


@dataclass(frozen=True)
class Recency:
    """By how much fading lowers the squared error of late leads, and the standard error of that."""

    gain: float
    error: float

    @property
    def fades(self) -> bool:
        """Whether older rows count for less."""
        return self.gain > SURE * self.error

    @property
    def text(self) -> str:
        """In words, for the report."""
        if not self.error:
            return "alike: too few late leads to try otherwise"
        way = f"less, half after {HALF_LIFE:.0%} of the time" if self.fades else "alike"
        return f"{way} (squared error of late leads: {-self.gain:+.5f}, error {self.error:.5f})"


UNTRIED = Recency(0.0, 0.0)


def recency(
    rows: Encoded, target: Floats, weight: Floats, as_of: Ints, lead: Ints
) -> tuple[Floats, Recency]:
    """What each row (n,) counts now, and why: its ``weight``, or less with age.

    ``target`` (0 or 1), ``as_of`` (microseconds) and ``lead`` number are those of the rows, whose
    outcomes are all known. The sum of the weights stays. A lead seen on both sides of the cut is no
    judge: the regressions have learned from it.
    """
    cut = as_of.max() - LATEST * np.ptp(as_of)
    late, early = _some(_begun(as_of, lead) >= cut, _JUDGE), _some(as_of < cut, _LEARN)
    told = [len(np.unique(lead[late & (target == outcome)])) for outcome in (0, 1)]
    if min(told) < FEWEST or not early.any():
        return weight, UNTRIED
    judges, learned = rows.where(late), rows.where(early)
    design = Design.of(learned)
    ways = (weight[early], _faded(weight[early], as_of[early]))
    even, fading = (
        _errors(design, learned, target[early], way, judges, target[late], weight[late])
        for way in ways
    )
    found = Recency(*gain_of(even - fading, weight[late], lead[late]))
    return (_faded(weight, as_of) if found.fades else weight), found


def _some(rows: Bools, most: int) -> Bools:
    """At most about so many of the rows (n,), drawn at random."""
    draw = np.random.default_rng(17).random(len(rows))
    return rows & (draw * max(int(rows.sum()), 1) < most)


def _begun(as_of: Ints, lead: Ints) -> Ints:
    """When the lead of each row was first seen (n,)."""
    first = np.full(int(lead.max()) + 1, as_of.max())
    np.minimum.at(first, lead, as_of)
    return first[lead]


def _faded(weight: Floats, as_of: Ints) -> Floats:
    age = (as_of.max() - as_of) / max(np.ptp(as_of), 1)
    faded = weight * 0.5 ** (age / HALF_LIFE)
    return faded * (weight.sum() / faded.sum())


def _errors(
    design: Design,
    learned: Encoded,
    target: Floats,
    weight: Floats,
    judges: Encoded,
    actual: Floats,
    counts: Floats,
) -> Floats:
    """Squared errors (judges,) about their mean, at the penalty that is best for them."""
    wide = np.column_stack([design(learned[0 : len(learned)]), target])
    wide *= np.sqrt(weight)[:, None]
    matrix = judges[0 : len(judges)]
    ways = solved(wide.T @ wide).T
    off = np.column_stack([actual - design.linear(way)(matrix) for way in ways])
    squares = (off - np.average(off, axis=0, weights=counts)) ** 2
    return squares[:, int(np.argmin(np.average(squares, axis=0, weights=counts)))]
