"""The declarations: what to know about a lead, as an immutable value.

>>> declared = FeatureSet([
...     events("call").count("7d"),
...     events("call").sum("value", "30d"),
...     events(channel="web").since_last(),
...     account_events("demo_request").count(),
...     changes("stage").latest(),
...     attribute("industry", "text"),
... ])
>>> declared.names[0]
'count(call, 7d)'
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import cached_property
from typing import Literal

import msgspec

from features.times import duration, duration_text

Aggregate = Literal[
    "count", "sum", "mean", "min", "max", "distinct",
    "since_first", "since_last", "latest", "ratio", "attribute", "age",
]  # fmt: skip
Type = Literal["number", "text"]

_PLAIN = re.compile(r"(?!events$|changes$|changes of |of )[\w.+-]+(?:(?! of(?: |$))[ :/][\w.+-]+)*")
_UNITS = {"d": "day", "h": "hour", "m": "minute", "s": "second", "us": "microsecond"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class DeclarationError(ValueError):
    """A feature that cannot be declared; the message says why and what to write instead."""


class Feature(msgspec.Struct, frozen=True, omit_defaults=True):
    """One column: an aggregate over the facts of a lead (or its account) visible at as_of.

    Build it with :func:`events`, :func:`account_events`, :func:`changes`, :func:`attribute` and
    :func:`age`. Windows are microseconds before as_of: ``as_of - window <= occurred_at``.
    """

    aggregate: Aggregate
    source: Literal["events", "changes", "leads"]
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()
    column: str | None = None
    window: int | None = None
    against: int | None = None
    scope: Literal["lead", "account"] = "lead"
    type: Type = "number"

    @property
    def name(self) -> str:
        """The column's name, derived from the definition; two definitions never share one."""
        if self.source == "leads":
            return "age()" if self.aggregate == "age" else _quote(str(self.column))
        arguments = self._facts
        of_field = (self.source, self.aggregate, self.column) == ("changes", "latest", "value")
        if self.column is not None and not of_field:
            arguments = f"{_quote(self.column)} of {arguments}"
        if self.aggregate == "ratio":
            arguments += f", {_window(self.window)}/{_window(self.against)}"
        elif self.window is not None:
            arguments += f", {_window(self.window)}"
        prefix = "account." if self.scope == "account" else ""
        return f"{prefix}{self.aggregate}({arguments})"

    @property
    def _facts(self) -> str:
        named = dict(self.where)
        head = named.pop("field" if self.source == "changes" else "kind", None)
        text = "|".join(map(_quote, head)) if head else self.source
        if self.source == "changes":
            text = f"changes of {text}"
        for field, values in named.items():
            text += f" [{_quote(field)}={'|'.join(map(_quote, values))}]"
        return text

    @property
    def unit(self) -> str:
        """What the number counts: ``events``, ``days``, ``share``, or the column's own unit."""
        if self.aggregate in ("count", "distinct"):
            return self.source if self.aggregate == "count" else "values"
        if self.aggregate in ("since_first", "since_last", "age"):
            return "days"
        if self.aggregate == "ratio":
            return "share"
        return "text" if self.type == "text" else f"unit of {self.column}"

    @property
    def empty(self) -> float | None:
        """What the column holds when no fact is visible: 0 for counts and sums, else null."""
        return 0.0 if self.aggregate in ("count", "sum", "distinct") else None

    @property
    def null(self) -> str:
        """What a missing value means."""
        if self.empty is not None:
            return "never missing"
        if self.source == "leads":
            return "lead not created yet" if self.aggregate == "age" else "not known at creation"
        facts, window = self.source, "" if self.window is None else " in the window"
        if self.aggregate == "ratio":
            return f"no {facts} in the longer window" if self.against else f"no {facts} yet"
        if self.aggregate in ("since_first", "since_last"):
            return f"no {facts}{window or ' yet'}"
        if self.aggregate == "latest":
            return f"no {facts}{window or ' yet'}, or the latest carries no '{self.column}'"
        return f"no {facts}{window} that carry '{self.column}'"

    @property
    def group(self) -> Literal["fit", "engagement"]:
        """Whether the column says who the lead is or what was done."""
        return "fit" if self.aggregate == "attribute" else "engagement"

    @property
    def sentence(self) -> str:
        """The definition in a marketer's words: ``number of 'call' events in the last 7 days``."""
        return _sentence(self)


def _quote(text: str | None) -> str:
    assert text is not None
    return text if _PLAIN.fullmatch(text) else msgspec.json.encode(text).decode()


def _window(window: int | None) -> str:
    return "always" if window is None else duration_text(window)


