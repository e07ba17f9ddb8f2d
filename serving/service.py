"""The BentoML service: transport only. Start it with :mod:`serving.run` or ``bentoml serve``.

The supervisor imports this module too, so what a worker needs is imported by a worker alone.
"""

from __future__ import annotations

import os
from typing import Any

os.environ["BENTOML_DO_NOT_TRACK"] = "True"  # before bentoml is imported; the word, not 1

import bentoml
import click
from bentoml._internal.server.http.traffic import TimeoutMiddleware
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from serving import connections
from serving.verify import verify

CONFIG: dict[str, Any] = {
    "workers": 1,
    "envs": [{"name": "OMP_NUM_THREADS", "value": "1"}],
    "traffic": {"timeout": 30},
    "http": {"host": "127.0.0.1"},
    "metrics": {"enabled": False},  # labelled by path, which may hold ids; the guard has its own
    "logging": {"access": {"enabled": False}},
    "tracing": {"excluded_urls": [".*"]},
}

connections.install()


async def _pass(self: Any, scope: Scope, receive: Receive, send: Send) -> None:
    """In the place of a layer that costs every request, and does nothing here.

    A timer that outlives the request by half a minute: at thousands a second they are what the
    collector walks, and the guard bounds how long a body may take and how much is worked on. Spans,
    whose paths may hold ids: the guard has its own.
    """
    await self.app(scope, receive, send)


for _layer in (TimeoutMiddleware, OpenTelemetryMiddleware):
    _layer.__call__ = _pass  # type: ignore[method-assign]


def _host() -> str:
    """Where BentoML is about to listen: what its command was told, or else our configuration."""
    context = click.get_current_context(silent=True)
    told = context.params.get("host") if context else None
    return told or CONFIG["http"]["host"]


def _mounted(bento: ASGIApp) -> ASGIApp:
    from serving.worker import mounted

    return mounted(bento)


@bentoml.service(**CONFIG)
class Leadcast:
    """Scores leads: ``POST /v1/score``; see ``/v1/openapi.json``."""

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def verify() -> None:
        """Refuse to start on a bad bundle, or open to others, before a port opens."""
        verify(_host())

    def __init__(self) -> None:
        from serving.worker import start

        start()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def end(self) -> None:
        """Leave nothing half done."""
        from serving.worker import end

        end()


Leadcast.add_asgi_middleware(_mounted)  # type: ignore[attr-defined]
