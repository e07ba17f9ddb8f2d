"""Dead letters: items that could not be taken in, kept with the reason until they are mended."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Any

import msgspec

from features.times import iso, now
from serving.cursor import Page, cursor, read_cursor
from serving.problems import Breach, Problem
from serving.scorer import Row
from serving.store import Store

MOST_LETTERS = 100_000
"""So many are kept: who sends nothing but rubbish fills no disk."""


class DeadLetter(msgspec.Struct, frozen=True):
    """An item as it came (``content``), and why it was refused; ``kind`` is its batch's field."""

    id: str
    received_at: str
    kind: str
    content: Any
    problem: Problem


class DeadLetters(msgspec.Struct, frozen=True):
    """The oldest first; ``next`` is the cursor of the next page, null at the end."""

    dead_letters: list[DeadLetter]
    next: str | None


class _Named(msgspec.Struct):
    lead_id: str | None = None


def letter(kind: str, content: bytes, why: Breach) -> Row:
    """A row of the store for an item that was refused; the same item has the same id."""
    named: str | None = None
    with suppress(msgspec.MsgspecError):
        named = msgspec.json.decode(content, type=_Named).lead_id
    return (
        hashlib.sha256(kind.encode() + content).hexdigest()[:32], now(), kind,
        named.replace("\0", "") if named else None, content.decode(errors="replace"),
        msgspec.json.encode(why.problem()).decode(),
    )  # fmt: skip


def letters(store: Store, page: Page) -> bytes:
    """Answer with a page of dead letters."""
    at, last = read_cursor(page.cursor) if page.cursor is not None else (-1, "")
    found = store.rows(
        "SELECT letter_id, received_at, kind, content, problem FROM dead_letters "
        "WHERE (received_at, letter_id) > (?, ?) ORDER BY received_at, letter_id LIMIT ?",
        (at, last, page.limit),
    )
    told = [
        DeadLetter(which, iso(at), kind, msgspec.Raw(content.encode()),
                   msgspec.json.decode(problem, type=Problem))
        for which, at, kind, content, problem in found
    ]  # fmt: skip
    more = cursor(found[-1][1], found[-1][0]) if len(found) == page.limit else None
    return msgspec.json.encode(DeadLetters(told, more))


def held_letter(store: Store, which: str) -> tuple[str, bytes]:
    """The kind and content of a dead letter. Raises :class:`Breach` (404)."""
    found = store.rows("SELECT kind, content FROM dead_letters WHERE letter_id = ?", (which,))
    if not found:
        raise Breach(
            "no-such-letter", "There is no such dead letter", "no dead letter has this id",
            remedy="see GET /v1/dead-letters", status=404,
        )  # fmt: skip
    return found[0][0], found[0][1].encode()


def forget_letter(store: Store, which: str) -> None:
    """Drop a dead letter."""
    store.run("DELETE FROM dead_letters WHERE letter_id = ?", (which,))


def keep_within(store: Store, most: int = MOST_LETTERS) -> int:
    """Drop the oldest dead letters beyond so many; how many these were."""
    return len(store.run(
        "DELETE FROM dead_letters WHERE received_at < (SELECT received_at FROM dead_letters "
        "ORDER BY received_at DESC, letter_id DESC LIMIT 1 OFFSET ?) RETURNING 1", (most - 1,)
    ))  # fmt: skip
