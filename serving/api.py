"""What comes in and goes out at ``/v1``: the types, and from a request's lead to facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import repeat
from operator import attrgetter
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from features.language import FeatureSet
from features.times import instant, instants
from serving.problems import Breach, Problem, decode, invalid
from serving.scorer import Facts, Score
from training.calibrate import Calibration
from training.evidence import Evidence
from training.findings import Finding

FIRST, UNMISTAKABLE, AFTER = map(instant, ("1900-01-01", "1973-04-01", "2200-01-01"))
MOST_LEADS, MOST_EVENTS = 1_000, 10_000

Id = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=1_000)]
NO_NUL = r"^[^\u0000]*$"
"""No database holds the character NUL in a text."""

KeptId = Annotated[str, Meta(min_length=1, max_length=200, pattern=NO_NUL)]
KeptText = Annotated[str, Meta(max_length=1_000, pattern=NO_NUL)]
Time = (
    Annotated[
        datetime,
        Meta(
            tz=True,
            description="ISO 8601 with an offset, or integer microseconds",
            extra_json_schema={"pattern": r"^(19|2[01])\d\d-"},
        ),
    ]
    | Annotated[int, Meta(extra_json_schema={"minimum": UNMISTAKABLE, "exclusiveMaximum": AFTER})]
)  # the schema says what read_time refuses
Held = Annotated[
    dict[Annotated[str, Meta(max_length=200)], Text | float | bool | None], Meta(max_length=200)
]


class Strict(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What comes in: no field that is not declared, no type that is not meant."""


class Event(Strict, frozen=True):
    """A marketing touch or a sales interaction; ``known_at`` (default: occurred_at) is when the
    systems learned of it. Give every event of a lead an ``event_id``, or none."""

    kind: Id
    occurred_at: Time
    event_id: Id | None = None
    known_at: Time | None = None
    channel: Text | None = None
    campaign: Text | None = None
    value: Annotated[float, Meta(ge=0)] | None = None
    properties: Held = {}


class Change(Strict, frozen=True):
    """A new value of a field in the CRM's history."""

    field: Id
    value: Text | None
    known_at: Time
    change_id: Id | None = None


class _Known(Strict, frozen=True):
    lead_id: Id
    created_at: Time | None = None
    account_id: Id | None = None
    attributes: Held = {}
    events: Annotated[list[Event], Meta(max_length=MOST_EVENTS)] = []


class Outcome(Strict, frozen=True):
    """What became of another lead of the account."""

    outcome: Id
    occurred_at: Time
    known_at: Time | None = None
    deal_value: Annotated[float, Meta(ge=0)] | None = None
    reason: Text | None = None


class Related(_Known, frozen=True):
    """Another lead of the account, with its events and outcomes."""

    outcomes: Annotated[list[Outcome], Meta(max_length=MOST_LEADS)] = []


class Lead(_Known, frozen=True):
    """A lead with its history; or its ``lead_id`` alone, and the history is read from the store."""

    changes: Annotated[list[Change], Meta(max_length=MOST_EVENTS)] = []
    related: Annotated[list[Related], Meta(max_length=MOST_LEADS)] = []

    @property
    def stored(self) -> bool:
        """Whether only the id was given."""
        return self == Lead(self.lead_id)


class ScoreRequest(Strict, frozen=True):
    """Leads to score as of a moment (default: now), each with at most so many reasons.

    ``since`` asks what changed since an earlier moment, ``if_done`` what the model would say after
    one more event of each of these kinds: those that you can bring about.
    """

    leads: Annotated[list[Lead], Meta(min_length=1, max_length=MOST_LEADS)]
    as_of: Time | None = None
    reasons: Annotated[int, Meta(ge=0, le=20)] = 3
    vector: bool = False
    since: Time | None = None
    if_done: Annotated[list[Id], Meta(max_length=20)] = []


class Envelope(Strict, frozen=True):
    """The same with its leads unread, so that a bad one never costs the good ones."""

    leads: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MOST_LEADS)]
    as_of: Time | None = None
    reasons: Annotated[int, Meta(ge=0, le=20)] = 3
    vector: bool = False
    since: Time | None = None
    if_done: Annotated[list[Id], Meta(max_length=20)] = []


class Refused(msgspec.Struct, frozen=True, tag_field="status", tag="refused"):
    """A lead that could not be scored, and why; the others of the call are not affected."""

    index: int
    problem: Problem


class ScoreAnswer(msgspec.Struct, frozen=True):
    """One result a lead, in the order of the request. ``advice``: a person decides."""

    model_version: str
    as_of: str
    advice: bool
    scores: list[Score | Refused]


