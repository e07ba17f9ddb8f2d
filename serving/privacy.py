"""What a lead may ask of us: to see what is held of it, not to be scored, to be forgotten."""

from __future__ import annotations

import secrets
from typing import Any, Literal

import msgspec

from features.times import iso, now
from serving import api
from serving.problems import Breach
from serving.store import Store
from serving.store.tables import HELD, TIMES

_JSON = {*HELD.values(), "content", "problem"}


class Consent(api.Strict, frozen=True):
    """Whether a lead consents to a purpose: to be scored, or to be contacted by sales.

    ``at`` (default: now) is when it said so. The latest word counts. ``source`` tells where it is
    on record.
    """

    given: bool
    purpose: Literal["scoring", "contact"] = "scoring"
    at: api.Time | None = None
    source: api.KeptText | None = None


class Consented(msgspec.Struct, frozen=True):
    """What is on record now."""

    purpose: str
    given: bool
    at: str


class Export(msgspec.Struct, frozen=True):
    """All that is held of a lead: rows by table, times in ISO 8601."""

    lead_id: str
    exported_at: str
    held: dict[str, list[dict[str, Any]]]


class Erased(msgspec.Struct, frozen=True):
    """The tombstone: how many rows are gone, and nothing that tells whose."""

    erasure_id: str
    erased_at: str
    rows: int


def consented(store: Store, lead_id: str, word: Consent) -> bytes:
    """Record a word of consent, and answer with it. Raises :class:`Breach`."""
    at = now() if word.at is None else api.read_time(word.at, "at")
    row = (lead_id, word.purpose, at, int(word.given), word.source or None)
    if store.put_rows({"consents": [row]})["consents"] == ["conflict"]:
        raise Breach("conflict", "There is another word of that moment",
                     "another word of consent is on record for this very moment", "at",
                     remedy="send the later word with its own time", status=409)  # fmt: skip
    return msgspec.json.encode(Consented(word.purpose, word.given, iso(at)))


def export(store: Store, lead_id: str) -> bytes:
    """Answer with all that is held of a lead. Raises :class:`Breach` (404) for nothing."""
    held = store.held(lead_id)
    if not held:
        raise _nothing()
    told = {table: [_told(row) for row in rows] for table, rows in held.items()}
    return msgspec.json.encode(Export(lead_id, iso(now()), told))


def erase(store: Store, lead_id: str, key_id: str) -> bytes:
    """Forget a lead, and answer with the tombstone that the ledger keeps.

    Raises :class:`Breach` (404) where nothing is held of it.
    """
    rows = sum(map(len, store.held(lead_id).values()))
    if not rows:
        raise _nothing()
    made, at = secrets.token_hex(16), now()
    store.erase(lead_id, (made, at, key_id, rows))
    return msgspec.json.encode(Erased(made, iso(at), rows))


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """A row as people read it."""
    told: dict[str, Any] = {}
    for name, value in row.items():
        if name in TIMES and value is not None:
            told[name] = iso(value)
        elif name in _JSON:
            told[name] = msgspec.Raw(value.encode())
        else:
            told[name] = value
    return told


def _nothing() -> Breach:
    return Breach("no-such-lead", "Nothing is held of this lead", "the store knows no such lead",
                  remedy="check the id", status=404)  # fmt: skip
