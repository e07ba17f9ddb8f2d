"""Memory: leads whose facts are at hand, for whoever waits; a lead takes some microseconds.

Python says which selections each fact is of; machine code (:mod:`features.engines.kernel`) puts the
visible ones in order and works out all aggregates over them.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from msgspec.structs import replace

from features.engines.kernel import ALWAYS, OPERATIONS, PLACE, aggregates, ordered, put
from features.engines.known import ACCOUNT, CREATED, LEAD, Known, Table, Tables, known_of
from features.engines.tables import KEYS, Progress, Row, frame_of, one_lead_only, reads, rows_of
from features.feature import AT, ID, KNOWN, Feature, Scope, Source, Where
from features.language import FeatureSet
from features.schema import History
from features.times import DAY

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Value = float | str | None

_OWN, _ALONE, _OTHER = 0, 1, 2
"""Whose a fact is: the lead's, whose account is known; the lead's, of no account; another's."""

_OF = {"lead": (_OWN, _ALONE), "account": (_OWN, _OTHER), "others": (_OTHER,)}

_OF_KINDS = ("distinct", "entropy")
_WIDTH = 7

_Selection = tuple[Source, Scope, tuple[Where, ...]]
"""Facts of a source in a scope that are as any of some wheres."""

_REMEMBERED = 10_000
"""Combinations of values that are told apart without a look at the selections; kinds are few."""


@dataclass(frozen=True, eq=False)
class Vectors:
    """The features of n leads: ``numbers`` (n, features), NaN for null.

    ``texts[column]`` are the n values of a column of texts, of which ``numbers`` says nothing.
    """

    numbers: Floats
    texts: Mapping[int, Sequence[str | None]]

    def value(self, row: int, column: int) -> Value:
        """One value; null is None."""
        if column in self.texts:
            return self.texts[column][row]
        number = float(self.numbers[row, column])
        return None if number != number else number

    def row(self, number: int) -> Row:
        """All values of one lead, in the order of the feature set."""
        return tuple(self.value(number, column) for column in range(self.numbers.shape[1]))


