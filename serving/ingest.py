"""Facts that come in: each item of a batch becomes a row of the store, or a dead letter."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from anyio import to_thread
from msgspec import Meta

from serving import api, metrics
from serving.letters import forget_letter, held_letter, keep_within, letter
from serving.problems import Breach, Problem, decode, invalid
from serving.reader import Reader
from serving.scorer import Row
from serving.store import Store, Verdict
from serving.store.tables import held_text

MOST_ITEMS = 1_000
_encode = msgspec.json.encode


class NewLead(api.Strict, frozen=True):
    """A lead, with the attributes that were known when it was created."""

    lead_id: api.Id
    created_at: api.Time
    account_id: api.Id | None = None
    attributes: api.Held = {}  # noqa: RUF012


class LeadEvent(api.Event, frozen=True, kw_only=True):
    """An event of a lead. Without ``event_id`` its content is its id: the same is stored once."""

    lead_id: api.Id


class LeadChange(api.Change, frozen=True, kw_only=True):
    """A change of a lead's field. Without ``change_id`` its content is its id."""

    lead_id: api.Id


class LeadOutcome(api.Outcome, frozen=True, kw_only=True):
    """What became of a lead; each ``outcome`` once."""

    lead_id: api.Id


_Limit = Meta(min_length=1, max_length=MOST_ITEMS)


class Leads(api.Strict, frozen=True):
    """Leads to store."""

    leads: Annotated[list[NewLead], _Limit]


class Events(api.Strict, frozen=True):
    """Events to store."""

    events: Annotated[list[LeadEvent], _Limit]


class Changes(api.Strict, frozen=True):
    """Changes to store."""

    changes: Annotated[list[LeadChange], _Limit]


class Outcomes(api.Strict, frozen=True):
    """Outcomes to store."""

    outcomes: Annotated[list[LeadOutcome], _Limit]


class Stored(msgspec.Struct, frozen=True, tag_field="status", tag="stored"):
    """It is new, and on disk."""


class Known(msgspec.Struct, frozen=True, tag_field="status", tag="known"):
    """It was there already, with the same content."""


class Rejected(msgspec.Struct, frozen=True, tag_field="status", tag="refused"):
    """It is not stored, but kept as a dead letter; the others are not affected."""

    problem: Problem
    dead_letter: str


class IngestAnswer(msgspec.Struct, frozen=True):
    """How many are stored, were known and are refused; then one result an item, in order."""

    stored: int
    known: int
    refused: int
    results: list[Stored | Known | Rejected]


_RESULTS: dict[Verdict, Stored | Known] = {"stored": Stored(), "known": Known()}


@dataclass(frozen=True)
class Batch:
    """Items of one table that were read; ``rows`` by index, and why the others were refused.

    ``content(index)`` is the JSON of an item.
    """

    kind: str
    size: int
    rows: dict[int, Row]
    refused: dict[int, tuple[bytes, Breach]]
    content: Callable[[int], bytes]


class Intake:
    """Reads batches of one table. ``kind`` names the table and the field of the batch."""

    def __init__(
        self, kind: str, batch: type, item: type,
        made: Callable[[Any, Reader], list[Row]],
    ) -> None:  # fmt: skip
        self.kind = kind
        self._whole: msgspec.json.Decoder[Any] = msgspec.json.Decoder(batch)
        self._loose = msgspec.json.Decoder(msgspec.defstruct(
            "Loose", [(kind, Annotated[list[msgspec.Raw], _Limit])], forbid_unknown_fields=True
        ))  # fmt: skip
        self._item: msgspec.json.Decoder[Any] = msgspec.json.Decoder(item)
        self._made = made

    def read(self, body: bytes, reader: Reader) -> Batch:
        """Read a batch; a bad item is refused alone. Raises :class:`Breach` for a bad body."""

        def raw() -> list[msgspec.Raw]:
            found: list[msgspec.Raw] = getattr(decode(self._loose, body), self.kind)
            return found

        if b"\\u0000" not in body:  # it may be NUL, which no text may hold
            with suppress(Breach):  # of one item, or of the whole body
                rows = self._made(getattr(decode(self._whole, body), self.kind), reader)
                return Batch(self.kind, len(rows), dict(enumerate(rows)), {},
                             lambda index: bytes(raw()[index]))  # fmt: skip
        parts, good = raw(), dict[int, Row]()
        refused: dict[int, tuple[bytes, Breach]] = {}
        for index, part in enumerate(parts):
            try:
                good[index] = self.row(part, reader)
            except Breach as breach:
                refused[index] = bytes(part), breach
        return Batch(self.kind, len(parts), good, refused, lambda index: bytes(parts[index]))

    def row(self, raw: bytes | msgspec.Raw, reader: Reader) -> Row:
        """Read one item. Raises :class:`Breach`."""
        item = decode(self._item, raw)
        if any("\0" in text for text in _texts(msgspec.to_builtins(item))):
            raise invalid("", "text with a NUL character", "take the character out")
        [row] = self._made([item], reader)
        return row


