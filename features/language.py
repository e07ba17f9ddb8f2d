"""The declarations: what to know about a lead, as an immutable value.

>>> declared = FeatureSet([
...     events("call").count("7d"),
...     events("call").sum("value", "30d"),
...     events(channel="web").since_last(),
...     events("visit").decayed("14d"),
...     events("call").response(to=events("visit")),
...     account_events("demo_request").count(),
...     other_outcomes("won").count(),
...     changes("stage").latest(),
...     attribute("industry", "text"),
...     rate("won", by=attribute("industry", "text")),
... ])
>>> declared.names[0]
'count(call, 7d)'
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import msgspec

from features.feature import Aggregate, Feature, Scope, Source, Type, Where
from features.times import HOUR, duration

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


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
        earlier = (self.previous(column, back=back) for back in range(1, length))
        return (self.latest(column), *earlier)

    def ratio(self, short: str, long: str | None = None) -> Feature:
        """Count in the short window over the count in the long one (no window: whole history)."""
        return self._feature("ratio", window=short, against=_longer("ratio", short, long))

    def trend(self, short: str, long: str) -> Feature:
        """Facts a day in the short window over those in the long one: above 1, it heats up."""
        return self._feature("trend", window=short, against=_longer("trend", short, long))

    def share(self, window: str | None = None) -> Feature:
        """The share that these are of all facts of their source."""
        if not self.where:
            raise DeclarationError("share of everything is always 1: name a kind or a column")
        return self._feature("share", window=window)

    def decayed(self, half_life: str) -> Feature:
        """Count in which a fact of age a weighs 2^(-a / half_life)."""
        return self._feature("decayed", half_life=_length(half_life))

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
        if not isinstance(value, str) or _CONTROL.search(value):
            raise DeclarationError(f"{field}={value!r} cannot be named: use text of visible signs")
    return chosen


def _length(window: str | None) -> int | None:
    try:
        return None if window is None else duration(window)
    except ValueError as error:
        raise DeclarationError(str(error)) from None


def _longer(what: str, short: str, long: str | None) -> int | None:
    if long is not None and duration(short) >= duration(long):
        raise DeclarationError(f"{what}({short}, {long}): the first window must be the shorter")
    return _length(long)


def _offset(hours: float) -> int | None:
    if not -14 <= hours <= 14 or (hours * 60) % 1:
        raise DeclarationError(f"utc_offset = {hours}: write hours, such as -5 or 5.5")
    return round(hours * HOUR) or None


def events(kind: str | Iterable[str] | None = None, **where: str | Iterable[str] | None) -> Facts:
    """Events of the lead, by kind and by any text column: ``events("call", channel="phone")``."""
    return Facts("events", "lead", {"kind": kind, **where})


def account_events(
    kind: str | Iterable[str] | None = None, **where: str | Iterable[str] | None
) -> Facts:
    """Events of all leads of the lead's account, itself included.

    Another lead counts from its creation on (``created_at < as_of``).
    """
    return Facts("events", "account", {"kind": kind, **where})


def other_events(
    kind: str | Iterable[str] | None = None, **where: str | Iterable[str] | None
) -> Facts:
    """Events of the other leads of the lead's account, each from its creation on."""
    return Facts("events", "others", {"kind": kind, **where})


def other_leads() -> Facts:
    """The other leads of the lead's account; each is a fact of the time of its creation."""
    return Facts("leads", "others", {})


def other_outcomes(outcome: str | Iterable[str] | None = None) -> Facts:
    """Outcomes of the other leads of the lead's account: ``other_outcomes("won").count()``."""
    return Facts("outcomes", "others", {"outcome": outcome})


def changes(field: str | Iterable[str]) -> Facts:
    """The CRM's history of a field: ``changes("stage").latest()``."""
    return Facts("changes", "lead", {"field": field})


def attribute(column: str, type: Type) -> Feature:
    """An attribute known at creation; null at or before it."""
    return Feature(aggregate="attribute", source="leads", column=column, type=type)


def age() -> Feature:
    """Days since the lead was created."""
    return Feature(aggregate="age", source="leads")


