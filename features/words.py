"""A feature in the words of a marketer: its sentence, its unit, what a missing value means."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from features.times import duration_text

if TYPE_CHECKING:
    from features.feature import Feature, Where

_LONG = {"d": "day", "h": "hour", "m": "minute", "s": "second", "us": "microsecond"}

_UNITS = {
    "distinct": "values", "since_first": "days", "since_last": "days", "age": "days",
    "mean_gap": "days", "last_gap": "days", "response": "days", "ratio": "share", "share": "share",
    "business": "share", "rate": "share", "trend": "times", "regularity": "times",
    "entropy": "nats", "open": "open", "open_leads": "leads",
    "last_hour": "hour of day", "last_weekday": "day of week, Monday 0",
}  # fmt: skip

_NULLS = {
    "ratio": "no {facts} in the longer window",
    "trend": "no {facts} in the longer window",
    "mean_gap": "fewer than two {facts}{window}",
    "last_gap": "fewer than two {facts}{yet}",
    "regularity": "fewer than three {facts}{window}, or all at one time",
    "response": "no such answer{window}{yet}",
    "previous": "not so many {facts}{yet}, or that one carries no '{column}'",
    "latest": "no {facts}{window}{yet}, or the latest carries no '{column}'",
    "attribute": "not known at creation",
    "age": "lead not created yet",
}

_SENTENCES = {
    "count": "number of {many}{within}",
    "sum": "total {column} of {many}{within}",
    "mean": "average {column} of {many}{within}",
    "min": "smallest {column} of {many}{within}",
    "max": "largest {column} of {many}{within}",
    "std": "standard deviation of {column} of {many}{within}",
    "distinct": "number of different {values} of {many}{within}",
    "since_first": "days since the first {one}{within}",
    "since_last": "days since the last {one}{within}",
    "latest": "{column} of the latest {one}{within}",
    "previous": "{column} of {before} the latest {one}",
    "ratio": "share of {many} {whole} that fall in the last {short}",
    "trend": "pace of {many} in the last {short} against that {whole}",
    "decayed": "number of {many}, each worth half as much every {half_life}",
    "mean_gap": "average days from one of {many} to the next{within}",
    "last_gap": "days between the two latest {many}",
    "regularity": "spread of the gaps between {many}{within}, over their average",
    "entropy": "variety of {column} among {many}{within}",
    "share": "share of all {source} that are {many}{within}",
    "open": "number of {many} without one of {others} yet",
    "last_hour": "hour of the day of the last {one}{local}",
    "last_weekday": "day of the week of the last {one}{local}",
    "business": "share of {many}{within} that fall in business hours{local}",
    "response": "average days from one of {others} to one of {many} right after it{within}",
    "rate": "share of leads of the same {segment} that ended as {outcome}{within}",
    "recent": "number of leads of the same {segment} that ended as {outcome}{within}",
    "open_leads": "number of open leads of the same {segment}",
}


_SCOPES = {
    "lead": "", "account": " across the account", "others": " of other leads of the account",
}  # fmt: skip


def unit(feature: Feature) -> str:
    """What the number counts: ``events``, ``days``, ``share``, or the column's own unit."""
    if feature.aggregate in _UNITS:
        return _UNITS[feature.aggregate]
    if feature.aggregate in ("count", "recent"):
        return feature.source
    if feature.aggregate == "decayed":
        return f"weighted {feature.source}"
    return "text" if feature.type == "text" else f"unit of {feature.column}"


def null(feature: Feature) -> str:
    """What a missing value means."""
    if feature.empty is not None:
        return "never missing"
    if feature.by is not None:
        nothing = ", or no outcome is known yet" if feature.aggregate == "rate" else ""
        return f"{segment(feature)} not known{nothing}"
    window = "" if feature.window is None else " in the window"
    yet = "" if window else " yet"
    if feature.aggregate in ("ratio", "trend") and feature.against is None:
        return f"no {feature.source} yet"
    text = _NULLS.get(feature.aggregate)
    if text is None and feature.column is None:
        text = "no {facts}{window}{yet}"
    elif feature.aggregate == "std":
        text = "fewer than two {facts}{window} that carry '{column}'"
    elif text is None:
        text = "no {facts}{window} that carry '{column}'"
    return text.format(facts=feature.source, window=window, yet=yet, column=feature.column)


def sentence(feature: Feature) -> str:
    """The definition in a marketer's words: ``number of 'call' events in the last 7 days``."""
    if not feature.of_facts:
        if feature.aggregate == "age":
            return "days since the lead was created"
        return _words(str(feature.column))
    one, many = _nouns(feature, feature.where)
    back = feature.back or 1
    column = "value" if feature.column == "value" else f"'{_words(feature.column or '')}'"
    whole = f"in the last {_long(feature.against)}" if feature.against else "so far"
    return _SENTENCES[feature.aggregate].format(
        one=one,
        many=many,
        others="" if feature.other is None else _nouns(feature, feature.other)[1],
        within=f" in the last {_long(feature.window)}" if feature.window else "",
        short=_long(feature.window) if feature.window else "",
        whole=whole,
        half_life=_long(feature.half_life) if feature.half_life else "",
        column=column,
        values="values" if column == "value" else f"{column} values",
        source=feature.source,
        outcome=_either(dict(feature.where).get("outcome", ())),
        before="the one before" if back == 1 else f"the one {back} before",
        segment=segment(feature),
        local=f" (UTC{_offset(feature.offset)})",
    )


def segment(feature: Feature) -> str:
    """What the leads of a segment have in common: ``industry``, ``owner``."""
    by = feature.by
    if by is None:
        return ""
    if by.source == "changes":
        return _either(dict(by.where)["field"])
    return f"'{_words(str(by.column))}'"


def _nouns(feature: Feature, where: Where) -> tuple[str, str]:
    """One of the facts and many: ``'call' event``, ``'call' events``."""
    named = dict(where)
    if feature.source == "leads":
        return "other lead of the account", "other leads of the account"
    if feature.source == "changes":
        noun = ("change", "changes")
        tail = f" of {_either(named.pop('field'))}" if "field" in named else ""
    else:
        head = named.pop("kind", None) or named.pop("outcome", None)
        kinds = f"{_either(head)} " if head else ""
        word = feature.source.removesuffix("s")
        noun, tail = (f"{kinds}{word}", f"{kinds}{word}s"), ""
    tail += "".join(f" with {_words(field)} {_either(values)}" for field, values in named.items())
    tail += _SCOPES[feature.scope]
    return noun[0] + tail, noun[1] + tail


def _either(values: Iterable[str]) -> str:
    return " or ".join(f"'{_words(value)}'" for value in values)


def _words(text: str) -> str:
    return re.sub(r"[_\s]+", " ", text).strip()


def _offset(offset: int | None) -> str:
    if not offset:
        return ""
    return ("-" if offset < 0 else "+") + _long(abs(offset))


def _long(window: int | None) -> str:
    """A window in words: ``7 days``, ``1 day``, ``36 hours``."""
    assert window is not None
    text = duration_text(window)
    number = text.rstrip("dhmsu")
    unit = _LONG[text.removeprefix(number)]
    return f"{number} {unit}{'' if number == '1' else 's'}"
