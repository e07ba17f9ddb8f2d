"""The few pieces of SQL that the statements are made of; all that four engines have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import TypeAlias

from sqlglot import exp

from features.times import DAY

Condition: TypeAlias = exp.Expression


def column(name: str, table: str) -> exp.Column:
    """``table."name"``."""
    # Not exp.column: thousands of them are made, and it copies.
    return exp.Column(this=exp.Identifier(this=name, quoted=True), table=exp.Identifier(this=table))


def table(name: str, alias: str) -> exp.Expression:
    """``name AS alias``."""
    own = exp.TableAlias(this=exp.Identifier(this=alias))
    return exp.Table(this=exp.Identifier(this=name), alias=own)


def named(value: exp.Expression, number: int) -> exp.Expression:
    """``value AS f<number>``."""
    return exp.alias_(value, f"f{number}", copy=False)


def number(value: int | float) -> exp.Expression:
    """A literal number."""
    return exp.Literal.number(value) if value >= 0 else exp.Neg(this=exp.Literal.number(-value))


def all_of(conditions: Iterable[Condition]) -> Condition:
    """Conditions joined by AND."""
    return reduce(lambda left, right: exp.And(this=left, expression=right), conditions)


def any_of(conditions: Iterable[Condition]) -> Condition:
    """Conditions joined by OR."""
    whole = (exp.Paren(this=one) for one in conditions)
    return reduce(lambda left, right: exp.Or(this=left, expression=right), whole)


def present(value: exp.Expression) -> Condition:
    """``NOT value IS NULL``."""
    return exp.Not(this=exp.Is(this=value.copy(), expression=exp.Null()))


def differ(one: exp.Expression, other: exp.Expression) -> Condition:
    """``one <> other``."""
    return exp.NEQ(this=one, expression=other)


def case(*branches: tuple[Condition, exp.Expression], default: exp.Expression | None = None
         ) -> exp.Expression:  # fmt: skip
    """``CASE WHEN ... THEN ... ELSE default END``."""
    return exp.Case(ifs=[exp.If(this=when, true=then) for when, then in branches], default=default)


def later(one: exp.Expression, other: exp.Expression) -> exp.Expression:
    """The later of two times."""
    return case((one.copy() > other.copy(), one.copy()), default=other.copy())


def double(value: exp.Expression) -> exp.Expression:
    """The value as a 64-bit float."""
    return exp.Cast(this=value, to=exp.DataType.build("double"))


def divided(above: exp.Expression, below: exp.Expression) -> exp.Expression:
    """A division of floats; null when ``below`` is 0."""
    return exp.Div(this=double(above), expression=exp.Nullif(this=below, expression=number(0)),
                   typed=True)  # fmt: skip


def units(micros: exp.Expression, unit: int = DAY) -> exp.Expression:
    """Microseconds in a unit; exact: one conversion to double, one correctly rounded division."""
    return exp.Div(this=double(micros), expression=exp.Literal.number(f"{unit}.0"), typed=True)


def minus(one: exp.Expression, other: exp.Expression) -> exp.Expression:
    """``one - other``."""
    return exp.Sub(this=one, expression=other)


def modulo(value: exp.Expression, unit: int) -> exp.Expression:
    """The remainder of a value that is not negative."""
    return exp.Mod(this=exp.Paren(this=value), expression=number(unit))


def or_zero(value: exp.Expression) -> exp.Expression:
    """The value, or 0 where it is null."""
    return exp.Coalesce(this=value, expressions=[number(0)])


def ordered(values: Iterable[exp.Expression], newest_first: bool = False) -> exp.Order:
    """ORDER BY; nulls never occur."""
    return exp.Order(
        expressions=[
            exp.Ordered(this=value.copy(), desc=newest_first, nulls_first=not newest_first)
            for value in values
        ]
    )


def over(
    function: exp.Expression,
    partition: Sequence[exp.Expression],
    order: exp.Order,
    rows: exp.WindowSpec | None = None,
) -> exp.Expression:
    """``function OVER (PARTITION BY ... ORDER BY ... rows)``."""
    return exp.Window(
        this=function, partition_by=[one.copy() for one in partition], order=order.copy(), spec=rows
    )


def rows_between(start: str, end: str) -> exp.WindowSpec:
    """``ROWS BETWEEN start AND end``: ``1 FOLLOWING``, ``UNBOUNDED PRECEDING``, ``CURRENT ROW``."""
    sides: dict[str, str | None] = {}
    for name, text in (("start", start), ("end", end)):
        amount, _, side = text.partition(" ")
        current = text == "CURRENT ROW"
        sides |= {name: text if current else amount, f"{name}_side": None if current else side}
    return exp.WindowSpec(kind="ROWS", **sides)
