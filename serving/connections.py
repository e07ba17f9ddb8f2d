"""Connections: one whose headers do not come is hung up, which uvicorn itself never does."""

from __future__ import annotations

import asyncio

import uvicorn.config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_SECONDS = 10.0


class Patient(HttpToolsProtocol):
    """The protocol of uvicorn, and a limit to the time that the headers of a request take."""

    _limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first request has begun, even if nothing of it is there."""
        super().connection_made(transport)
        self._wait()

    def on_message_begin(self) -> None:
        """A later request has begun."""
        super().on_message_begin()
        self._wait()

    def on_headers_complete(self) -> None:
        """From here on the guard waits for the body."""
        self._stop()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._limit is None:
            self._limit = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _stop(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


def install() -> None:
    """Let the server that is about to start, whose configuration is not ours, use it."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{Patient.__name__}"
