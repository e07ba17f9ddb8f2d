"""FeatureSet -> one sqlglot tree -> SQL text for each engine.

The statements read five tables, whatever the engine: ``spine(_row, lead_id, as_of)``,
``leads(lead_id, account_id, created_at, ...)``, ``events(lead_id, event_id, occurred_at,
known_at, kind, ...)``, ``changes(lead_id, change_id, known_at, field, value)`` and
``outcomes(lead_id, outcome, occurred_at, known_at, ...)``; times are integer microseconds. Two
layouts of the same tree:

- *wide*: one row a spine row, one column a feature. The quick one for one lead.
- *long*: one row a (spine row, key) that has facts, where the key is what the features filter on
  (mostly the event's kind), with the aggregates that any of them needs. The quick one for many
  rows; laying it out into columns is a scatter (see ``engines``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec
from sqlglot import exp

from features import sql
from features.aggregates import counts, helpers, needs_until, selected, value
from features.feature import AT, ID, KNOWN, Feature, Scope, Source
from features.language import FeatureSet
from features.segments import segments


@dataclass(frozen=True)
class Selection:
    """Facts that are read together: those of a source.

    ``ordered``: some of them (``only``), in their order. ``counted``: by the values of a column.
    """

    source: Source
    scope: Scope
    ordered: bool = False
    only: tuple[exp.Expression, ...] = ()
    counted: str | None = None


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
    return wide_tree(features.features, "spine").sql(dialect=dialect, copy=False)


def wide_tree(features: Sequence[Feature], spine: str, within: str = "") -> exp.Select:
    """The wide statement over a table like ``spine``, as a tree that may be part of another."""
    query = exp.select(sql.column("_row", "s")).from_(sql.table(spine, "s"), copy=False)
    query = query.join(sql.table("leads", "l"), on=_known_lead(), join_type="left", copy=False)
    picks: dict[int, exp.Expression] = {}
    parts: dict[object, dict[int, Feature]] = {}
    in_order = {_selection(feature) for feature in features if feature.ordered}
    for position, feature in enumerate(features):
        if feature.of_facts:
            parts.setdefault(_part(feature, in_order), {})[position] = feature
        else:
            picks[position] = _attribute(feature)
    for number, members in enumerate(parts.values()):
        name, joined = f"{within}part{number}", f"p{number}"
        for cte, tree in _wide_part(members, name, spine):
            query = query.with_(cte, as_=tree, copy=False)
        on = sql.column("_row", joined).eq(sql.column("_row", "s"))
        query = query.join(sql.table(name, joined), on=on, join_type="left", copy=False)
        for position, feature in members.items():
            picked: exp.Expression = sql.column(f"f{position}", joined)
            picks[position] = picked if feature.empty is None else sql.or_zero(picked)
    ordered = [sql.named(picks[position], position) for position in range(len(features))]
    return query.select(*ordered, copy=False)


def _selection(feature: Feature) -> object:
    return feature.source, feature.scope, feature.where, feature.other


def _part(feature: Feature, in_order: Collection[object]) -> object:
    """Features of one part are computed by one GROUP BY.

    The latest fact is cheap to have where its selection is put in order anyway.
    """
    if feature.segment:
        return feature.by
    if feature.ordered or (feature.aggregate == "latest" and _selection(feature) in in_order):
        return _selection(feature)
    return feature.source, feature.scope, _counted(feature)


def _counted(feature: Feature) -> str | None:
    return feature.column if feature.aggregate == "entropy" else None


def _wide_part(
    members: dict[int, Feature], name: str, spine: str
) -> list[tuple[str, exp.Expression]]:
    """The common table expressions of a part, by name; the last has its columns."""
    one = next(iter(members.values()))
    if one.by is not None:
        return segments(members, name, spine, wide_tree([one.by], f"{name}_points", f"{name}_"))
    chosen = Selection(one.source, one.scope, counted=_counted(one))
    if any(feature.ordered for feature in members.values()):
        wheres = dict.fromkeys(where for where in (one.where, one.other) if where)
        only = tuple(sql.all_of(selected(where, "f")) for where in wheres)
        chosen = Selection(one.source, one.scope, True, only)
    facts = f"{name}_facts"
    return [(facts, _facts(chosen, members)), (name, _aggregate(chosen, members, facts, spine))]


def long(features: FeatureSet, dialect: str, worth: int = 0) -> tuple[list[Cells], list[int]]:
    """The long statements, and the positions of the features left for the wide one.

    A feature can be long when it reads facts of one selection, each of whose filters names one
    value. ``worth``: only statements that save so many aggregates.
    """
    shapes: dict[tuple[Selection, tuple[str, ...]], dict[int, Feature]] = {}
    for position, feature in enumerate(features.features):
        if _can_be_long(feature):
            chosen = Selection(
                feature.source, feature.scope, feature.ordered, counted=_counted(feature)
            )
            shape = tuple(field for field, _ in feature.where)
            shapes.setdefault((chosen, shape), {})[position] = feature
    chosen_shapes = {key: members for key, members in shapes.items() if _saved(members) >= worth}
    placed = {position for members in chosen_shapes.values() for position in members}
    rest = [position for position in range(len(features)) if position not in placed]
    return [_cells(*key, members, dialect) for key, members in chosen_shapes.items()], rest


def _saved(members: dict[int, Feature]) -> int:
    """How many aggregates fewer the long statement has than the wide one."""
    return len(members) - len({_anywhere(feature) for feature in members.values()})


def _anywhere(feature: Feature) -> Feature:
    return msgspec.structs.replace(feature, where=())


def _can_be_long(feature: Feature) -> bool:
    return (
        feature.of_facts
        and not feature.segment
        and feature.other is None
        and feature.aggregate != "share"
        and (feature.scope, feature.aggregate) != ("others", "distinct")
        and all(len(values) == 1 for _, values in feature.where)
    )


def _cells(
    chosen: Selection, shape: tuple[str, ...], members: dict[int, Feature], dialect: str
) -> Cells:
    numbers: dict[Feature, int] = {}
    places: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for position, feature in members.items():
        key = tuple(values[0] for _, values in feature.where)
        number = numbers.setdefault(_anywhere(feature), len(numbers))
        places.setdefault(key, []).append((number, position))
    numbered = {number: feature for feature, number in numbers.items()}
    query = _aggregate(chosen, numbered, "facts", "spine", shape)
    query = query.with_("facts", as_=_facts(chosen, numbered, shape), copy=False)
    return Cells(
        query.sql(dialect=dialect, copy=False), chosen.source, shape, tuple(numbers), places
    )


def _facts(
    chosen: Selection, features: dict[int, Feature], shape: Sequence[str] | None = None
) -> exp.Select:
    """The facts of a source in one form: _owner, _at, _known, the columns that features read.

    A fact of another lead of the account is known from that lead's creation on. Where the order
    matters they also carry it: as ``_place``, counted within the owner's facts, so that many pairs
    are sorted by one number; or, for few, as ``_lead`` and ``_id`` behind ``_at``. A feature that
    wants the latest fact also reads ``_until<number>``: when a later one becomes visible.
    """
    source = chosen.source
    at, known = sql.column(AT[source], "x"), sql.column(KNOWN[source], "x")
    lead: exp.Expression = sql.column("lead_id", "x")
    owner = lead
    query = exp.select().from_(sql.table(source, "x"), copy=False)
    if chosen.scope != "lead":
        owner, created = sql.column("account_id", "o"), sql.column("created_at", "o")
        known = sql.later(known, created)
        on = sql.column("lead_id", "o").eq(lead)
        query = query.join(sql.table("leads", "o"), on=on, copy=False)
    read = {*(shape or ())}
    for feature in features.values():
        read |= {field for field, _ in (*feature.where, *(feature.other or ()))}
        read |= {feature.column} if feature.column is not None else set()
    named = {"_owner": owner, "_at": at, "_known": known}
    if chosen.scope == "others":
        named["_lead"] = lead
    named |= {name: sql.column(name, "x") for name in sorted(read)}
    order = [at, lead, sql.column(ID[source], "x")]
    if chosen.ordered and shape is not None:
        named["_place"] = sql.over(exp.RowNumber(), [owner], sql.ordered(order))
    elif chosen.ordered:
        named |= {"_lead": lead, "_id": order[-1]}
    newest = sql.ordered(order, newest_first=True)
    those_after = sql.rows_between("UNBOUNDED PRECEDING", "1 PRECEDING")
    # The widest windows last: what is summed up comes in their order.
    by_width = sorted(features.items(), key=lambda item: item[1].aggregate != "distinct")
    for number, feature in by_width:
        if not chosen.ordered and needs_until(feature, shape is not None):
            seen, same = _seen(feature, at, known, owner, shape)
            named[f"_until{number}"] = sql.over(exp.Min(this=seen), same, newest, those_after)
    return query.select(*_named(named), copy=False)


def _seen(
    feature: Feature,
    at: exp.Expression,
    known: exp.Expression,
    owner: exp.Expression,
    shape: Sequence[str] | None,
) -> tuple[exp.Expression, list[exp.Expression]]:
    """When a fact becomes visible, and what it shares with those that it makes outdated.

    A visible fact is the latest visible one of its selection (for distinct: and value) until a
    later one becomes visible.
    """
    seen = sql.later(known, at)
    same = [owner, *(sql.column(name, "x") for name in shape or ())]
    if feature.aggregate == "distinct":
        same.append(sql.column(str(feature.column), "x"))
    if shape is None and feature.where:
        seen = sql.case((sql.all_of(selected(feature.where, "x")), seen))
    return seen, same


def _aggregate(
    chosen: Selection,
    features: dict[int, Feature],
    facts: str,
    spine: str,
    shape: Sequence[str] | None = None,
) -> exp.Select:
    """Aggregates of the visible facts by row, or by row and key; the one inequality join."""
    row, as_of = sql.column("_row", "s"), sql.column("as_of", "s")
    keys = [sql.column(name, "f") for name in shape or ()]
    query = exp.select().from_(sql.table(spine, "s"), copy=False)
    if chosen.scope != "lead":
        query = query.join(sql.table("leads", "l"), on=_known_lead(), copy=False)
    visible = sql.all_of(_visible(chosen, keys))
    query = query.join(sql.table(facts, "f"), on=visible, copy=False)
    if chosen.ordered:
        query = _in_order(query, chosen, features, keys, shape)
        row, as_of = sql.column("_row", "f"), sql.column("as_of", "f")
    elif chosen.counted is not None:
        query = _by_value(query, chosen.counted, features, keys, shape is not None)
        row = sql.column("_row", "f")
    keyed = shape is not None or chosen.ordered
    values = [
        sql.named(value(feature, number, as_of, keyed, chosen.ordered), number)
        for number, feature in features.items()
    ]
    return query.select(row, *keys, *values, copy=False).group_by(row, *keys, copy=False)


def _in_order(
    pairs: exp.Select,
    chosen: Selection,
    features: dict[int, Feature],
    keys: Sequence[exp.Expression],
    shape: Sequence[str] | None,
) -> exp.Select:
    """The visible (row, fact) pairs with their place in the order, as a table to aggregate."""
    row, as_of = sql.column("_row", "s"), sql.column("as_of", "s")
    if chosen.only:
        pairs = pairs.where(sql.any_of(chosen.only), copy=False)
    read = {"_at", *(key.name for key in keys)}
    read |= {feature.column for feature in features.values() if feature.column is not None}
    columns = [sql.column(name, "f") for name in sorted(read)]
    order = ("_at", "_lead", "_id") if shape is None else ("_place",)
    extra = helpers(features, [row, *keys], [sql.column(name, "f") for name in order])
    inner = pairs.select(row, as_of, *columns, *_named(extra), copy=False)
    return exp.select().from_(inner.subquery("f", copy=False), copy=False)


def _named(values: dict[str, exp.Expression]) -> Iterator[exp.Expression]:
    """``value AS name`` of each; some stand in more than one place, so they are copies."""
    return (value.as_(name, quoted=True) for name, value in values.items())


def _by_value(
    pairs: exp.Select,
    column: str,
    features: dict[int, Feature],
    keys: Sequence[exp.Expression],
    keyed: bool,
) -> exp.Select:
    """How many visible facts of a row have each value of a column, as a table to aggregate."""
    row, held = sql.column("_row", "s"), sql.column(column, "f")
    made = counts(features, sql.column("as_of", "s"), keyed)
    pairs = pairs.where(sql.present(held), copy=False).group_by(row, *keys, held, copy=False)
    inner = pairs.select(row, *keys, *_named(made), copy=False)
    return exp.select().from_(inner.subquery("f", copy=False), copy=False)


def _visible(chosen: Selection, keys: Iterable[exp.Expression]) -> list[sql.Condition]:
    """The boundary: a fact is visible when it occurred and was known before as_of."""
    as_of = sql.column("as_of", "s")
    owner = ("lead_id", "s") if chosen.scope == "lead" else ("account_id", "l")
    conditions = [
        sql.column("_owner", "f").eq(sql.column(*owner)),
        sql.column("_at", "f") < as_of,
        sql.column("_known", "f") < as_of,
        *(sql.present(key) for key in keys),
    ]
    if chosen.scope == "others":
        conditions.append(sql.differ(sql.column("_lead", "f"), sql.column("lead_id", "s")))
    return conditions


def _attribute(feature: Feature) -> exp.Expression:
    if feature.aggregate == "age":
        as_of, created = sql.column("as_of", "s"), sql.column("created_at", "l")
        return sql.units(sql.minus(as_of, created))
    return sql.column(str(feature.column), "l")


def _known_lead() -> sql.Condition:
    same = sql.column("lead_id", "l").eq(sql.column("lead_id", "s"))
    return sql.all_of([same, sql.column("created_at", "l") < sql.column("as_of", "s")])
