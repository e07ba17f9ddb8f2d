"""Pages of a list: where one ended is a time and what comes last under it, as opaque text."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from serving import api

Cursor = Annotated[str, Meta(pattern="^[0-9]{1,18}-[0-9a-f]{1,64}$")]
"""``next`` of the page before."""

FIRST = (10**18, "")
"""Before all entries of a list that begins with the latest."""


class Page(api.Strict, frozen=True):
    """Which part of a list: so many, behind the cursor that was ``next``."""

    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100
    cursor: Cursor | None = None


def cursor(at: int, last: str) -> str:
    """The cursor behind an entry of a time (microseconds) and a lower-case hexadecimal id."""
    return f"{at}-{last}"


def read_cursor(text: Cursor) -> tuple[int, str]:
    """What :func:`cursor` was given."""
    at, _, last = text.partition("-")
    return int(at), last
