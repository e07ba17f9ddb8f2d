"""The work list: whom to call next, where capacity cuts it, and what is above the cut."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Annotated, Any, cast

import msgspec
import numpy as np
from msgspec import Meta

from features.times import iso, now
from serving import api
from serving.decide import Grade, Route
from serving.problems import Breach
from serving.reasons import Reason
from serving.scorer import Amount, Row
from serving.store import Store

LEVEL = 0.90
_REACH = NormalDist().inv_cdf((1 + LEVEL) / 2)
_TAIL = 2 * NormalDist().inv_cdf(0.95)
"""Between the 5 and the 95 % quantile of a normal lie so many standard deviations."""

Capacity = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,5}(/(day|week|month))?$")]


class Wanted(api.Strict, frozen=True):
    """Which leads of the list; ``capacity``, such as ``80/week``, asks where that many end."""

    route: Route | None = None
    grade: Grade | None = None
    least_probability: Annotated[float, Meta(ge=0, le=1)] = 0.0
    capacity: Capacity | None = None
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100
    cursor: Annotated[str, Meta(pattern="^[0-9a-f]{16}-([0-9a-f]{2}){1,800}$")] | None = None


class Decision(msgspec.Struct, frozen=True):
    """What a person decided; ``advised`` is the route that the score advised then."""

    decision_id: str
    decided_at: str
    route: Route
    reason: str
    decided_by: str | None
    advised: str | None


class Decisions(msgspec.Struct, frozen=True):
    """What was decided of a lead, the latest first."""

    decisions: list[Decision]


class NewDecision(api.Strict, frozen=True):
    """A decision of a person, who may overrule the score; ``decision_id`` is the caller's."""

    decision_id: api.KeptId
    route: Route
    reason: Annotated[str, Meta(min_length=1, max_length=1_000, pattern=api.NO_NUL)]
    decided_by: api.KeptId | None = None


class Entry(msgspec.Struct, frozen=True):
    """A lead with its current score, and the latest decision about it, which goes before it."""

    lead_id: str
    as_of: str
    model_version: str
    probability: float
    expected_value: Amount | None
    grade: Grade
    route: Route
    reasons: list[Reason]
    decision: Decision | None


class Cut(msgspec.Struct, frozen=True):
    """What the best ``leads`` of the list bring: means with their 90 % intervals.

    ``least`` is the probability x value (without values: the probability) of the last of them.
    """

    capacity: str
    leads: int
    least: float | None
    wins: Amount
    revenue: Amount | None


class WorkList(msgspec.Struct, frozen=True):
    """The best first, equals by lead_id; ``next`` is the cursor of the next page, null at the end.

    ``cut`` where a capacity is given, of the whole list that was asked for, not of the page.
    """

    entries: list[Entry]
    cut: Cut | None
    next: str | None


_LATEST = (
    "SELECT decision_id, decided_at, route, reason, decided_by, advised FROM decisions "
    "WHERE lead_id = ? ORDER BY decided_at DESC, decision_id DESC"
)
_ENTRY = (
    "SELECT c.lead_id, as_of, model_version, probability, expected_value, expected_low, "
    "expected_high, grade, c.route, reasons, worth, decision_id, decided_at, d.route, reason, "
    "decided_by, advised FROM current_scores c LEFT JOIN decisions d ON d.lead_id = c.lead_id AND "
    "decision_id = (SELECT decision_id FROM decisions WHERE lead_id = c.lead_id "
    "ORDER BY decided_at DESC, decision_id DESC LIMIT 1) WHERE "
)


_BRINGS = "probability, value, value_low, value_high"


def work_list(store: Store, wanted: Wanted) -> bytes:
    """Answer with a page of the work list."""
    where, values = _filter(wanted)
    found = store.rows(*_page(where, values, wanted))
    entries = [_entry(row) for row in found]
    more = _cursor(found[-1][10], found[-1][0]) if len(found) == wanted.limit else None
    return msgspec.json.encode(WorkList(entries, _cut(store, where, values, wanted), more))


def entries_of(store: Store, leads: Sequence[str]) -> dict[str, Entry]:
    """The entries of those of some leads, a thousand at most, that have a current score."""
    rows = store.rows(_entries(len(leads)), leads) if leads else []
    return {row[0]: _entry(row) for row in rows}


@lru_cache
def _entries(leads: int) -> str:
    return f"{_ENTRY}c.lead_id IN ({', '.join('?' * leads)})"


def brings(store: Store, leads: Sequence[str]) -> tuple[Amount, Amount | None]:
    """Expected wins and revenue of some leads, a thousand at most, with 90 % intervals."""
    marks = ", ".join("?" * len(leads))
    statement = f"SELECT {_BRINGS} FROM current_scores c WHERE lead_id IN ({marks})"
    return _brings(store.rows(statement, leads) if leads else [])


def current_scores(store: Store, leads: Sequence[str]) -> list[bytes | Breach]:
    """Answer with the current score of each lead, or refuse (404) where it has none.

    One statement for all: most of what a read costs is to begin and to end it.
    """
    found = entries_of(store, leads)
    return [msgspec.json.encode(found[one]) if one in found else _unscored() for one in leads]


