"""Consent, export and erasure of one lead."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from serving import privacy
from serving.http import answer, lead_of, read_body, store_of
from serving.limits import in_thread
from serving.operation import Operation
from serving.problems import decode

_CONSENT = msgspec.json.Decoder(privacy.Consent)


async def _consent(request: Request) -> Response:
    word = decode(_CONSENT, await read_body(request))
    store, which = store_of(request), lead_of(request)
    return answer(await in_thread(request.app.state.working, privacy.consented, store, which, word))


async def _export(request: Request) -> Response:
    store, which = store_of(request), lead_of(request)
    return answer(await in_thread(request.app.state.working, privacy.export, store, which))


async def _erase(request: Request) -> Response:
    store, which = store_of(request), lead_of(request)
    key = request.scope["key_id"]
    return answer(await in_thread(request.app.state.working, privacy.erase, store, which, key))


OPERATIONS = (
    Operation(
        "consent", "POST", "/v1/leads/{lead_id:path}/consent", _consent,
        "Record whether a lead consents to being scored, or contacted", privacy.Consented, "ingest",
        asks=privacy.Consent,
        description="Without a word a lead may be scored; after the latest one says no, it is "
        "refused by id until another says yes. Who may be contacted, the policy says.",
        returns="What is on record", refuses=((409, "There is another word of that moment"),),
    ),
    Operation(
        "export", "GET", "/v1/leads/{lead_id:path}/export", _export, "All that is held of a lead",
        privacy.Export, "erase", returns="Its rows, by table",
    ),
    Operation(
        "erase", "DELETE", "/v1/leads/{lead_id:path}", _erase, "Forget a lead",
        privacy.Erased, "erase",
        description="Facts, scores, decisions, consents and dead letters. What comes in under the "
        "same id later is a new lead: end it at its source first.",
        returns="The tombstone that the ledger keeps",
    ),
)  # fmt: skip
