"""A feature -> the SQL expression that computes it over the visible facts of a row.

The facts are a table ``f`` with ``_at`` and the columns that features read; ``as_of`` is given as
an expression. *Ordered* features read facts that also carry ``_rank`` (1 = the latest), ``_before``
(the time of the fact before), and of their own ``_answers<n>`` and ``_asked<n>``. An entropy reads
``_count<n>``: how many facts of a row have a value (see :func:`counts`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from sqlglot import exp

from features import sql
from features.feature import Feature, Where
from features.times import DAY, HOUR

_WEEK = 7 * DAY
_EARLIEST = 4_000 * _WEEK
"""Added before a remainder is taken: no time of the contract is so early."""
_MONDAY = 3 * DAY
"""From the Monday of the week of 1970-01-01, a Thursday."""
_FIXED = 2**36
_FORGOTTEN = 1_000
"""Half-lives after which a fact weighs nothing: 2^-1000 is near the smallest double."""


def value(
    feature: Feature,
    number: int,
    as_of: exp.Expression,
    keyed: bool = False,
    in_order: bool = False,
) -> exp.Expression:
    """The aggregate of a feature; ``number`` is the one that its own helper columns carry.

    ``keyed``: the facts are apart by what the feature filters on, so it need not filter.
    ``in_order``: they carry their place in the order.
    """
    return _BUILDERS[feature.aggregate](_Over(feature, number, as_of, keyed, in_order))


def selected(where: Where, table: str) -> list[sql.Condition]:
    """The conditions of a selection of facts."""
    conditions: list[sql.Condition] = []
    for field, values in where:
        literals = [exp.Literal.string(value) for value in values]
        column = sql.column(field, table)
        conditions.append(column.eq(literals[0]) if len(literals) == 1 else column.isin(*literals))
    return conditions


def needs_until(feature: Feature, keyed: bool) -> bool:
    """Whether facts must carry ``_until<n>``: when a later one like it becomes visible."""
    return feature.aggregate == "latest" or (feature.aggregate == "distinct" and keyed)


class _Over:
    """What the builders of expressions share: one feature over its facts."""

    def __init__(
        self, feature: Feature, number: int, as_of: exp.Expression, keyed: bool, in_order: bool
    ) -> None:
        self.feature, self.number, self.keyed, self.in_order = feature, number, keyed, in_order
        self._as_of = as_of

    @property
    def as_of(self) -> exp.Expression:
        return self._as_of.copy()

    @property
    def at(self) -> exp.Expression:
        return sql.column("_at", "f")

    @property
    def before(self) -> exp.Expression:
        return sql.column("_before", "f")

    @property
    def column(self) -> exp.Expression:
        return sql.column(str(self.feature.column), "f")

    def own(self, name: str) -> exp.Expression:
        return sql.column(f"_{name}{self.number}", "f")

    def since(self, window: int | None, at: exp.Expression | None = None) -> list[sql.Condition]:
        if window is None:
            return []
        return [(at or self.at) >= sql.minus(self.as_of, sql.number(window))]

    def filtered(
        self,
        function: exp.Expression,
        extra: Iterable[sql.Condition] = (),
        where: Where | None = None,
    ) -> exp.Expression:
        """The function over the facts of the selection that meet ``extra``."""
        where = self.feature.where if where is None else where
        conditions = [*([] if self.keyed else selected(where, "f")), *extra]
        if not conditions:
            return function
        if self.keyed and isinstance(function, exp.Count):
            return _count_if(sql.all_of(conditions))
        return exp.Filter(this=function, expression=exp.Where(this=sql.all_of(conditions)))

    def windowed(
        self, function: exp.Expression, extra: Iterable[sql.Condition] = ()
    ) -> exp.Expression:
        return self.filtered(function, [*extra, *self.since(self.feature.window)])

    def count(self, window: int | None) -> exp.Expression:
        return self.filtered(_count(), self.since(window))


def _count() -> exp.Expression:
    return exp.Count(this=exp.Star())


def _count_if(condition: sql.Condition) -> exp.Expression:
    """Over many pairs an eighth cheaper than a filtered ``count(*)``."""
    return exp.Count(this=sql.case((condition, sql.number(1))))


def _simple(function: type[exp.Expression]) -> Callable[[_Over], exp.Expression]:
    return lambda over: over.windowed(function(this=over.column))


def _distinct(over: _Over) -> exp.Expression:
    if over.keyed:
        return over.windowed(_count(), [_is_latest(over), sql.present(over.column)])
    return over.windowed(exp.Count(this=exp.Distinct(expressions=[over.column])))


def _latest(over: _Over) -> exp.Expression:
    first = sql.column("_rank", "f").eq(sql.number(1))
    which = first if over.in_order else _is_latest(over)
    return over.windowed(exp.Max(this=over.column), [which])


def _is_latest(over: _Over) -> sql.Condition:
    return exp.Coalesce(this=over.own("until"), expressions=[over.as_of]) >= over.as_of


def _previous(over: _Over) -> exp.Expression:
    which = sql.column("_rank", "f").eq(sql.number(1 + (over.feature.back or 1)))
    return over.filtered(exp.Max(this=over.column), [which])


def _since_first(over: _Over) -> exp.Expression:
    return sql.units(over.windowed(exp.Max(this=sql.minus(over.as_of, over.at))))


def _since_last(over: _Over) -> exp.Expression:
    return sql.units(over.windowed(exp.Min(this=sql.minus(over.as_of, over.at))))


def _ratio(over: _Over) -> exp.Expression:
    feature = over.feature
    return sql.divided(over.count(feature.window), over.count(feature.against))


def _trend(over: _Over) -> exp.Expression:
    feature = over.feature
    assert feature.window is not None
    assert feature.against is not None
    scale = exp.Literal.number(repr(feature.against / feature.window))
    paced = exp.Mul(this=sql.double(over.count(feature.window)), expression=scale)
    return sql.divided(exp.Paren(this=paced), over.count(feature.against))


def _share(over: _Over) -> exp.Expression:
    everything = over.filtered(_count(), over.since(over.feature.window), where=())
    return sql.divided(over.count(over.feature.window), everything)


def _decayed(over: _Over) -> exp.Expression:
    half_life = over.feature.half_life
    assert half_life is not None
    age = sql.minus(over.as_of, over.at)
    rate = exp.Literal.number(repr(math.log(2) / half_life))
    faded = exp.Mul(this=sql.double(age), expression=exp.Neg(this=rate))
    weight = exp.Exp(this=faded)
    recent = exp.Paren(this=age.copy()) < sql.number(_FORGOTTEN * half_life)
    total = exp.Sum(this=sql.case((recent, weight), default=exp.Literal.number("0.0")))
    return sql.or_zero(over.filtered(total))


def _mean_gap(over: _Over) -> exp.Expression:
    first, last = over.windowed(exp.Min(this=over.at)), over.windowed(exp.Max(this=over.at))
    gaps = exp.Paren(this=sql.minus(over.count(over.feature.window), sql.number(1)))
    return sql.divided(sql.units(exp.Paren(this=sql.minus(last, first))), gaps)


def _open(over: _Over) -> exp.Expression:
    started, ended = over.filtered(_count()), over.filtered(_count(), where=over.feature.other)
    return sql.case((started > ended, sql.minus(started.copy(), ended.copy())),
                    default=sql.number(0))  # fmt: skip


def _local(over: _Over, at: exp.Expression) -> exp.Expression:
    """A time on the clock of the feature, counted from a Monday long ago."""
    shift = _EARLIEST + _MONDAY + (over.feature.offset or 0)
    return exp.Add(this=at, expression=sql.number(shift))


def _part(over: _Over, whole: int, unit: int) -> exp.Expression:
    """How many whole units of its ``whole`` the last fact's time has seen."""
    local = _local(over, over.filtered(exp.Max(this=over.at)))
    seen = sql.minus(sql.modulo(local, whole), sql.modulo(local.copy(), unit))
    return sql.units(exp.Paren(this=seen), unit)


