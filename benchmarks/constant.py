"""The floor of :mod:`benchmarks.serving`: our service's configuration, and nothing to do."""

from __future__ import annotations

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.service import CONFIG, mounted, settle_down


async def constant(request: Request) -> Response:
    """Read the whole body, answer a constant."""
    await request.body()
    return Response(b'{"probability":0.1}', media_type="application/json")


app = Starlette(routes=[Route("/v1/constant", constant, methods=["POST"])])


@bentoml.service(**CONFIG)
@bentoml.asgi_app(mounted(app), path="/")
class Constant:
    """Answers the same to everybody."""

    def __init__(self) -> None:
        settle_down()
