"""What comes in and goes out at ``/v1``: the types, and what is read of them one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from operator import lt
from typing import Annotated, cast

import msgspec
import numpy as np
from msgspec import Meta

from features.moments import UNREAD, instants
from features.times import instant
from serving.problems import WRITTEN, Breach, Problem, decode, invalid
from serving.scorer import Score
from training.calibrate import Calibration
from training.evidence import Evidence
from training.findings import Finding

FIRST, UNMISTAKABLE, AFTER = map(instant, ("1900-01-01", "1973-04-01", "2200-01-01"))
MOST_LEADS, MOST_EVENTS = 1_000, 10_000
_MOMENT = Annotated[datetime, Meta(tz=True)]

Id = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=1_000)]
NO_NUL = r"^[^\u0000]*$"
"""No database holds the character NUL in a text."""

KeptId = Annotated[str, Meta(min_length=1, max_length=200, pattern=NO_NUL)]
KeptText = Annotated[str, Meta(max_length=1_000, pattern=NO_NUL)]
Time = (
    Annotated[
        str,
        Meta(
            description="ISO 8601 with an offset, or integer microseconds",
            extra_json_schema={"format": "date-time", "pattern": r"^(19|2[01])\d\d-"},
        ),
    ]
    | Annotated[int, Meta(extra_json_schema={"minimum": UNMISTAKABLE, "exclusiveMaximum": AFTER})]
)  # the schema says what read_time refuses
Held = Annotated[
    dict[Annotated[str, Meta(max_length=200)], Text | float | bool | None], Meta(max_length=200)
]


class Strict(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
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
        return self.created_at is None and self == Lead(self.lead_id)


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


_LEAD = msgspec.json.Decoder(Lead)
_REQUEST, _ENVELOPE = msgspec.json.Decoder(ScoreRequest), msgspec.json.Decoder(Envelope)


def read_envelope(body: bytes) -> Envelope:
    """Read a request; where one of its leads cannot be read, they are left unread.

    Raises :class:`Breach`.
    """
    with suppress(Breach):
        return cast(Envelope, decode(_REQUEST, body))  # the same, with its leads as they are read
    return decode(_ENVELOPE, body)


def read_leads(given: Sequence[Lead | msgspec.Raw]) -> list[Lead | Breach]:
    """Read the leads that are unread; of one that cannot be read, why."""
    return [one if isinstance(one, Lead) else _read_lead(one) for one in given]


def _read_lead(raw: msgspec.Raw) -> Lead | Breach:
    try:
        return decode(_LEAD, raw)
    except Breach as breach:
        return breach


def read_time(time: Time, field: str) -> int:
    """Microseconds of a time. Raises :class:`Breach` outside the years 1900 to 2199.

    A number before 1973 is refused too: it was meant as seconds or milliseconds.
    """
    moment = time if isinstance(time, int) else _moment(time, field)
    if not (UNMISTAKABLE if isinstance(time, int) else FIRST) <= moment < AFTER:
        remedy = "send ISO 8601 with an offset, or microseconds since 1970"
        raise invalid(field, "the time is not within the years 1900 to 2199", remedy)
    return moment


def _moment(text: str, field: str) -> int:
    try:
        return instant(msgspec.convert(text, _MOMENT))
    except msgspec.ValidationError as error:  # which does not hold the text
        raise invalid(field, str(error), WRITTEN) from None


def read_times(given: Sequence[Time], path: Callable[[int], str]) -> list[int]:
    """Microseconds of times; ``path`` names the field of one by its place.

    Raises :class:`Breach` as :func:`read_time` does.
    """
    try:
        made, every = instants(given)  # type: ignore[arg-type]
    except TypeError:  # a number is among them
        made, every = np.full(len(given), UNREAD), False
    if not every:
        for place in np.flatnonzero(made == UNREAD).tolist():
            made[place] = read_time(given[place], path(place))
    return made.tolist()


def not_before(known: Sequence[int], occurred: Sequence[int], path: Callable[[int], str]) -> None:
    """Raises :class:`Breach` where a fact is known before it occurred."""
    if any(map(lt, known, occurred)):
        place = [*map(lt, known, occurred)].index(True)
        remedy = "send occurred_at or a later time"
        raise invalid(path(place), "known before it occurred", remedy)