def _last_hour(over: _Over) -> exp.Expression:
    return _part(over, DAY, HOUR)


def _last_weekday(over: _Over) -> exp.Expression:
    return _part(over, _WEEK, DAY)


def _business(over: _Over) -> exp.Expression:
    in_week = sql.modulo(_local(over, over.at), _WEEK)
    in_day = sql.modulo(_local(over, over.at), DAY)
    inside = sql.all_of([
        exp.Paren(this=in_week) < sql.number(5 * DAY),
        exp.Paren(this=in_day) >= sql.number(9 * HOUR),
        exp.Paren(this=in_day.copy()) < sql.number(18 * HOUR),
    ])  # fmt: skip
    ones = sql.double(sql.case((inside, sql.number(1)), default=sql.number(0)))
    return over.windowed(exp.Avg(this=ones))


def _gap(over: _Over) -> exp.Expression:
    return sql.minus(over.at, over.before)


def _last_gap(over: _Over) -> exp.Expression:
    latest = sql.column("_rank", "f").eq(sql.number(1))
    return sql.units(over.filtered(exp.Max(this=_gap(over)), [latest]))


def _regularity(over: _Over) -> exp.Expression:
    inside = over.since(over.feature.window, over.before)
    spread = over.filtered(exp.StddevSamp(this=sql.double(_gap(over))), inside)
    mean = over.filtered(exp.Avg(this=sql.double(_gap(over))), inside)
    return sql.divided(spread, mean)


