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
import inspect
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import msgspec

from features.facts import CONTROL, DeclarationError, Facts
from features.feature import Aggregate, Feature, Scope, Source, Type
from features.times import HOUR, duration_text


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
    if isinstance(by, Feature) and by.source == "events":
        raise DeclarationError(
            f"open_leads by {by.name}: use an attribute or changes(...).latest()"
        )
    return _by("open_leads", Facts("leads", "lead", {}), by, None)


def _by(aggregate: Aggregate, facts: Facts, by: Feature, window: str | None) -> Feature:
    if not isinstance(by, Feature):
        raise DeclarationError(f'{aggregate} by {by!r}: write attribute("industry", "text"), say')
    plain = by.aggregate == "attribute" or (by.aggregate == "latest" and by.window is None)
    if not plain or by.type != "text" or by.scope != "lead":
        raise DeclarationError(
            f"{aggregate} by {by.name}: use a text attribute, or the latest text of a field or of "
            "the lead's own events, without a window"
        )
    if by.source == "changes" and [len(values) for _, values in by.where] != [1]:
        raise DeclarationError(f"{aggregate} by {by.name}: name one field")
    return facts._feature(aggregate, window=window, by=by)


_SELECTIONS: dict[tuple[Source, Scope], Callable[..., Facts]] = {
    ("events", "lead"): events,
    ("events", "account"): account_events,
    ("events", "others"): other_events,
    ("changes", "lead"): changes,
    ("outcomes", "others"): other_outcomes,
    ("leads", "others"): other_leads,
}


_OF_LEADS: dict[str, Callable[..., Feature]] = {
    "attribute": attribute, "age": age, "rate": rate, "recent": recent, "open_leads": open_leads,
}  # fmt: skip


def _check(feature: Feature) -> None:
    """Raise :class:`DeclarationError` for what the functions above refuse or cannot declare."""
    fault = "no function of the language declares it so"
    try:
        if _declared(feature) == feature:
            return
    except DeclarationError as error:
        fault = str(error)
    except (AttributeError, KeyError, TypeError):
        pass
    raise DeclarationError(f"{msgspec.json.encode(feature).decode()}: {fault}")


def _declared(feature: Feature) -> Feature:
    """The feature as the functions above declare it."""
    build: Callable[..., Feature]
    texts = {name: length and duration_text(length) for name, length in (
        ("window", feature.window), ("long", feature.against), ("half_life", feature.half_life),
    )}  # fmt: skip
    given: dict[str, Any] = {**texts, "short": texts["window"], "column": feature.column,
        "type": feature.type, "back": feature.back, "utc_offset": (feature.offset or 0) / HOUR,
        "outcome": dict(feature.where).get("outcome"), "by": feature.by and _declared(feature.by),
    }  # fmt: skip
    if feature.of_facts and feature.by is None:
        select = _SELECTIONS[feature.source, feature.scope]
        build = getattr(select(**dict(feature.where)), feature.aggregate)
        given["to"] = given["ended"] = feature.other and select(**dict(feature.other))
    else:
        build = _OF_LEADS[feature.aggregate]
    return build(**{name: given[name] for name in inspect.signature(build).parameters
                    if given[name] is not None})  # fmt: skip


FINGERPRINT = b"leadcast.features"
"""Under this key the metadata of a Parquet file say which feature set its columns are of."""


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
            if feature.column is not None and CONTROL.search(feature.column):
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
        """Read what :meth:`to_json` wrote.

        Raises ``msgspec.ValidationError`` for what are no features, :class:`DeclarationError` for
        those that the functions of this module refuse or cannot declare.
        """
        found = msgspec.json.decode(text, type=tuple[Feature, ...])
        for feature in found:
            _check(feature)
        return FeatureSet(found)


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
