"""`Idempotency-Key`: a request that is sent again is answered as it was, and kept once.

After draft-ietf-httpapi-idempotency-key-header-07. What comes in by ``/v1/events`` and the
like needs none: it is idempotent by its ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from anyio import to_thread

from features.times import DAY, now
from serving.problems import Breach, invalid
from serving.scorer import Row
from serving.store import Store

KEPT = DAY
"""So long a repeated request is known."""

MOST_CHARACTERS = 255
_FORGET_EVERY = 256

Work = Callable[[], Awaitable[tuple[bytes, list[Row]]]]
"""Works a request out: the answer, and the rows of the ledger that it is to be kept with."""


class Repeats:
    """Answers that were given under an Idempotency-Key, by the API key that sent it."""

    def __init__(self) -> None:
        self._running: set[str] = set()
        self._count = 0

    async def answer(self, store: Store, key_id: str, given: str, body: bytes, work: Work) -> bytes:
        """Answer as before, or work it out and keep it with its scores, on disk.

        Raises :class:`Breach`: 422 for a key that was sent with another body, 409 while the same
        request is still worked on.
        """
        if not given or len(given) > MOST_CHARACTERS or "\0" in given:
            raise invalid("Idempotency-Key", f"not 1 to {MOST_CHARACTERS} characters",
                          "send an id of the request, such as a UUID")  # fmt: skip
        which = hashlib.sha256(f"{key_id} {given}".encode()).hexdigest()
        digest = hashlib.sha256(body).hexdigest()
        with self._alone(which):
            held = await to_thread.run_sync(_held, store, which)
            if held is not None:
                return _same(held, digest)
            told, scores = await work()
            row = (which, now(), digest, told.decode())
            await store.write({"scores": scores, "repeats": [row]})
            self._count += 1
            if self._count % _FORGET_EVERY == 1:
                await to_thread.run_sync(_forget, store)
            return told

    @contextmanager
    def _alone(self, which: str) -> Iterator[None]:
        if which in self._running:
            raise Breach(
                "in-progress", "The same request is being worked on",
                "a request with this Idempotency-Key has not been answered yet",
                "Idempotency-Key", "try again after Retry-After seconds", 409, {"Retry-After": "1"},
            )  # fmt: skip
        self._running.add(which)
        try:
            yield
        finally:
            self._running.discard(which)


def _held(store: Store, which: str) -> Row | None:
    found = store.rows(
        "SELECT body_digest, answer FROM repeats WHERE repeat_id = ? AND answered_at > ?",
        (which, now() - KEPT),
    )
    return found[0] if found else None


def _same(held: Row, digest: str) -> bytes:
    if held[0] != digest:
        raise Breach(
            "key-reused", "The Idempotency-Key was used before",
            "another request was sent with this Idempotency-Key", "Idempotency-Key",
            "send each request with a key of its own",
        )  # fmt: skip
    return str(held[1]).encode()


def _forget(store: Store) -> None:
    store.run("DELETE FROM repeats WHERE answered_at < ?", (now() - KEPT,))
