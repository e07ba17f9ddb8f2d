"""Outcome rates and loads of a segment, point in time: running sums over what became known when.

A *ledger* holds, for each segment, a line for every spine row at its as_of, and a line for every
moment at which a count changes: an outcome becomes visible or leaves the window, a lead opens, is
settled or changes hands. A row reads the sums of the lines before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce

from sqlglot import exp

from features import sql
from features.aggregates import selected
from features.feature import Feature

SMOOTHING = 20
"""A rate is drawn to that of all segments as if so many outcomes more had been seen."""

_OPEN = "_open"
_Counters = dict[str, tuple[int | None, exp.Expression]]
"""Name -> the window of the outcomes that it counts, and what one of them adds."""


def segments(
    members: Mapping[int, Feature], name: str, spine: str, segment_of: exp.Select
) -> list[tuple[str, exp.Expression]]:
    """The common table expressions for features of one ``by``; the last, ``name``, has _row, f<n>.

    ``segment_of`` is the wide statement of the by-feature over the table ``<name>_points``.
    """
    by = next(iter(members.values())).by
    assert by is not None
    counters = _counters(members.values())
    loads = any(feature.aggregate == "open_leads" for feature in members.values())
    tables = _Tables(name, spine, [*counters, *([_OPEN] if loads else [])])
    lines = [tables.rows(), *tables.outcomes(counters)]
    found = [
        (f"{name}_settled", _settled()),
        (f"{name}_points", tables.points()),
        (f"{name}_segment", segment_of),
    ]
    if loads:
        found.append((f"{name}_held", _held(by, f"{name}_settled")))
        lines += [tables.load("begins", 1), tables.load("ends", -1)]
    ledger = reduce(lambda one, other: exp.Union(this=one, expression=other, distinct=False), lines)
    values = {number: _value(feature) for number, feature in members.items()}
    return [*found, (f"{name}_ledger", ledger), (f"{name}_sums", tables.sums()),
            (name, tables.read(values))]  # fmt: skip


def _counters(features: Iterable[Feature]) -> _Counters:
    counters: _Counters = {}
    for feature in features:
        if feature.aggregate != "open_leads":
            one, none = sql.number(1), sql.number(0)
            hit = sql.case((sql.all_of(selected(feature.where, "o")), one), default=none)
            counters[_hits(feature)] = (feature.window, hit)
            counters[_all(feature)] = (feature.window, one.copy())
    return counters


def _all(feature: Feature) -> str:
    return f"_all{feature.window or ''}"


def _hits(feature: Feature) -> str:
    return "_" + "|".join(dict(feature.where)["outcome"]) + str(feature.window or "")


def _value(feature: Feature) -> exp.Expression:
    """A feature from the running sums ``r``; totals over all segments are named ``_of...``."""
    if feature.aggregate == "open_leads":
        return sql.column(_OPEN, "r")
    hits, known = sql.column(_hits(feature), "r"), sql.column(_all(feature), "r")
    if feature.aggregate == "recent":
        return hits
    overall = sql.divided(
        sql.column(f"_of{_hits(feature)}", "r"), sql.column(f"_of{_all(feature)}", "r")
    )
    drawn = exp.Mul(this=sql.number(SMOOTHING), expression=exp.Paren(this=overall))
    seen = exp.Add(this=known, expression=sql.number(SMOOTHING))
    return sql.divided(exp.Paren(this=exp.Add(this=hits, expression=drawn)), exp.Paren(this=seen))


def _settled() -> exp.Select:
    """The outcomes, numbered below 0, and from when on each is visible."""
    lead, occurred = sql.column("lead_id", "x"), sql.column("occurred_at", "x")
    order = sql.ordered([lead, sql.column("outcome", "x")])
    number = exp.Neg(this=sql.over(exp.RowNumber(), [], order))
    seen = sql.later(sql.column("known_at", "x"), occurred)
    columns = {"_row": number, "lead_id": lead, "outcome": sql.column("outcome", "x"),
               "occurred_at": occurred, "seen": seen}  # fmt: skip
    return _select(columns).from_(sql.table("outcomes", "x"))


def _held(by: Feature, settled: str) -> exp.Select:
    """Who was open in which segment from when until when: ``segment``, ``begins``, ``ends``."""
    first, whom = exp.Min(this=sql.column("seen", "o")), sql.column("lead_id", "o")
    ended = _select({"lead_id": whom, "seen": first}).from_(sql.table(settled, "o")).group_by(whom)
    lead, created = sql.column("lead_id", "l"), sql.column("created_at", "l")
    if by.source == "changes":
        known, whose = sql.column("known_at", "c"), sql.column("lead_id", "c")
        order = sql.ordered([known, sql.column("change_id", "c")])
        columns = {
            "segment": sql.column(str(by.column), "c"),
            "begins": sql.later(known, created),
            "until": sql.over(exp.Lead(this=known.copy()), [whose], order),
            "lead_id": whose.copy(),
        }
        held = _select(columns).from_(sql.table("changes", "c"))
        held = held.join(sql.table("leads", "l"), on=lead.eq(whose))
        held = held.where(*selected(by.where, "c"))
    else:
        never = exp.Cast(this=exp.Null(), to=exp.DataType.build("bigint"))
        columns = {"segment": sql.column(str(by.column), "l"), "begins": created, "until": never,
                   "lead_id": lead}  # fmt: skip
        held = _select(columns).from_(sql.table("leads", "l"))
    until, seen = sql.column("until", "h"), sql.column("seen", "d")
    ends = sql.case((until < seen, until.copy()),
                    default=exp.Coalesce(this=seen.copy(), expressions=[until.copy()]))  # fmt: skip
    query = _select({"segment": sql.column("segment", "h"), "begins": sql.column("begins", "h"),
                     "ends": ends})  # fmt: skip
    query = query.from_(held.subquery("h"))
    on = sql.column("lead_id", "d").eq(sql.column("lead_id", "h"))
    return query.join(ended.subquery("d"), on=on, join_type="left")


class _Tables:
    """The tables of one ledger, each of which has a column for every counter."""

    def __init__(self, name: str, spine: str, counters: list[str]) -> None:
        self._name, self._spine, self._counters = name, spine, counters

    def points(self) -> exp.Expression:
        """Where the segment of a lead is asked for: at the spine's rows, and at its outcome."""
        parts = []
        for table, moment in ((self._spine, "as_of"), (f"{self._name}_settled", "occurred_at")):
            columns = {"_row": sql.column("_row", "x"), "lead_id": sql.column("lead_id", "x"),
                       "as_of": sql.column(moment, "x")}  # fmt: skip
            parts.append(_select(columns).from_(sql.table(table, "x")))
        return exp.Union(this=parts[0], expression=parts[1], distinct=False)

    def rows(self) -> exp.Select:
        """A line for each spine row, before the facts of its moment: they are not yet visible."""
        own = self._line(sql.column("f0", "g"), sql.column("as_of", "s"), 0, {},
                         sql.column("_row", "s"))  # fmt: skip
        return self._in_segment(own.from_(sql.table(self._spine, "s")), "s")

    def outcomes(self, counters: _Counters) -> list[exp.Select]:
        """A line for each outcome when it becomes visible, and for each window when it is left."""
        if not counters:
            return []
        seen, occurred = sql.column("seen", "o"), sql.column("occurred_at", "o")
        lines = [self._outcome(seen, {name: adds for name, (_, adds) in counters.items()})]
        windows = dict.fromkeys(window for window, _ in counters.values())
        for window in filter(None, windows):
            passed = exp.Add(this=occurred, expression=sql.number(window))
            takes = {
                name: exp.Neg(this=adds.copy())
                for name, (wanted, adds) in counters.items()
                if wanted == window
            }
            lines.append(self._outcome(sql.later(passed, seen), takes))
        return lines

    def _outcome(self, moment: exp.Expression, adds: dict[str, exp.Expression]) -> exp.Select:
        line = self._line(sql.column("f0", "g"), moment, 1, adds)
        return self._in_segment(line.from_(sql.table(f"{self._name}_settled", "o")), "o")

    def load(self, moment: str, adds: int) -> exp.Select:
        """A line for each lead that begins, or ends, to be open in a segment."""
        begins, ends = sql.column("begins", "h"), sql.column("ends", "h")
        line = self._line(sql.column("segment", "h"), sql.column(moment, "h"), 1,
                          {_OPEN: sql.number(adds)})  # fmt: skip
        lasts = begins < ends
        if moment == "begins":
            lasts = sql.any_of([lasts, exp.Is(this=ends.copy(), expression=exp.Null())])
        line = line.from_(sql.table(f"{self._name}_held", "h"))
        return line.where(sql.present(sql.column("segment", "h")), exp.Paren(this=lasts))

    def sums(self) -> exp.Select:
        """The running sums of every counter, within the segment and (``_of...``) over all."""
        order = sql.ordered([sql.column("moment", "t"), sql.column("fact", "t")])
        until = sql.rows_between("UNBOUNDED PRECEDING", "CURRENT ROW")
        columns: dict[str, exp.Expression] = {"_row": sql.column("_row", "t")}
        for name in self._counters:
            total = exp.Sum(this=sql.column(name, "t"))
            columns[name] = sql.over(total, [sql.column("segment", "t")], order, until)
            if name != _OPEN:
                columns[f"_of{name}"] = sql.over(total.copy(), [], order, until)
        return _select(columns).from_(sql.table(f"{self._name}_ledger", "t"))

    def read(self, values: Mapping[int, exp.Expression]) -> exp.Select:
        """What the spine rows read of the sums."""
        row = sql.column("_row", "r")
        made = [sql.named(value, number) for number, value in values.items()]
        query = exp.select(row, *made).from_(sql.table(f"{self._name}_sums", "r"))
        return query.where(sql.present(row))

    def _line(
        self,
        segment: exp.Expression,
        moment: exp.Expression,
        fact: int,
        adds: Mapping[str, exp.Expression],
        row: exp.Expression | None = None,
    ) -> exp.Select:
        columns = {
            "_row": exp.Cast(this=row or exp.Null(), to=exp.DataType.build("bigint")),
            "segment": segment,
            "moment": moment,
            "fact": sql.number(fact),
            **{name: adds.get(name, sql.number(0)) for name in self._counters},
        }
        return _select(columns)

    def _in_segment(self, lines: exp.Select, alias: str) -> exp.Select:
        same = sql.column("_row", "g").eq(sql.column("_row", alias))
        joined = lines.join(sql.table(f"{self._name}_segment", "g"), on=same)
        return joined.where(sql.present(sql.column("f0", "g")))


def _select(columns: Mapping[str, exp.Expression]) -> exp.Select:
    return exp.select(*(value.copy().as_(name, quoted=True) for name, value in columns.items()))