class ModelCard(msgspec.Struct, frozen=True):
    """The model that answers: what it predicts, from what, and how it is calibrated.

    ``values``: whether it predicts deal values; ``never_read``: kinds of event that tell the
    outcome; ``evidence``: how it did out of time; ``findings``: what the audit of its data found.
    ``horizon`` and ``trained_until`` are null for data without times.
    """

    version: str
    source: str
    target: str
    horizon: str | None
    trained_until: str | None
    calibration: Calibration
    values: bool
    never_read: tuple[str, ...]
    features: list[dict[str, str]]
    fingerprint: str
    data_digest: str
    versions: dict[str, str]
    evidence: Evidence | None
    findings: tuple[Finding, ...]


Fact = TypeVar("Fact", Event, Change)


_LEAD = msgspec.json.Decoder(Lead)
_ENVELOPE = msgspec.json.Decoder(Envelope)


def read_envelope(body: bytes) -> Envelope:
    """Read a request, its leads unread. Raises :class:`Breach`."""
    return decode(_ENVELOPE, body)


def read_lead(raw: msgspec.Raw) -> Lead:
    """Read one lead. Raises :class:`Breach`."""
    return decode(_LEAD, raw)


def read_time(time: Time, field: str) -> int:
    """Microseconds of a time. Raises :class:`Breach` outside the years 1900 to 2199.

    A number before 1973 is refused too: it was meant as seconds or milliseconds.
    """
    moment = time if isinstance(time, int) else instant(time)
    if not (UNMISTAKABLE if isinstance(time, int) else FIRST) <= moment < AFTER:
        remedy = "send ISO 8601 with an offset, or microseconds since 1970"
        raise invalid(field, "the time is not within the years 1900 to 2199", remedy)
    return moment


class Reader:
    """Turns a request's lead into facts, in the columns and types that a model reads."""

    def __init__(self, features: FeatureSet, columns: Mapping[str, Sequence[str]]) -> None:
        self._columns = columns
        self._numbers = {
            (feature.source, feature.column)
            for feature in features.features
            if feature.type == "number" and feature.aggregate != "distinct"
        }
        self._read = {(table, name) for table, names in columns.items() for name in names}

    def facts(self, lead: Lead) -> Facts:
        """The facts of a lead and of the leads related to it. Raises :class:`Breach`."""
        if lead.related and lead.account_id is None:
            remedy = "give the account that the related leads share"
            raise invalid("account_id", "missing beside related leads", remedy)
        leads, events = [self._lead(lead, lead.account_id, "")], self._events(lead, "")
        outcomes: list[tuple[Any, ...]] = []
        for number, other in enumerate(lead.related):
            path = f"related[{number}]."
            if other.lead_id == lead.lead_id:
                raise invalid(path + "lead_id", "the lead itself", "send other leads only")
            leads.append(self._lead(other, other.account_id or lead.account_id, path))
            events += self._events(other, path)
            outcomes += self._outcomes(other, path)
        if len({row[0] for row in leads}) < len(leads):
            raise invalid("related", "a lead comes twice", "send each related lead once")
        return Facts(leads, events, self._changes(lead), outcomes)

    def kept(self, table: str, held: Mapping[str, Any], path: str) -> dict[str, float | str]:
        """Attributes or properties as they are stored, in the types that the model reads.

        Empty text is missing, booleans are text. Raises :class:`Breach`.
        """
        made: dict[str, float | str] = {}
        for name, value in held.items():
            if value is None or value == "":
                continue
            number = (table, name) in self._numbers
            if (table, name) in self._read and type(value) in _WRONG[number]:
                raise _misread(number, path + name)
            made[name] = str(value).lower() if isinstance(value, bool) else value
        return made

    def _lead(self, lead: Lead | Related, account: str | None, path: str) -> tuple[Any, ...]:
        if lead.created_at is None:
            raise invalid(path + "created_at", "missing", "give it with the history")
        own = {
            "lead_id": lead.lead_id,
            "account_id": account,
            "created_at": read_time(lead.created_at, path + "created_at"),
        }
        held: Mapping[str, Any] = lead.attributes
        row: list[Any] = []
        for name in self._columns["leads"]:
            if name in own:
                row.append(own[name])
                continue
            number, value = ("leads", name) in self._numbers, held.get(name)
            if type(value) in _WRONG[number]:
                raise _misread(number, f"{path}attributes.{name}")
            row.append(value if number or value is None else _text(value))
        return tuple(row)

    def _events(self, lead: Lead | Related, path: str) -> list[tuple[Any, ...]]:
        ids, events = _identified(lead.events, "event_id", path + "events")
        occurred = read_times([one.occurred_at for one in events], path + "events[{}].occurred_at")
        known = occurred
        if any(one.known_at is not None for one in events):
            given = [one.occurred_at if one.known_at is None else one.known_at for one in events]
            known = read_times(given, path + "events[{}].known_at")
            not_before(known, occurred, path + "events[{}].known_at")
        own = {
            "lead_id": repeat(lead.lead_id, len(events)),
            "event_id": ids,
            "occurred_at": occurred,
            "known_at": known,
            "kind": [one.kind for one in events],
            "channel": [one.channel or None for one in events],
            "campaign": [one.campaign or None for one in events],
            "value": [one.value for one in events],
        }
        held = [one.properties for one in events]
        columns = [
            own[name]
            if name in own
            else self._held("events", name, held, f"{path}events[{{}}].properties.{name}")
            for name in self._columns["events"]
        ]
        return list(zip(*columns, strict=True))

    def _changes(self, lead: Lead) -> list[tuple[Any, ...]]:
        ids, changes = _identified(lead.changes, "change_id", "changes")
        columns = {
            "lead_id": repeat(lead.lead_id, len(ids)),
            "change_id": ids,
            "known_at": read_times([one.known_at for one in changes], "changes[{}].known_at"),
            "field": [one.field for one in changes],
            "value": [one.value or None for one in changes],
        }
        return list(zip(*(columns[name] for name in self._columns["changes"]), strict=True))

    def _outcomes(self, lead: Related, path: str) -> list[tuple[Any, ...]]:
        outcomes = lead.outcomes
        occurred = read_times(
            [one.occurred_at for one in outcomes], path + "outcomes[{}].occurred_at"
        )
        given = [one.occurred_at if one.known_at is None else one.known_at for one in outcomes]
        known = read_times(given, path + "outcomes[{}].known_at")
        not_before(known, occurred, path + "outcomes[{}].known_at")
        columns = {
            "lead_id": repeat(lead.lead_id, len(outcomes)),
            "outcome": [one.outcome for one in outcomes],
            "occurred_at": occurred,
            "known_at": known,
            "deal_value": [one.deal_value for one in outcomes],
            "reason": [one.reason or None for one in outcomes],
        }
        return list(zip(*(columns[name] for name in self._columns["outcomes"]), strict=True))

    def _held(self, table: str, name: str, held: Sequence[Mapping[str, Any]], path: str
              ) -> list[float | str | None]:  # fmt: skip
        """One attribute or property of each; empty text is missing, booleans are text."""
        values = [one.get(name) for one in held]
        number, kinds = (table, name) in self._numbers, {*map(type, values)}
        wrong = kinds & _WRONG[number]
        if wrong:
            place = next(at for at, value in enumerate(values) if type(value) in wrong)
            raise _misread(number, path.format(place))
        if number or kinds == {type(None)}:
            return values
        return [None if value is None else _text(value) for value in values]


