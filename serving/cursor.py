"""Where a page of a list ended: a time and what comes last under it, as text of no meaning."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Cursor = Annotated[str, Meta(pattern="^[0-9]{1,18}-[0-9a-f]{1,64}$")]
"""``next`` of the page before."""


def cursor(at: int, last: str) -> str:
    """The cursor behind an entry of a time (microseconds) and a lower-case hexadecimal id."""
    return f"{at}-{last}"


def read_cursor(text: Cursor) -> tuple[int, str]:
    """What :func:`cursor` was given."""
    at, _, last = text.partition("-")
    return int(at), last
