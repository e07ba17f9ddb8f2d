"""Requests as they are mostly written, from JSON to features without an object for each fact.

:mod:`serving.scan` does it in machine code. What it does not read so is left to
:mod:`serving.reader`, which says the same of what both read, and what is wrong with all else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import accumulate, chain, compress, pairwise
from threading import Lock
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import inspect

from features.engines.memory import Facts, Leads, Value
from serving import api, cells, scan
from serving.scan import ATTRIBUTES, CHANGE, EVENT, LEAD, MISSING, PROPERTIES, ROOT, SORTS
from training.encode import Encoder, Floats

_MOST_TEXTS = 10_000
_POOL = 2**18
_FIELDS = 4
_TRIES = 8
_MOST_SPARE = 2**20
_ANY = 2**62
_MOST_FIELDS = 62
_LONG = (1 << scan.BITS) - 1
_CODE = (1 << cells.CODE_BITS) - 1

_STRUCTS: dict[int, type[api.Strict]] = {
    ROOT: api.ScoreRequest, LEAD: api.Lead, EVENT: api.Event, CHANGE: api.Change,
}  # fmt: skip
_SORTS: dict[type | None, int] = {api.Lead: LEAD, api.Event: EVENT, api.Change: CHANGE}
_HELD = {LEAD: ATTRIBUTES, EVENT: PROPERTIES}
_ASKED = ("leads", "as_of", "reasons")
"""What a plain request may say: whatever else is asked for is not asked for often."""

_TABLES = {"leads": LEAD, "events": EVENT, "changes": CHANGE}


class Asked(NamedTuple):
    """Plain requests: their n leads' ids, as of when each (microseconds), and what a tree sees.

    ``matrix`` (n, features), ``value(row, column)`` what is encoded there. ``sizes``: how many
    leads each request has, and ``reasons`` how many of these it asks for.
    """

    ids: list[str]
    as_of: list[int]
    matrix: Floats
    value: Callable[[int, int], Value]
    sizes: list[int]
    reasons: list[int]


class Plain:
    """Reads plain requests for one set of features, in any thread.

    ``numbers`` are the attributes and properties, with their tables, that are read as numbers,
    ``hides`` kinds of events that are passed over. Raises ``ValueError`` for features that it
    cannot work out.
    """

    def __init__(
        self, leads: Leads, encoder: Encoder, numbers: Collection[tuple[str, str]],
        hides: Collection[str],
    ) -> None:  # fmt: skip
        self._leads = leads
        self._lock, self._known, self._used = Lock(), list[str](), 0
        self._texts = scan.Texts(np.full(3 * scan.TABLE, MISSING), np.zeros(_POOL, np.uint8))
        self._signs = np.full((scan.TABLE, 2), MISSING)
        fields = _Fields(leads, numbers)
        self._spare: list[scan.Ints] = []
        if not self._learn(word.encode() for word in chain(hides, *encoder.vocabulary.values())):
            raise ValueError("too many texts")
        words = _words(leads, fields)
        self._plan, self._height = fields.plan(), fields.height
        self._layout = _layout(leads, fields, words, self._codes(encoder, words), len(hides))
        self._columns = {column: number for number, (column, *_) in enumerate(words)}
        self._reasons, self._id = fields.place(ROOT, "reasons"), fields.place(LEAD, "lead_id")
        self.read([_FIRST], 0)  # so that the machine code is there

    def read(self, bodies: Sequence[bytes], now: int) -> tuple[list[bool], Asked | None]:
        """Which of some requests are plain, and what those ask for, all together.

        ``now`` (microseconds) is as of when those are asked for that say nothing.
        """
        bodies = [_unescaped(body) for body in bodies]
        plain = [_fits(body) for body in bodies]
        while any(plain):
            told = self._read([*compress(bodies, plain)], now)
            if isinstance(told, Asked):
                return plain, told
            left = iter(told)
            plain = [so and next(left) for so in plain]
        return plain, None

    def _read(self, bodies: Sequence[bytes], now: int) -> Asked | list[bool]:
        """What requests ask for, or, where some are not, which of them are plain."""
        whole = b"\0".join([*bodies, b""])
        size = self._height * whole.count(b"{")
        spare = self._spare.pop() if self._spare else np.empty(0, np.int64)
        if len(spare) < size:
            spare = np.empty(size, np.int64)
        try:
            held = spare[:size].reshape(self._height, -1)
            return self._worked(whole, [len(body) for body in bodies], held, now)
        finally:
            if len(spare) <= _MOST_SPARE:
                self._spare.append(spare)

    def _worked(
        self, whole: bytes, sizes: Sequence[int], held: scan.Ints, now: int
    ) -> Asked | list[bool]:
        text, ends = np.frombuffer(whole, np.uint8), np.array([*accumulate(sizes)])
        ends += np.arange(len(ends))
        leads = whole.count(b'"lead_id"')
        made = np.empty((leads, self._leads.width))
        spans = np.empty((len(self._columns), leads), np.int64)
        for _ in range(_TRIES):
            plain, missed, strange, as_of = cells.matrix(
                text, ends, self._plan, self._texts, self._layout, self._signs,
                self._leads.program, self._leads.places, self._leads.belongs, now,
                api.MOST_EVENTS, made, held, spans,
            )  # fmt: skip
            if not plain.all():
                return plain.tolist()
            if not missed[0, 1] and not strange[0]:
                moments = as_of.tolist()
                return self._asked(whole, held, len(sizes), moments, made[: len(moments)], spans)
            self._sign(strange[1 : strange[0] + 1].tolist())
            new = missed[1 : missed[0, 0] + 1].tolist()
            if not self._learn([whole[start:end] for start, end in new]):
                break
        return [False] * len(sizes)

    def _asked(
        self, whole: bytes, held: scan.Ints, requests: int, as_of: list[int], made: Floats,
        spans: scan.Ints,
    ) -> Asked:  # fmt: skip
        def value(row: int, column: int) -> Value:
            if column in self._columns:
                return _told(whole, int(spans[self._columns[column], row]))
            number = float(made[row, column])
            return None if number != number else number

        leads = len(as_of)
        ids = [str(_told(whole, span)) for span in held[self._id, :leads].tolist()]
        of = held[self._plan.sorts[LEAD, scan.OF], :leads]
        reasons = [
            _REASONS if one == MISSING else one for one in held[self._reasons, :requests].tolist()
        ]
        sizes = [leads] if requests == 1 else np.bincount(of, minlength=requests).tolist()
        return Asked(ids, as_of, made, value, sizes, reasons)

    def _codes(self, encoder: Encoder, words: Sequence[Sequence[int]]) -> Floats:
        """What a tree sees of texts, by their numbers: (columns of texts, numbers + 1)."""
        numbers = {text: number for number, text in enumerate(self._known)}
        made = np.empty((len(words), len(numbers) + 1))
        for row, (column, *_) in enumerate(words):
            told = encoder.vocabulary[encoder.names[column]]
            made[row] = len(told)
            made[row, [numbers[text] for text in told]] = range(len(told))
        return made

    def _learn(self, texts: Iterable[bytes]) -> bool:
        """Give texts their numbers, as long as there is room; whether there was."""
        with self._lock:
            for text in dict.fromkeys(texts):
                array = np.frombuffer(text, np.uint8)
                row = 3 * scan.found(*self._texts, array, 0, len(text))
                if self._texts.table[row] >= 0:
                    continue
                end = self._used + len(text)
                if len(self._known) == _MOST_TEXTS or end > _POOL:
                    return False
                self._texts.pool[self._used : end] = array
                self._texts.table[row + 1 : row + 3] = self._used, len(text)
                self._texts.table[row] = len(self._known)  # from here on it is found
                self._known.append(text.decode())
                self._used = end
        return True

    def _sign(self, keys: Sequence[int]) -> None:
        """Find the signs of facts by what they hold."""
        for key in keys:
            codes = [(key >> cells.CODE_BITS * place & _CODE) - 1 for place in range(_FIELDS)]
            source, shared = divmod(key >> cells.CODE_BITS * _FIELDS, 2)
            facts = self._leads.facts[source]
            held = [None if code < 0 else self._known[code] for code in reversed(codes)]
            sign = facts.sign(bool(shared), held[: len(facts.fields)])
            with self._lock:
                row = cells.sign_row(self._signs, key)
                self._signs[row, 0] = key
                self._signs[row, 1] = sign  # from here on it is found


_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode
_REASONS = api.ScoreRequest([]).reasons
_FIRST = b'{"leads":[{"lead_id":"","created_at":""}]}'


def _told(whole: bytes, span: int) -> str | None:
    """The text of a span."""
    start = span >> scan.BITS
    return None if span == MISSING else whole[start : start + (span & _LONG)].decode()


def _unescaped(body: bytes) -> bytes:
    """The same with letters in place of their numbers, which clients write who write ASCII."""
    if b"\\" not in body:
        return body
    try:
        return _encode(_decode(body))
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return body


def _fits(body: bytes) -> bool:
    """Whether a request may be plain: UTF-8 without a zero, not too many leads, and a history."""
    if b"\0" in body or b'"created_at"' not in body or body.count(b'"lead_id"') > api.MOST_LEADS:
        return False
    try:
        return body.isascii() or bool(body.decode())
    except UnicodeDecodeError:
        return False


def _words(leads: Leads, fields: _Fields) -> list[list[int]]:
    """The columns of texts: see :class:`serving.cells.Layout`."""
    own = [(column, MISSING, LEAD, leads.columns["leads"][number])
           for column, number in leads.own.texts]  # fmt: skip
    named = [
        (column, source, _TABLES.get(table, MISSING), leads.columns[table][number])
        for column, source, number in leads.named
        for table in [leads.facts[source].source]
    ]
    return [
        [column, source, *([MISSING] * 2 if sort == MISSING
                           else [fields.place(sort, name), fields.code(sort, name)])]
        for column, source, sort, name in own + named
    ]  # fmt: skip


class _Fields:
    """The slots of all fields, and which row of the cells each is put in."""

    def __init__(self, leads: Leads, numbers: Collection[tuple[str, str]]) -> None:
        self._slots: list[list[int]] = []
        self._names, self.height = b"", 0
        self._of: dict[tuple[int, str], int] = {}
        self._needs = [0] * SORTS
        self._first = [0] * (SORTS + 1)
        self._learns = {(_TABLES[facts.source], name) for facts in leads.facts
                        if facts.source in _TABLES for name in _coded(leads, facts)}  # fmt: skip
        self._learns.add((EVENT, "kind"))
        for sort in range(SORTS):
            self._first[sort] = len(self._slots)
            if sort in _STRUCTS:
                for field in msgspec.structs.fields(_STRUCTS[sort]):
                    if sort != ROOT or field.name in _ASKED:
                        self._declared(sort, field)
            else:
                table = "leads" if sort == ATTRIBUTES else "events"
                outer = _TABLES[table]
                for name in leads.columns[table]:
                    if (outer, name) not in self._of:
                        self._held(outer, name, (table, name) in numbers)
        self._first[SORTS] = len(self._slots)
        self._owner = {sort: self._take() for sort in (LEAD, EVENT, CHANGE)}

    def place(self, sort: int, name: str) -> int:
        """In which row of the cells a field is, by the object whose row it has."""
        return self._slots[self._of[sort, name]][scan.PLACE]

    def code(self, sort: int, name: str) -> int:
        """In which row the numbers of its texts are. Raises ``ValueError`` for no text."""
        place = self._slots[self._of[sort, name]][scan.CODED]
        if place == MISSING:
            raise ValueError(f"{name} is no text")
        return place

    def number(self, sort: int, name: str) -> int:
        """In which row a field of numbers is. Raises ``ValueError`` for none of these."""
        if self._slots[self._of[sort, name]][scan.ROLE] != scan.NUMBER:
            raise ValueError(f"{name} is no number")
        return self.place(sort, name)

    def plan(self) -> scan.Plan:
        """All of them. Raises ``ValueError`` when they are too many."""
        after = {ROOT: LEAD, LEAD: EVENT, EVENT: CHANGE, CHANGE: SORTS}
        sorts = [
            [self._first[sort], self._needs[sort], sort not in _STRUCTS,
             self._first[sort], self._first[after.get(sort, sort)],
             self._owner.get(sort, MISSING)]
            for sort in range(SORTS)
        ]  # fmt: skip
        if any(b - a > _MOST_FIELDS for a, b in pairwise(self._first)):
            raise ValueError("too many fields")
        sorts.append([self._first[SORTS], *[0] * 5])
        return scan.Plan(np.array(self._slots, np.int64), np.frombuffer(self._names, np.uint8),
                         np.array(sorts, np.int64))  # fmt: skip

    def _take(self) -> int:
        self.height += 1
        return self.height - 1

    def _declared(self, sort: int, field: Any) -> None:
        """A field of the contract, with what is said of it there."""
        kinds = list(_kinds(inspect.type_info(field.type)))
        null = any(isinstance(one, inspect.NoneType) for one in kinds)
        texts = [one for one in kinds if isinstance(one, inspect.StrType)]
        numbers = [one for one in kinds if isinstance(one, inspect.IntType | inspect.FloatType)]
        least, most, child, role = 0, _ANY, MISSING, scan.OBJECT
        if texts and numbers:
            role, least, most = scan.TIME, api.UNMISTAKABLE, api.AFTER
        elif numbers:
            whole = isinstance(numbers[0], inspect.IntType)
            role, least = scan.COUNT if whole else scan.NUMBER, int(numbers[0].ge or 0)
            most = _ANY if numbers[0].le is None else int(numbers[0].le)
        elif texts:
            role = scan.TEXT
            least, most = texts[0].min_length or 0, texts[0].max_length or 0
        elif isinstance(kinds[0], inspect.ListType):
            role = scan.LIST
            inside = kinds[0].item_type
            child = _SORTS.get(getattr(inside, "cls", None), MISSING)
            least = kinds[0].min_length or 0
        else:
            child = _HELD[sort]
        if field.required:
            self._needs[sort] |= 1 << (len(self._slots) - self._first[sort])
        self._add(sort, field.encode_name, role, (least, most), null, child)

    def _held(self, outer: int, name: str, number: bool) -> None:
        """An attribute or a property."""
        role = scan.NUMBER if number else scan.TEXT
        self._add(outer, name, role, (-_ANY, _ANY) if number else (0, 1_000), True, MISSING)

    def _add(
        self, outer: int, name: str, role: int, bounds: tuple[int, int], null: bool, child: int
    ) -> None:
        if "\0" in name:  # which ends a request
            raise ValueError("a name with the character NUL")
        written, learns = name.encode(), (outer, name) in self._learns
        place, code = self._take(), self._take() if role == scan.TEXT else MISSING
        self._of[outer, name] = len(self._slots)
        self._slots.append([len(self._names), len(written), role, place, *bounds, null, code,
                            learns, child])  # fmt: skip
        self._names += written


def _kinds(kind: inspect.Type) -> Iterator[inspect.Type]:
    """What a field may be."""
    if isinstance(kind, inspect.UnionType):
        for one in kind.types:
            yield from _kinds(one)
    elif isinstance(kind, inspect.Metadata):
        yield from _kinds(kind.type)
    else:
        yield kind


def _coded(leads: Leads, facts: Facts) -> set[str]:
    """The columns of a source whose texts are told apart."""
    columns = leads.columns[facts.source]
    return {columns[number] for number in facts.fields} | {
        columns[number] for number, coded in facts.read if coded
    }


def _layout(
    leads: Leads, fields: _Fields, words: Sequence[Sequence[int]], vocabulary: Floats, hides: int
) -> cells.Layout:
    sources, told, held = [], [], []
    for number, facts in enumerate(leads.facts):
        columns, sort = leads.columns[facts.source], _TABLES.get(facts.source, MISSING)
        if len(facts.fields) > _FIELDS:
            raise ValueError("too many fields tell facts apart")
        if sort == MISSING:
            sources.append([MISSING] * 4)
            told.append([MISSING] * _FIELDS)
            continue
        when = [fields.place(sort, columns[one]) for one in (facts.at, facts.known, facts.id)]
        sources.append([sort, *when])
        codes = [fields.code(sort, columns[one]) for one in facts.fields]
        told.append([*codes, *[MISSING] * (_FIELDS - len(codes))])
        for to, (one, coded) in enumerate(facts.read):
            name = columns[one]
            place = fields.code(sort, name) if coded else fields.number(sort, name)
            held.append([number, to, place, coded])
    columns, own = leads.columns["leads"], leads.own
    places = own.places.tolist()
    times = [[MISSING] * 3 for _ in range(SORTS)]
    for sort, names in ((EVENT, ("occurred_at", "known_at", "event_id")),
                        (CHANGE, ("known_at", "known_at", "change_id"))):  # fmt: skip
        times[sort] = [fields.place(sort, name) for name in names]

    def table(rows: Sequence[Sequence[int]], width: int) -> Any:
        return np.array(rows, np.int64).reshape(-1, width)

    return cells.Layout(
        table(sources, 4), table(times, 3), table(told, _FIELDS), table(held, 4),
        table([(place, fields.number(LEAD, columns[one]))
               for place, one in zip(places, own.numbers, strict=False)], 2),
        np.array(places[len(own.numbers) :], np.int64), table(words, 4), vocabulary,
        np.array([fields.place(ROOT, "as_of"), fields.place(LEAD, "account_id"),
                  fields.place(LEAD, "created_at"), fields.code(EVENT, "kind")], np.int64),
        hides, leads.shared,
    )  # fmt: skip
