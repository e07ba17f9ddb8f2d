"""Take in leads, events, changes and outcomes; show and replay what could not be taken in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from serving import api, ingest, letters
from serving.cursor import Page
from serving.http import answer, read_body, store_of
from serving.limits import in_thread
from serving.operation import Operation
from serving.problems import convert, decode

INLINE_BYTES = 64 * 1024
"""Larger batches are read in a thread, so that scores need not wait for them."""


class Replay(api.Strict, frozen=True):
    """``item``, where given, is taken in the dead letter's place: the same, corrected."""

    item: Any = None


_REPLAY = msgspec.json.Decoder(Replay)


def _taking(kind: str) -> Callable[[Request], Awaitable[Response]]:
    intake = ingest.INTAKES[kind]

    async def take(request: Request) -> Response:
        store, state = store_of(request), request.app.state
        body = await read_body(request)
        if len(body) <= INLINE_BYTES:
            batch = intake.read(body, state.desk.reader)
        else:
            batch = await in_thread(state.working, intake.read, body, state.desk.reader)
        told = await ingest.take(batch, store)
        if state.refresher is not None:
            state.refresher.changed({row[0] for row in batch.rows.values()})
        return answer(told)

    return take


async def _letters(request: Request) -> Response:
    page = convert(Page, dict(request.query_params))
    return answer(await in_thread(request.app.state.working, letters.letters,
                                  store_of(request), page))  # fmt: skip


async def _replay(request: Request) -> Response:
    asked = decode(_REPLAY, await read_body(request))
    which, reader = request.path_params["letter_id"], request.app.state.desk.reader
    item = None if asked.item is None else msgspec.json.encode(asked.item)
    return answer(await ingest.replay(which, item, reader, store_of(request)))


_DESCRIPTION = (
    "Each item has its own result, and is on disk when it is answered: `stored`, `known` (it was "
    "there with the same content, so a batch may be sent again) or `refused`, with a problem and "
    "the id under which it is kept as a dead letter."
)

OPERATIONS = (
    *(
        Operation(
            f"store_{kind}", "POST", f"/v1/{kind}", _taking(kind), f"Store {kind}",
            ingest.IngestAnswer, "ingest", asks=batch, description=_DESCRIPTION,
            returns="One result an item, in order",
        )
        for kind, batch in (
            ("leads", ingest.Leads), ("events", ingest.Events), ("changes", ingest.Changes),
            ("outcomes", ingest.Outcomes),
        )
    ),
    Operation(
        "dead_letters", "GET", "/v1/dead-letters", _letters, "Items that were refused, and why",
        letters.DeadLetters, "ingest", query=Page, returns="The oldest first",
    ),
    Operation(
        "replay", "POST", "/v1/dead-letters/{letter_id}/replay", _replay,
        "Take a dead letter in again, as it is or corrected",
        ingest.Stored | ingest.Known | ingest.Rejected, "ingest", asks=Replay,
        description="When it is stored, or known, it is a dead letter no more.",
        returns="What became of it",
    ),
)  # fmt: skip