class Leads:
    """Reads the histories of leads again and again, in any thread.

    ``columns[table]`` names what each row of leads, events, changes and outcomes holds, in order.
    Raises :class:`features.language.DeclarationError` for features of a segment: the history of
    some leads does not hold them.
    """

    def __init__(self, features: FeatureSet) -> None:
        one_lead_only(features)
        self.columns = {name: reads(features, name) for name in KEYS}
        self.width = len(features)
        placed = list(enumerate(features.features))
        told = [(place, one) for place, one in placed if one.of_facts]
        self._selections = _Selections([one for _, one in told])
        self.facts = [
            Facts(source, self.columns[source], [one for _, one in told], self._selections)
            for source in dict.fromkeys(one.source for _, one in told)
        ]
        sources = {one.source: number for number, one in enumerate(self.facts)}
        self._held = max((len(one.held) for one in self.facts), default=0)
        self.shared = any(one.scope != "lead" for _, one in told)
        self.places = np.array([place for place, _ in told], dtype=np.int64)
        self.program = np.array(
            [_instruction(one, self._selections, self.facts[sources[one.source]])
             for _, one in told],
            dtype=np.int64,
        ).reshape(len(told), _WIDTH)  # fmt: skip
        self.named = [
            (place, sources[one.source], self.columns[one.source].index(str(one.column)))
            for place, one in told
            if one.type == "text"
        ]
        self._which = np.array([place for place, *_ in self.named], dtype=np.int64)
        self.own = Own([(place, one) for place, one in placed if not one.of_facts],
                         self.columns["leads"])  # fmt: skip

    @property
    def belongs(self) -> npt.NDArray[np.bool_]:
        """Which selections facts of each sign are of (signs, selections); it grows."""
        return self._selections.table

    def known(self, asked: Sequence[tuple[str, Tables]]) -> Known:
        """What plain rows tell of leads: see :func:`features.engines.known.known_of`."""
        return known_of(asked, self.columns)

    def vectors(self, known: Known, as_of: int) -> Vectors:
        """The features of leads at ``as_of`` (microseconds), each by its own facts alone.

        For account features, ``known`` also holds the other leads of their accounts; what is of
        other leads still is passed over.
        """
        made = np.empty((len(known.ids), self.width))
        known, peers = self._by_then(known, as_of)
        texts = self.own.fill(made, known, as_of)
        if len(self.program):
            facts, values, sources = self._laid_out(known, peers)
            moments = np.full(len(known.ids), as_of)
            order, ends, runs = ordered(facts, np.array(sources), moments, len(known.ids))
            for start, end in runs.tolist():
                order[start:end] = self._by_id(known, order[start:end].tolist(), sources)
            table = self._selections.table  # after the facts, whose signs are its rows
            aggregates(self.program, self.places, table, order, ends, facts, values, moments, made)
            which = made[:, self._which].T.tolist()  # of the facts tells each text
            for (place, number, column), chosen in zip(self.named, which, strict=True):
                held = known.tables[self.facts[number].source].columns[column]
                first = sources[number]
                texts[place] = [None if one != one else held[int(one) - first] for one in chosen]
        return Vectors(made, texts)

    def _by_then(self, known: Known, as_of: int) -> tuple[Known, Sequence[Collection[str]]]:
        """The same without leads that are not there yet; and the leads of each one's account.

        None of them where no feature looks at them, or there is no account.
        """
        created = known.column(CREATED)
        if known.alone and not self.shared and max(created, default=0) < as_of:
            return known, ()
        there = [at is not None and at < as_of for at in created]
        if not self.shared:
            return _without(known, there), ()
        accounts = known.column(ACCOUNT)
        peers: list[set[str]] = [set() for _ in known.ids]
        of, columns = known.tables["leads"]
        for row, lead, account, at in zip(
            of, columns[LEAD], columns[ACCOUNT], columns[CREATED], strict=True
        ):
            if there[row] and at < as_of and account is not None and account == accounts[row]:
                peers[row].add(lead)
        return (known if known.alone and all(there) else _without(known, there)), peers

    def _laid_out(
        self, known: Known, peers: Sequence[Collection[str]]
    ) -> tuple[Ints, Floats, list[int]]:
        """Facts (4, n) and what they hold (columns, n), and where those of each source begin."""
        rows: list[list[int]] = [[], [], [], []]
        sources, codes, held = [0], _Codes(), list[list[Sequence[float | None]]]()
        for facts in self.facts:
            table = known.tables[facts.source]
            if len(table.of):
                told = (table.of, *facts.times(table), facts.signs(known, table, peers))
                for row, more in zip(rows, told, strict=True):
                    row += more
            held.append(facts.values(table, codes) if len(table.of) else [])
            sources.append(len(rows[0]))
        values = np.full((self._held, sources[-1]), np.nan)
        for first, end, columns in zip(sources, sources[1:], held, strict=False):
            if columns:
                values[: len(columns), first:end] = np.array(columns, np.float64)
        return np.array(rows, np.int64), values, sources

    def _by_id(self, known: Known, facts: list[int], sources: Sequence[int]) -> list[int]:
        """Facts of one source and moment in the order of their ids."""
        number = bisect_right(sources, facts[0]) - 1
        columns = known.tables[self.facts[number].source].columns
        leads, ids = columns[LEAD], columns[self.facts[number].id]
        first = sources[number]
        return sorted(facts, key=lambda fact: (leads[fact - first], ids[fact - first]))

    def vector(
        self,
        lead_id: str,
        as_of: int,
        leads: Sequence[Row],
        events: Sequence[Row],
        changes: Sequence[Row],
        outcomes: Sequence[Row] = (),
    ) -> Row:
        """The features of one lead, in the order of the feature set: see :meth:`vectors`."""
        tables = {"leads": leads, "events": events, "changes": changes, "outcomes": outcomes}
        return self.vectors(self.known([(lead_id, tables)]), as_of).row(0)


def _without(known: Known, there: Sequence[bool]) -> Known:
    """The same without the own rows of leads that are not there."""
    own = [row if so else -1 for row, so in zip(known.own, there, strict=True)]
    return replace(known, own=own, alone=False)


