"""JSON straight to columns, as machine code: requests as they are mostly written.

What is read here is surely valid, and says the same to :mod:`serving.reader`; whatever else is
not *plain*, and left to that. So nothing here says what is wrong with a request.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from features.machine import compiled
from features.moments import SHORTEST, UNREAD, moment

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

ROOT, LEAD, ATTRIBUTES, EVENT, PROPERTIES, CHANGE, SORTS = range(7)
"""Sorts of objects. Attributes and properties are of the row of what they are in."""

TIME, TEXT, NUMBER, COUNT, OBJECT, LIST = range(6)
"""What a field holds."""

NAME, LENGTH, ROLE, PLACE, LEAST, MOST, NULL, CODED, LEARNS, CHILD, WIDTH = range(11)
"""Columns of :attr:`Plan.slots`.

Where a field's name begins, and how long it is; what it holds, and in which row of the cells that
is put; the least and the most it may be (bytes of a text, a number); whether it may be null; in
which row of the cells the number of its text is put (-1: in none), whether one without a number is
to get one, and the sort of what it holds inside.
"""

FIRST, NEEDS, OPEN, FROM, TO, OF, SORT_WIDTH = range(7)
"""Columns of :attr:`Plan.sorts`.

Where its slots begin, a bit for each that has to be there, whether others may be; which slots are
made missing when one begins, and the row of the cells that says what it is of: the request, or else
the lead.
"""

MISSING, OTHER = -1, -2
"""In the place of a text that is not there, and the number of one that has none.

