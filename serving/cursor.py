"""Where a page of a list ended: a time and what comes last under it, as text of no meaning."""

from __future__ import annotations

import re

from serving.problems import invalid

_FORM = re.compile(r"(\d{1,18})-([0-9a-f]{1,64})")


def cursor(at: int, last: str) -> str:
    """The cursor behind an entry of a time (microseconds) and a lower-case hexadecimal id."""
    return f"{at}-{last}"


def read_cursor(text: str) -> tuple[int, str]:
    """What :func:`cursor` was given. Raises :class:`serving.problems.Breach`."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise invalid("cursor", "not a cursor", "send next of the page before, or leave it out")
    return int(found[1]), found[2]
