"""The ASGI application under ``/v1``: Starlette and msgspec, no model code and no BentoML."""

from __future__ import annotations

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.http import HANDLERS, answer
from serving.openapi import described
from serving.operation import Operation
from serving.routes import score

OPERATIONS: tuple[Operation, ...] = (*score.OPERATIONS,)
OPENAPI = described(OPERATIONS)


def application() -> Starlette:
    """The ASGI application; set ``state.desk`` before the first request."""
    routes = [Route(one.path, one.handler, methods=[one.method]) for one in OPERATIONS]
    routes.append(Route("/v1/openapi.json", _openapi, methods=["GET"]))
    app = Starlette(routes=routes, exception_handlers=HANDLERS)
    app.state.working = anyio.CapacityLimiter(2)
    return app


async def _openapi(request: Request) -> Response:
    del request
    return answer(OPENAPI)
