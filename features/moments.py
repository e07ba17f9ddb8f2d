"""Many times at once, from text to integer microseconds since 1970 UTC, by machine code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from features.machine import compiled
from features.times import DAY, HOUR, MINUTE, SECOND, instant

UNREAD = np.iinfo(np.int64).min
"""In the place of a time that :func:`instants` does not read."""

_ZERO, _NINE, _T, _DOT, _PLUS, _MINUS, _ZULU, _DASH, _COLON = b"09T.+-Z-:"
_LINE = ord("\n")
_FIRST, _AFTER = instant("1900-01-01"), instant("2200-01-01")
SHORTEST = len("2024-05-01T00:00:00Z")


def instants(texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], bool]:
    """Microseconds (n,) of ISO 8601 times of the years 1900 to 2199 as they are mostly written.

    ``2024-05-01T00:00:00Z``, with a fraction of at most six digits, or with an offset such as
    ``+02:00``. :data:`UNREAD` for whatever else, to be looked at alone; and whether there is none.

    Raises ``TypeError`` where one is not text.
    """
    made = np.empty(len(texts), np.int64)
    return made, _read(np.frombuffer("\n".join(texts).encode(), np.uint8), made)


@compiled
def _read(text: Any, made: Any) -> bool:
    """Put the times of lines into ``made`` (n,); whether all are plain."""
    start, every = 0, True
    for number in range(len(made)):
        end = start
        while end < len(text) and text[end] != _LINE:
            end += 1
        made[number] = moment(text, start, end) if end - start >= SHORTEST else UNREAD
        every = every and made[number] != UNREAD
        start = end + 1
    if start != len(text) + 1 and len(made):  # a line's end within: nobody knows which is which
        made[:] = UNREAD
        return False
    return every


@compiled
def moment(text: Any, start: int, end: int) -> int:
    """Microseconds of a time that is plain, and else :data:`UNREAD`; it has enough bytes.

    ``text[start:end]``, of an array or of what a pointer points to.
    """
    year, month = _digits(text, start, 4), _digits(text, start + 5, 2)
    day, hour = _digits(text, start + 8, 2), _digits(text, start + 11, 2)
    minute, second = _digits(text, start + 14, 2), _digits(text, start + 17, 2)
    if text[start + 4] != _DASH or text[start + 7] != _DASH or text[start + 10] != _T:
        return UNREAD
    if text[start + 13] != _COLON or text[start + 16] != _COLON:
        return UNREAD
    if not (1900 <= year < 2200 and 1 <= month <= 12 and 1 <= day <= _days(year, month)):
        return UNREAD
    if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second < 60):
        return UNREAD
    place, fraction, unit = start + 19, 0, SECOND
    if text[place] == _DOT:
        place += 1
        while place < end and _ZERO <= text[place] <= _NINE and unit > 1:
            unit //= 10
            fraction += (text[place] - _ZERO) * unit
            place += 1
        if unit == SECOND:
            return UNREAD
    offset = _offset(text, place, end)
    if offset == DAY:
        return UNREAD
    whole = _day(year, month, day) * DAY + hour * HOUR + minute * MINUTE + second * SECOND
    made = whole + fraction - offset
    return made if _FIRST <= made < _AFTER else UNREAD


@compiled
def _digits(text: Any, first: int, count: int) -> int:
    """The number of some digits, below 0 where there are others than digits."""
    made = 0
    for place in range(first, first + count):
        if not _ZERO <= text[place] <= _NINE:
            return -1
        made = 10 * made + text[place] - _ZERO
    return made


@compiled
def _offset(text: Any, place: int, end: int) -> int:
    """Microseconds of the offset that is all from a place to the end; a day for no such."""
    left = end - place
    if left == 1 and text[place] == _ZULU:
        return 0
    if left != 6 or text[place + 3] != _COLON:
        return DAY
    hours, minutes = _digits(text, place + 1, 2), _digits(text, place + 4, 2)
    if not (0 <= hours < 24 and 0 <= minutes < 60):
        return DAY
    if text[place] == _PLUS:
        return hours * HOUR + minutes * MINUTE
    return -(hours * HOUR + minutes * MINUTE) if text[place] == _MINUS else DAY


@compiled
def _days(year: int, month: int) -> int:
    """How many days a month has."""
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


@compiled
def _day(year: int, month: int, day: int) -> int:
    """Days since 1970 (Fliegel and van Flandern 1968, Communications of the ACM 11, 657)."""
    shift = (14 - month) // 12
    years, months = year + 4800 - shift, month + 12 * shift - 3
    julian = day + (153 * months + 2) // 5 + 365 * years + years // 4 - years // 100 + years // 400
    return julian - 32045 - 2440588
