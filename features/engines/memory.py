"""Memory: leads whose facts are at hand, for whoever waits; a lead takes some microseconds.

Python sorts a lead's visible facts and says which selections each is of; machine code
(:mod:`features.engines.kernel`) works out all aggregates over them.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.engines.kernel import ALWAYS, OPERATIONS, PLACE, aggregates
from features.engines.tables import KEYS, Progress, Row, frame_of, one_lead_only, reads, rows_of
from features.feature import AT, ID, KNOWN, Feature, Scope, Source, Where
from features.language import FeatureSet
from features.schema import History
from features.times import DAY

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Value = float | str | None
Tables = Mapping[str, Sequence[Row]]

_OWN, _ALONE, _OTHER = 0, 1, 2
"""Whose a fact is: the lead's, whose account is known; the lead's, of no account; another's."""

_OF = {"lead": (_OWN, _ALONE), "account": (_OWN, _OTHER), "others": (_OTHER,)}

_LEAD, _ACCOUNT, _CREATED = (
    KEYS["leads"].index(name) for name in ("lead_id", "account_id", "created_at")
)

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

    ``columns[table]`` names what each row of leads, events, changes and outcomes holds, in order;
    times are integer microseconds, numbers float, text str, missing None. Raises
    :class:`features.language.DeclarationError` for features of a segment: the history of some leads
    does not hold them.
    """

    def __init__(self, features: FeatureSet) -> None:
        one_lead_only(features)
        self.columns = {name: reads(features, name) for name in KEYS}
        self._width = len(features)
        placed = list(enumerate(features.features))
        told = [(place, one) for place, one in placed if one.of_facts]
        self._selections = _Selections([one for _, one in told])
        self._facts = [
            _Facts(source, self.columns[source], [one for _, one in told], self._selections)
            for source in dict.fromkeys(one.source for _, one in told)
        ]
        facts = {one.source: one for one in self._facts}
        self._columns = max((len(one.held) for one in self._facts), default=0)
        self._together = any(one.scope != "lead" for _, one in told)
        self._places = np.array([place for place, _ in told], dtype=np.int64)
        self._program = np.array(
            [_instruction(one, self._selections, facts[one.source]) for _, one in told],
            dtype=np.int64,
        ).reshape(len(told), _WIDTH)
        self._named = [
            (place, self.columns[one.source].index(str(one.column)))
            for place, one in told
            if one.type == "text"
        ]
        self._which = np.array([place for place, _ in self._named], dtype=np.int64)
        self._own = _Own([(place, one) for place, one in placed if not one.of_facts],
                         self.columns["leads"])  # fmt: skip

    def vectors(self, asked: Sequence[tuple[str, Tables]], as_of: int) -> Vectors:
        """The features of leads at ``as_of`` (microseconds), each by its own tables alone.

        For account features, ``leads``, ``events`` and ``outcomes`` also hold the rows of the other
        leads of its account; what is of other leads still is passed over.
        """
        made, gathered = np.empty((len(asked), self._width)), _Gathered(self._columns)
        owners: list[Row | None] = []
        for lead_id, tables in asked:
            owner, peers = self._known(lead_id, tables["leads"], as_of)
            owners.append(owner)
            for facts in self._facts:
                facts.gather(gathered, lead_id, tables[facts.source], as_of, peers)
            gathered.ends.append(len(gathered.rows))
        texts = self._own.fill(made, owners, as_of)
        if len(self._program):
            told = gathered.arrays()  # before the table is read: signs come with their rows of it
            aggregates(self._program, self._places, self._selections.table, *told, as_of, made)
            which = made[:, self._which].T.tolist()  # of the facts tells each text
            for (place, column), facts_of in zip(self._named, which, strict=True):
                texts[place] = [
                    None if one != one else gathered.rows[int(one)][column] for one in facts_of
                ]
        return Vectors(made, texts)

    def _known(
        self, lead_id: str, leads: Sequence[Row], as_of: int
    ) -> tuple[Row | None, Collection[str]]:
        """The lead's own row, if it is there by then, and the leads of its account, itself one."""
        known = [row for row in leads if row[_CREATED] < as_of]
        owner = next((row for row in known if row[_LEAD] == lead_id), None)
        account = None if owner is None else owner[_ACCOUNT]
        if account is None or not self._together:
            return owner, ()
        return owner, {row[_LEAD] for row in known if row[_ACCOUNT] == account}

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
        return self.vectors([(lead_id, tables)], as_of).row(0)


class _Gathered:
    """The visible facts of leads, one lead after another; ``ends`` are where those of each end."""

    def __init__(self, columns: int) -> None:
        self.rows: list[Row] = []
        self.at: list[int] = []
        self.signs: list[int] = []
        self.values: list[list[float | None]] = [[] for _ in range(columns)]
        self.ends = [0]
        self.codes: dict[str, int] = {}

    def arrays(self) -> tuple[Ints, Ints, Ints, Floats]:
        """As :func:`features.engines.kernel.aggregates` takes them."""
        return (
            np.array(self.ends), np.array(self.at, np.int64), np.array(self.signs, np.int64),
            np.array(self.values, np.float64).reshape(len(self.values), len(self.rows)),
        )  # fmt: skip