def _texts(held: Any) -> Iterator[str]:
    if isinstance(held, str):
        yield held
    elif isinstance(held, dict):
        for name, value in held.items():
            yield name
            yield from _texts(value)


def _lead_rows(leads: Sequence[NewLead], reader: Reader) -> list[Row]:
    created = api.read_times([one.created_at for one in leads], "created_at".format)
    return [
        (one.lead_id, at, one.account_id, _held("leads", one.attributes, "attributes.", reader))
        for one, at in zip(leads, created, strict=True)
    ]


def _event_rows(events: Sequence[LeadEvent], reader: Reader) -> list[Row]:
    occurred, known = _moments(events)
    return [
        _identified((
            one.lead_id, one.event_id, one.kind, at, then, one.channel or None,
            one.campaign or None, one.value,
            _held("events", one.properties, "properties.", reader),
        ))
        for one, at, then in zip(events, occurred, known, strict=True)
    ]  # fmt: skip


def _change_rows(changes: Sequence[LeadChange], reader: Reader) -> list[Row]:
    del reader
    known = api.read_times([one.known_at for one in changes], "known_at".format)
    return [
        _identified((one.lead_id, one.change_id, one.field, one.value or None, at))
        for one, at in zip(changes, known, strict=True)
    ]


def _outcome_rows(outcomes: Sequence[LeadOutcome], reader: Reader) -> list[Row]:
    del reader
    occurred, known = _moments(outcomes)
    return [
        (one.lead_id, one.outcome, at, then, one.deal_value, one.reason or None)
        for one, at, then in zip(outcomes, occurred, known, strict=True)
    ]


def _moments(facts: Sequence[LeadEvent] | Sequence[LeadOutcome]) -> tuple[list[int], list[int]]:
    """When they occurred, and when they were known."""
    occurred = api.read_times([one.occurred_at for one in facts], "occurred_at".format)
    if all(one.known_at is None for one in facts):
        return occurred, occurred
    given = [one.occurred_at if one.known_at is None else one.known_at for one in facts]
    known = api.read_times(given, "known_at".format)
    api.not_before(known, occurred, "known_at".format)
    return occurred, known


def _held(table: str, held: api.Held, path: str, reader: Reader) -> str:
    return held_text(reader.kept(table, held, path)) if held else "{}"


def _identified(row: Row) -> Row:
    """The row with an id made of its content where it has none (its second column)."""
    if row[1] is not None:
        return row
    return (row[0], hashlib.sha256(_encode(row)).hexdigest()[:32], *row[2:])


INTAKES: dict[str, Intake] = {
    one.kind: one
    for one in (
        Intake("leads", Leads, NewLead, _lead_rows),
        Intake("events", Events, LeadEvent, _event_rows),
        Intake("changes", Changes, LeadChange, _change_rows),
        Intake("outcomes", Outcomes, LeadOutcome, _outcome_rows),
    )
}
"""What is taken in, by the name of its table."""

_TAKEN = Breach(
    "conflict", "The id is taken", "other content is stored under this id",
    remedy="send it under an id of its own", status=409,
)  # fmt: skip


async def take(batch: Batch, store: Store) -> bytes:
    """Store a batch, and answer with one result an item, all on disk.

    Raises :class:`serving.store.StoreUnavailable`; the batch may then be sent again.
    """
    rows = list(batch.rows.values())
    verdicts = (await store.write({batch.kind: rows}))[batch.kind] if rows else []
    refused = dict(batch.refused)
    results: dict[int, Stored | Known | Rejected] = {}
    for index, verdict in zip(batch.rows, verdicts, strict=True):
        if verdict == "conflict":
            refused[index] = batch.content(index), _TAKEN
        else:
            results[index] = _RESULTS[verdict]
    letters = {index: letter(batch.kind, *why) for index, why in refused.items()}
    if letters:
        await store.write({"dead_letters": list(letters.values())})
        dropped = await to_thread.run_sync(keep_within, store)
        metrics.LETTERS_DROPPED.inc(dropped)
    for index, (_, breach) in refused.items():
        results[index] = Rejected(breach.problem(f"{batch.kind}[{index}]"), letters[index][0])
    counted = verdicts.count("stored"), verdicts.count("known"), len(refused)
    return _encode(IngestAnswer(*counted, [results[index] for index in range(batch.size)]))


async def replay(which: str, item: bytes | None, reader: Reader, store: Store) -> bytes:
    """Take a dead letter in again, or ``item`` in its place; stored, it is none any more.

    Raises :class:`Breach` (404) for one that is not there.
    """
    kind, content = await to_thread.run_sync(held_letter, store, which)
    intake = INTAKES[kind]
    try:
        row = intake.row(item or content, reader)
        [verdict] = (await store.write({kind: [row]}))[kind]
        if verdict == "conflict":
            raise _TAKEN
    except Breach as breach:
        return _encode(Rejected(breach.problem(), which))
    await to_thread.run_sync(forget_letter, store, which)
    return _encode(_RESULTS[verdict])