class Facts:
    """The facts of one source: in which columns of their rows what is.

    ``held`` are the columns whose values are aggregated, texts as codes.
    """

    def __init__(
        self, source: Source, columns: Sequence[str], features: Sequence[Feature],
        selections: _Selections,
    ) -> None:  # fmt: skip
        mine = [one for one in features if one.source == source]
        kinds = dict.fromkeys((one.column, one.aggregate in _OF_KINDS) for one in mine
                              if one.column is not None and one.type == "number")  # fmt: skip
        self.source = source
        self.held = list(kinds)
        self.id = columns.index(ID[source])
        self.read = [(columns.index(str(name)), coded) for name, coded in kinds]
        self.at, self.known = columns.index(AT[source]), columns.index(KNOWN[source])
        fields = selections.fields(source)
        self.fields = [columns.index(name) for name in fields]
        self._signs = tuple(_Signs(selections, source, fields, role)
                            for role in (_OWN, _ALONE, _OTHER))  # fmt: skip

    def times(self, table: Table) -> tuple[Sequence[int], Sequence[int]]:
        """When facts occurred, and when they were known."""
        return table.columns[self.at], table.columns[self.known]

    def signs(self, known: Known, table: Table, peers: Sequence[Collection[str]]) -> Iterable[int]:
        """What facts are of, -1 where that of another lead is passed over."""
        own, alone, other = self._signs
        keys = self._keys(table)
        if known.alone and not any(peers):
            return map(alone.__getitem__, keys)
        near = peers or [()] * len(known.ids)
        mine = [own if one else alone for one in near]
        if known.alone and all(near):
            return map(own.__getitem__, keys)
        if known.alone:
            return [mine[of][key] for of, key in zip(table.of, keys, strict=False)]
        return [
            mine[of][key] if lead == known.ids[of] else other[key] if lead in near[of] else -1
            for of, lead, key in zip(table.of, table.columns[LEAD], keys, strict=False)
        ]

    def sign(self, shared: bool, held: Sequence[str | None]) -> int:
        """That of a lead's own fact, by what it holds in the columns ``fields``.

        ``shared``: its account is known, and looked at.
        """
        key = held[0] if len(held) == 1 else tuple(held)
        return self._signs[_OWN if shared else _ALONE][key]

    def _keys(self, table: Table) -> Iterable[Any]:
        """What each fact holds in the columns that selections look at."""
        if len(self.fields) == 1:
            return table.columns[self.fields[0]]
        if not self.fields:
            return repeat((), len(table.of))
        return zip(*(table.columns[field] for field in self.fields), strict=True)

    def values(self, table: Table, codes: _Codes) -> list[Sequence[float | None]]:
        """The columns that are aggregated, their texts as codes."""
        return [
            [*map(codes.__getitem__, table.columns[column])] if coded else table.columns[column]
            for column, coded in self.read
        ]


class _Codes(dict[str | None, float]):
    """Numbers for texts, whichever come; a missing one is NaN."""

    def __missing__(self, text: str | None) -> float:
        return self.setdefault(text, np.nan if text is None else len(self))


class _Selections:
    """The sets of facts that features are over, numbered; and which facts are of which.

    A fact's *sign* is a row of ``table`` (signs, selections), which says what it is of; there are
    as many as there are different rows.
    """

    def __init__(self, features: Sequence[Feature]) -> None:
        wanted = dict.fromkeys(one for feature in features for one in _wanted(feature))
        self._numbers = {one: number for number, one in enumerate(wanted)}
        self._signs: dict[bytes, int] = {}
        self._lock = threading.Lock()
        self.table = np.empty((0, len(wanted)), dtype=np.bool_)

    def number(self, selection: _Selection) -> int:
        """The column of a selection."""
        return self._numbers[selection]

    def fields(self, source: Source) -> list[str]:
        """The columns that selections of a source look at."""
        named = (field for of, _, wheres in self._numbers if of == source
                 for where in wheres for field, _ in where)  # fmt: skip
        return list(dict.fromkeys(named))

    def sign(self, source: Source, role: int, held: Mapping[str, str | None]) -> int:
        """That of a fact of a source, by whose it is and what it holds."""
        row = np.array([
            of == source and role in _OF[scope]
            and any(all(held[field] in values for field, values in where) for where in wheres)
            for of, scope, wheres in self._numbers
        ], dtype=np.bool_)  # fmt: skip
        with self._lock:
            found = self._signs.get(row.tobytes())
            if found is None:
                found = len(self.table)
                self.table = np.vstack([self.table, row])
                self._signs[row.tobytes()] = found
            return found


