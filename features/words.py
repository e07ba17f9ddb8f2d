"""A feature in the words of a marketer: its sentence, its unit, what a missing value means."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from features.times import MINUTE, duration_text

if TYPE_CHECKING:
    from features.feature import Feature, Where

_LONG = {"d": "day", "h": "hour", "m": "minute", "s": "second", "us": "microsecond"}

_UNITS = {
    "distinct": "values", "since_first": "days", "since_last": "days", "age": "days",
    "mean_gap": "days", "last_gap": "days", "response": "days", "ratio": "share", "share": "share",
    "business": "share", "rate": "share", "trend": "times", "regularity": "times",
    "entropy": "nats", "open_leads": "leads",
    "last_hour": "hour of day", "last_weekday": "day of week, Monday 0",
}  # fmt: skip

_NULLS = {
    "ratio": "no {facts} in the longer window",
    "trend": "no {facts} in the longer window",
    "mean_gap": "fewer than two {facts}{window}",
    "last_gap": "fewer than two {facts}{yet}",
    "regularity": "fewer than three {facts}{window}, or all at one time",
    "response": "no {facts} answered{window}{yet}",
    "previous": "fewer than {needed} {facts}{yet}, or that one carries no '{column}'",
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
    "previous": "{column} of the {one} {back}before the latest one",
    "ratio": "share of {many} {whole} that fall in the last {short}",
    "trend": "daily number of {many} in the last {short}, as a multiple of that {whole}",
    "decayed": "number of {many}, older ones counting less (half after {half_life})",
    "mean_gap": "average days from one {one} to the next{within}",
    "last_gap": "days between the two latest {many}",
    "regularity": "unevenness of the gaps between {many}{within} (0 like clockwork, 1 at random)",
    "entropy": "variety of {column} among {many}{within} (0 when all are the same)",
    "share": "share of all {everything}{within} that are {those}",
    "open": "number of {many} without a matching {other}",
    "last_hour": "hour of the day of the last {one}{local}",
    "last_weekday": "day of the week of the last {one}{local}",
    "business": "share of {many}{within} on Monday to Friday from 9 to 18 o'clock{local}",
    "response": "average days from one {other}{within} to the {that} right after it{scope}",
    "rate": "share of {outcome} among outcomes of leads of the same {segment}{within}, "
    "drawn towards that of all leads while they are few",
    "recent": "number of leads of the same {segment} that ended as {outcome}{within}",
    "open_leads": "number of open leads of the same {segment}, this one included",
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
    if feature.aggregate in ("decayed", "open"):
        return f"{'weighted' if feature.aggregate == 'decayed' else 'open'} {feature.source}"
    return "text" if feature.type == "text" else f"unit of {feature.column}"


def null(feature: Feature) -> str:
    """What a missing value means."""
    if feature.empty is not None:
        return "never missing"
    window = "" if feature.window is None else " in the window"
    yet = "" if window else " yet"
    if feature.by is not None:
        nothing = f", or no outcome is known{window}{yet}" if feature.aggregate == "rate" else ""
        return f"{segment(feature)} not known{nothing}"
    if feature.aggregate in ("ratio", "trend") and feature.against is None:
        return f"no {feature.source} yet"
    text = _NULLS.get(feature.aggregate)
    if text is None and feature.column is None:
        text = "no {facts}{window}{yet}"
    elif feature.aggregate == "std":
        text = "fewer than two {facts}{window} that carry '{column}'"
    elif text is None:
        text = "no {facts}{window} that carry '{column}'"
    needed = 1 + (feature.back or 0)
    return text.format(
        facts=feature.source, window=window, yet=yet, column=feature.column, needed=needed
    )


def sentence(feature: Feature) -> str:
    """The definition in a marketer's words: ``number of 'call' events in the last 7 days``."""
    if not feature.of_facts:
        if feature.aggregate == "age":
            return "days since the lead was created"
        return _words(str(feature.column))
    one, many = _nouns(feature, feature.where)
    scope = _SCOPES[feature.scope]
    column = "value" if feature.column == "value" else f"'{_words(feature.column or '')}'"
    whole = f"in the last {_long(feature.against)}" if feature.against else "so far"
    return _SENTENCES[feature.aggregate].format(
        one=one,
        many=many,
        that=one.removesuffix(scope),
        those=many.removesuffix(scope),
        other=_nouns(feature, feature.other or ())[0].removesuffix(scope),
        everything=_nouns(feature, ())[1],
        scope=scope,
        within=f" in the last {_long(feature.window)}" if feature.window else "",
        short=_long(feature.window) if feature.window else "",
        whole=whole,
        half_life=_long(feature.half_life) if feature.half_life else "",
        column=column,
        values="values" if column == "value" else f"{column} values",
        outcome=_either(dict(feature.where).get("outcome", ())),
        back="" if feature.back in (None, 1) else f"{feature.back} ",
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
        return "other lead created in the account", "other leads created in the account"
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
    """``+5:30``, ``-5``, or nothing for UTC itself."""
    hours, minutes = divmod(abs(offset or 0) // MINUTE, 60)
    sign = "-" if (offset or 0) < 0 else "+"
    return f"{sign}{hours}{f':{minutes:02}' if minutes else ''}" if offset else ""


def _long(window: int | None) -> str:
    """A window in words: ``7 days``, ``1 day``, ``36 hours``."""
    assert window is not None
    text = duration_text(window)
    number = text.rstrip("dhmsu")
    unit = _LONG[text.removeprefix(number)]
    return f"{number} {unit}{'' if number == '1' else 's'}"
