"""Read a raw column as text, numbers or times, and say which rows of it breach the contract."""

from __future__ import annotations

import re
from datetime import date
from numbers import Number
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.times import DTYPE, instant

Mask = npt.NDArray[np.bool_]
Read = tuple[pd.Series, dict[str, Mask]]
"""A column in its type, missing where it could not be read, and the breaching rows by code."""

_ISO = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?: ?(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?))?)?"
)
_LONE = re.compile("[\ud800-\udfff]")
_OFFSET = r":[0-9:.]* ?[Z+-]"
_FIRST, _AFTER = (pd.Timestamp(instant(day), unit="us", tz="UTC") for day in
                  ("1900-01-01", "2200-01-01"))  # fmt: skip


def empty(role: str, rows: int) -> pd.Series:
    """A column that nobody delivered; keys are numbered so that their text sorts in row order."""
    sort = role.rstrip("?")
    if sort == "key":
        return pd.Series(np.arange(rows) + 10 ** len(str(rows))).astype("str").str[1:]
    dtypes: dict[str, Any] = {"time": DTYPE, "amount": "float64"}
    return pd.Series(np.nan, index=range(rows)).astype(dtypes.get(sort, "str"))


def plain(column: pd.Series) -> pd.Series:
    """The column without a category or Arrow wrapping."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.astype(column.dtype.categories.dtype)
    if isinstance(column.dtype, pd.ArrowDtype):
        return column.array.__arrow_array__().to_pandas()
    return column


def is_number(column: pd.Series) -> bool:
    """Whether the column is typed as numbers; text that looks like numbers is not."""
    if column.dtype == object:
        kinds = ("integer", "floating", "mixed-integer-float", "decimal")
        return pd.api.types.infer_dtype(column, skipna=True) in kinds
    is_bool = pd.api.types.is_bool_dtype(column.dtype)
    return pd.api.types.is_numeric_dtype(column.dtype) and not is_bool


def is_text(column: pd.Series) -> bool:
    """Whether the column is text, or may hold some among other things."""
    return isinstance(column.dtype, pd.StringDtype) or (
        column.dtype == object and not is_number(column)
    )


def read_text(column: pd.Series, strict: bool = False) -> Read:
    """Text, where the empty string is missing; ``strict``, as ids are: only text is text.

    PostgreSQL cannot hold the character NUL, so no text may: engines and stores are to agree.
    """
    if column.dtype == object:
        texts = [_written(value, strict) for value in column.array]
        text = pd.Series(texts, dtype="str")
    elif pd.api.types.is_bool_dtype(column.dtype):
        text = column.map({True: "true", False: "false"}).astype("str")
    else:
        text = column.astype("str")
    wrong = (text.isna() & column.notna()).to_numpy()
    nul = text.str.contains("\0", regex=False, na=False).to_numpy(dtype=bool)
    faults = {"id-not-text" if strict else "not-text": wrong, "nul-character": nul}
    return text.mask(text == ""), faults


def _written(value: Any, strict: bool) -> str | None:
    if isinstance(value, str):
        return value if value.isascii() or not _LONE.search(value) else None
    if strict or not isinstance(value, Number | date | np.bool_) or value != value:
        return None  # NaN, NaT and Decimal("NaN") are the values that differ from themselves
    return str(value).lower() if isinstance(value, bool | np.bool_) else str(value)


def read_numbers(column: pd.Series) -> Read:
    """Numbers as float64."""
    wrong = np.zeros(len(column), dtype=bool)
    if not pd.api.types.is_numeric_dtype(column.dtype):
        text, faults = read_text(column)
        column = pd.to_numeric(text, errors="coerce")
        wrong = (column.isna() & text.notna()).to_numpy() | faults["not-text"]
    number = pd.Series(column.to_numpy(dtype=np.float64, na_value=np.nan))
    infinite = np.isinf(number.to_numpy())
    return number.mask(infinite), {"not-a-number": wrong, "not-finite": infinite}


def read_times(column: pd.Series, timezone: str) -> Read:
    """Times in UTC (NaT where missing or unreadable), and the rows that breach, by code.

    Takes datetimes or ISO 8601 text; a time without an offset is local to ``timezone``.
    """
    faults: dict[str, Mask] = {}
    if column.dtype.kind == "M":
        bare = column.dt.tz is None
        stamps = column.dt.tz_localize("UTC") if bare else column.dt.tz_convert("UTC")
        naive = np.full(len(column), bare) & column.notna().to_numpy()
    else:
        text, odd = read_text(column)
        shaped = text.where(text.str.fullmatch(_ISO))
        stamps = pd.to_datetime(shaped, utc=True, format="ISO8601", errors="coerce")
        faults["unparsable-time"] = (text.notna() & stamps.isna()).to_numpy() | odd["not-text"]
        naive = (stamps.notna() & ~text.str.contains(_OFFSET)).to_numpy()
    if (stamps.notna() & ~naive).any():
        faults["mixed-time-zones"] = naive
        stamps = stamps.mask(naive)
    elif naive.any() and timezone != "UTC":
        stamps = _localise(stamps, timezone, faults)
    outside = (stamps < _FIRST) | (stamps >= _AFTER)
    faults["year-out-of-range"] = outside.to_numpy()
    return stamps.mask(outside).dt.as_unit("us"), faults


def _localise(clock: pd.Series, timezone: str, faults: dict[str, Mask]) -> pd.Series:
    """Read the hands of a clock in UTC as those of a clock in ``timezone``."""
    hands = clock.dt.tz_localize(None)
    local = hands.dt.tz_localize(timezone, ambiguous="NaT", nonexistent="NaT")
    summer = np.ones(len(hands), dtype=bool)
    either = hands.dt.tz_localize(timezone, ambiguous=summer, nonexistent="NaT")
    faults["nonexistent-time"] = (hands.notna() & either.isna()).to_numpy()
    faults["ambiguous-time"] = (local.isna() & either.notna()).to_numpy()
    return local.dt.tz_convert("UTC")
