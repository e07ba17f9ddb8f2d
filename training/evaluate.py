"""How good are the predictions? Discrimination, calibration, lift and value, with intervals.

Every interval is a bootstrap by lead: rows of one lead at several as-of times are not independent,
so whole leads are drawn, with multinomial weights (Efron 1979; the cluster bootstrap of Davison and
Hinkley 1997, section 3.8). All contenders see the same draws, which makes differences paired.
An interval is value -/+ 1.645 standard errors, cut to the range of the measure: with a few hundred
draws the standard error is steady where 5 % percentiles are not, and a calibration error, which
every resample inflates, stays inside its own interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]

LEVEL = 0.90
"""Coverage of every interval; of the reliability bands all together."""

SHARES: Floats = np.linspace(0.0, 1.0, 101)
"""The shares of rows at which gain and value curves are read."""

ORACLE = "oracle"
RANGES = {
    "auc": (0.0, 1.0),
    "log_loss": (0.0, math.inf),
    "brier": (0.0, 1.0),
    "calibration_error": (0.0, 1.0),
    "lift": (0.0, math.inf),
    "value_at_capacity": (0.0, 1.0),
    "value_coverage": (0.0, 1.0),
}
"""The measures and the range of each."""

_BINS = 10
_CHUNK = 16


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What happened, one element a test row (lead, as_of); n rows.

    ``value`` is the realised deal value of a row that converted inside the horizon, 0 of one that
    did not, NaN of one that converted at an unknown value (left out of the value measures);
    None, or NaN wherever converted, when the data have no values.
    """

    lead_id: npt.NDArray[Any]
    as_of: npt.NDArray[np.int64]
    converted: Bools
    value: Floats | None = None


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one contender said of the same n rows.

    ``expected_value`` is probability x value if won, the order in which capacity is spent.
    ``value_low`` and ``value_high`` bound the deal value if won (90 %). To rank by an amount alone,
    give a contender a constant probability and the amount as its expected value.
    """

    name: str
    probability: Floats
    expected_value: Floats | None = None
    value_low: Floats | None = None
    value_high: Floats | None = None


@dataclass(frozen=True)
class Estimate:
    """A measure, its 90 % interval and standard error; None where the data cannot tell."""

    value: float | None
    low: float | None = None
    high: float | None = None
    error: float | None = None


@dataclass(frozen=True)
class Bin:
    """One line of the reliability table; ``low`` and ``high`` bound the observed rate."""

    rows: int
    leads: int
    predicted: float
    observed: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything measured on one test set.

    - ``measures``: contender -> measure (:data:`RANGES`) -> estimate; ``lift`` is at ``capacity``
    - ``differences``: other contender -> ``auc`` and ``log_loss`` -> main minus other, paired
    - ``reliability``: of main, lowest predictions first
    - ``gain``: contender -> share of conversions held by the best :data:`SHARES` of rows
    - ``value``: the same for realised value, in order of expected value; also main in order of
      probability and the oracle, which knows every value; empty when no value is known
    - ``scores``: (2, 20) counts of main's probabilities in steps of 0.05: not converted, converted
    - ``period``: first and last as_of, in microseconds
    """

    main: str
    capacity: float
    rows: int
    leads: int
    conversions: int
    period: tuple[int, int]
    measures: Mapping[str, Mapping[str, Estimate]]
    differences: Mapping[str, Mapping[str, Estimate]]
    reliability: tuple[Bin, ...]
    gain: Mapping[str, Floats]
    value: Mapping[str, Floats]
    scores: npt.NDArray[np.int64]

    @property
    def positive_rate(self) -> float:
        """The share of rows that converted."""
        return self.conversions / self.rows

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, lists, finite numbers and None."""
        return {
            **asdict(self),
            "positive_rate": self.positive_rate,
            "period": list(self.period),
            "reliability": [asdict(line) for line in self.reliability],
            "shares": SHARES.tolist(),
            "gain": {name: curve.tolist() for name, curve in self.gain.items()},
            "value": {name: curve.tolist() for name, curve in self.value.items()},
            "scores": self.scores.tolist(),
        }


def evaluate(
    outcomes: Outcomes,
    contenders: Sequence[Predictions],
    *,
    main: str,
    capacity: float = 0.2,
    replicates: int = 200,
    seed: int = 0,
) -> Evaluation:
    """Measure every contender on one test set and compare ``main`` with each of the others.

    ``capacity`` is the share of rows that can be worked, 0 < capacity <= 1. A measure the data
    cannot give (AUC of one class, value without values) is None. The same seed gives the same
    intervals; with one lead there are none.

    Raises ``ValueError`` for no rows, lengths that differ, probabilities outside 0 to 1, expected
    values that are not finite, two contenders of one name or a ``main`` that is not among them.
    """
    _check(outcomes, contenders, main, capacity)
    names, lead = np.unique(outcomes.lead_id.astype(str), return_inverse=True)
    weights = _draws(len(names), replicates, seed)
    found = {c.name: _measures(outcomes, c, lead, weights, capacity) for c in contenders}
    champion = next(c for c in contenders if c.name == main)
    said_won = champion.probability[outcomes.converted]
    said_lost = champion.probability[~outcomes.converted]
    steps = np.linspace(0.0, 1.0, 21)
    return Evaluation(
        main=main,
        capacity=capacity,
        rows=len(lead),
        leads=len(names),
        conversions=int(outcomes.converted.sum()),
        period=(int(outcomes.as_of.min()), int(outcomes.as_of.max())),
        measures={
            name: {m: _estimate(draws, RANGES[m]) for m, draws in of.items()}
            for name, of in found.items()
        },
        differences={
            name: {m: _estimate(found[main][m] - of[m]) for m in ("auc", "log_loss")}
            for name, of in found.items()
            if name != main
        },
        reliability=reliability(outcomes, champion.probability),
        gain=_gain(outcomes, contenders),
        value=_value(outcomes, contenders, champion),
        scores=np.stack([np.histogram(said, steps)[0] for said in (said_lost, said_won)]),
    )


def measure(
    outcomes: Outcomes, said: Predictions, capacity: float = 0.2
) -> dict[str, float | None]:
    """The measures of one contender without intervals; None where the data cannot tell.

    Raises ``ValueError`` as :func:`evaluate` does.
    """
    _check(outcomes, [said], said.name, capacity)
    found = _measures(outcomes, said, *_unweighted(len(outcomes.converted)), capacity)
    return {name: _estimate(draws).value for name, draws in found.items()}


def auc(converted: Bools, score: Floats) -> float | None:
    """The chance that a converted row outscores another, ties half; None for one class.

    ``converted`` and ``score`` are (n,). Hanley and McNeil (1982).
    """
    won = converted.astype(float)
    return _estimate(_ranked(score, won, *_unweighted(len(won)), _concordance)[0]).value


def wilson(rate: float, size: float, level: float = LEVEL) -> tuple[float, float]:
    """The interval of a share ``rate`` of ``size`` independent draws (Wilson 1927)."""
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
    centre = (rate + z2 / (2 * size)) / (1 + z2 / size)
    half = math.sqrt(z2 * rate * (1 - rate) / size + (z2 / (2 * size)) ** 2) / (1 + z2 / size)
    return max(0.0, centre - half), min(1.0, centre + half)


def reliability(outcomes: Outcomes, probability: Floats) -> tuple[Bin, ...]:
    """Ten bins of equal count, equal predictions kept together: predicted and observed rates.

    The bands hold together with 90 % (Bonferroni over the bins). Each is a Wilson interval on the
    effective number of rows, rate x (1 - rate) / variance of the rate between leads, at most the
    number of leads (the effective size of Korn and Graubard 1998).
    """
    code = _bins(probability)
    count = int(code.max()) + 1
    level = 1 - (1 - LEVEL) / count
    table = []
    for number in range(count):
        inside = code == number
        rate, low, high, leads = observed_rate(outcomes, inside, level)
        predicted = float(probability[inside].mean())
        table.append(Bin(int(inside.sum()), leads, predicted, rate, low, high))
    return tuple(table)


def observed_rate(
    outcomes: Outcomes, inside: Bools, level: float
) -> tuple[float, float, float, int]:
    """The conversion rate of some rows, its interval by lead (see :func:`reliability`), the leads.

    ``inside`` is a mask (n,) that chooses a row at least.
    """
    won = outcomes.converted[inside].astype(float)
    _, lead = np.unique(outcomes.lead_id[inside].astype(str), return_inverse=True)
    rate = float(won.mean())
    low, high = wilson(rate, _effective_size(won, lead), level)
    return rate, low, high, int(lead.max()) + 1


def _effective_size(won: Floats, lead: Ints) -> float:
    rate, leads = won.mean(), int(lead.max()) + 1
    spread = float((np.bincount(lead, won - rate) ** 2).sum())
    if leads == 1 or spread == 0:
        return float(leads)
    variance = spread / len(won) ** 2 * leads / (leads - 1)
    return min(float(leads), float(rate * (1 - rate) / variance))


def _bins(probability: Floats) -> Ints:
    _, value, counts = np.unique(probability, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    code = np.floor(middle / len(probability) * _BINS)[value]
    return np.unique(code, return_inverse=True)[1]


def _measures(
    outcomes: Outcomes, said: Predictions, lead: Ints, weights: Floats, capacity: float
) -> dict[str, Floats]:
    """Every measure under every draw of weights: name -> (draws,), NaN where it has no value."""
    won = outcomes.converted.astype(float)

    def held(total: Floats, gain: Floats) -> Floats:
        return _captured(total, gain, np.array([capacity]))[:, 0]

    found = {name: np.full(len(weights), np.nan) for name in RANGES}
    found |= _averages(outcomes, said, lead, weights)
    found["auc"], gained = _ranked(said.probability, won, lead, weights, _concordance, held)
    found["lift"] = gained / capacity
    value = _values(outcomes)
    known = ~np.isnan(value)
    if said.expected_value is not None and known.any():
        ranked = _ranked(said.expected_value[known], value[known], lead[known], weights, held)
        found["value_at_capacity"] = ranked[0]
    return found


def _averages(
    outcomes: Outcomes, said: Predictions, lead: Ints, weights: Floats
) -> dict[str, Floats]:
    """The measures that are ratios of sums over leads; the bins are those of the whole sample."""
    converted, probability = outcomes.converted, said.probability
    gap = probability - converted

    def total(amount: Floats | Bools) -> Floats:
        return weights @ np.bincount(lead, amount, weights.shape[1])

    rows = total(np.ones(len(lead)))
    code = _bins(probability)
    off = [np.abs(total(np.where(code == k, gap, 0.0))) for k in range(int(code.max()) + 1)]
    said_so = np.where(converted, probability, 1.0 - probability)
    found = {
        "log_loss": _ratio(total(-np.log(np.maximum(said_so, 1e-15))), rows),
        "brier": _ratio(total(gap**2), rows),
        "calibration_error": _ratio(np.sum(off, axis=0), rows),
    }
    if said.value_low is not None and said.value_high is not None:
        value = np.where(converted, _values(outcomes), np.nan)
        told = ~np.isnan(value + said.value_low + said.value_high)
        inside = told & (said.value_low <= value) & (value <= said.value_high)
        found["value_coverage"] = _ratio(total(inside), total(told))
    return found


def _ranked(
    score: Floats,
    amount: Floats,
    lead: Ints,
    weights: Floats,
    *kernels: Callable[[Floats, Floats], Floats],
) -> list[Floats]:
    """Each kernel under every draw, of weight and weighted amount in blocks of equal score.

    Blocks run from the best score to the worst. They make every figure independent of the order of
    tied rows: a block that straddles a cut counts in proportion, the mean over all orders.
    """
    order = np.argsort(-score, kind="stable")
    score, lead, amount = score[order], lead[order], amount[order]
    starts = np.flatnonzero(np.append(True, score[1:] != score[:-1]))
    parts = []
    for first in range(0, len(weights), _CHUNK):
        rows = weights[first : first + _CHUNK, lead]
        total = np.add.reduceat(rows, starts, axis=1)
        gain = np.add.reduceat(rows * amount, starts, axis=1)
        parts.append([kernel(total, gain) for kernel in kernels])
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def _concordance(total: Floats, won: Floats) -> Floats:
    """The chance that a won row stands before a lost one, (draws,); ties half."""
    lost = total - won
    everyone = lost.sum(axis=1)
    beaten = everyone[:, None] - np.cumsum(lost, axis=1) + lost / 2
    return _ratio((won * beaten).sum(axis=1), won.sum(axis=1) * everyone)


def _captured(total: Floats, gain: Floats, shares: Floats) -> Floats:
    """The share of all gain that the first ``shares`` of the weight hold: (draws, shares)."""
    reached = np.pad(np.cumsum(total, axis=1), ((0, 0), (1, 0)))
    held = np.pad(np.cumsum(gain, axis=1), ((0, 0), (1, 0)))
    pairs = zip(reached, held, strict=True)
    taken = np.stack([np.interp(shares * at[-1], at, have) for at, have in pairs])
    return _ratio(taken, held[:, -1:])


def _gain(outcomes: Outcomes, contenders: Sequence[Predictions]) -> dict[str, Floats]:
    if not outcomes.converted.any():
        return {}
    won = outcomes.converted.astype(float)
    return {c.name: _curve(c.probability, won) for c in contenders}


def _value(
    outcomes: Outcomes, contenders: Sequence[Predictions], champion: Predictions
) -> dict[str, Floats]:
    value = _values(outcomes)
    known = ~np.isnan(value)
    if not value[known].any():
        return {}
    orders = {c.name: c.expected_value for c in contenders if c.expected_value is not None}
    orders |= {f"{champion.name}, by probability": champion.probability, ORACLE: value}
    return {name: _curve(score[known], value[known]) for name, score in orders.items()}


def _curve(score: Floats, amount: Floats) -> Floats:
    every = _unweighted(len(score))
    return _ranked(score, amount, *every, lambda all_, held: _captured(all_, held, SHARES))[0][0]


def _values(outcomes: Outcomes) -> Floats:
    if outcomes.value is None:
        return np.full(len(outcomes.converted), np.nan)
    return outcomes.value


def _unweighted(rows: int) -> tuple[Ints, Floats]:
    return np.arange(rows), np.ones((1, rows))


def _draws(leads: int, replicates: int, seed: int) -> Floats:
    """Weights of leads: the sample itself first, then resamples, (1 + replicates, leads)."""
    drawn = replicates if leads > 1 else 0
    resampled = np.random.default_rng(seed).multinomial(leads, np.full(leads, 1 / leads), drawn)
    return np.vstack([np.ones((1, leads)), resampled])


def _estimate(draws: Floats, bounds: tuple[float, float] = (-math.inf, math.inf)) -> Estimate:
    """The first draw with the spread of the others; draws without a value are left out."""
    value, others = float(draws[0]), draws[1:][np.isfinite(draws[1:])]
    if not math.isfinite(value):
        return Estimate(None)
    if len(others) < 2:
        return Estimate(value)
    error = float(others.std(ddof=1))
    half = NormalDist().inv_cdf((1 + LEVEL) / 2) * error
    return Estimate(value, max(bounds[0], value - half), min(bounds[1], value + half), error)


def _ratio(above: Floats, below: Floats) -> Floats:
    nothing = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    return np.divide(above, below, out=nothing, where=below != 0)


def _check(
    outcomes: Outcomes, contenders: Sequence[Predictions], main: str, capacity: float
) -> None:
    rows, names = len(outcomes.converted), [c.name for c in contenders]
    if rows == 0:
        raise ValueError("nothing to evaluate: no test rows")
    if not 0 < capacity <= 1:
        raise ValueError(f"capacity is a share of rows, above 0 and at most 1: {capacity}")
    if main not in names or len(set(names)) < len(names):
        raise ValueError(f"{main!r} must be one of the contenders, each of its own name: {names}")
    columns = {"lead_id": outcomes.lead_id, "as_of": outcomes.as_of, "value": outcomes.value}
    for said in contenders:
        if not ((said.probability >= 0) & (said.probability <= 1)).all():
            raise ValueError(f"{said.name}: probabilities must lie between 0 and 1")
        if said.expected_value is not None and not np.isfinite(said.expected_value).all():
            raise ValueError(f"{said.name}: expected values must be finite numbers")
        for part in ("probability", "expected_value", "value_low", "value_high"):
            columns[f"{said.name}: {part}"] = getattr(said, part)
    for name, column in columns.items():
        if column is not None and len(column) != rows:
            raise ValueError(f"{name}: {len(column)} values for {rows} rows")
