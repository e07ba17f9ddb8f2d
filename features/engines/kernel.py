"""The aggregates of :mod:`features.engines.memory` as machine code: one lead after another.

What each means is said by :mod:`features.aggregates`, which writes the same as SQL.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from features.machine import compiled
from features.times import DAY, HOUR

OPERATIONS = (
    "count", "ratio", "trend", "share", "open", "decayed", "since_first", "since_last", "mean_gap",
    "last_gap", "regularity", "last_hour", "last_weekday", "business", "response", "sum", "mean",
    "min", "max", "std", "distinct", "entropy", "latest", "previous",
)  # fmt: skip
"""What an instruction can ask for; it is told by its place here, as it is below."""
(
    _COUNT, _RATIO, _TREND, _SHARE, _OPEN, _DECAYED, _SINCE_FIRST, _SINCE_LAST, _MEAN_GAP,
    _LAST_GAP, _REGULARITY, _LAST_HOUR, _LAST_WEEKDAY, _BUSINESS, _RESPONSE, _SUM, _MEAN,
    _MIN, _MAX, _STD, _DISTINCT, _ENTROPY, _LATEST, _PREVIOUS,
) = range(len(OPERATIONS))  # fmt: skip

ALWAYS = 2**62
"""A window without an end."""

PLACE = -1
"""The column of an instruction that wants to know which fact it is, not what that holds."""

_WEEK, _MONDAY = 7 * DAY, 3 * DAY
_FORGOTTEN = 1_000
_FIXED = 2.0**36


@compiled
def put(made: Any, places: Any, columns: Any) -> None:
    """Put ``columns`` (k, n) into their ``places`` of ``made`` (n, columns)."""
    for number in range(len(places)):
        for row in range(len(made)):
            made[row, places[number]] = columns[number, row]


_SHORT = 32
"""Up to so many facts are put in order by insertion."""


@compiled
def _visible(facts: Any, fact: int, as_of: Any) -> bool:
    until = as_of[facts[0, fact]]
    return facts[1, fact] < until and facts[2, fact] < until and facts[3, fact] >= 0


@compiled
def ordered(facts: Any, sources: Any, as_of: Any, leads: int) -> Any:
    """The visible facts, lead by lead and source by source, the oldest first.

    ``facts`` (4, n): which lead each is of, when it occurred, when it was known, and its sign, -1
    for none; those of source s are ``sources[s]:sources[s + 1]``, and lead i is seen as of
    ``as_of[i]``. Returns their numbers, where those of each lead begin (leads + 1), and the starts
    and ends (m, 2) of runs of one moment, within which they are in the order of their numbers.
    """
    starts = np.zeros(leads + 1, np.int64)
    for fact in range(facts.shape[1]):
        if _visible(facts, fact, as_of):
            starts[facts[0, fact] + 1] += 1
    starts = np.cumsum(starts)
    order, ends = np.empty(starts[leads], np.int64), starts.copy()
    runs = np.empty((len(order), 2), np.int64)
    many = 0
    for source in range(len(sources) - 1):
        begins = ends.copy()
        for fact in range(sources[source], sources[source + 1]):
            if _visible(facts, fact, as_of):
                order[ends[facts[0, fact]]] = fact
                ends[facts[0, fact]] += 1
        for lead in range(leads):
            many = _oldest_first(order, begins[lead], ends[lead], facts[1], runs, many)
    return order, starts, runs[:many]


@compiled
def _merge(order: Any, first: int, end: int, at: Any) -> None:
    """The same for many: runs of twice the length, until there is one.

    numpy's own sort, and its slices, take longer to compile than all else here.
    """
    size, width = end - first, 1
    told, made = np.empty(size, np.int64), np.empty(size, np.int64)
    for place in range(size):
        told[place] = order[first + place]
    while width < size:
        for low in range(0, size, 2 * width):
            middle, high = min(low + width, size), min(low + 2 * width, size)
            left, right = low, middle
            for place in range(low, high):
                if left < middle and (right == high or at[told[left]] <= at[told[right]]):
                    made[place] = told[left]
                    left += 1
                else:
                    made[place] = told[right]
                    right += 1
        told, made = made, told
        width *= 2
    for place in range(size):
        order[first + place] = told[place]


@compiled
def _oldest_first(order: Any, first: int, end: int, at: Any, runs: Any, many: int) -> int:
    """Sort ``order[first:end]`` by time, equals staying as they are; note runs of equals.

    Returns how many are noted by then.
    """
    if end - first > _SHORT:
        _merge(order, first, end, at)
    else:
        for place in range(first + 1, end):
            fact, to = order[place], place
            while to > first and at[order[to - 1]] > at[fact]:
                order[to] = order[to - 1]
                to -= 1
            order[to] = fact
    start = first
    for place in range(first + 1, end + 1):
        if place == end or at[order[place]] != at[order[start]]:
            if place - start > 1:
                runs[many, 0], runs[many, 1] = start, place
                many += 1
            start = place
    return many


@compiled
def aggregates(
    program: Any, places: Any, belongs: Any, order: Any, start: Any, facts: Any, values: Any,
    moments: Any, made: Any,
) -> None:  # fmt: skip
    """Put what instructions say of n leads into their ``places`` of ``made`` (n, columns).

    NaN for null.

    ``program`` (instructions, 7): operation, two selections, column, window, longer window, and
    what else it takes. The facts of lead i are ``order[start[i]:start[i + 1]]``, those of a source
    oldest first: see :func:`ordered`. They hold ``values`` (columns, facts), and their signs are
    the rows of ``belongs`` (signs, selections) that tell which selections they are of. ``moments``
    (n,) are those that leads are seen as of.
    """
    at, signs = facts[1], facts[3]
    leads, selections = len(start) - 1, belongs.shape[1]
    most = 0
    for lead in range(leads):
        most = max(most, start[lead + 1] - start[lead])
    chosen, sizes = np.empty((selections, most), np.int64), np.empty(selections, np.int64)
    scratch = np.empty(2 * most, np.int64)
    for lead in range(leads):
        sizes[:], as_of = 0, moments[lead]
        for fact in order[start[lead] : start[lead + 1]]:
            sign = signs[fact]
            for selection in range(selections):
                if belongs[sign, selection]:
                    chosen[selection, sizes[selection]] = fact
                    sizes[selection] += 1
        for number in range(len(program)):
            code, place = program[number], places[number]
            mine = chosen[code[1], : sizes[code[1]]]
            others = chosen[code[2], : sizes[code[2]]]
            if code[0] == _RESPONSE:
                made[lead, place] = _response(code, mine, at, signs, belongs, as_of)
            elif code[0] >= _SUM:
                made[lead, place] = _of_values(code, mine, at, values, as_of, scratch)
            else:
                made[lead, place] = _of_times(code, mine, others, at, as_of)


@compiled
def _inside(facts: Any, at: Any, since: int) -> int:
    """The place of the first of the facts, the oldest first, that is not older."""
    low, high = 0, len(facts)
    while low < high:
        middle = (low + high) // 2
        if at[facts[middle]] < since:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def _of_times(code: Any, facts: Any, others: Any, at: Any, as_of: int) -> float:
    """Aggregates of how many facts there are, and when they were."""
    operation, size = code[0], len(facts)
    first = _inside(facts, at, as_of - code[4])
    count = size - first
    if operation == _COUNT:
        return float(count)
    if operation == _OPEN:
        return float(max(size - len(others), 0))
    if operation == _DECAYED:
        return _decayed(code[6], facts, at, as_of)
    if operation == _SHARE:
        every = len(others) - _inside(others, at, as_of - code[4])
        return count / every if every else math.nan
    if operation in (_RATIO, _TREND):
        longer = size - _inside(facts, at, as_of - code[5])
        pace = code[5] / code[4] if operation == _TREND else 1.0
        return count * pace / longer if longer else math.nan
    if count == 0:
        return math.nan
    if operation == _SINCE_FIRST:
        return (as_of - at[facts[first]]) / DAY
    last = at[facts[size - 1]]
    if operation == _SINCE_LAST:
        return (as_of - last) / DAY
    if operation == _LAST_HOUR:
        return float((last + code[6]) % DAY // HOUR)
    if operation == _LAST_WEEKDAY:
        return float((last + code[6] + _MONDAY) % _WEEK // DAY)
    if operation == _BUSINESS:
        return _business(code[6], facts[first:], at)
    return _of_gaps(operation, facts[first:], at)


@compiled
def _decayed(half_life: int, facts: Any, at: Any, as_of: int) -> float:
    rate, total = math.log(2.0) / half_life, 0.0
    for fact in facts:
        age = as_of - at[fact]
        if age < _FORGOTTEN * half_life:
            total += math.exp(-rate * age)
    return total


@compiled
def _business(offset: int, facts: Any, at: Any) -> float:
    inside = 0
    for fact in facts:
        local = at[fact] + offset
        hour = local % DAY
        if (local + _MONDAY) % _WEEK < 5 * DAY and hour >= 9 * HOUR and hour < 18 * HOUR:
            inside += 1
    return inside / len(facts)


@compiled
def _of_gaps(operation: int, facts: Any, at: Any) -> float:
    gaps = len(facts) - 1
    if gaps < 1:
        return math.nan
    if operation == _LAST_GAP:
        return (at[facts[gaps]] - at[facts[gaps - 1]]) / DAY
    mean = (at[facts[gaps]] - at[facts[0]]) / gaps
    if operation == _MEAN_GAP:
        return (at[facts[gaps]] - at[facts[0]]) / DAY / gaps
    if gaps < 2 or mean <= 0:
        return math.nan
    squares = 0.0
    for place in range(gaps):
        squares += (at[facts[place + 1]] - at[facts[place]] - mean) ** 2
    return math.sqrt(squares / (gaps - 1)) / mean


@compiled
def _response(code: Any, facts: Any, at: Any, signs: Any, belongs: Any, as_of: int) -> float:
    """The mean wait of the answers that come right after what asks for one."""
    total, waits = 0.0, 0
    for place in range(1, len(facts)):
        asked, answer = facts[place - 1], facts[place]
        fits = belongs[signs[answer], code[2]] and not belongs[signs[asked], code[2]]
        if fits and at[asked] >= as_of - code[4]:
            total += at[answer] - at[asked]
            waits += 1
    return total / waits / DAY if waits else math.nan


@compiled
def _of_values(code: Any, facts: Any, at: Any, values: Any, as_of: int, scratch: Any) -> float:
    """Aggregates of what facts hold."""
    operation, column = code[0], code[3]
    first = _inside(facts, at, as_of - code[4])
    if operation in (_LATEST, _PREVIOUS):
        place = len(facts) - 1 - code[6]
        if place < first:
            return math.nan
        return float(facts[place]) if column == PLACE else values[column, facts[place]]
    if operation in (_DISTINCT, _ENTROPY):
        return _of_kinds(operation, values[column], facts[first:], scratch)
    count, total, low, high = 0, 0.0, math.inf, -math.inf
    mean, squares = 0.0, 0.0
    for fact in facts[first:]:
        held = values[column, fact]
        if held == held:
            count += 1
            total += held
            low, high = min(low, held), max(high, held)
            off = held - mean  # Welford 1962, Technometrics 4, 419-420
            mean += off / count
            squares += off * (held - mean)
    if operation == _SUM:
        return total
    if count == 0 or (operation == _STD and count == 1):
        return math.nan
    if operation == _MEAN:
        return total / count
    if operation == _STD:
        return math.sqrt(squares / (count - 1))
    return low if operation == _MIN else high


@compiled
def _of_kinds(operation: int, codes: Any, facts: Any, counts: Any) -> float:
    """How many different values there are, or their entropy; ``counts`` is there to be used."""
    different, every = 0, 0
    for place in range(len(facts)):
        code = codes[facts[place]]
        if code != code:
            continue
        every += 1
        for earlier in range(different + 1):
            if earlier == different:
                counts[2 * different], counts[2 * different + 1] = int(code), 0
                different += 1
            if counts[2 * earlier] == int(code):
                counts[2 * earlier + 1] += 1
                break
    if operation == _DISTINCT:
        return float(different)
    if different < 2:
        return 0.0 if different else math.nan
    terms = 0
    for place in range(different):
        count = counts[2 * place + 1]
        terms += round(count * math.log(count) * _FIXED)
    return math.log(every) - terms / every / _FIXED