def _sentence(feature: Feature) -> str:
    if feature.source == "leads":
        if feature.aggregate == "age":
            return "days since the lead was created"
        return _words(str(feature.column))
    one, many = _nouns(feature)
    within = f" in the last {_long(feature.window)}" if feature.window else ""
    column = "value" if feature.column == "value" else f"'{_words(feature.column or '')}'"
    match feature.aggregate:
        case "count":
            return f"number of {many}{within}"
        case "since_first" | "since_last":
            return f"days since the {feature.aggregate.removeprefix('since_')} {one}{within}"
        case "ratio":
            whole = f"in the last {_long(feature.against)}" if feature.against else "so far"
            return f"share of {many} {whole} that fall in the last {_long(feature.window)}"
        case "distinct":
            values = "values" if column == "value" else f"{column} values"
            return f"number of different {values} of {many}{within}"
        case "latest":
            return f"{column} of the latest {one}{within}"
    statistic = {"sum": "total", "mean": "average", "min": "smallest", "max": "largest"}
    return f"{statistic[feature.aggregate]} {column} of {many}{within}"


def _nouns(feature: Feature) -> tuple[str, str]:
    """One of the facts and many: ``'call' event``, ``'call' events``."""
    named = dict(feature.where)
    scope = " across the account" if feature.scope == "account" else ""
    if feature.source == "changes":
        noun = ("change", "changes")
        tail = f" of {_either(named.pop('field'))}" if "field" in named else ""
    else:
        kinds = f"{_either(named.pop('kind'))} " if "kind" in named else ""
        noun, tail = (f"{kinds}event", f"{kinds}events"), ""
    tail += "".join(f" with {_words(field)} {_either(values)}" for field, values in named.items())
    return noun[0] + tail + scope, noun[1] + tail + scope


def _either(values: Iterable[str]) -> str:
    return " or ".join(f"'{_words(value)}'" for value in values)


def _words(text: str) -> str:
    return re.sub(r"[_\s]+", " ", text).strip()


def _long(window: int | None) -> str:
    """A window in words: ``7 days``, ``1 day``, ``36 hours``."""
    assert window is not None
    text = duration_text(window)
    number = text.rstrip("dhmsu")
    unit = _UNITS[text.removeprefix(number)]
    return f"{number} {unit}{'' if number == '1' else 's'}"


class Facts:
    """A selection of facts; its methods are the features over it."""

    def __init__(self, source: Literal["events", "changes"], scope: Literal["lead", "account"],
                 where: dict[str, str | Iterable[str] | None]) -> None:  # fmt: skip
        self._source: Literal["events", "changes"] = source
        self._scope: Literal["lead", "account"] = scope
        self._where = tuple(
            (field, _values(field, values))
            for field, values in sorted(where.items())
            if values is not None
        )

    def _feature(self, aggregate: Aggregate, column: str | None = None, window: str | None = None,
                 against: str | None = None, type: Type = "number") -> Feature:  # fmt: skip
        return Feature(
            aggregate=aggregate,
            source=self._source,
            where=self._where,
            column=column,
            window=_length(window),
            against=_length(against),
            scope=self._scope,
            type=type,
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

    def distinct(self, column: str, window: str | None = None) -> Feature:
        """How many different values of a text column."""
        return self._feature("distinct", column, window)

    def since_first(self, window: str | None = None) -> Feature:
        """Days since the first one."""
        return self._feature("since_first", window=window)

    def since_last(self, window: str | None = None) -> Feature:
        """Days since the last one."""
        return self._feature("since_last", window=window)

    def latest(self, column: str = "value", type: Type = "text", window: str | None = None
               ) -> Feature:  # fmt: skip
        """The value the latest fact carries; ties in time are broken by the fact's id."""
        return self._feature("latest", column, window, type=type)

    def ratio(self, short: str, long: str | None = None) -> Feature:
        """Count in the short window over the count in the long one (no window: whole history)."""
        if long is not None and duration(short) >= duration(long):
            raise DeclarationError(f"ratio({short}, {long}): the first window must be the shorter")
        return self._feature("ratio", window=short, against=long)


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


def events(kind: str | Iterable[str] | None = None, **where: str | Iterable[str] | None) -> Facts:
    """Events of the lead, by kind and by any text column: ``events("call", channel="phone")``."""
    return Facts("events", "lead", {"kind": kind, **where})


def account_events(kind: str | Iterable[str] | None = None,
                   **where: str | Iterable[str] | None) -> Facts:  # fmt: skip
    """Events of all leads of the lead's account, itself included.

    Another lead counts from its creation on (``created_at < as_of``).
    """
    return Facts("events", "account", {"kind": kind, **where})


def changes(field: str | Iterable[str]) -> Facts:
    """The CRM's history of a field: ``changes("stage").latest()``."""
    return Facts("changes", "lead", {"field": field})


def attribute(column: str, type: Type) -> Feature:
    """An attribute known at creation; null at or before it."""
    return Feature(aggregate="attribute", source="leads", column=column, type=type)


def age() -> Feature:
    """Days since the lead was created."""
    return Feature(aggregate="age", source="leads")


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
    "DeclarationError", "Facts", "Feature", "FeatureSet", "account_events", "age",
    "attribute", "changes", "describe", "events",
]  # fmt: skip