def _unscored() -> Breach:
    return Breach(
        "no-current-score", "The lead has no current score",
        "it is not stored, not open, not to be scored, or is scored in a moment",
        remedy="score it: POST /v1/score", status=404,
    )  # fmt: skip


def decide(store: Store, lead_id: str, made: NewDecision) -> bytes:
    """Keep a decision, and answer with it; the same one, sent again, is answered as it is kept.

    Raises :class:`Breach` (404) for a lead that is not stored, (409) for another decision under the
    id.
    """
    if not store.rows("SELECT 1 FROM leads WHERE lead_id = ?", (lead_id,)):
        raise Breach("no-such-lead", "The lead is not stored", "the store knows no such lead",
                     remedy="store the lead first", status=404)  # fmt: skip
    advised = store.rows("SELECT route FROM current_scores WHERE lead_id = ?", (lead_id,))
    row = (lead_id, made.decision_id, now(), made.route, made.reason, made.decided_by,
           advised[0][0] if advised else None)  # fmt: skip
    store.put_rows({"decisions": [row]})
    kept = next(one for one in decisions(store, lead_id) if one.decision_id == made.decision_id)
    if (kept.route, kept.reason, kept.decided_by) != (made.route, made.reason, made.decided_by):
        raise Breach("conflict", "The id is taken", "another decision is kept under this id",
                     "decision_id", "send it under an id of its own", 409)  # fmt: skip
    return msgspec.json.encode(kept)


def decisions(store: Store, lead_id: str) -> list[Decision]:
    """What was decided of a lead, the latest first."""
    return [Decision(which, iso(at), *rest) for which, at, *rest in store.rows(_LATEST, (lead_id,))]


def _filter(wanted: Wanted) -> tuple[str, list[Any]]:
    parts, values = ["probability >= ?"], list[Any]([wanted.least_probability])
    for column, held in (("c.route", wanted.route), ("grade", wanted.grade)):
        if held is not None:
            parts.append(f"{column} = ?")
            values.append(held)
    return " AND ".join(parts), values


def _page(where: str, values: Sequence[Any], wanted: Wanted) -> tuple[str, list[Any]]:
    given = list(values)
    if wanted.cursor is not None:
        worth, last = _read_cursor(wanted.cursor)
        where += " AND (worth < ? OR (worth = ? AND c.lead_id > ?))"
        given += [worth, worth, last]
    statement = f"{_ENTRY}{where} ORDER BY worth DESC, c.lead_id LIMIT ?"
    return statement, [*given, wanted.limit]


def _entry(row: Row) -> Entry:
    lead, as_of, version, chance, mean, low, high, grade, route, reasons, _, which, at, *rest = row
    return Entry(
        lead, iso(as_of), version, chance, None if mean is None else Amount(mean, low, high), grade,
        route, cast(list[Reason], msgspec.Raw(reasons)),  # as they were encoded
        None if which is None else Decision(which, iso(at), *rest),
    )  # fmt: skip


def _cut(store: Store, where: str, values: Sequence[Any], wanted: Wanted) -> Cut | None:
    if wanted.capacity is None:
        return None
    most = int(wanted.capacity.partition("/")[0])
    rows = store.rows(
        f"SELECT {_BRINGS}, worth FROM current_scores c "
        f"WHERE {where} ORDER BY worth DESC, lead_id LIMIT ?",
        [*values, most],
    )
    told = _brings([row[:-1] for row in rows])
    return Cut(wanted.capacity, len(rows), rows[-1][-1] if rows else None, *told)


def _brings(rows: Sequence[Row]) -> tuple[Amount, Amount | None]:
    """Expected wins, and revenue where all have a value, of rows of what is selected for it."""
    chance, value, low, high = np.array(rows, dtype=float).reshape(-1, 4).T
    wins = _interval(float(chance.sum()), float((chance * (1 - chance)).sum()))
    return wins, None if np.isnan(value).any() else _revenue(chance, value, low, high)


def _revenue(chance: Any, value: Any, low: Any, high: Any) -> Amount:
    """The sum over independent leads of a deal, or nothing.

    A deal is taken to be log-normal with the mean and the 5 and 95 % quantiles that are said of
    it: its second moment is mean^2 exp(sigma^2) (Johnson, Kotz and Balakrishnan 1994, Continuous
    Univariate Distributions 1, eq. 14.8); the sum is taken to be normal.
    """
    sigma = np.log(np.maximum(high, 1e-12) / np.maximum(low, 1e-12)) / _TAIL
    second = np.square(value) * np.exp(np.square(sigma))
    variance = chance * second - np.square(chance * value)
    return _interval(float((chance * value).sum()), float(variance.sum()))


def _interval(mean: float, variance: float) -> Amount:
    """A 90 % interval of a sum of independent parts, by the central limit theorem; not below 0."""
    reach = _REACH * math.sqrt(variance)
    return Amount(mean, max(mean - reach, 0.0), mean + reach)


def _cursor(worth: float, last: str) -> str:
    return f"{struct.pack('>d', worth).hex()}-{last.encode().hex()}"


def _read_cursor(text: str) -> tuple[float, str]:
    worth, _, last = text.partition("-")
    [number] = struct.unpack(">d", bytes.fromhex(worth))
    return number, bytes.fromhex(last).decode(errors="replace").replace("\0", "")
