"""A server of this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


@contextmanager
def listening(app: ASGIApp, protocol: type[HttpToolsProtocol]) -> Iterator[tuple[str, int]]:
    """Where an application answers, from a thread."""
    settings: dict[str, Any] = {"port": 0, "lifespan": "off", "log_config": None}
    server = uvicorn.Server(uvicorn.Config(app, http=protocol, **settings))
    running = threading.Thread(target=server.run)
    running.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()
    finally:
        server.should_exit = True
        running.join()
