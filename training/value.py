"""The value head: what a deal would be worth if won."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, combinations

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from training.dataset import Training
from training.encode import Encoder
from training.grow import Encoded, Grower, out_of_fold
from training.linear import Linear, Ridge, fit_linear
from training.machine import blended
from training.recipe import Recipe, folds_of, lead_weights, threads

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_NOTHING: Floats = np.empty(0)

LEAST_DEALS, LEAST_FOR_TREES = 50, 150
"""With fewer won deals of known value: one mean for all; no trees."""

MOST_SHARE, LEAST_CAPPED = 0.01, 5
"""A deal counts for at most this share of all deals' value, or for as much as so many of them."""

LEVELS = (0.05, 0.5, 0.95)
"""The quantiles of the deal value that the head knows."""

_OWN = {"learning_rate": 0.12, "lambda_l2": 2.0}

TREES: Mapping[str, str] = {"log": "regression", "gamma": "gamma"}
"""The members that are trees, and what LightGBM minimises to grow each."""


@dataclass(frozen=True, eq=False)
class ValueHead:
    """E[value | convert] = the sum over members of scale x exp(what the member says of a row).

    Members say logs of values: trees grown on logs, trees grown for the gamma deviance, a ridge
    regression on logs. A scale holds the member's share, the unit of the values and the smearing
    factor, which makes the out-of-fold predictions of won deals add up to what they were worth
    (Duan 1983, JASA 78, 605-610). ``ratios`` are the quantiles, at :data:`LEVELS`, of value over
    E[value | convert], out of fold.
    """

    trees: Mapping[str, lgb.Booster]
    linear: Linear | None
    scale: Mapping[str, float]
    ratios: tuple[float, float, float]

    def mean(self, matrix: Floats) -> Floats:
        """E[value | convert] of encoded rows (n, features): (n,)."""
        said = [tree.predict(matrix, raw_score=True, num_threads=threads(matrix))
                for tree in self.trees.values()]  # fmt: skip
        return self.blend(np.array(said, np.float64).reshape(len(said), len(matrix)), matrix)

    def blend(self, said: Floats, matrix: Floats) -> Floats:
        """The same, where it is known what each of the trees says (members, n), in their order."""
        more = _NOTHING if self.linear is None else self.linear(matrix)
        total: Floats = blended(said, more, self._scales)
        return total

    @cached_property
    def _scales(self) -> Floats:
        """Those of the trees, in their order, then that of the linear member."""
        return np.array(
            [self.scale[one] for one in (*self.trees, *(self.scale.keys() - self.trees))]
        )


def fit_value(deals: Deals, recipe: Recipe, grower: Grower) -> ValueHead:
    """Fitted to values that no single deal dominates.

    Members are predicted out of fold, and the set of members whose mean has the least gamma
    deviance there is the head.
    """
    members = _members(deals, recipe, grower)
    part, lead = deals.crossed, deals.lead
    actual, weight = deals.value[part], deals.weight[part]
    total = float((weight * actual).sum())
    factor = {name: total / (weight * np.exp(one.said)).sum() for name, one in members.items()}
    said = {name: factor[name] * np.exp(one.said) for name, one in members.items()}
    chosen = min(_choices(members), key=lambda names: _deviance(_mean(said, names), actual, weight))
    made = {name: members[name].finished() for name in chosen}
    ratio = deals.actual[part] / _mean(said, chosen)
    return ValueHead(
        {name: one for name, one in made.items() if isinstance(one, lgb.Booster)},
        next((one for one in made.values() if isinstance(one, Linear)), None),
        {name: deals.unit * float(factor[name]) / len(chosen) for name in chosen},
        _quantiles(ratio, weight, weight.sum() / len(np.unique(lead[part]))),
    )


def tamed(value: Floats, lead: Ints) -> Floats:
    """Values of rows (n,), cut so that no deal counts for more than its share of the total.

    ``lead`` numbers the deal of each row from 0. The share is :data:`MOST_SHARE`, or that of
    :data:`LEAST_CAPPED` average deals where there are few: one giant deal moves the mean by so
    much at most.
    """
    each = np.sort(value[np.unique(lead, return_index=True)[1]])[::-1]
    share = max(MOST_SHARE, LEAST_CAPPED / len(each))
    cut = np.arange(len(each))  # so many of the greatest deals are cut to the limit
    rest = each[::-1].cumsum()[::-1]
    cut, rest = cut[share * cut < 1], rest[share * cut < 1]
    limits = share * rest / (1 - share * cut)
    fits = each[: len(cut)] <= limits
    return np.minimum(value, limits[int(np.argmax(fits))]) if fits.any() else value


