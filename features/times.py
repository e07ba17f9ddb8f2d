"""Where times change form: text, pandas and integer microseconds since 1970 UTC.

Many texts at once are read by :mod:`features.moments`.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_UNITS = {"us": 1, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_DURATION = re.compile(r"(\d+)(us|s|m|h|d|w)")
_EPOCH, _MICRO = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)

DTYPE = "datetime64[us, UTC]"
"""The pandas type of every time column in a history."""


def duration(text: str) -> int:
    """Turn a duration such as ``"7d"``, ``"36h"`` or ``"2w"`` into microseconds.

    Raises ``ValueError`` for anything that is not a positive whole number and one unit.
    """
    match = _DURATION.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{text!r} is not a duration: write a number and us, s, m, h, d or w")
    return int(match[1]) * _UNITS[match[2]]


def duration_text(micros: int) -> str:
    """Write microseconds in the largest unit that divides them, days at most: ``7d``, ``36h``."""
    for unit in ("d", "h", "m", "s", "us"):
        if micros % _UNITS[unit] == 0:
            return f"{micros // _UNITS[unit]}{unit}"
    raise AssertionError("every integer is a whole number of microseconds")


def micros(times: pd.Series | pd.DatetimeIndex) -> npt.NDArray[np.int64]:
    """Integer microseconds of a time column; missing times become the smallest int64 (NaT)."""
    values = pd.DatetimeIndex(times)
    if values.tz is None:
        raise ValueError("a time without a time zone: localise it first")
    return values.tz_convert("UTC").as_unit("us").asi8


def from_micros(values: npt.ArrayLike) -> pd.Series:
    """Turn integer microseconds into a UTC time column."""
    stamps = np.asarray(values, dtype=np.int64).astype("datetime64[us]")
    return pd.Series(pd.DatetimeIndex(stamps).tz_localize("UTC"))


def instant(text: str | datetime) -> int:
    """Microseconds of one ISO 8601 time; a date alone is its midnight, no offset means UTC.

    Raises ``ValueError`` for text that is not a time.
    """
    moment = text if isinstance(text, datetime) else datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICRO


def iso(moment: int) -> str:
    """Write microseconds as ISO 8601 in UTC, ``2024-05-01T00:00:00Z``."""
    seconds, micros = divmod(moment, 1_000_000)
    return f"{_second(seconds)}.{micros:06d}Z" if micros else f"{_second(seconds)}Z"


@lru_cache
def _second(moment: int) -> str:
    return (_EPOCH + timedelta(seconds=moment)).isoformat().removesuffix("+00:00")


def now() -> int:
    """The clock, in microseconds."""
    return time.time_ns() // 1_000
