"""What is wrong with a request, in RFC 9457's words; never holds the rejected value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec

Made = TypeVar("Made")


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457 problem details; ``field`` and ``remedy`` are ours."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    remedy: str | None = None


class Breach(ValueError):
    """What is wrong with a request or a lead of it; never holds the rejected value."""

    def __init__(self, slug: str, title: str, detail: str, field: str = "", remedy: str = "",
                 status: int = 422, headers: Mapping[str, str] | None = None) -> None:  # fmt: skip
        super().__init__(detail)
        self.slug, self.title, self.detail = slug, title, detail
        self.field, self.remedy, self.status = field, remedy, status
        self.headers = headers or {}

    def problem(self, prefix: str = "") -> Problem:
        """The problem details, the field's path behind ``prefix``."""
        joint = "." if prefix and self.field and not self.field.startswith("[") else ""
        return Problem(
            type=f"urn:leadcast:problem:{self.slug}",
            title=self.title,
            status=self.status,
            detail=self.detail,
            field=f"{prefix}{joint}{self.field}" or None,
            remedy=self.remedy or None,
        )


def invalid(field: str, detail: str, remedy: str) -> Breach:
    """A breach of one field."""
    return Breach("invalid-field", "A field breaks the contract", detail, field, remedy)


WRITTEN = "write ISO 8601 with an offset: 2026-01-31T09:30:00Z"
"""The remedy for a time."""

_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_AT = re.compile(r" - at (?:`key` in )?`\$\.?(.*)`$", re.S)
_NAMED = re.compile(r"(?:required|unknown) field `(.*)`", re.S)
_PLAIN = re.compile(r"\w{1,60}")
_REMEDIES = (
    ("required field", "add it"),
    ("unknown field", "leave it out, or correct its name: see /v1/openapi.json"),
    ("RFC3339", WRITTEN),
    ("timezone", WRITTEN),
    ("length", "keep within the limit"),
    ("matching", "send what an answer held, unchanged"),
    ("Expected", "send a value of that type"),
)


def decode(decoder: msgspec.json.Decoder[Made], raw: bytes | msgspec.Raw) -> Made:
    """Read JSON into the decoder's type. Raises :class:`Breach`."""
    try:
        return decoder.decode(raw)
    except _UNREADABLE as error:
        raise _unread(error) from None


def convert(sort: type[Made], given: Mapping[str, str]) -> Made:
    """Read the parameters of a query into a struct. Raises :class:`Breach`."""
    try:
        return msgspec.convert(given, sort, strict=False)
    except msgspec.ValidationError as error:
        raise _unread(error) from None


def _malformed() -> Breach:
    remedy = "send one JSON object, UTF-8, as described in /v1/openapi.json"
    return Breach("malformed-json", "The body is not JSON", "the body cannot be read as JSON", "",
                  remedy, 400)  # fmt: skip


def _unread(error: Exception) -> Breach:
    """msgspec names types, limits, paths and unknown keys, never values; odd keys are kept back."""
    if not isinstance(error, msgspec.ValidationError):
        return _malformed()
    text = str(error)
    at = _AT.search(text)
    field, detail = at[1] if at else "", text[: at.start()] if at else text
    named = _NAMED.search(detail)
    if named and _PLAIN.fullmatch(named[1]):
        field = f"{field}.{named[1]}".lstrip(".")
    elif named:
        detail = "Object contains unknown field"
    remedy = next((remedy for word, remedy in _REMEDIES if word in detail), "correct it")
    return invalid(field, detail, remedy)
