"""One HTTP request: its body within the limit, and answers in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from serving import logs
from serving.problems import Breach, Problem
from serving.store import Store, StoreUnavailable

MOST_BYTES = 16 * 2**20


async def read_body(request: Request) -> bytes:
    """The body of a request that says it is JSON. Raises :class:`Breach` (415, 413).

    Bytes are counted as they come: a chunked body does not say how long it is.
    """
    declared(request, "application/json")
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > MOST_BYTES:
        raise _too_large()
    parts, size, more = [], 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        more, size = message.get("more_body", False), size + len(parts[-1])
        if size > MOST_BYTES:
            raise _too_large()
    return parts[0] if len(parts) == 1 else b"".join(parts)


def declared(request: Request, media: str) -> None:
    """Raises :class:`Breach` (415) when a body is not declared to be of a media type."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != media:
        raise Breach(
            "unsupported-media-type", f"The body is not declared as {media}",
            f"the header Content-Type does not say {media}",
            remedy=f"send Content-Type: {media}", status=415,
        )  # fmt: skip


def _too_large() -> Breach:
    detail = f"the body is larger than {MOST_BYTES // 2**20} MiB"
    return Breach("too-large", "The request is too large", detail,
                  remedy="send fewer leads a call", status=413,
                  headers={"Connection": "close"})  # fmt: skip


def store_of(request: Request) -> Store:
    """The store of the service. Raises :class:`Breach` (503) when it has none."""
    store: Store | None = request.app.state.store
    if store is None:
        raise Breach("no-store", "The service has no store", "there is no store to keep it in",
                     remedy="start the service with --store", status=503,
                     headers={"Retry-After": "60"})  # fmt: skip
    return store


def lead_of(request: Request) -> str:
    """The lead that a path names. Raises :class:`Breach` (404) for an id that no store can hold."""
    lead_id: str = request.path_params["lead_id"]
    if "\0" in lead_id:
        raise Breach("no-such-lead", "There is no such lead", "no id holds the character NUL",
                     "lead_id", "take the character out", 404)  # fmt: skip
    return lead_id


def answer(content: bytes, status: int = 200, media: str = "application/json") -> Response:
    """JSON that is encoded already."""
    return Response(content, status, media_type=media)


def problem_answer(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Problem details as the answer."""
    content = msgspec.json.encode(problem)
    return Response(content, problem.status, headers, "application/problem+json")


async def _breached(request: Request, error: Breach) -> Response:
    request.scope["reason"] = error.slug
    return problem_answer(error.problem(), error.headers)


async def _no_such(request: Request, error: HTTPException) -> Response:
    del request
    made = Breach("no-such-route", "There is no such route", error.detail.lower(),
                  remedy="see /v1/openapi.json", status=error.status_code)  # fmt: skip
    return problem_answer(made.problem(), error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    del request, error
    return problem_answer(failed().problem())


def failed() -> Breach:
    """A failure of ours, of which the log knows more."""
    return Breach("internal", "The service failed", "the request could not be answered",
                  remedy="try again; if it lasts, see the log", status=500)  # fmt: skip


async def unavailable(request: Request, error: StoreUnavailable) -> Response:
    """Answer that the store cannot do it now."""
    request.scope["reason"] = "store-unavailable"
    logs.event("store-unavailable", reason=str(error))
    made = Breach(
        "store-unavailable", "The store does not answer", "the store cannot read or write now",
        remedy="try again after Retry-After seconds", status=503, headers={"Retry-After": "1"},
    )  # fmt: skip
    return problem_answer(made.problem(), made.headers)


HANDLERS: dict[Any, Any] = {
    Breach: _breached, HTTPException: _no_such, StoreUnavailable: unavailable, Exception: _failed,
}  # fmt: skip
"""What became of an exception: problem details, never a traceback."""
