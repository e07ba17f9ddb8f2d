"""The ledger: every score that was answered, kept as it was said, and never changed."""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence

import msgspec

from features.times import iso, now
from serving.cursor import FIRST, Page, cursor, read_cursor
from serving.decide import Grade, Route
from serving.scorer import Row, Score
from serving.store import Store

_TOKENS = random.Random(secrets.randbits(128))
"""They need to differ, not to be secret: asking the system for each is a call of it."""


class PastScore(msgspec.Struct, frozen=True):
    """What was answered, when, and by which model; ``fingerprint`` is that of its features.

    ``request_id`` is the X-Request-Id of the answer.
    """

    answered_at: str
    as_of: str
    model_version: str
    fingerprint: str
    probability: float
    expected_value: float | None
    grade: Grade
    route: Route
    request_id: str


class PastScores(msgspec.Struct, frozen=True):
    """The latest first; ``next`` is the cursor of the next page, null at the end."""

    scores: list[PastScore]
    next: str | None


def entries(scores: Sequence[Score], as_of: int, fingerprint: str, request_id: str) -> list[Row]:
    """Rows of the store for the scores of one answer, made as of a moment (microseconds)."""
    at, token = now(), f"{_TOKENS.getrandbits(64):016x}"
    return [
        (
            one.lead_id, at, f"{token}{number:03x}", as_of, one.model_version, fingerprint,
            one.probability, one.expected_value.mean if one.expected_value else None, one.grade,
            one.route, request_id,
        )
        for number, one in enumerate(scores)
    ]  # fmt: skip


def past_scores(store: Store, lead_id: str, page: Page) -> bytes:
    """Answer with a page of what was said of a lead."""
    store.settle()
    at, last = FIRST if page.cursor is None else read_cursor(page.cursor)
    found = store.rows(
        "SELECT score_id, answered_at, as_of, model_version, fingerprint, probability, "
        "expected_value, grade, route, request_id FROM scores "
        "WHERE lead_id = ? AND (answered_at, score_id) < (?, ?) "
        "ORDER BY answered_at DESC, score_id DESC LIMIT ?",
        (lead_id, at, last, page.limit),
    )
    told = [PastScore(iso(at), iso(as_of), *rest) for _, at, as_of, *rest in found]
    more = cursor(found[-1][1], found[-1][0]) if len(found) == page.limit else None
    return msgspec.json.encode(PastScores(told, more))
