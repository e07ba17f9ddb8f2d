"""A selection of facts, and what can be asked of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from features.feature import Aggregate, Feature, Scope, Source, Type, Where
from features.times import DAY, MINUTE, duration

_CENTURY = 36_525 * DAY
_ROUNDED = 1e-9
"""Minutes by which hours in floating point may miss a whole minute."""
CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
"""Signs that cannot be seen, nor be part of a name."""


class DeclarationError(ValueError):
    """A feature that cannot be declared; the message says why and what to write instead."""


class Facts:
    """A selection of facts; its methods are the features over it.

    A ``window`` such as ``"7d"`` keeps the facts with ``as_of - window <= occurred_at``. Facts are
    in the order of their time, then their lead's id, then their own.
    """

    def __init__(
        self, source: Source, scope: Scope, where: dict[str, str | Iterable[str] | None]
    ) -> None:
        self._source, self._scope = source, scope
        self.where: Where = tuple(
            (field, _values(field, values))
            for field, values in sorted(where.items())
            if values is not None
        )

    def _feature(
        self,
        aggregate: Aggregate,
        column: str | None = None,
        window: str | None = None,
        **more: Any,
    ) -> Feature:
        return Feature(
            aggregate=aggregate,
            source=self._source,
            where=self.where,
            column=column,
            window=_length(window),
            scope=self._scope,
            **more,
        )

    def count(self, window: str | None = None) -> Feature:
        """How many."""
        return self._feature("count", window=window)

    def sum(self, column: str = "value", window: str | None = None) -> Feature:
        """Sum of a numeric column; 0 without facts."""
        return self._feature("sum", column, window)

    def mean(self, column: str = "value", window: str | None = None) -> Feature:
        """Mean of a numeric column over the facts that carry it."""
        return self._feature("mean", column, window)

    def min(self, column: str = "value", window: str | None = None) -> Feature:
        """Smallest value of a numeric column."""
        return self._feature("min", column, window)

    def max(self, column: str = "value", window: str | None = None) -> Feature:
        """Largest value of a numeric column."""
        return self._feature("max", column, window)

    def std(self, column: str = "value", window: str | None = None) -> Feature:
        """Sample standard deviation of a numeric column; null below two values."""
        return self._feature("std", column, window)

    def distinct(self, column: str, window: str | None = None) -> Feature:
        """How many different values of a text column."""
        return self._feature("distinct", column, window)

    def entropy(self, column: str, window: str | None = None) -> Feature:
        """Variety of a text column: -sum p ln p over its values' shares (Shannon 1948), in nats."""
        return self._feature("entropy", column, window)

    def since_first(self, window: str | None = None) -> Feature:
        """Days since the first one."""
        return self._feature("since_first", window=window)

    def since_last(self, window: str | None = None) -> Feature:
        """Days since the last one."""
        return self._feature("since_last", window=window)

    def latest(
        self, column: str = "value", type: Type = "text", window: str | None = None
    ) -> Feature:
        """The value the latest fact carries; ties in time are broken by the fact's id."""
        return self._feature("latest", column, window, type=type)

    def previous(self, column: str = "value", type: Type = "text", back: int = 1) -> Feature:
        """The value carried by the fact ``back`` before the latest one."""
        if back < 1:
            raise DeclarationError(f"back = {back}: write 1, the fact before the latest, or more")
        return self._feature("previous", column, type=type, back=back)

    def sequence(self, length: int, column: str = "kind") -> tuple[Feature, ...]:
        """The last values of a text column, newest first, a feature each: the last k kinds."""
        if length < 1:
            raise DeclarationError(f"sequence({length}): write 1, the latest fact alone, or more")
        earlier = (self.previous(column, back=back) for back in range(1, length))
        return (self.latest(column), *earlier)

    def ratio(self, short: str, long: str | None = None) -> Feature:
        """Count in the short window over the count in the long one (no window: whole history)."""
        return self._feature("ratio", window=short, against=_longer("ratio", short, long))

    def trend(self, short: str, long: str) -> Feature:
        """Facts a day in the short window over those in the long one: above 1, it heats up."""
        _duration(long)  # a share may be of the whole history, a pace needs its days
        return self._feature("trend", window=short, against=_longer("trend", short, long))

    def share(self, window: str | None = None) -> Feature:
        """The share that these are of all facts of their source."""
        if not self.where:
            raise DeclarationError("share of everything is always 1: name a kind or a column")
        return self._feature("share", window=window)

    def decayed(self, half_life: str) -> Feature:
        """Count in which a fact of age a weighs 2^(-a / half_life)."""
        return self._feature("decayed", half_life=_duration(half_life))

    def mean_gap(self, window: str | None = None) -> Feature:
        """Mean days from one to the next."""
        return self._feature("mean_gap", window=window)

    def last_gap(self) -> Feature:
        """Days between the two latest."""
        return self._feature("last_gap")

    def regularity(self, window: str | None = None) -> Feature:
        """Standard deviation of the gaps over their mean: 0 like clockwork, 1 at random."""
        return self._feature("regularity", window=window)

    def response(self, to: Facts, window: str | None = None) -> Feature:
        """Mean days from a fact of ``to`` to one of these that comes next after it, of both."""
        return self._feature("response", window=window, other=self._beside(to))

    def open(self, ended: Facts) -> Feature:
        """How many were started and not ended: these less those of ``ended``, at least 0."""
        return self._feature("open", other=self._beside(ended))

    def last_hour(self, utc_offset: float = 0) -> Feature:
        """Hour of the day of the last one, 0 to 23, at a fixed offset from UTC in hours."""
        return self._feature("last_hour", offset=_offset(utc_offset))

    def last_weekday(self, utc_offset: float = 0) -> Feature:
        """Day of the week of the last one, Monday 0, at a fixed offset from UTC in hours."""
        return self._feature("last_weekday", offset=_offset(utc_offset))

    def business(self, window: str | None = None, utc_offset: float = 0) -> Feature:
        """Share of them on Monday to Friday from 9 to 18 o'clock, local by a fixed offset."""
        return self._feature("business", window=window, offset=_offset(utc_offset))

    def _beside(self, other: Facts) -> Where:
        if not isinstance(other, Facts):
            raise DeclarationError(f'{other!r} is no selection: write events("visit"), say')
        if (other._source, other._scope) != (self._source, self._scope):
            raise DeclarationError("both selections must be of one source and scope: events, say")
        if not self.where or not other.where or self.where == other.where:
            raise DeclarationError("name two selections that differ, each by a kind or a column")
        return other.where


