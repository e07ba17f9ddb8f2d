"""Alive, ready, started: what a balancer and a person ask; and a calm end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import logs

_ASKS = {"/livez": "/livez", "/healthz": "/livez", "/startedz": "/livez", "/readyz": "/readyz"}


async def _nothing() -> str | None:
    return None


class Health:
    """Answers ``/livez``, ``/readyz`` and ``/startedz``: 200 ``pass`` or 503 ``fail``.

    What BentoML answers decides (a service's own ``__is_ready__`` too); while the service drains
    it is not ready, nor while ``lacks`` tells what it lacks. Where ``concern`` has something to
    say, a service that is ready says ``warn`` (200 still), with it.
    """

    paths = frozenset(_ASKS)

    def __init__(self) -> None:
        self.draining = False
        self.concern: Callable[[], str | None] = lambda: None
        self.lacks: Callable[[], Awaitable[str | None]] = _nothing

    async def __call__(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask ``app``, and say what it says in a small JSON document."""
        status = 0

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]

        asked = _ASKS[scope["path"]]
        await app({**scope, "path": asked, "raw_path": asked.encode()}, receive, note)
        lack = await self.lacks() if status == 200 and asked == "/readyz" else None
        good = status == 200 and lack is None and not (self.draining and asked == "/readyz")
        told: dict[str, Any] = {"status": "pass" if good else "fail"}
        concern = self.concern() if asked == "/readyz" else None
        if self.draining:
            told["output"] = "the service is ending"
        elif lack is not None:
            told["output"] = lack
        elif good and concern is not None:
            told = {"status": "warn", "output": concern}
        media = "application/health+json"
        await Response(msgspec.json.encode(told), 200 if good else 503, media_type=media)(
            scope, receive, send
        )

    def drain_on_end(self) -> None:
        """From now on, on SIGTERM: not ready for LEADCAST_DRAIN seconds (0), then the end.

        Called in the event loop, when the server's own handler is set: it ends gracefully, with
        what has begun.
        """
        seconds = float(os.environ.get("LEADCAST_DRAIN", "0"))
        ends: Any = signal.getsignal(signal.SIGTERM)
        if callable(ends):
            loop = asyncio.get_running_loop()
            signal.signal(signal.SIGTERM, self._drain(loop, seconds, ends))

    def _drain(
        self, loop: asyncio.AbstractEventLoop, seconds: float, ends: Callable[[int, None], None]
    ) -> Callable[[int, FrameType | None], None]:
        def drain(number: int, frame: FrameType | None) -> None:
            del frame
            if not self.draining:
                self.draining = True
                logs.event("draining", seconds=seconds)
            loop.call_soon_threadsafe(loop.call_later, seconds, ends, number, None)

        return drain
