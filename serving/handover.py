"""Whom to hand to sales now: the best first, as far as the policy has room for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from serving import api
from serving.decide import Policy
from serving.rooms import Room, Rooms, Why
from serving.scorer import Amount, Row
from serving.store import Store
from serving.worklist import Entry, brings, entries_of

_PAGE = 1_000


class Left(msgspec.Struct, frozen=True):
    """How many that the score routes to sales are not handed over, by what kept each."""

    decided: int = 0
    no_consent: int = 0
    no_territory: int = 0
    all_full: int = 0
    territory_full: int = 0
    owner_full: int = 0


class Handed(msgspec.Struct, frozen=True):
    """A lead to hand over, and to whom."""

    territory: str | None
    owner: str | None
    entry: Entry


class Handover(msgspec.Struct, frozen=True):
    """Whom to hand over now, the best first, and what they bring: means with 90 % intervals.

    ``complete``: there is nobody else to hand over.
    """

    handed: list[Handed]
    complete: bool
    wins: Amount
    revenue: Amount | None
    rooms: list[Room]
    left: Left


class AtMost(api.Strict, frozen=True):
    """At most so many leads."""

    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100


class _Candidate(NamedTuple):
    lead_id: str
    decided: bool
    consent: bool | None
    held: dict[str, Any]


_DECIDED = (
    "(SELECT route FROM decisions WHERE lead_id = leads.lead_id "
    "ORDER BY decided_at DESC, decision_id DESC LIMIT 1)"
)
_CONTACT = (
    "(SELECT given FROM consents WHERE lead_id = leads.lead_id AND purpose = 'contact' "
    "ORDER BY at DESC LIMIT 1)"
)
_CHANGED = (
    "(SELECT coalesce(value, '') FROM changes WHERE lead_id = leads.lead_id AND field = ? "
    "ORDER BY known_at DESC, change_id DESC LIMIT 1)"
)
"""Null where the field never changed, empty where it was cleared."""


def hand_over(store: Store, policy: Policy, wanted: AtMost) -> bytes:
    """Answer with whom to hand over now: a :class:`Handover`. Nothing is decided by it."""
    rooms, left = Rooms(policy), Counter[Why]()
    for held in _worked_on(store, policy):
        rooms.fill(held)
    chosen: dict[str, dict[str, Any]] = {}
    complete = True
    for one in _candidates(store, policy):
        why = "decided" if one.decided else rooms.take(one.held, one.consent)
        if why is not None:
            left[why] += 1
            continue
        chosen[one.lead_id] = one.held
        if len(chosen) == wanted.limit:
            complete = False
            break
    entries = entries_of(store, list(chosen))
    handed = [
        Handed(rooms.territory(chosen[one.lead_id]), rooms.owner(chosen[one.lead_id]), one)
        for one in (entries[lead] for lead in chosen if lead in entries)
    ]
    wins, revenue = brings(store, list(chosen))
    kept = msgspec.convert(left, Left)
    return msgspec.json.encode(Handover(handed, complete, wins, revenue, rooms.told(), kept))


def _worked_on(store: Store, policy: Policy) -> Iterator[dict[str, Any]]:
    """The attributes of the open leads whose latest decision is sales."""
    names = policy.attributes
    rows = store.rows(
        f"SELECT attributes{f', {_CHANGED}' * len(names)} FROM leads JOIN "
        "(SELECT DISTINCT lead_id FROM decisions WHERE route = 'sales') AS handed "
        f"ON handed.lead_id = leads.lead_id WHERE {_DECIDED} = 'sales' AND NOT EXISTS "
        "(SELECT 1 FROM outcomes WHERE outcomes.lead_id = leads.lead_id)",
        names,
    )
    for attributes, *changed in rows:
        yield _held(names, attributes, changed)


def _candidates(store: Store, policy: Policy) -> Iterator[_Candidate]:
    """The leads that their current scores route to sales, the best first."""
    names, last = policy.attributes, list[Any]()
    while True:
        after = "AND (worth < ? OR (worth = ? AND leads.lead_id > ?)) " if last else ""
        rows = store.rows(
            f"SELECT leads.lead_id, worth, {_DECIDED}, {_CONTACT}, attributes"
            f"{f', {_CHANGED}' * len(names)} FROM current_scores JOIN leads "
            "ON leads.lead_id = current_scores.lead_id WHERE current_scores.route = 'sales' "
            f"{after}ORDER BY worth DESC, leads.lead_id LIMIT ?",
            [*names, *last, _PAGE],
        )
        yield from (_candidate(names, row) for row in rows)
        if len(rows) < _PAGE:
            return
        last = [rows[-1][1], rows[-1][1], rows[-1][0]]


def _candidate(names: Sequence[str], row: Row) -> _Candidate:
    lead, _, decided, given, attributes, *changed = row
    consent = None if given is None else bool(given)
    return _Candidate(lead, decided is not None, consent, _held(names, attributes, changed))


def _held(names: Sequence[str], attributes: str, changed: Sequence[str | None]) -> dict[str, Any]:
    told = msgspec.json.decode(attributes) if names else {}
    return {
        name: told.get(name) if value is None else value
        for name, value in zip(names, changed, strict=True)
    }