_WRONG: dict[bool, set[type]] = {True: {bool, str}, False: {float}}
"""What is not to be read as a number, or as a text."""


def _text(value: str | bool) -> str | None:
    return str(value).lower() if isinstance(value, bool) else value or None


def _misread(number: bool, path: str) -> Breach:
    kind = "a number" if number else "text"
    return invalid(path, f"the model reads {kind} here", f"send {kind}")


def _identified(facts: Sequence[Fact], name: str, path: str) -> tuple[list[str], Sequence[Fact]]:
    """The ids of facts and those to keep: numbered where none has an id, repeats left out."""
    ids: list[Any] = [*map(attrgetter(name), facts)]
    if None in ids:
        if any(one is not None for one in ids):
            field = f"{path}[{ids.index(None)}].{name}"
            raise invalid(field, "missing, while others have one", "give every one an id, or none")
        width = len(str(len(facts)))
        return [f"{number:0{width}}" for number in range(len(facts))], facts
    if len({*ids}) == len(ids):
        return ids, facts
    kept = dict(zip(reversed(ids), reversed(facts), strict=True))
    for place, (one, fact) in enumerate(zip(ids, facts, strict=True)):
        if kept[one] != fact:
            remedy = "send each fact once, or under its own id"
            raise invalid(f"{path}[{place}].{name}", "two facts under one id", remedy)
    return list(kept), list(kept.values())


def read_times(given: Sequence[Time], path: str) -> list[int]:
    """Microseconds of times; ``path`` names the field of one, whose place is ``{}``.

    Raises :class:`Breach` as :func:`read_time` does.
    """
    made = instants(given)
    if made and (min(made) < UNMISTAKABLE or max(made) >= AFTER):
        for place, one in enumerate(given):
            read_time(one, path.format(place))
    return made


def not_before(known: Sequence[int], occurred: Sequence[int], path: str) -> None:
    """Raises :class:`Breach` where a fact is known before it occurred."""
    early = [late < at for late, at in zip(known, occurred, strict=True)]
    if any(early):
        remedy = "send occurred_at or a later time"
        raise invalid(path.format(early.index(True)), "known before it occurred", remedy)