@dataclass(frozen=True, eq=False)
class Deals:
    """Rows of won deals of known, positive value: their weights, folds and leads (n,).

    ``actual`` are the values in ``unit``s, their median; ``value`` the same, tamed.
    """

    rows: Encoded
    unit: float
    actual: Floats
    value: Floats
    weight: Floats
    groups: Ints
    lead: Ints

    @property
    def crossed(self) -> npt.NDArray[np.bool_]:
        """Which rows are predicted out of fold."""
        return self.groups >= 0

    @property
    def leads(self) -> int:
        """How many deals there are."""
        return int(self.lead.max()) + 1

    @cached_property
    def ridge(self) -> Ridge:
        """A ridge regression on the logs of tamed values."""
        return fit_linear(self.rows, np.log(self.value), self.weight, self.groups, self.lead)


def deals_of(data: Training, encoder: Encoder) -> Deals | None:
    """The won deals of a training set, their surprises tamed; None when there are none.

    A surprise is what a deal is worth beyond what its features say. What they say is taken from a
    first ridge of logs, out of fold; of few deals, it is the same for all.
    """
    won = data.converted & (np.nan_to_num(data.value) > 0)
    if not won.any():
        return None
    lead = np.unique(data.lead_number[won], return_inverse=True)[1]
    unit = float(np.median(data.value[won]))
    actual = data.value[won] / unit
    weight, groups = lead_weights(lead), folds_of(data.group[won])
    deals = Deals(Encoded(data.where(won), encoder), unit, actual, actual, weight, groups, lead)
    usual = np.zeros(len(actual))
    if deals.leads >= LEAST_DEALS:
        pilot = deals.ridge
        usual = np.concatenate([pilot.linear(matrix) for _, matrix in deals.rows.blocks()])
        usual[deals.crossed] = pilot.said
    return replace(deals, value=np.exp(usual) * tamed(actual / np.exp(usual), lead))


@dataclass(frozen=True, eq=False)
class _Member:
    """What a member says of each crossed row without its fold (n,), and itself, once finished."""

    said: Floats
    finished: Callable[[], lgb.Booster | Linear]


def _members(deals: Deals, recipe: Recipe, grower: Grower) -> dict[str, _Member]:
    """The contenders that so many won leads can carry, the one that says the same of all first."""
    columns, leads = len(deals.rows.encoder.names), deals.leads
    level = Linear.constant(float(np.log(np.average(deals.value, weights=deals.weight))), columns)
    members = {"constant": _Member(np.full(int(deals.crossed.sum()), level.intercept),
                                   lambda: level)}  # fmt: skip
    if leads >= LEAST_DEALS:
        members["ridge"] = _Member(deals.ridge.said, lambda: deals.ridge.linear)
    if leads >= LEAST_FOR_TREES:
        members |= {name: _grown(name, deals, recipe, grower) for name in TREES}
    return members


def _grown(name: str, deals: Deals, recipe: Recipe, grower: Grower) -> _Member:
    target = deals.value if name == "gamma" else np.log(deals.value)
    own = Recipe(recipe.leaves, recipe.rounds, 0.02, {**recipe.extra, **_OWN})
    parameters = own.parameters(TREES[name], len(target))
    trees = grower(deals.rows, target, deals.weight, parameters)
    most = max(recipe.rounds // 4, 1)
    loss = _gamma_loss if name == "gamma" else _squared
    said, rounds = out_of_fold(trees, deals.rows, target, deals.groups, most, loss)
    return _Member(said, lambda: trees.grow(np.ones(len(target), dtype=bool), rounds))


def _squared(raw: Floats, target: Floats) -> float:
    return float(np.square(raw - target).mean())


def _gamma_loss(raw: Floats, target: Floats) -> float:
    return float((target * np.exp(-raw) + raw).mean())


def _choices(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Every set of members, the one that says the same of all alone."""
    others = [name for name in names if name != "constant"]
    sizes = range(1, len(others) + 1)
    return [("constant",), *chain.from_iterable(combinations(others, size) for size in sizes)]


def _mean(said: Mapping[str, Floats], names: Sequence[str]) -> Floats:
    return np.asarray(np.mean([said[name] for name in names], axis=0))


def _deviance(said: Floats, actual: Floats, weight: Floats) -> float:
    """The gamma deviance: right for the mean of values whose spread grows with it."""
    return float(np.average(actual / said - np.log(actual / said), weights=weight))


def _quantiles(ratio: Floats, weight: Floats, lead: float) -> tuple[float, float, float]:
    """Weighted quantiles at :data:`LEVELS`, the outer ones as if one more lead lay beyond.

    ``lead`` is the weight of an average lead: the correction of split conformal prediction (Lei et
    al. 2018, JASA 113, 1094-1111).
    """
    order = np.argsort(ratio)
    ratio, upto = ratio[order], np.cumsum(weight[order])
    total = upto[-1]
    places = [LEVELS[0] * (total + lead) - lead, LEVELS[1] * total, LEVELS[2] * (total + lead)]
    found = ratio[np.minimum(np.searchsorted(upto, places), len(ratio) - 1)]
    return float(found[0]), float(found[1]), float(found[2])