Of a time that is not there, :data:`UNREAD`, of a number NaN.
"""

BITS = 24
"""A text is told by where it begins and, in so many bits, how long it is."""

_MOST_MEMBERS, _MOST_NAME, _MOST_TEXT = 200, 200, 1_000
_QUOTE, _BACK, _COMMA, _COLON, _BEGIN, _END, _LIST, _LAST = b'"\\,:{}[]'
_SPACE, _TAB, _LINE, _RETURN, _ZERO, _MINUS, _PLUS, _DOT, _E, _SMALL_E = b" \t\n\r0-+.Ee"
_N, _U, _L, _T, _R, _F, _A, _S = b"nultrfas"
_STOPS = np.isin(np.arange(256), [_QUOTE, _BACK, *range(_SPACE)])
_EXACT, _POWERS = 2**53, 10.0 ** np.arange(23)
NOTED, TABLE = 64, 32_768
"""Rows of what is noted, and of tables of texts."""

DEEP = 4
"""So many objects are within each other."""

_SORT, _ROW, _LISTED, _SEEN, _MEMBERS, _GUESS, WITHIN = range(7)
_HASH, _PRIME = 0x4BF29CE484222325, 0x100000001B3


class Plan(NamedTuple):
    """The fields there are: ``slots`` (fields, 10), their ``names``, and ``sorts`` (7, 6)."""

    slots: Ints
    names: Bytes
    sorts: Ints


class Texts(NamedTuple):
    """Texts by number, found by their hash: ``table`` (3 x :data:`TABLE`,), and their bytes.

    Three places for each: the number (-1: none), where the text begins in ``pool``, how long it is.
    """

    table: Ints
    pool: Bytes


@compiled
def skip(text: Any, at: int) -> int:
    """Where something is that is not white."""
    while text[at] == _SPACE or text[at] == _LINE or text[at] == _RETURN or text[at] == _TAB:
        at += 1
    return at


@compiled
def _string(text: Any, at: int) -> int:
    """Where a string ends that begins before ``at``; -1 where one has to look closer."""
    while not _STOPS[text[at]]:
        at += 1
    return at if text[at] == _QUOTE else -1


@compiled
def _null(text: Any, at: int) -> bool:
    return bool(text[at] == _N and text[at + 1] == _U and text[at + 2] == _L and text[at + 3] == _L)


@compiled
def _truth(text: Any, at: int) -> int:
    """How long the word is that says yes or no; 0 for none."""
    if text[at] == _T and text[at + 1] == _R and text[at + 2] == _U and text[at + 3] == _SMALL_E:
        return 4
    false = text[at] == _F and text[at + 1] == _A and text[at + 2] == _L and text[at + 3] == _S
    return 5 if false and text[at + 4] == _SMALL_E else 0


@compiled
def _digit(text: Any, at: int) -> bool:
    return bool(_ZERO <= text[at] <= _ZERO + 9)


@compiled
def _number(text: Any, at: int) -> tuple[int, float]:
    """Where a number ends, and what it is; -1 where that cannot be told exactly so.

    A whole number below 2**53, times or over a power of ten up to 22, is right when rounded once
    (Clinger 1990, How to read floating point numbers accurately, PLDI).
    """
    sign = 1.0
    if text[at] == _MINUS:
        sign, at = -1.0, at + 1
    start, whole, digits, power = at, 0, 0, 0
    while _digit(text, at) and whole < _EXACT // 10:
        whole = 10 * whole + text[at] - _ZERO
        at += 1
    if at == start or (text[start] == _ZERO and at > start + 1):
        return -1, 0.0
    if text[at] == _DOT:
        at += 1
        while _digit(text, at) and whole < _EXACT // 10:
            whole = 10 * whole + text[at] - _ZERO
            at, digits = at + 1, digits + 1
        if digits == 0:
            return -1, 0.0
    if text[at] == _E or text[at] == _SMALL_E:
        less = text[at + 1] == _MINUS
        at += 2 if less or text[at + 1] == _PLUS else 1
        first = at
        while _digit(text, at) and at < first + 3:
            power = 10 * power + text[at] - _ZERO
            at += 1
        if at == first:
            return -1, 0.0
        power = -power if less else power
    power -= digits
    if _digit(text, at) or not -22 <= power <= 22 or (whole == 0 and sign < 0):
        return -1, 0.0
    return at, sign * (whole * _POWERS[power] if power >= 0 else whole / _POWERS[-power])


@compiled
def hashed(text: Any, start: int, end: int) -> int:
    """A number for bytes (FNV-1a of Fowler, Noll and Vo, RFC 9923)."""
    made = _HASH
    for place in range(start, end):
        made = (made ^ text[place]) * _PRIME
    return made ^ (made >> 29)


@compiled
def found(table: Any, pool: Any, text: Any, start: int, end: int) -> int:
    """The row of the ``table`` of texts where one is, or would be: see :class:`Texts`."""
    row = hashed(text, start, end) & (TABLE - 1)
    while table[3 * row] >= 0:
        if table[3 * row + 2] == end - start:
            place, first = 0, table[3 * row + 1]
            while place < end - start and pool[first + place] == text[start + place]:
                place += 1
            if place == end - start:
                return row
        row = (row + 1) & (TABLE - 1)
    return row


@compiled
def _is_field(text: Any, at: int, slots: Any, slot: int, names: Any) -> bool:
    """Whether the name that begins here is that of a field."""
    name, length = slots[WIDTH * slot + NAME], slots[WIDTH * slot + LENGTH]
    for place in range(length):
        if text[at + place] != names[name + place]:
            return False
    return bool(text[at + length] == _QUOTE)


@compiled
def _field(text: Any, at: int, slots: Any, names: Any, first: int, after: int, guess: int) -> int:
    """The slot of the field whose name begins here; -1 for none. Fields mostly come in order."""
    if guess < after and _is_field(text, at, slots, guess, names):
        return guess
    for slot in range(first, after):
        if _is_field(text, at, slots, slot, names):
            return slot
    return -1


@compiled
def _passed(text: Any, at: int) -> int:
    """Where a value ends that nobody reads, and may be there; or -1."""
    if text[at] == _QUOTE:
        end = _string(text, at + 1)
        return end + 1 if 0 <= end <= at + 1 + _MOST_TEXT else -1
    said = 4 if _null(text, at) else _truth(text, at)
    if said:
        return at + said
    end, _ = _number(text, at)
    return end


@compiled
def _text(
    text: Any, at: int, slots: Any, slot: int, row: int, table: Any, pool: Any, cells: Any,
    room: int, missed: Any,
) -> int:  # fmt: skip
    """Put a text into its cells; returns where it ends, or -1."""
    start = at + 1
    end = _string(text, start) if text[at] == _QUOTE else -1
    if end < 0 or not slots[WIDTH * slot + LEAST] <= end - start <= slots[WIDTH * slot + MOST]:
        return -1
    if end > start:
        cells[room * slots[WIDTH * slot + PLACE] + row] = (start << BITS) | (end - start)
        place = slots[WIDTH * slot + CODED]
        if place >= 0:
            number = table[3 * found(table, pool, text, start, end)]
            cells[room * place + row] = number if number >= 0 else OTHER
            if number < 0 and slots[WIDTH * slot + LEARNS]:
                _note(missed, start, end)
    return end + 1


@compiled
def _note(missed: Any, start: int, end: int) -> None:
    """One more text that is not known: how many are noted comes first, and how many there are."""
    missed[1] += 1
    if missed[0] + 1 < NOTED:
        missed[0] += 1
        missed[2 * missed[0]], missed[2 * missed[0] + 1] = start, end


@compiled
def _time(text: Any, at: int, slots: Any, slot: int, row: int, cells: Any, room: int) -> int:
    """Put a time into its cell; returns where it ends, or -1."""
    if text[at] != _QUOTE:
        end, number = _number(text, at)
        for place in range(at, end):
            if not _digit(text, place):
                return -1
        if end < 0 or not slots[WIDTH * slot + LEAST] <= number < slots[WIDTH * slot + MOST]:
            return -1
        cells[room * slots[WIDTH * slot + PLACE] + row] = int(number)
        return end
    end = _string(text, at + 1)
    if end < at + 1 + SHORTEST:
        return -1
    made = moment(text, at + 1, end)
    cells[room * slots[WIDTH * slot + PLACE] + row] = made
    return end + 1 if made != UNREAD else -1


@compiled
def _value(
    text: Any, at: int, slots: Any, slot: int, row: int, table: Any, pool: Any, cells: Any,
    room: int, numbers: Any, missed: Any,
) -> int:  # fmt: skip
    """Put the value of a field into its cells; returns where it ends, or -1."""
    if slots[WIDTH * slot + NULL] and _null(text, at):
        return at + 4
    role = slots[WIDTH * slot + ROLE]
    if role == TIME:
        return _time(text, at, slots, slot, row, cells, room)
    if role == TEXT:
        return _text(text, at, slots, slot, row, table, pool, cells, room, missed)
    end, number = _number(text, at)
    if end < 0 or not slots[WIDTH * slot + LEAST] <= number <= slots[WIDTH * slot + MOST]:
        return -1
    if role == COUNT:
        cells[room * slots[WIDTH * slot + PLACE] + row] = int(number)
        return end if end <= at + 2 else -1
    numbers[room * slots[WIDTH * slot + PLACE] + row] = number
    return end


@compiled
def _begun(
    sort: int, row: int, sorts: Any, slots: Any, cells: Any, room: int, numbers: Any
) -> None:
    """An object begins: nothing of it is there yet."""
    for slot in range(sorts[SORT_WIDTH * sort + FROM], sorts[SORT_WIDTH * sort + TO]):
        role, place = slots[WIDTH * slot + ROLE], slots[WIDTH * slot + PLACE]
        if role == NUMBER:
            numbers[room * place + row] = math.nan
        elif role < OBJECT:
            cells[room * place + row] = UNREAD if role == TIME else MISSING
            if slots[WIDTH * slot + CODED] >= 0:
                cells[room * slots[WIDTH * slot + CODED] + row] = MISSING


@compiled
def _next_row(sort: int, request: int, sorts: Any, cells: Any, room: int, rows: Any) -> int:
    """The row of one more object of a sort that comes in lists."""
    row = rows[sort]
    rows[sort] += 1
    cells[room * sorts[SORT_WIDTH * sort + OF] + row] = request if sort == LEAD else rows[LEAD] - 1
    return row


@compiled
def _enter(
    text: Any, at: int, sort: int, row: int, listed: bool, depth: int, within: Any, sorts: Any,
    slots: Any, cells: Any, room: int, numbers: Any,
) -> int:  # fmt: skip
    """Begin an object, one of a list or not; returns where its first field is, or -1."""
    if text[at] != _BEGIN:
        return -1
    _begun(sort, row, sorts, slots, cells, room, numbers)
    here = depth * WITHIN
    within[here + _SORT], within[here + _ROW], within[here + _LISTED] = sort, row, listed
    within[here + _SEEN], within[here + _MEMBERS] = 0, 0
    within[here + _GUESS] = sorts[SORT_WIDTH * sort + FIRST]
    return skip(text, at + 1)


@compiled
def _member(
    text: Any, at: int, within: Any, here: int, sorts: Any, slots: Any, names: Any
) -> tuple[int, int]:  # fmt: skip
    """The slot of the field whose name begins here (-1: nobody reads it), and where its value is.

    -1 where it may not be there, or comes twice.
    """
    sort, start = within[here + _SORT], at + 1
    first, after = sorts[SORT_WIDTH * sort + FIRST], sorts[SORT_WIDTH * (sort + 1) + FIRST]
    slot = _field(text, start, slots, names, first, after, within[here + _GUESS])
    within[here + _MEMBERS] += 1
    if slot >= 0:
        bit, end = 1 << (slot - first), start + slots[WIDTH * slot + LENGTH]
        if within[here + _SEEN] & bit:
            return slot, -1
        within[here + _SEEN] |= bit
        within[here + _GUESS] = slot + 1
    else:
        end = _string(text, start)
        if not sorts[SORT_WIDTH * sort + OPEN] or not 0 <= end <= start + _MOST_NAME:
            return slot, -1
    at = skip(text, end + 1)
    few = within[here + _MEMBERS] <= _MOST_MEMBERS
    return slot, skip(text, at + 1) if few and text[at] == _COLON else -1


@compiled
def _left(
    text: Any, at: int, request: int, depth: int, within: Any, sorts: Any, slots: Any, cells: Any,
    room: int, numbers: Any, rows: Any,
) -> tuple[int, int]:  # fmt: skip
    """After a value: leave the objects that end here, and find what comes next, or else -1.

    Returns how deep that is, -1 after the last.
    """
    while text[at] == _END:
        here = depth * WITHIN
        sort = within[here + _SORT]
        needs = sorts[SORT_WIDTH * sort + NEEDS]
        if within[here + _SEEN] & needs != needs:
            return depth, -1
        if depth == 0:
            return -1, at + 1
        at = skip(text, at + 1)
        if within[here + _LISTED]:
            if text[at] == _COMMA:
                row = _next_row(sort, request, sorts, cells, room, rows)
                return depth, _enter(text, skip(text, at + 1), sort, row, True, depth, within,
                                     sorts, slots, cells, room, numbers)  # fmt: skip
            if text[at] != _LAST:
                return depth, -1
            at = skip(text, at + 1)
        depth -= 1
    if text[at] != _COMMA:
        return depth, -1
    at = skip(text, at + 1)
    return depth, at if text[at] == _QUOTE else -1


@compiled
def read(
    text: Any, at: int, request: int, sorts: Any, slots: Any, names: Any, table: Any, pool: Any,
    cells: Any, room: int, numbers: Any, rows: Any, missed: Any, within: Any,
) -> int:  # fmt: skip
    """Put a request that begins here into the cells; returns where it ends, -1 if it is not plain.

    ``cells`` (places, room) and ``numbers``, the same as float64; ``rows`` counts those of each
    sort so far. ``missed`` takes note of texts that are to get a number: see :func:`_note`.
    ``within`` (:data:`DEEP`, :data:`WITHIN`) is there to be used. All are pointers.
    """
    depth = 0
    at = _enter(text, at, ROOT, request, False, 0, within, sorts, slots, cells, room, numbers)
    while at >= 0:
        here = depth * WITHIN
        if text[at] == _QUOTE:
            slot, at = _member(text, at, within, here, sorts, slots, names)
            if at < 0:
                return -1
            role = slots[WIDTH * slot + ROLE] if slot >= 0 else -1
            if slot < 0:
                at = _passed(text, at)
            elif role < OBJECT:
                at = _value(text, at, slots, slot, within[here + _ROW], table, pool, cells, room,
                            numbers, missed)  # fmt: skip
            else:
                child, row, listed = slots[WIDTH * slot + CHILD], within[here + _ROW], role == LIST
                if listed and text[at] != _LIST:
                    return -1
                at = skip(text, at + 1) if listed else at
                if not listed or text[at] != _LAST:
                    if child < 0:
                        return -1
                    if listed:
                        row = _next_row(child, request, sorts, cells, room, rows)
                    depth += 1
                    at = _enter(text, at, child, row, listed, depth, within, sorts, slots, cells,
                                room, numbers)  # fmt: skip
                    continue
                at = at + 1 if slots[WIDTH * slot + LEAST] == 0 else -1
            if at < 0:
                return -1
            at = skip(text, at)
        elif text[at] != _END or within[here + _MEMBERS]:
            return -1
        depth, at = _left(text, at, request, depth, within, sorts, slots, cells, room, numbers,
                          rows)  # fmt: skip
        if depth < 0:
            return at
    return -1
