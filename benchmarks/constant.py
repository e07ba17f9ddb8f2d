"""The floor of :mod:`benchmarks.serving`: our service's configuration, and nothing to do."""

from __future__ import annotations

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.service import CONFIG
from serving.worker import settle_down


async def constant(request: Request) -> Response:
    """Read the whole body, answer a constant."""
    await request.body()
    return Response(b'{"probability":0.1}', media_type="application/json")


app = Starlette(routes=[Route("/v1/constant", constant, methods=["POST"])])


def in_front(bento: ASGIApp, api: ASGIApp) -> ASGIApp:
    """Where our service has its guard: nothing but the way to ``api``."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        mine = scope["type"] == "http" and scope["path"] == "/v1/constant"
        await (api if mine else bento)(scope, receive, send)

    return answer


@bentoml.service(**CONFIG)
class Constant:
    """Answers the same to everybody."""

    def __init__(self) -> None:
        settle_down()


Constant.add_asgi_middleware(in_front, api=app)  # type: ignore[attr-defined]