def rate(outcome: str, by: Feature, window: str | None = None) -> Feature:
    """The share of the outcomes known so far, of leads of the same segment, that are ``outcome``.

    ``by`` names the segment: a text attribute, or the latest value of a field or of a column of
    events. A lead settled in the segment that it was in when its outcome occurred. Smoothed towards
    the rate of all segments together, p: (n_outcome + 20 p) / (n + 20); null while no outcome is
    known at all.
    """
    return _by("rate", Facts("outcomes", "lead", {"outcome": outcome}), by, window)


def recent(outcome: str, by: Feature, window: str | None = None) -> Feature:
    """How many leads of the same segment ended as ``outcome``, as far as is known (see rate)."""
    return _by("recent", Facts("outcomes", "lead", {"outcome": outcome}), by, window)


def open_leads(by: Feature) -> Feature:
    """How many leads of the same segment are open, itself included: the load of an owner.

    ``by`` is a text attribute or the latest value of one field, such as
    ``changes("owner").latest()``.
    """
    if by.source == "events":
        raise DeclarationError(
            f"open_leads by {by.name}: use an attribute or changes(...).latest()"
        )
    return _by("open_leads", Facts("leads", "lead", {}), by, None)


def _by(aggregate: Aggregate, facts: Facts, by: Feature, window: str | None) -> Feature:
    plain = by.aggregate == "attribute" or (by.aggregate == "latest" and by.window is None)
    if not plain or by.type != "text" or by.scope != "lead":
        raise DeclarationError(
            f"{aggregate} by {by.name}: use a text attribute, or the latest text of a field or of "
            "the lead's own events, without a window"
        )
    if by.source == "changes" and [len(values) for _, values in by.where] != [1]:
        raise DeclarationError(f"{aggregate} by {by.name}: name one field")
    return facts._feature(aggregate, window=window, by=by)


class FeatureSet:
    """An ordered, immutable set of features with one fingerprint.

    Raises :class:`DeclarationError` when two features have one name or a name cannot be written.
    """

    def __init__(self, features: Iterable[Feature]) -> None:
        self.features = tuple(features)
        self.names = tuple(feature.name for feature in self.features)
        repeated = sorted({name for name in self.names if self.names.count(name) > 1})
        if repeated:
            raise DeclarationError(f"declared twice: {', '.join(repeated)}: leave one of each")
        for feature in self.features:
            if feature.column is not None and _CONTROL.search(feature.column):
                raise DeclarationError(f"column {feature.column!r} cannot be named: rename it")

    def __len__(self) -> int:
        return len(self.features)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FeatureSet) and self.features == other.features

    def __hash__(self) -> int:
        return hash(self.features)

    def __add__(self, more: Iterable[Feature]) -> FeatureSet:
        return FeatureSet((*self.features, *more))

    def __repr__(self) -> str:
        return f"FeatureSet({len(self)} features, {self.fingerprint[:12]})"

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the declarations in their order; a mismatch is refused wherever it is met."""
        return hashlib.sha256(self.to_json()).hexdigest()

    def to_json(self) -> bytes:
        """The declarations as canonical JSON."""
        return msgspec.json.encode(self.features, order="deterministic")

    @staticmethod
    def from_json(text: bytes | str) -> FeatureSet:
        """Read what :meth:`to_json` wrote; raises ``msgspec.ValidationError`` for anything else."""
        return FeatureSet(msgspec.json.decode(text, type=tuple[Feature, ...]))


def describe(features: FeatureSet) -> list[dict[str, str]]:
    """One record a column: name, type, unit, null meaning, sentence, group."""
    return [
        {
            "name": f.name,
            "type": f.type,
            "unit": f.unit,
            "null": f.null,
            "sentence": f.sentence,
            "group": f.group,
        }
        for f in features.features
    ]


__all__ = [
    "DeclarationError", "Facts", "Feature", "FeatureSet", "account_events", "age", "attribute",
    "changes", "describe", "events", "open_leads", "other_events", "other_leads", "other_outcomes",
    "rate", "recent",
]  # fmt: skip
