"""The ASGI application under ``/v1``: Starlette and msgspec, no model code and no BentoML."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from serving import settings
from serving.connections import Patient
from serving.guard import Guard
from serving.health import Health
from serving.http import HANDLERS, answer
from serving.keys import Keys
from serving.openapi import described
from serving.operation import Operation
from serving.repeats import Repeats
from serving.routes import ingest, jobs, models, privacy, score, worklist
from serving.together import Together
from serving.traces import Traces
from serving.worklist import current_scores

OPERATIONS: tuple[Operation, ...] = (
    *score.OPERATIONS,
    *jobs.OPERATIONS,
    *models.OPERATIONS,
    *ingest.OPERATIONS,
    *worklist.OPERATIONS,
    *privacy.OPERATIONS,
)
OPENAPI = described(OPERATIONS)


def application() -> Starlette:
    """The ASGI application; its ``state`` needs ``desk``, ``store`` and ``champion``."""
    routes = [_route(path) for path in dict.fromkeys(one.path for one in OPERATIONS)]
    routes.append(Route("/v1/openapi.json", _openapi, methods=["GET"]))
    app = Starlette(routes=routes, exception_handlers=HANDLERS)
    app.state.refresher, app.state.shadow, app.state.repeats = None, None, Repeats()
    app.state.working = anyio.CapacityLimiter(2)
    app.state.current = Together[str, bytes](lambda leads: current_scores(app.state.store, leads))
    return app


def _route(path: str) -> Route:
    """All that can be done at a path."""
    handlers: dict[str, Callable[[Request], Awaitable[Response]]] = {
        one.method: one.handler for one in OPERATIONS if one.path == path
    }

    async def handle(request: Request) -> Response:
        return await handlers[request.method](request)

    if "GET" in handlers:
        handlers["HEAD"] = handlers["GET"]
    return Route(path, handle, methods=list(handlers))


HEALTH = Health()


def guarded(app: ASGIApp, api: ASGIApp) -> ASGIApp:
    """The guard in front of ``api``, at the door of every connection too.

    BentoML's own ``app`` answers for its health alone.

    Raises :class:`serving.keys.KeysError` for a bad file, :class:`serving.traces.MissingExporter`.
    """
    keys = Keys(settings.KEYS) if settings.KEYS else None
    guard = Guard(app, api, OPERATIONS, keys, HEALTH, Traces.configured())
    Patient.door = guard.door
    return guard


async def _openapi(request: Request) -> Response:
    del request
    return answer(OPENAPI)
