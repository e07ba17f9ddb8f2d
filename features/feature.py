"""One feature: an immutable definition, its name, and what it says of itself."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Literal

import msgspec

from features import words
from features.times import duration_text

Aggregate = Literal[
    "count", "sum", "mean", "min", "max", "std", "distinct", "since_first", "since_last", "latest",
    "ratio", "trend", "decayed", "mean_gap", "share", "open", "last_hour", "last_weekday",
    "business", "previous", "last_gap", "regularity", "entropy", "response", "rate", "recent",
    "open_leads", "attribute", "age",
]  # fmt: skip
Source = Literal["events", "changes", "outcomes", "leads"]
Scope = Literal["lead", "account", "others"]
Type = Literal["number", "text"]
Where = tuple[tuple[str, tuple[str, ...]], ...]

ORDERED = ("previous", "last_gap", "regularity", "response")
"""Aggregates that need the visible facts in their order, not only as a set."""

SEGMENT = ("rate", "recent", "open_leads")
"""Aggregates over all leads of one segment: they need the whole history, not one lead's."""

HEAD = {"events": "kind", "changes": "field", "outcomes": "outcome", "leads": ""}
"""The column that says what sort of fact a row of a source is."""

ID = {"events": "event_id", "changes": "change_id", "outcomes": "outcome", "leads": "lead_id"}
AT = {"events": "occurred_at", "changes": "known_at", "outcomes": "occurred_at",
       "leads": "created_at"}  # fmt: skip
KNOWN = {**dict.fromkeys(ID, "known_at"), "leads": "created_at"}
"""The columns of each source that tell a fact apart, when it was, and since when it is known."""

_PLAIN = re.compile(
    r"(?!(?:events|changes|outcomes|leads)$|(?:changes |outcomes |)of )"
    r"[\w.+-]+(?:(?! of(?: |$))[ :/][\w.+-]+)*"
)


class Feature(msgspec.Struct, frozen=True, omit_defaults=True, dict=True):
    """One column: an aggregate over the facts of a lead visible at as_of.

    Build it with the functions of :mod:`features.language`. Windows are microseconds before as_of:
    ``as_of - window <= occurred_at``.

    - ``scope``: facts of the lead, of all leads of its account, or of the others of them
    - ``against``: the longer window of a ratio or trend; ``half_life`` of a decayed count
    - ``back``: how many facts before the latest; ``offset``: local time minus UTC, microseconds
    - ``other``: the second selection of facts; ``by``: the text feature that names a segment
    """

    aggregate: Aggregate
    source: Source
    where: Where = ()
    column: str | None = None
    window: int | None = None
    against: int | None = None
    scope: Scope = "lead"
    type: Type = "number"
    half_life: int | None = None
    back: int | None = None
    offset: int | None = None
    other: Where | None = None
    by: Feature | None = None

    @property
    def of_facts(self) -> bool:
        """Whether it aggregates facts; else it is read off the lead itself."""
        return self.source != "leads" or self.scope == "others" or self.by is not None

    @property
    def ordered(self) -> bool:
        """Whether the visible facts are needed in their order."""
        return self.aggregate in ORDERED or (
            # What is the latest depends on who the lead is: no fact is it for the whole account.
            self.aggregate == "latest" and self.scope == "others"
        )

    @property
    def reads(self) -> list[tuple[Source, str, Type]]:
        """The columns it reads beyond ids and times: (table, column, type)."""
        found: list[tuple[Source, str, Type]] = [
            (self.source, field, "text") for field, _ in (*self.where, *(self.other or ()))
        ]
        if self.column is not None:
            texts = self.aggregate in ("distinct", "entropy")
            found.append((self.source, self.column, "text" if texts else self.type))
        return found if self.by is None else [*found, *self.by.reads]

    @property
    def segment(self) -> bool:
        """Whether it needs the whole history, not the lead's or its account's alone."""
        return self.by is not None

    @cached_property
    def name(self) -> str:
        """The column's name, derived from the definition; two definitions never share one."""
        if not self.of_facts:
            return "age()" if self.aggregate == "age" else _quote(str(self.column))
        arguments = [self._subject]
        if self.other is not None:
            arguments.append(f"{_JOINING[self.aggregate]} {_facts(self.source, self.other)}")
        if self.by is not None:
            arguments.append(f"by {self.by.name}")
        if self.back not in (None, 1):
            arguments.append(f"{self.back} back")
        if self.half_life is not None:
            arguments.append(f"half-life {duration_text(self.half_life)}")
        if self.aggregate in ("ratio", "trend"):
            arguments.append(f"{_window(self.window)}/{_window(self.against)}")
        elif self.window is not None:
            arguments.append(_window(self.window))
        if self.offset:
            sign = "-" if self.offset < 0 else "+"
            arguments.append(f"UTC{sign}{duration_text(abs(self.offset))}")
        prefix = "" if self.scope == "lead" else f"{self.scope}."
        return f"{prefix}{self.aggregate}({', '.join(arguments)})"

    @cached_property
    def unit(self) -> str:
        """What the number counts: ``events``, ``days``, ``share``, or the column's own unit."""
        return words.unit(self)

    @property
    def empty(self) -> float | None:
        """What the column holds when no fact is visible: 0 for counts and sums, else null."""
        return 0.0 if self.aggregate in ("count", "sum", "distinct", "decayed", "open") else None

    @cached_property
    def null(self) -> str:
        """What a missing value means."""
        return words.null(self)

    @cached_property
    def group(self) -> Literal["fit", "engagement"]:
        """Whether the column says who the lead is or what was done."""
        return "fit" if self.aggregate == "attribute" or self.segment else "engagement"

    @cached_property
    def sentence(self) -> str:
        """The definition in a marketer's words: ``number of 'call' events in the last 7 days``."""
        return words.sentence(self)

    @property
    def _subject(self) -> str:
        facts = _facts(self.source, self.where)
        of_field = (self.source, self.aggregate, self.column) == ("changes", "latest", "value")
        if self.column is None or of_field:
            return facts
        return f"{_quote(self.column)} of {facts}"


_JOINING = {"response": "to", "open": "until"}


def _facts(source: Source, where: Where) -> str:
    named = dict(where)
    head = named.pop(HEAD[source], None)
    text = "|".join(map(_quote, head)) if head else str(source)
    if head and source in ("changes", "outcomes"):
        text = f"{source} of {text}"
    for field, values in named.items():
        text += f" [{_quote(field)}={'|'.join(map(_quote, values))}]"
    return text


def _quote(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else msgspec.json.encode(text).decode()


def _window(window: int | None) -> str:
    return "always" if window is None else duration_text(window)
