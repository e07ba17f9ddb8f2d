"""FeatureSet -> one sqlglot tree -> SQL text for each engine.

The statements read four tables, whatever the engine: ``spine(_row, lead_id, as_of)``,
``leads(lead_id, account_id, created_at, ...)``, ``events(lead_id, event_id, occurred_at,
known_at, kind, ...)`` and ``changes(lead_id, change_id, known_at, field, value)``; times are
integer microseconds. Two layouts of the same tree:

- *wide*: one row a spine row, one column a feature. The quick one for one lead.
- *long*: one row a (spine row, key) that has facts, where the key is what the features filter on
  (mostly the event's kind), with the aggregates that any of them needs. The quick one for many
  rows; laying it out into columns is a scatter (see ``engines``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import msgspec
from sqlglot import exp

from features.language import Feature, FeatureSet
from features.times import DAY

Source = tuple[str, str]
"""Which facts of whom: ``("events", "lead")``, ``("events", "account")``, ``("changes", ...)``."""


@dataclass(frozen=True)
class Cells:
    """One long statement: _row, the key columns of ``shape``, then f0, f1, ... aggregates.

    ``places[key]`` lists (aggregate number, feature position): where a cell's values go.
    """

    sql: str
    source: Source
    shape: tuple[str, ...]
    aggregates: tuple[Feature, ...]
    places: dict[tuple[str, ...], list[tuple[int, int]]]


def wide(features: FeatureSet, dialect: str) -> str:
    """One statement: ``_row, f0, f1, ...`` for every spine row, in no particular order."""
    query = exp.select(_column("_row", "s")).from_(_table("spine", "s"))
    query = query.join(_table("leads", "l"), on=_known_lead(), join_type="left", copy=False)
    picks: dict[int, exp.Expression] = {}
    groups: dict[Source, dict[int, Feature]] = {}
    for position, feature in enumerate(features.features):
        if feature.source == "leads":
            picks[position] = _attribute(feature)
        else:
            groups.setdefault((feature.source, feature.scope), {})[position] = feature
    for source, members in groups.items():
        name = "_".join(source)
        query = query.with_(f"{name}_facts", as_=_facts(source, members))
        query = query.with_(
            f"{name}_wide", as_=_aggregate(source, members, f"{name}_facts"), copy=False
        )
        on = _column("_row", name).eq(_column("_row", "s"))
        query = query.join(_table(f"{name}_wide", name), on=on, join_type="left", copy=False)
        for position, feature in members.items():
            value: exp.Expression = _column(f"f{position}", name)
            if feature.empty is not None:
                value = exp.Coalesce(this=value, expressions=[exp.Literal.number(0)])
            picks[position] = value
    ordered = [_named(picks[position], position) for position in range(len(features))]
    return query.select(*ordered, copy=False).sql(dialect=dialect)


def long(features: FeatureSet, dialect: str) -> tuple[list[Cells], list[int]]:
    """The long statements, and the positions of the features left for the wide one.

    A feature can be long when it reads facts and each of its filters names one value.
    """
    shapes: dict[tuple[Source, tuple[str, ...]], dict[int, Feature]] = {}
    rest: list[int] = []
    for position, feature in enumerate(features.features):
        if feature.source == "leads" or any(len(values) > 1 for _, values in feature.where):
            rest.append(position)
        else:
            source = (feature.source, feature.scope)
            shape = tuple(field for field, _ in feature.where)
            shapes.setdefault((source, shape), {})[position] = feature
    return [_cells(*key, members, dialect) for key, members in shapes.items()], rest


def _cells(
    source: Source, shape: tuple[str, ...], members: dict[int, Feature], dialect: str
) -> Cells:
    numbers: dict[Feature, int] = {}
    places: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for position, feature in members.items():
        key = tuple(values[0] for _, values in feature.where)
        number = numbers.setdefault(msgspec.structs.replace(feature, where=()), len(numbers))
        places.setdefault(key, []).append((number, position))
    numbered = {number: feature for feature, number in numbers.items()}
    query = _aggregate(source, numbered, "facts", shape)
    query = query.with_("facts", as_=_facts(source, numbered, shape), copy=False)
    return Cells(query.sql(dialect=dialect), source, shape, tuple(numbered.values()), places)


def _facts(
    source: Source, features: dict[int, Feature], shape: Sequence[str] | None = None
) -> exp.Select:
    """The facts of a source in one form: _owner, _at, _known, the columns that features read.

    A fact of another lead of the account is known from that lead's creation on. A feature that
    wants the latest fact also reads ``_until<number>``: when a later one becomes visible.
    """
    table, scope = source
    at = _column("occurred_at" if table == "events" else "known_at", "x")
    owner, known = _column("lead_id", "x"), _column("known_at", "x")
    query = exp.select().from_(_table(table, "x"))
    if scope == "account":
        owner = _column("account_id", "o")
        created = _column("created_at", "o")
        known = exp.Case(ifs=[exp.If(this=known > created, true=known)], default=created)
        on = _column("lead_id", "o").eq(_column("lead_id", "x"))
        query = query.join(_table("leads", "o"), on=on)
    read = {*(shape or ()), *(name for f in features.values() for name, _ in f.where)}
    read |= {f.column for f in features.values() if f.column is not None}
    named = {"_owner": owner, "_at": at, "_known": known}
    named |= {name: _column(name, "x") for name in sorted(read)}
    for number, feature in features.items():
        if feature.aggregate == "latest" or (feature.aggregate == "distinct" and shape is not None):
            named[f"_until{number}"] = _until(source, feature, owner, at, known, shape)
    return query.select(*(value.as_(name, quoted=True) for name, value in named.items()))


def _until(
    source: Source,
    feature: Feature,
    owner: exp.Expression,
    at: exp.Expression,
    known: exp.Expression,
    shape: Sequence[str] | None,
) -> exp.Expression:
    """When a later fact of the same selection (for distinct: and value) becomes visible.

    Later in time, then id. A visible fact is the latest visible one until then.
    """
    identity = "event_id" if source[0] == "events" else "change_id"
    seen = exp.Case(ifs=[exp.If(this=known > at, true=known)], default=at)
    same = [owner, *(_column(name, "x") for name in shape or ())]
    if feature.aggregate == "distinct":
        same.append(_column(str(feature.column), "x"))
    if shape is None and feature.where:
        seen = exp.Case(ifs=[exp.If(this=_all(_selected(feature, "x")), true=seen)])
    order = [
        exp.Ordered(this=value.copy(), desc=False, nulls_first=True)
        for value in (at, _column("lead_id", "x"), _column(identity, "x"))
    ]
    rest = exp.WindowSpec(
        kind="ROWS", start="1", start_side="FOLLOWING", end="UNBOUNDED", end_side="FOLLOWING"
    )
    return exp.Window(
        this=exp.Min(this=seen),
        partition_by=[value.copy() for value in same],
        order=exp.Order(expressions=order),
        spec=rest,
    )


def _aggregate(
    source: Source, features: dict[int, Feature], facts: str, shape: Sequence[str] | None = None
) -> exp.Select:
    """Aggregates of the visible facts by row, or by row and key; the one inequality join."""
    owner = _owner(source)
    row, as_of = _column("_row", "s"), _column("as_of", "s")
    keys = [_column(name, "f") for name in shape or ()]
    visible = [
        _column("_owner", "f").eq(owner),
        _column("_at", "f") < as_of,
        _column("_known", "f") < as_of,
        *(
            exp.Not(this=exp.Is(this=_column(name, "f"), expression=exp.Null()))
            for name in shape or ()
        ),
    ]
    query = exp.select(row, *(_column(name, "f") for name in shape or ())).from_(
        _table("spine", "s")
    )
    if source[1] == "account":
        query = query.join(_table("leads", "l"), on=_known_lead())
    query = query.join(_table(facts, "f"), on=_all(visible))
    values = [
        _named(_value(feature, number, shape is not None), number)
        for number, feature in features.items()
    ]
    query = query.select(*values, copy=False)
    return query.group_by(row, *keys)


def _value(feature: Feature, number: int, long: bool) -> exp.Expression:
    count = exp.Count(this=exp.Star())
    if feature.aggregate == "ratio":
        short = _filtered(count.copy(), feature, feature.window)
        share = exp.Nullif(
            this=_filtered(count, feature, feature.against), expression=exp.Literal.number(0)
        )
        return exp.Div(this=_double(short), expression=share, typed=True)
    elapsed = exp.Sub(this=_column("as_of", "s"), expression=_column("_at", "f"))
    column = _column(feature.column or "_at", "f")
    extra: list[exp.Expression] = []
    if feature.aggregate == "latest" or (feature.aggregate == "distinct" and long):
        until, as_of = _column(f"_until{number}", "f"), _column("as_of", "s")
        extra.append(exp.Coalesce(this=until, expressions=[as_of.copy()]) >= as_of)
    if feature.aggregate == "distinct" and long:
        extra.append(_present(column))
    functions: dict[str, exp.Expression] = {
        "count": count,
        "sum": exp.Sum(this=column),
        "mean": exp.Avg(this=column),
        "min": exp.Min(this=column),
        "max": exp.Max(this=column),
        "distinct": count if long else exp.Count(this=exp.Distinct(expressions=[column])),
        "latest": exp.Max(this=column),
        "since_first": exp.Max(this=elapsed),
        "since_last": exp.Min(this=elapsed),
    }
    value = _filtered(functions[feature.aggregate], feature, feature.window, extra)
    if feature.unit == "days":
        return _days(value)
    if feature.aggregate == "sum":
        return exp.Coalesce(this=value, expressions=[exp.Literal.number(0)])
    return value


def _filtered(
    function: exp.Expression,
    feature: Feature,
    window: int | None,
    extra: Sequence[exp.Expression] = (),
) -> exp.Expression:
    conditions = [*_selected(feature, "f"), *extra]
    if window is not None:
        start = exp.Sub(this=_column("as_of", "s"), expression=exp.Literal.number(window))
        conditions.append(_column("_at", "f") >= start)
    if not conditions:
        return function
    return exp.Filter(this=function, expression=exp.Where(this=_all(conditions)))


def _selected(feature: Feature, table: str) -> list[exp.Expression]:
    conditions: list[exp.Expression] = []
    for field, values in feature.where:
        literals = [exp.Literal.string(value) for value in values]
        column = _column(field, table)
        conditions.append(column.eq(literals[0]) if len(literals) == 1 else column.isin(*literals))
    return conditions


def _attribute(feature: Feature) -> exp.Expression:
    if feature.aggregate == "age":
        as_of, created = _column("as_of", "s"), _column("created_at", "l")
        return _days(exp.Sub(this=as_of, expression=created))
    return _column(str(feature.column), "l")


def _owner(source: Source) -> exp.Column:
    return _column("lead_id", "s") if source[1] == "lead" else _column("account_id", "l")


def _known_lead() -> exp.Expression:
    same = _column("lead_id", "l").eq(_column("lead_id", "s"))
    return _all([same, _column("created_at", "l") < _column("as_of", "s")])


def _named(value: exp.Expression, number: int) -> exp.Expression:
    return exp.alias_(value, f"f{number}", copy=False)


def _column(name: str, table: str) -> exp.Column:
    return exp.column(exp.to_identifier(name, quoted=True), table)


def _table(name: str, alias: str) -> exp.Expression:
    return exp.alias_(exp.to_table(name), alias, table=True)


def _all(conditions: Iterable[exp.Expression]) -> exp.Expression:
    return reduce(lambda left, right: exp.And(this=left, expression=right), conditions)


def _present(column: exp.Expression) -> exp.Expression:
    return exp.Not(this=exp.Is(this=column.copy(), expression=exp.Null()))


def _double(number: exp.Expression) -> exp.Expression:
    return exp.Cast(this=number, to=exp.DataType.build("double"))


def _days(micros: exp.Expression) -> exp.Expression:
    """Exact on every engine: one conversion to double, one correctly rounded division."""
    return exp.Div(this=_double(micros), expression=exp.Literal.number(f"{DAY}.0"), typed=True)
