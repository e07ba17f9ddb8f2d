"""Bare Starlette under uvicorn: reads the whole body and answers a constant."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def constant(request: Request) -> Response:
    await request.body()
    return Response(b'{"probability":0.1}', media_type="application/json")


async def ready(request: Request) -> Response:
    del request
    return Response(b"")


app = Starlette(routes=[Route("/constant", constant, methods=["POST"]), Route("/readyz", ready)])
