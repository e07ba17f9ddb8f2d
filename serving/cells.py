"""From the cells that :mod:`serving.scan` fills to features and what a tree sees: machine code."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from features.engines.kernel import aggregates, ordered
from features.machine import bytes_at, compiled, floats_at, ints_at
from features.moments import UNREAD
from features.times import DAY
from serving.scan import (
    BITS,
    CHANGE,
    DEEP,
    EVENT,
    LEAD,
    MISSING,
    NOTED,
    OF,
    SORTS,
    WITHIN,
    Ints,
    hashed,
    read,
    skip,
)

CODE_BITS = 14
"""Numbers of texts that tell facts apart have so many, less one that is for a missing text."""

AS_OF, ACCOUNT, CREATED, KIND = range(4)
"""Columns of :attr:`Layout.places`."""

_LONG, _FEW, _MIX = (1 << BITS) - 1, 64, 0x100000001B3


class Layout(NamedTuple):
    """How cells become facts, see :mod:`features.engines.memory`, and these what a tree sees.

    ``sources`` (sources, 4): the sort of each source's rows (-1: there are none here), and in which
    rows of the cells are when they occurred, since when they are known, and their ids.
    ``times[s]`` (3): where the rows of sort s have these. ``fields`` (sources, 4): where the
    numbers of texts are that tell signs apart (-1: no more). ``held`` (n, 4): source, row of the
    values, row of the cells, whether that holds numbers of texts. ``own`` (n, 2): columns of a
    lead's numbers, and the rows of the cells; ``ages``: columns of its age. ``words`` (texts, 4):
    columns of texts, of which source (-1: the lead's own), where these are, and their numbers,
    which ``vocabulary`` (texts, numbers + 1) turns into what a tree sees, last those without one.
    ``places``: which rows hold a request's as_of, a lead's account and creation, and an event's
    kind; kinds of numbers below ``hides`` are passed over. ``shared``: accounts matter.
    """

    sources: Ints
    times: Ints
    fields: Ints
    held: Ints
    own: Ints
    ages: Ints
    words: Ints
    vocabulary: npt.NDArray[np.float64]
    places: Ints
    hides: int
    shared: bool


@compiled
def _moments(cells: Any, rows: Any, sorts: Any, places: Any, now: int, plain: Any) -> Any:
    """As of when each lead is asked for; a request with one that is not there then is not plain."""
    made = np.empty(rows[LEAD], np.int64)
    for lead in range(rows[LEAD]):
        request = cells[sorts[LEAD, OF], lead]
        asked, created = cells[places[AS_OF], request], cells[places[CREATED], lead]
        made[lead] = now if asked == UNREAD else asked
        if created == UNREAD or created >= made[lead]:
            plain[request] = False
    return made


@compiled
def _check(
    text: Any, cells: Any, rows: Any, sorts: Any, sort: int, times: Any, most: int, plain: Any
) -> None:
    """What is known before it occurred is not plain, nor are ids that come twice, or to some."""
    start, hashes = 0, np.empty(rows[sort], np.int64)
    at, known, ids = times
    while start < rows[sort]:
        lead, end, named = cells[sorts[sort, OF], start], start, start
        request = cells[sorts[LEAD, OF], lead]
        while end < rows[sort] and cells[sorts[sort, OF], end] == lead:
            if cells[known, end] == UNREAD:
                cells[known, end] = cells[at, end]
            elif cells[known, end] < cells[at, end]:
                plain[request] = False
            span = cells[ids, end]
            if span != MISSING:
                hashes[named] = hashed(text, span >> BITS, (span >> BITS) + (span & _LONG))
                named += 1
            end += 1
        if end - start > most or start < named < end or _twice(hashes, start, named):
            plain[request] = False
        start = end


@compiled
def _twice(values: Any, start: int, end: int) -> bool:
    """Whether one comes twice: each is put where it belongs in a table that is half empty."""
    size = 1
    while size < 2 * (end - start):
        size *= 2
    table = np.full(size, -1)
    for place in range(start, end):
        row = values[place] & (size - 1)
        while table[row] >= 0:
            if values[table[row]] == values[place]:
                return True
            row = (row + 1) & (size - 1)
        table[row] = place
    return False


@compiled
def sign_row(signs: Any, key: int) -> int:
    """The row of ``signs`` (a power of two, 2), keys and signs, where a key is, or would be."""
    row = ((key * _MIX) ^ (key >> 31)) & (len(signs) - 1)
    while signs[row, 1] >= 0 and signs[row, 0] != key:
        row = (row + 1) & (len(signs) - 1)
    return row


@compiled
def _starts(rows: Any, sources: Any) -> Any:
    """Where the facts of each source begin (sources + 1)."""
    made = np.zeros(len(sources) + 1, np.int64)
    for source in range(len(sources)):
        made[source + 1] = made[source] + (rows[sources[source, 0]] if sources[source, 0] >= 0
                                           else 0)  # fmt: skip
    return made


@compiled
def _facts(
    cells: Any, sorts: Any, layout: Any, starts: Any, signs: Any, strange: Any
) -> Any:  # fmt: skip
    """Facts (4, n). Keys that have no sign are put into ``strange``, after how many there are."""
    made = np.empty((4, starts[-1]), np.int64)
    fields, places = layout.fields, layout.places
    for source in range(len(starts) - 1):
        sort, at, known, _ = layout.sources[source]
        of, hides = sorts[sort, OF], layout.hides if sort == EVENT else 0
        for row in range(starts[source + 1] - starts[source]):
            fact, lead = starts[source] + row, row if sort == LEAD else cells[of, row]
            key = 2 * source + (layout.shared and cells[places[ACCOUNT], lead] != MISSING)
            for number in range(fields.shape[1]):
                field = fields[source, number]
                key = (key << CODE_BITS) | (cells[field, row] + 1 if field >= 0 else 0)
            sign = signs[sign_row(signs, key), 1]
            if sign < 0 and strange[0] + 1 < len(strange):
                strange[0] += 1
                strange[strange[0]] = key
            made[0, fact], made[1, fact], made[2, fact] = lead, cells[at, row], cells[known, row]
            made[3, fact] = MISSING if 0 <= cells[places[KIND], row] < hides else sign
    return made


@compiled
def _values(cells: Any, numbers: Any, held: Any, starts: Any) -> Any:
    """What facts hold (columns, n), NaN where nothing is."""
    width = 0
    for number in range(len(held)):
        width = max(width, held[number, 1] + 1)
    made = np.full((width, starts[-1]), math.nan)
    for number in range(len(held)):
        source, to, place, coded = held[number]
        first = starts[source]
        for fact in range(first, starts[source + 1]):
            if not coded:
                made[to, fact] = numbers[place, fact - first]
            elif cells[place, fact - first] >= 0:
                made[to, fact] = cells[place, fact - first]
    return made


@compiled
def _before(text: Any, one: int, other: int) -> bool:
    """Whether a text comes before another; a missing one before none."""
    if one == MISSING or other == MISSING:
        return False
    left, right = one >> BITS, other >> BITS
    for place in range(min(one & _LONG, other & _LONG)):
        if text[left + place] != text[right + place]:
            return bool(text[left + place] < text[right + place])
    return (one & _LONG) < (other & _LONG)


@compiled
def _by_id(text: Any, cells: Any, starts: Any, sources: Any, order: Any, runs: Any) -> int:
    """Put facts of one moment in the order of their ids; -1, or else one of too many."""
    for run in range(len(runs)):
        start, end = runs[run, 0], runs[run, 1]
        if end - start > _FEW:
            return int(order[start])
        source = np.searchsorted(starts, order[start], side="right") - 1
        ids, first = cells[sources[source, 3]], starts[source]
        for place in range(start + 1, end):
            fact, to = order[place], place
            while to > start and _before(text, ids[fact - first], ids[order[to - 1] - first]):
                order[to] = order[to - 1]
                to -= 1
            order[to] = fact
    return -1


@compiled
def _own(cells: Any, numbers: Any, layout: Any, as_of: Any, made: Any) -> None:
    """Put the numbers of leads and their ages into their columns of ``made`` (leads, columns)."""
    created = layout.places[CREATED]
    for lead in range(len(as_of)):
        for number in range(len(layout.own)):
            made[lead, layout.own[number, 0]] = numbers[layout.own[number, 1], lead]
        for column in layout.ages:
            made[lead, column] = (as_of[lead] - cells[created, lead]) / DAY


@compiled
def _words(cells: Any, words: Any, vocabulary: Any, starts: Any, made: Any, spans: Any) -> None:
    """Put what a tree sees of texts into their columns, and the texts into ``spans``."""
    known = vocabulary.shape[1] - 1
    for number in range(len(words)):
        column, source, place, numbers = words[number]
        for lead in range(len(made)):
            row = lead
            if source >= 0:  # its column says which fact tells the text
                fact = made[lead, column]
                row = int(fact) - starts[source] if fact == fact else MISSING
            spans[number, lead] = cells[place, row] if row >= 0 else MISSING
            made[lead, column] = math.nan
            if spans[number, lead] != MISSING:
                code = cells[numbers, row]
                made[lead, column] = vocabulary[number, code if 0 <= code < known else known]


@compiled
def matrix(
    text: Any, ends: Any, plan: Any, texts: Any, layout: Any, signs: Any, program: Any,
    columns: Any, belongs: Any, now: int, most: int, made: Any, cells: Any, spans: Any,
) -> Any:  # fmt: skip
    """Read requests, each with a zero behind it, and put what a tree sees of leads into ``made``.

    Returns whether each is plain, what texts have no number and what keys no sign, and as of when
    leads are asked for. Where anything lacks, ``made`` says nothing: to be asked again without what
    is not plain, and when the rest is known.
    """
    plain, rows = np.ones(len(ends), np.bool_), np.zeros(SORTS, np.int64)
    missed, strange = np.zeros((NOTED, 2), np.int64), np.zeros(NOTED, np.int64)
    numbers, start, as_of = cells.view(np.float64), 0, rows[:0]
    whole, within = bytes_at(text.ctypes), np.empty(DEEP * WITHIN, np.int64)
    for request in range(len(ends)):
        end = read(
            whole, skip(whole, start), request, ints_at(plan.sorts.ctypes),
            ints_at(plan.slots.ctypes), bytes_at(plan.names.ctypes), ints_at(texts.table.ctypes),
            bytes_at(texts.pool.ctypes), ints_at(cells.ctypes), cells.shape[1],
            floats_at(numbers.ctypes), ints_at(rows.ctypes), ints_at(missed.ctypes),
            ints_at(within.ctypes),
        )  # fmt: skip
        start = ends[request] + 1
        plain[request] = end >= 0 and skip(whole, end) == ends[request]
        if not plain[request]:
            return plain, missed, strange, as_of
    as_of = _moments(cells, rows, plan.sorts, layout.places, now, plain)
    for sort in (EVENT, CHANGE):
        _check(text, cells, rows, plan.sorts, sort, layout.times[sort], most, plain)
    if not plain.all() or missed[0, 1]:
        return plain, missed, strange, as_of
    starts = _starts(rows, layout.sources)
    facts = _facts(cells, plan.sorts, layout, starts, signs, strange)
    if strange[0] == 0:
        values = _values(cells, numbers, layout.held, starts)
        order, firsts, runs = ordered(facts, starts, as_of, rows[LEAD])
        many = _by_id(text, cells, starts, layout.sources, order, runs)
        if many < 0:
            mine = made[: rows[LEAD]]
            _own(cells, numbers, layout, as_of, mine)
            aggregates(program, columns, belongs, order, firsts, facts, values, as_of, mine)
            _words(cells, layout.words, layout.vocabulary, starts, mine, spans)
        else:
            plain[cells[plan.sorts[LEAD, OF], facts[0, many]]] = False
    return plain, missed, strange, as_of