def _values(field: str, values: str | Iterable[str]) -> tuple[str, ...]:
    chosen = (values,) if isinstance(values, str) else tuple(sorted(set(values)))
    if not chosen:
        raise DeclarationError(f"{field}: an empty list selects nothing: leave the filter out")
    for value in chosen:
        if not isinstance(value, str) or CONTROL.search(value):
            raise DeclarationError(f"{field}={value!r} cannot be named: use text of visible signs")
    return chosen


def _length(window: str | None) -> int | None:
    return None if window is None else _duration(window)


def _duration(text: str) -> int:
    try:
        length = duration(text)
    except ValueError as error:
        raise DeclarationError(str(error)) from None
    if length > _CENTURY:
        raise DeclarationError(f"{text}: longer than a century: leave the window out")
    return length


def _longer(what: str, short: str, long: str | None) -> int | None:
    first = _duration(short)
    if long is not None and first >= _duration(long):
        raise DeclarationError(f"{what}({short}, {long}): the first window must be the shorter")
    return _length(long)


def _offset(hours: float) -> int | None:
    if not -14 <= hours <= 14 or abs(hours * 60 - round(hours * 60)) > _ROUNDED:
        raise DeclarationError(f"utc_offset = {hours}: write hours, such as -5 or 5.5")
    return round(hours * 60) * MINUTE or None