class _Facts:
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
        self._read = [(itemgetter(columns.index(str(name))), coded) for name, coded in kinds]
        self._at, self._known = columns.index(AT[source]), columns.index(KNOWN[source])
        self._time = itemgetter(self._at)
        self._order = itemgetter(self._at, _LEAD, columns.index(ID[source]))
        fields = selections.fields(source)
        self._key = itemgetter(*map(columns.index, fields)) if fields else _no_fields
        self._signs = [_Signs(selections, source, fields, role) for role in (_OWN, _ALONE, _OTHER)]

    def gather(
        self, gathered: _Gathered, lead_id: str, rows: Sequence[Row], as_of: int,
        peers: Collection[str],
    ) -> None:  # fmt: skip
        """Add the visible facts of a lead and its ``peers``, the oldest first."""
        at, known = self._at, self._known
        seen = [row for row in rows if row[at] < as_of and row[known] < as_of
                and (row[_LEAD] == lead_id or row[_LEAD] in peers)]  # fmt: skip
        if not seen:
            return
        if len(seen) > 1:
            seen.sort(key=self._order)
        gathered.rows += seen
        gathered.at += map(self._time, seen)
        own = self._signs[_OWN if peers else _ALONE]
        if len(peers) < 2:
            gathered.signs += map(own.__getitem__, map(self._key, seen))
        else:
            other = self._signs[_OTHER]
            gathered.signs += [(own if row[_LEAD] == lead_id else other)[self._key(row)]
                               for row in seen]  # fmt: skip
        self._add_values(gathered, seen)

    def _add_values(self, gathered: _Gathered, seen: Sequence[Row]) -> None:
        for (read, coded), values in zip(self._read, gathered.values, strict=False):
            if coded:
                codes = gathered.codes
                values += [None if one is None else codes.setdefault(one, len(codes))
                           for one in map(read, seen)]  # fmt: skip
            else:
                values += map(read, seen)
        for values in gathered.values[len(self._read) :]:
            values += repeat(None, len(seen))


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


def _no_fields(row: Row) -> tuple[()]:
    del row
    return ()


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


def _instruction(feature: Feature, selections: _Selections, facts: _Facts) -> tuple[int, ...]:
    first, second = map(selections.number, _wanted(feature))
    column = PLACE
    if feature.column is not None and feature.type == "number":
        column = facts.held.index((feature.column, feature.aggregate in _OF_KINDS))
    back = (feature.back or 1) if feature.aggregate == "previous" else 0
    extra = back or feature.half_life or feature.offset or 0
    window, against = (ALWAYS if one is None else one for one in (feature.window, feature.against))
    return OPERATIONS.index(feature.aggregate), first, second, column, window, against, extra


class _Own:
    """What a lead's own row holds: its attributes and its age."""

    def __init__(self, features: Sequence[tuple[int, Feature]], columns: Sequence[str]) -> None:
        self._ages = [place for place, one in features if one.aggregate == "age"]
        named = [(place, one.type, columns.index(str(one.column)))
                 for place, one in features if one.aggregate != "age"]  # fmt: skip
        self._numbers = np.array([at for at, kind, _ in named if kind == "number"], np.int64)
        self._held = [column for _, kind, column in named if kind == "number"]
        self._texts = [(place, column) for place, kind, column in named if kind == "text"]

    def fill(
        self, made: Floats, owners: Sequence[Row | None], as_of: int
    ) -> dict[int, list[str | None]]:
        """Set the numbers of leads (n, features); their texts, by column."""
        if self._held:
            nothing = [None] * len(self._held)
            held = [nothing if row is None else [row[at] for at in self._held] for row in owners]
            made[:, self._numbers] = np.array(held, np.float64).reshape(len(owners), len(nothing))
        for place in self._ages:
            made[:, place] = [
                np.nan if row is None else (as_of - row[_CREATED]) / DAY for row in owners
            ]
        return {
            place: [None if row is None else row[column] for row in owners]
            for place, column in self._texts
        }


def run(
    features: FeatureSet, spine: pd.DataFrame, history: History, progress: Progress
) -> pd.DataFrame:
    """Compute a row after another; see :func:`features.engines.compute`."""
    leads = Leads(features)
    held = {name: rows_of(getattr(history, name), leads.columns[name]) for name in KEYS}
    account = {row[_LEAD]: row[_ACCOUNT] for row in held["leads"]}
    of: dict[str, dict[object, list[Row]]] = {name: {} for name in KEYS}
    for name, rows in held.items():
        for row in rows:
            of[name].setdefault(row[_LEAD], []).append(row)
            if account.get(row[_LEAD]) is not None:
                of[name].setdefault((account[row[_LEAD]],), []).append(row)
    made = []
    for done, (lead_id, as_of) in enumerate(rows_of(spine, ("lead_id", "as_of"))):
        key = lead_id if account.get(lead_id) is None else (account[lead_id],)
        tables = {name: rows.get(key, ()) for name, rows in of.items()}
        made.append(leads.vectors([(lead_id, tables)], as_of).row(0))
        progress(done / len(spine))
    progress(1.0)
    return frame_of(features, made)
