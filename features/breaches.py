"""What can be wrong with data: every code, what it means, what to do, and how it is told."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

_SHOWN, _WIDTH = 5, 60

_SAYS = {  # code: (problem, remedy)
    "missing-file": ("there is no such file", "correct the path"),
    "missing-driver": ("what reads this address is not installed", "then load again"),
    "unreadable-table": (
        "the table cannot be read",
        "correct the address, the table or the query",
    ),
    "broken-file": ("the file cannot be read", "write the file again, whole"),
    "wrong-encoding": (
        "the file is not in the declared encoding",
        'declare what it is, such as encoding = "latin-1"',
    ),
    "empty-table": ("there are no rows", "check the export that should have filled it"),
    "missing-column": ("there is no such column", "add it, or map the column that holds it"),
    "unknown-column": ("the contract has no such column", "leave it out, or correct its name"),
    "duplicate-column": (
        "another column has this name, but for capitals at most",
        "rename or drop all but one",
    ),
    "reserved-column": ("the name has a meaning of its own", "rename it, or leave it out"),
    "unnamed-column": ("a name must be visible text", "name the column"),
    "unknown-kind": ("no event has this kind", "correct it, or leave it out"),
    "missing-id": ("no id", "give every row its id"),
    "id-not-text": (
        "not text: leading zeros of ids are lost when they are read as numbers",
        "read the column as text, dtype=str (of a database: CAST(... AS TEXT))",
    ),
    "missing-time": ("no time", "write the time, or drop the row"),
    "unparsable-time": (
        "not an ISO 8601 time",
        "write it as 2024-05-31 or 2024-05-31T13:00:00+02:00",
    ),
    "mixed-time-zones": (
        "no offset, where other values of the column have one",
        "write an offset in every value of the column, or in none",
    ),
    "ambiguous-time": ("the clocks showed this local time twice", "write its offset"),
    "nonexistent-time": ("the clocks skipped this local time", "write its offset"),
    "year-out-of-range": ("before 1900 or after 2199", "correct it"),
    "known-before-occurred": (
        "known before it occurred",
        "correct the two times, or leave known_at empty",
    ),
    "missing-kind": ("no kind", "name the kind, or drop the row"),
    "missing-field": ("no field", "name the field that changed, or drop the row"),
    "missing-outcome": ("no outcome", "name the outcome, or drop the row: open leads have none"),
    "not-text": ("neither text, number nor time", "write it as plain text"),
    "nul-character": ("text with a NUL character", "take the character out"),
    "not-a-number": ("not a number", "write digits and a point, such as 1234.5"),
    "not-finite": ("an infinite number", "correct it, or leave it empty"),
    "negative-value": ("below zero", "write an amount of 0 or more, or leave it empty"),
    "unknown-outcome": ("not a declared outcome", "write it, or map it, as a declared one"),
    "currencies": (
        "another currency than that of most won deals",
        "convert the values, or declare in [outcomes] what one of each currency is worth, such as "
        "rates = { EUR = 1.0, USD = 0.92 }",
    ),
    "no-rate": (
        "a deal value in a currency without a rate",
        "add what one of it is worth to rates in [outcomes], or name the row's currency",
    ),
    "duplicate-id": (
        "the id of an earlier row, with different content",
        "keep the row that is right, or give the other an id of its own",
    ),
    "conflicting-duplicate": (
        "the lead has this outcome already, with different content",
        "keep the row that is right",
    ),
    "unknown-lead": ("leads have no such lead", "add the lead, or drop the row"),
    "quarantined-lead": ("its lead is in quarantine", "correct the lead, then load both again"),
    "outcome-before-creation": (
        "the outcome occurred before its lead was created",
        "correct occurred_at, or the lead's created_at",
    ),
}


@dataclass(frozen=True)
class Breach:
    """One breach of the data contract: of a row, or of a whole table when ``row`` is None.

    ``row`` counts the rows of data from 1; ``value`` is the first 60 characters of what is there.
    """

    code: str
    table: str
    row: int | None
    field: str | None
    value: str | None
    problem: str
    remedy: str


class ContractError(ValueError):
    """All the ``breaches`` of the data contract; the message shows the first of every sort."""

    def __init__(self, breaches: Iterable[Breach]) -> None:
        self.breaches = tuple(breaches)
        super().__init__(_message(self.breaches))


def breach(
    code: str,
    table: str,
    field: str | None = None,
    value: object = None,
    row: int | None = None,
    hint: str = "",
) -> Breach:
    """Build a breach from its code; ``hint`` goes before the remedy of the code."""
    problem, remedy = _SAYS[code]
    text = None if value is None else str(value)
    if text is not None and len(text) > _WIDTH:
        text = text[: _WIDTH - 1] + "…"
    return Breach(code, table, row, field, text, problem, hint + remedy)


def nearest(name: str, names: Iterable[str]) -> str:
    """Write ``did you mean 'x'? `` when one of ``names`` is like ``name``, else nothing."""
    by_lower = {other.lower(): other for other in names}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f"did you mean {by_lower[found[0]]!r}? " if found else ""


def _message(breaches: tuple[Breach, ...]) -> str:
    sorts: dict[tuple[str, str | None, str, str], list[Breach]] = {}
    for one in breaches:
        sorts.setdefault((one.table, one.field, one.code, one.remedy), []).append(one)
    lines = [f"{len(breaches):,} breach{'es' * (len(breaches) > 1)} of the data contract"]
    for (table, field, code, remedy), members in sorts.items():
        column = "" if field is None else f", {field if field.isprintable() else ascii(field)}"
        count = f", {len(members):,} rows" if len(members) > 1 else ""
        lines.append(f"{table}{column}: {code}{count}")
        for one in members[:_SHOWN]:
            row = "" if one.row is None else f"row {one.row}: "
            value = "" if one.value is None else f"{one.value!r}: "
            lines.append(f"  {row}{value}{one.problem}")
        if len(members) > _SHOWN:
            lines.append(f"  and {len(members) - _SHOWN:,} more")
        lines.append(f"  remedy: {remedy}")
    return "\n".join(lines)
