"""A smooth map on the logit that makes 30 % mean 30 %: a shape that lasts, a level that is recent.

How sure a model is of itself (the shape) is a trait of the model and is fitted to all out-of-fold
predictions. How many leads convert (the level) drifts, and is refitted to the latest outcomes
alone. Either is judged later in time than it was fitted, and undone where that shows it to hurt.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.special import expit

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

Form = Literal["none", "intercept", "platt", "beta"]

LEAST = 50
"""Fewer converted leads than this, or others: no map."""

RECENT_ROWS, RECENT_LEADS = 1_000, 300
"""The level is that of the latest rows that number so many and belong to so many leads."""

_CUTS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Calibration(msgspec.Struct, frozen=True):
    """``logit p' = a * log p - b * log(1 - p) + c`` with p the raw probability.

    - ``none``: a = b = 1, c = 0; ``intercept``: a = b = 1
    - ``platt``: a = b (Platt 1999, Advances in Large Margin Classifiers, p. 61)
    - ``beta``: all three free, a and b not negative (Kull, Silva Filho and Flach, AISTATS 2017,
      eq. 6)

    ``recent``: the latest outcomes that c was refitted to; 0 when it was not.
    """

    form: Form = "none"
    a: float = 1.0
    b: float = 1.0
    c: float = 0.0
    recent: int = 0

    def __call__(self, raw: Floats) -> Floats:
        """Map raw log-odds (n,) to probabilities (n,); increasing."""
        return expit(self.log_odds(raw))

    def log_odds(self, raw: Floats) -> Floats:
        """Map raw log-odds (n,) to calibrated ones (n,)."""
        return self.a * -np.logaddexp(0, -raw) + self.b * np.logaddexp(0, raw) + self.c

    def at_level(self, raw: Floats, converted: Bools) -> Calibration:
        """The same shape at the level where the mean probability is the observed rate.

        Unchanged when all outcomes are the same, which no level fits.
        """
        if converted.all() or not converted.any():
            return self
        form: Form = "intercept" if self.form == "none" else self.form
        c = self.c + _shift(self.log_odds(raw), converted)
        return Calibration(form, self.a, self.b, c, len(raw))

    @property
    def text(self) -> str:
        """The map in a line."""
        if self.form == "none":
            return "none: raw probabilities were best"
        level = f", at the level of the latest {self.recent:,} outcomes" if self.recent else ""
        return f"{self.form}: a = {self.a:.3f}, b = {self.b:.3f}, c = {self.c:+.3f}{level}"


def log_loss(probability: Floats, converted: Bools) -> float:
    """Mean negative log-likelihood."""
    sure = np.clip(np.where(converted, probability, 1 - probability), 1e-15, 1)
    return float(-np.log(sure).mean())


def fit(form: Form, raw: Floats, converted: Bools) -> Calibration:
    """Fit one form by maximum likelihood to out-of-fold log-odds."""
    if form == "none" or converted.all() or not converted.any():
        return Calibration()
    if form == "intercept":
        return msgspec.structs.replace(Calibration().at_level(raw, converted), recent=0)
    log_p, log_q = -np.logaddexp(0, -raw), -np.logaddexp(0, raw)
    won = converted.astype(np.float64)
    # Slopes as exponentials stay positive; of the two, platt has but one.
    parts = np.stack([log_p, -log_q]) if form == "beta" else raw[None]

    def cost(theta: Floats) -> tuple[float, Floats]:
        slopes = np.exp(theta[1:])
        odds = slopes @ parts + theta[0]
        gap = expit(odds) - won
        loss = float((np.logaddexp(0, odds) - won * odds).mean())
        return loss, np.array([gap.mean(), *(slopes * (parts @ gap) / len(gap))])

    from scipy.optimize import minimize  # long to import, and who serves needs none

    bounds = [(-5, 5), *[(-3, 3)] * len(parts)]
    found = minimize(cost, np.zeros(len(bounds)), jac=True, method="L-BFGS-B", bounds=bounds)
    a, b = (float(np.exp(found.x[place])) for place in (1, -1))
    return Calibration(form, a, b, float(found.x[0]))


def choose(
    raw: Floats, converted: Bools, as_of: Ints, lead: Ints | None = None, delay: int = 0
) -> Calibration:
    """The map for what comes next, from out-of-fold log-odds of training rows (n,).

    ``as_of`` orders the rows, ``lead`` numbers their leads (None: a row each), and the outcome of a
    row is known ``delay`` after it. The later half of the rows is cut into five blocks of time.
    The shape is Platt's, unless another fitted before the blocks does better in them, whatever
    their level; the level is the latest, unless that of all earlier outcomes did better. "Better"
    is a log loss that is lower by more than its standard error over the blocks: drift is common to
    a block, so its rows are no independent witnesses. Few conversions: no map.
    """
    lead = np.arange(len(raw)) if lead is None else lead
    known = _Known(raw, converted, as_of, lead, delay)
    if not known.enough:
        return Calibration()
    shape = fit(_shape(known), raw, converted)
    return shape if _level_hurts(known, shape) else known.latest(shape)


@dataclass(frozen=True, eq=False)
class _Known:
    """Out-of-fold log-odds with what came of them."""

    raw: Floats
    converted: Bools
    as_of: Ints
    lead: Ints
    delay: int

    def where(self, chosen: Bools) -> _Known:
        return _Known(
            self.raw[chosen],
            self.converted[chosen],
            self.as_of[chosen],
            self.lead[chosen],
            self.delay,
        )

    @property
    def enough(self) -> bool:
        both = (self.converted, ~self.converted)
        return all(len(np.unique(self.lead[rows])) >= LEAST for rows in both)

    def blocks(self, delay: int) -> list[tuple[_Known, _Known]]:
        """What was known before each block of time, and the block; none without enough before."""
        edges = np.unique(np.quantile(self.as_of, _CUTS))
        edges[-1] += 1
        cut = [
            (
                self.where(self.as_of + delay < start),
                self.where((self.as_of >= start) & (self.as_of < end)),
            )
            for start, end in pairwise(edges)
        ]
        return [(before, block) for before, block in cut if before.enough and len(block.raw)]

    def latest(self, shape: Calibration) -> Calibration:
        """A shape at the level of the latest rows, those of one moment together."""
        order = np.argsort(-self.as_of, kind="stable")
        starts = np.sort(np.unique(self.lead[order], return_index=True)[1])
        place = max(starts[min(RECENT_LEADS, len(starts)) - 1], min(RECENT_ROWS, len(order)) - 1)
        window = self.as_of >= self.as_of[order][place]
        return shape.at_level(self.raw[window], self.converted[window])


def _shape(known: _Known) -> Form:
    forms: tuple[Form, ...] = ("platt", "none", "beta")
    losses: dict[Form, list[float]] = {form: [] for form in forms}
    for before, block in known.blocks(delay=0):  # a shape does not age while labels ripen
        for form in forms:
            shape = fit(form, before.raw, before.converted)
            own = shape.at_level(block.raw, block.converted)
            losses[form].append(log_loss(own(block.raw), block.converted))
    better = [form for form in forms[1:] if _lower(losses[form], losses["platt"])]
    return min(better, key=lambda form: sum(losses[form]), default="platt")


def _level_hurts(known: _Known, shape: Calibration) -> bool:
    losses: list[tuple[float, float]] = []
    for before, block in known.blocks(known.delay):
        usual = shape.at_level(before.raw, before.converted)
        latest = before.latest(shape)
        if latest.recent == len(before.raw):
            continue  # the latest were all there were: nothing to tell apart
        losses.append(
            (
                log_loss(usual(block.raw), block.converted),
                log_loss(latest(block.raw), block.converted),
            )
        )
    return _lower([usual for usual, _ in losses], [latest for _, latest in losses])


def _lower(these: list[float], those: list[float]) -> bool:
    """Whether these losses are lower by more than one standard error of their mean difference.

    Of fewer than three differences no one can tell.
    """
    gain = np.subtract(those, these)
    return len(gain) > 2 and bool(gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)))


def _shift(odds: Floats, converted: Bools) -> float:
    """What to add to log-odds so that their mean probability is the observed rate."""
    rate, total = converted.mean(), 0.0
    for _ in range(100):
        chance = expit(odds + total)
        step = np.clip((rate - chance.mean()) / (chance * (1 - chance)).mean(), -1, 1)
        total += float(step)
        if abs(step) < 1e-12:
            break
    return total
