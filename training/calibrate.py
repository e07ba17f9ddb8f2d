"""A smooth map on the logit that makes 30 % mean 30 %: a shape that lasts, a level that is recent.

How sure a model is of itself (the shape) is a trait of the model and is fitted to all out-of-fold
predictions. How many leads convert (the level) drifts, and is refitted to the latest outcomes
alone. Either is judged later in time than it was fitted, and undone where that shows it to hurt.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.special import expit

from training.machine import stretched
from training.maturity import Maturity

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
        found: Floats = stretched(raw, self.a, self.b, self.c)
        return found

    def at_level(self, raw: Floats, converted: Bools, weight: Floats | None = None) -> Calibration:
        """The same shape at the level where the mean probability is the observed rate.

        ``weight`` (n,): how many rows each stands for. Unchanged when all outcomes are the same,
        which no level fits.
        """
        if converted.all() or not converted.any():
            return self
        form: Form = "intercept" if self.form == "none" else self.form
        c = self.c + _shift(self.log_odds(raw), converted, _or_one(weight, raw))
        return Calibration(form, self.a, self.b, c, len(raw))

    @property
    def text(self) -> str:
        """The map in a line."""
        if self.form == "none":
            return "none: raw probabilities were best"
        level = f", at the level of the latest {self.recent:,} outcomes" if self.recent else ""
        return f"{self.form}: a = {self.a:.3f}, b = {self.b:.3f}, c = {self.c:+.3f}{level}"


def log_loss(probability: Floats, converted: Bools, weight: Floats | None = None) -> float:
    """Mean negative log-likelihood."""
    sure = np.clip(np.where(converted, probability, 1 - probability), 1e-15, 1)
    return float(-np.average(np.log(sure), weights=weight))


def _or_one(weight: Floats | None, like: Floats) -> Floats:
    return np.ones(len(like)) if weight is None else weight


def fit(form: Form, raw: Floats, converted: Bools, weight: Floats | None = None) -> Calibration:
    """Fit one form by maximum (weighted) likelihood to out-of-fold log-odds."""
    if form == "none" or converted.all() or not converted.any():
        return Calibration()
    if form == "intercept":
        return msgspec.structs.replace(Calibration().at_level(raw, converted, weight), recent=0)
    log_p, log_q = -np.logaddexp(0, -raw), -np.logaddexp(0, raw)
    won, weight = converted.astype(np.float64), _or_one(weight, raw)
    share = weight / weight.sum()
    # Slopes as exponentials stay positive; of the two, platt has but one.
    parts = np.stack([log_p, -log_q]) if form == "beta" else raw[None]

    def cost(theta: Floats) -> tuple[float, Floats]:
        slopes = np.exp(theta[1:])
        odds = slopes @ parts + theta[0]
        gap = share * (expit(odds) - won)
        loss = float(share @ (np.logaddexp(0, odds) - won * odds))
        return loss, np.array([gap.sum(), *(slopes * (parts @ gap))])

    from scipy.optimize import minimize  # long to import, and who serves needs none

    bounds = [(-5, 5), *[(-3, 3)] * len(parts)]
    found = minimize(cost, np.zeros(len(bounds)), jac=True, method="L-BFGS-B", bounds=bounds)
    a, b = (float(np.exp(found.x[place])) for place in (1, -1))
    return Calibration(form, a, b, float(found.x[0]))


def choose(
    raw: Floats,
    converted: Bools,
    as_of: Ints,
    lead: Ints | None = None,
    known_at: Ints | None = None,
    now: int | None = None,
) -> Calibration:
    """The map for what comes next, from out-of-fold log-odds of training rows (n,).

    ``as_of`` orders the rows, ``lead`` numbers their leads (None: a row each). Outcomes show at
    ``known_at`` (None: at once); of those that have not by ``now`` (None: all have), ``raw`` and
    ``converted`` are not looked at, and the others stand for them (:mod:`training.maturity`).
    The later half of the rows is cut into five blocks of time. The shape is Platt's, unless another
    fitted before the blocks does better in them, whatever their level; the level is the latest,
    unless that of all earlier outcomes did better. "Better" is a log loss that is lower by more
    than two standard errors over the blocks: drift is common to a block, so its rows are no
    independent witnesses. Few conversions: no map.
    """
    lead = np.arange(len(raw)) if lead is None else lead
    known_at = as_of if known_at is None else known_at
    moment = int(max(known_at.max(), as_of.max() + 1)) if now is None else now
    seen = _Seen(raw, converted, as_of, lead, known_at, moment)
    if not seen.enough:
        return Calibration()
    shape = fit(_shape(seen), *seen.known)
    return shape if _level_hurts(seen, shape) else seen.latest(shape)


@dataclass(frozen=True, eq=False)
class _Seen:
    """Rows that began before ``now``, with what is known then of what came of them."""

    raw: Floats
    converted: Bools
    as_of: Ints
    lead: Ints
    known_at: Ints
    now: int

    def where(self, chosen: Bools, now: int | None = None) -> _Seen:
        return _Seen(
            self.raw[chosen],
            self.converted[chosen],
            self.as_of[chosen],
            self.lead[chosen],
            self.known_at[chosen],
            self.now if now is None else now,
        )

    @cached_property
    def maturity(self) -> Maturity:
        return Maturity.at(self.now, self.as_of, self.known_at)

    @cached_property
    def known(self) -> tuple[Floats, Bools, Floats]:
        """Log-odds, outcomes and weights of the rows whose outcome is known."""
        rows = self.maturity.known
        return self.raw[rows], self.converted[rows], self.maturity.weight[rows]

    @property
    def enough(self) -> bool:
        """Whether converted leads and others are many, among those whose outcome is known."""
        known = self.maturity.known
        both = (known & self.converted, known & ~self.converted)
        return all(len(np.unique(self.lead[rows])) >= LEAST for rows in both)

    def blocks(self, ripe: bool) -> list[tuple[_Seen, _Seen]]:
        """What began before each block of time, and the block; none without enough before.

        Of what began before, all that is known now, or, not ``ripe``, was known then.
        """
        edges = np.unique(np.quantile(self.as_of[self.maturity.known], _CUTS)).astype(np.int64)
        edges[-1] += 1
        cut = [
            (
                self.where(self.as_of < start, None if ripe else start),
                self.where((self.as_of >= start) & (self.as_of < end)),
            )
            for start, end in pairwise(edges.tolist())
        ]
        return [(before, block) for before, block in cut if before.enough and len(block.known[0])]

    def latest(self, shape: Calibration) -> Calibration:
        """A shape at the level of the latest ripe rows and of all after them.

        Rows of one moment come together.
        """
        ripe = self.maturity.ripe
        if not ripe.any():
            return shape.at_level(*self.known)
        as_of = self.as_of[ripe]
        order = np.argsort(-as_of, kind="stable")
        starts = np.sort(np.unique(self.lead[ripe][order], return_index=True)[1])
        place = max(starts[min(RECENT_LEADS, len(starts)) - 1], min(RECENT_ROWS, len(order)) - 1)
        return shape.at_level(*self.where(self.as_of >= as_of[order][place]).known)


def _shape(seen: _Seen) -> Form:
    forms: tuple[Form, ...] = ("platt", "none", "beta")
    losses: dict[Form, list[float]] = {form: [] for form in forms}
    for before, block in seen.blocks(ripe=True):  # a shape does not age while labels ripen
        raw, converted, weight = block.known
        for form in forms:
            own = fit(form, *before.known).at_level(raw, converted, weight)
            losses[form].append(log_loss(own(raw), converted, weight))
    better = [form for form in forms[1:] if _lower(losses[form], losses["platt"])]
    return min(better, key=lambda form: sum(losses[form]), default="platt")


def _level_hurts(seen: _Seen, shape: Calibration) -> bool:
    losses: list[tuple[float, float]] = []
    for before, block in seen.blocks(ripe=False):
        usual, latest = shape.at_level(*before.known), before.latest(shape)
        if latest.recent == len(before.known[0]):
            continue  # the latest were all there were: nothing to tell apart
        raw, converted, weight = block.known
        losses.append(
            (
                log_loss(usual(raw), converted, weight),
                log_loss(latest(raw), converted, weight),
            )
        )
    return _lower([usual for usual, _ in losses], [latest for _, latest in losses])


def _lower(these: list[float], those: list[float]) -> bool:
    """Whether these losses are lower by more than two standard errors of their mean difference.

    Of fewer than three differences no one can tell.
    """
    gain = np.subtract(those, these)
    return len(gain) > 2 and bool(gain.mean() > 2 * gain.std(ddof=1) / np.sqrt(len(gain)))


def _shift(odds: Floats, converted: Bools, weight: Floats) -> float:
    """What to add to log-odds so that their mean probability is the observed rate."""
    share, total = weight / weight.sum(), 0.0
    rate = share @ converted
    for _ in range(100):
        chance = expit(odds + total)
        step = np.clip((rate - share @ chance) / (share @ (chance * (1 - chance))), -1, 1)
        total += float(step)
        if abs(step) < 1e-12:
            break
    return total