def _response(over: _Over) -> exp.Expression:
    answered = [over.own("answers").eq(sql.number(1)), over.own("asked").eq(sql.number(0))]
    inside = over.since(over.feature.window, over.before)
    gap = exp.Avg(this=sql.double(_gap(over)))
    return sql.units(exp.Filter(this=gap, expression=exp.Where(this=sql.all_of(
        [*answered, *inside]))))  # fmt: skip


def _entropy(over: _Over) -> exp.Expression:
    """ln N - (sum of c ln c) / N, over the counts c of the values.

    The terms are added as integers: values come in any order, and it must not show.
    """
    count = over.own("count")
    different = exp.Filter(this=_count(), expression=exp.Where(this=count.copy() > sql.number(0)))
    every = exp.Sum(this=count.copy())
    log = exp.Ln(this=exp.Nullif(this=sql.double(every), expression=sql.number(0)))
    mean = sql.divided(exp.Sum(this=_fixed_log(count)), every.copy())
    scaled = exp.Div(this=mean, expression=exp.Literal.number(f"{_FIXED}.0"), typed=True)
    return sql.case(
        (different > sql.number(1), sql.minus(log, scaled)),
        (different.copy().eq(sql.number(1)), exp.Literal.number("0.0")),
    )


def _fixed_log(count: exp.Expression) -> exp.Expression:
    """c ln c as a whole number of 1/_FIXED; exact to 1e-11, within 64 bits to c = 8 million."""
    number = sql.double(count.copy())
    term = exp.Mul(this=number, expression=exp.Ln(this=number.copy()))
    whole = exp.Round(this=exp.Mul(this=term, expression=sql.number(_FIXED)))
    return sql.case(
        (count.copy() > sql.number(1), exp.Cast(this=whole, to=exp.DataType.build("bigint"))),
        default=sql.number(0),
    )


_BUILDERS: dict[str, Callable[[_Over], exp.Expression]] = {
    "count": lambda over: over.count(over.feature.window),
    "sum": lambda over: sql.or_zero(over.windowed(exp.Sum(this=over.column))),
    "mean": _simple(exp.Avg),
    "min": _simple(exp.Min),
    "max": _simple(exp.Max),
    "std": _simple(exp.StddevSamp),
    "distinct": _distinct,
    "since_first": _since_first,
    "since_last": _since_last,
    "latest": _latest,
    "ratio": _ratio,
    "trend": _trend,
    "share": _share,
    "decayed": _decayed,
    "mean_gap": _mean_gap,
    "open": _open,
    "last_hour": _last_hour,
    "last_weekday": _last_weekday,
    "business": _business,
    "previous": _previous,
    "last_gap": _last_gap,
    "regularity": _regularity,
    "response": _response,
    "entropy": _entropy,
}


def helpers(
    features: dict[int, Feature], keys: Sequence[exp.Expression], order: Sequence[exp.Expression]
) -> dict[str, exp.Expression]:
    """What ordered features read of each (row, fact) beyond its columns, by name.

    ``keys``: what the facts are apart by, the row first; ``order``: what sorts them in time.
    Tables are ``s`` and ``f``.
    """
    newest = sql.ordered(order, newest_first=True)

    def next_older(what: exp.Expression) -> exp.Expression:
        return sql.over(exp.Lead(this=what), keys, newest)

    made = {
        "_rank": sql.over(exp.RowNumber(), keys, newest),
        "_before": next_older(sql.column("_at", "f")),
    }
    for number, feature in features.items():
        if feature.aggregate == "response":
            answers = sql.case((sql.all_of(selected(feature.where, "f")), sql.number(1)),
                               default=sql.number(0))  # fmt: skip
            made[f"_answers{number}"] = answers
            made[f"_asked{number}"] = next_older(answers.copy())
    return made


def counts(
    features: dict[int, Feature], as_of: exp.Expression, keyed: bool
) -> dict[str, exp.Expression]:
    """How many facts of a (row, value) each entropy counts, by name; tables are ``s`` and ``f``."""
    return {
        f"_count{number}": _Over(feature, number, as_of, keyed, False).count(feature.window)
        for number, feature in features.items()
    }