class _Signs(dict[Any, int]):
    """The signs of facts by what they hold in the columns that selections look at."""

    def __init__(
        self, selections: _Selections, source: Source, fields: Sequence[str], role: int
    ) -> None:
        super().__init__()
        self._selections, self._source = selections, source
        self._fields, self._role = fields, role

    def __missing__(self, key: Any) -> int:
        held = (key,) if len(self._fields) == 1 else key
        named = dict(zip(self._fields, held, strict=True))
        found = self._selections.sign(self._source, self._role, named)
        if len(self) < _REMEMBERED:
            self[key] = found
        return found


def _wanted(feature: Feature) -> tuple[_Selection, _Selection]:
    """What a feature is over, and what else it looks at."""
    source, scope, other = feature.source, feature.scope, feature.other or ()
    mine: _Selection = (source, scope, (feature.where,))
    match feature.aggregate:
        case "response":
            return (source, scope, (feature.where, other)), mine
        case "open":
            return mine, (source, scope, (other,))
        case "share":
            return mine, (source, scope, ((),))
    return mine, mine


def _instruction(feature: Feature, selections: _Selections, facts: Facts) -> tuple[int, ...]:
    first, second = map(selections.number, _wanted(feature))
    column = PLACE
    if feature.column is not None and feature.type == "number":
        column = facts.held.index((feature.column, feature.aggregate in _OF_KINDS))
    back = (feature.back or 1) if feature.aggregate == "previous" else 0
    extra = back or feature.half_life or feature.offset or 0
    window, against = (ALWAYS if one is None else one for one in (feature.window, feature.against))
    return OPERATIONS.index(feature.aggregate), first, second, column, window, against, extra


class Own:
    """What a lead's own row holds: its attributes and its age."""

    def __init__(self, features: Sequence[tuple[int, Feature]], columns: Sequence[str]) -> None:
        named = [(place, one.type, columns.index(str(one.column)))
                 for place, one in features if one.aggregate != "age"]  # fmt: skip
        numbers = [(at, column) for at, kind, column in named if kind == "number"]
        ages = [place for place, one in features if one.aggregate == "age"]
        self.places = np.array([*(at for at, _ in numbers), *ages], np.int64)
        self.numbers, self.ages = [column for _, column in numbers], len(ages)
        self.texts = [(place, column) for place, kind, column in named if kind == "text"]

    def fill(self, made: Floats, known: Known, as_of: int) -> dict[int, Sequence[str | None]]:
        """Set the numbers of leads (n, features); their texts, by column."""
        if len(self.places):
            created = known.column(CREATED) if self.ages else ()
            age = [None if at is None else (as_of - at) / DAY for at in created]
            columns = [*map(known.column, self.numbers), *[age] * self.ages]
            put(made, self.places, np.array(columns, np.float64))
        return {place: known.column(column) for place, column in self.texts}


def run(
    features: FeatureSet, spine: pd.DataFrame, history: History, progress: Progress
) -> pd.DataFrame:
    """Compute a row after another; see :func:`features.engines.compute`."""
    leads = Leads(features)
    held = {name: rows_of(getattr(history, name), leads.columns[name]) for name in KEYS}
    account = {row[LEAD]: row[ACCOUNT] for row in held["leads"]}
    of: dict[str, dict[object, list[Row]]] = {name: {} for name in KEYS}
    for name, rows in held.items():
        for row in rows:
            of[name].setdefault(row[LEAD], []).append(row)
            if account.get(row[LEAD]) is not None:
                of[name].setdefault((account[row[LEAD]],), []).append(row)
    made = []
    for done, (lead_id, as_of) in enumerate(rows_of(spine, ("lead_id", "as_of"))):
        key = lead_id if account.get(lead_id) is None else (account[lead_id],)
        tables = {name: rows.get(key, ()) for name, rows in of.items()}
        made.append(leads.vectors(leads.known([(lead_id, tables)]), as_of).row(0))
        progress(done / len(spine))
    progress(1.0)
    return frame_of(features, made)
