"""The routes under ``/v1``: Starlette and msgspec, no model code and no BentoML."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import anyio.to_thread
import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from features.language import describe
from features.times import duration_text, iso, now
from serving import api
from serving.openapi import OPENAPI
from serving.scorer import Facts, Score, Scorer
from serving.store import Store

INLINE_LEADS, INLINE_BYTES = 16, 256 * 1024
"""Larger requests are worked on in a thread, so that small ones need not wait for them."""


class Desk:
    """Answers requests with one model and, where there is one, a store."""

    def __init__(self, scorer: Scorer, store: Store | None) -> None:
        self._scorer, self._store = scorer, store
        self._reader = api.Reader(scorer.features, scorer.columns)

    def score(self, asked: api.Envelope) -> bytes:
        """Answer ``POST /v1/score``. Raises :class:`serving.api.Breach`."""
        as_of = now() if asked.as_of is None else api.read_time(asked.as_of, "as_of")
        since = None if asked.since is None else api.read_time(asked.since, "since")
        if since is not None and since >= as_of:
            raise api.invalid("since", "not before as_of", "ask for an earlier moment")
        results: dict[int, Score | api.Refused] = {}
        good: dict[int, tuple[str, Facts]] = {}
        for index, raw in enumerate(asked.leads):
            try:
                good[index] = self._lead(api.read_lead(raw), as_of)
            except api.Breach as breach:
                results[index] = api.Refused(index, breach.problem(f"leads[{index}]"))
        scores = self._scorer.score(
            list(good.values()), as_of, asked.reasons, asked.vector, since, asked.if_done
        )
        results.update(zip(good, scores, strict=True))
        made = [results[index] for index in range(len(asked.leads))]
        answer = api.ScoreAnswer(self._scorer.bundle.version, iso(as_of), True, made)
        return msgspec.json.encode(answer)

    def _lead(self, lead: api.Lead, as_of: int) -> tuple[str, Facts]:
        facts = self._stored(lead.lead_id, as_of) if lead.stored else self._reader.facts(lead)
        created = self._scorer.columns["leads"].index("created_at")
        own = next(row for row in facts.leads if row[0] == lead.lead_id)
        if own[created] >= as_of:
            detail = "the lead is created at or after as_of"
            raise api.invalid("created_at", detail, "score it as of a later time")
        return lead.lead_id, facts

    def _stored(self, lead_id: str, as_of: int) -> Facts:
        if self._store is None:
            detail = "there is no store to read the history from"
            raise api.invalid("created_at", detail, "send created_at and the history")
        facts = self._store.read(lead_id, self._scorer.columns, self._scorer.account)
        if facts is None:
            remedy = "send created_at and the history, or store the lead first"
            raise api.invalid("lead_id", "not in the store", remedy)
        settled = self._store.settled(lead_id)
        if settled is not None and settled < as_of:
            detail = "the lead's outcome is known: there is nothing to predict"
            raise api.invalid("lead_id", detail, "ask for open leads, or an earlier as_of")
        return facts

    @cached_property
    def model(self) -> bytes:
        """Answer ``GET /v1/model``."""
        bundle, about = self._scorer.bundle, self._scorer.bundle.about
        return msgspec.json.encode(
            api.ModelCard(
                version=bundle.version,
                source=about.source,
                target=about.target,
                horizon=None if about.timeless else duration_text(about.horizon),
                trained_until=None if about.timeless else iso(about.trained_until),
                calibration=about.calibration,
                values=about.value is not None,
                never_read=about.reveals,
                features=describe(self._scorer.features),
                fingerprint=about.fingerprint,
                data_digest=about.data_digest,
                versions=about.versions,
            )
        )


def application() -> Starlette:
    """The ASGI application; set ``state.desk`` before the first request."""
    handlers: dict[Any, Any] = {
        api.Breach: _breached,
        HTTPException: _no_such,
        Exception: _failed,
    }
    routes = [
        Route("/v1/score", _score, methods=["POST"]),
        Route("/v1/model", _model, methods=["GET"]),
        Route("/v1/openapi.json", _openapi, methods=["GET"]),
    ]
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.state.working = anyio.CapacityLimiter(2)
    return app


async def _score(request: Request) -> Response:
    asked, size = await _asked(request)
    state = request.app.state
    scored = len(asked.leads) * (1 + (asked.since is not None) + len(asked.if_done))
    if scored <= INLINE_LEADS and size <= INLINE_BYTES:
        return _json(state.desk.score(asked))
    return _json(await anyio.to_thread.run_sync(state.desk.score, asked, limiter=state.working))


async def _asked(request: Request) -> tuple[api.Envelope, int]:
    sort = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if sort != "application/json":
        raise api.Breach(
            "unsupported-media-type", "The body is not declared as JSON",
            "the header Content-Type does not say application/json",
            remedy="send Content-Type: application/json", status=415,
        )  # fmt: skip
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > api.MOST_BYTES:
        raise _too_large()
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > api.MOST_BYTES:
            raise _too_large()
        parts.append(part)
    return api.read_envelope(b"".join(parts)), size


def _too_large() -> api.Breach:
    detail = f"the body is larger than {api.MOST_BYTES // 2**20} MiB"
    return api.Breach("too-large", "The request is too large", detail,
                      remedy="send fewer leads a call", status=413)  # fmt: skip


async def _model(request: Request) -> Response:
    return _json(request.app.state.desk.model)


async def _openapi(request: Request) -> Response:
    del request
    return _json(OPENAPI)


def _json(content: bytes, status: int = 200, media: str = "application/json") -> Response:
    return Response(content, status, media_type=media)


def _problem(problem: api.Problem) -> Response:
    return _json(msgspec.json.encode(problem), problem.status, "application/problem+json")


async def _breached(request: Request, error: api.Breach) -> Response:
    del request
    return _problem(error.problem())


async def _no_such(request: Request, error: HTTPException) -> Response:
    del request
    made = api.Breach("no-such-route", "There is no such route", error.detail.lower(),
                      remedy="see /v1/openapi.json", status=error.status_code)  # fmt: skip
    response = _problem(made.problem())
    response.headers.update(error.headers or {})
    return response


async def _failed(request: Request, error: Exception) -> Response:
    del request, error
    made = api.Breach("internal", "The service failed", "the request could not be answered",
                      remedy="try again; if it lasts, see the log", status=500)  # fmt: skip
    return _problem(made.problem())
