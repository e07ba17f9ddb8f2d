"""Load for an HTTP service, by a process of its own: closed loop, or open loop on a schedule.

    python -m benchmarks.load PORT PATH BODIES --seconds 5 [--rate 500]

``BODIES`` is a file of JSON lines, one request body a line, sent in turn over kept connections;
with an empty ``PATH`` its lines are the paths of requests without a body.
In the open loop a request's latency counts from the moment it was due, whether a connection was
free or not; what is unanswered when patience ends counts with the time it has waited so far.
Prints one line of JSON. :func:`measure` runs it and adds the processor time of the server.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import re
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import uvloop

if TYPE_CHECKING:
    from serving.run import Running

CONNECTIONS, PATIENCE = 8, 2.0
OPEN_CONNECTIONS = 32
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)


class Connection(asyncio.Protocol):
    """One kept connection; ``answered(connection, ok)`` after each whole answer."""

    def __init__(self, answered: Any) -> None:
        self._answered, self._got, self._whole = answered, bytearray(), 0

    def connection_made(self, transport: Any) -> None:
        """Keep the way out."""
        self._transport = transport

    def send(self, request: bytes) -> None:
        """Send a whole request."""
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Collect an answer until it is whole."""
        self._got += data
        if not self._whole:
            head = self._got.find(b"\r\n\r\n")
            if head < 0:
                return
            found = _LENGTH.search(self._got, 0, head)
            assert found, "an answer without its length"
            self._whole = head + 4 + int(found[1])
        if len(self._got) >= self._whole:
            fine = self._got.startswith(b"HTTP/1.1 200")
            self._got, self._whole = bytearray(), 0
            self._answered(self, fine)


class Load:
    """Requests in turn to one port; ``took`` holds the seconds of each since it was due.

    ``refused``: those of the answers that are not 200, which ``took`` leaves out.
    """

    def __init__(self, port: int, requests: list[bytes]) -> None:
        self._port, self._requests = port, cycle(requests)
        self.took: list[float] = []
        self.refused: list[float] = []
        self._waiting: deque[float] = deque()
        self._idle: deque[Connection] = deque()
        self._due: dict[Connection, float] = {}
        self._closed = False

    async def connect(self, count: int) -> list[Connection]:
        """Open so many connections."""
        loop = asyncio.get_running_loop()
        made = [await loop.create_connection(lambda: Connection(self._answered), "127.0.0.1",
                                             self._port) for _ in range(count)]  # fmt: skip
        return [connection for _, connection in made]

    async def closed(self, connections: list[Connection], seconds: float) -> float:
        """Each connection asks again as soon as it is answered; returns the seconds it took."""
        self._closed, start = True, time.perf_counter()
        for connection in connections:
            self._send(connection, time.perf_counter())
        await asyncio.sleep(seconds)
        self._closed = False
        while self._due and time.perf_counter() < start + seconds + PATIENCE:
            await asyncio.sleep(0.001)
        return time.perf_counter() - start

    async def opened(self, connections: list[Connection], seconds: float, rate: float) -> float:
        """``rate`` requests a second on a schedule, come what may; returns the seconds."""
        self._idle = deque(connections)  # in turn: a server closes those that it hears nothing of
        start, count = time.perf_counter() + 0.05, int(seconds * rate)
        for number in range(count):
            due = start + number / rate
            ahead = due - time.perf_counter()
            if ahead > 0:
                await asyncio.sleep(ahead)
            if self._idle:
                self._send(self._idle.popleft(), due)
            else:
                self._waiting.append(due)
        limit = time.perf_counter() + PATIENCE
        while (self._due or self._waiting) and time.perf_counter() < limit:
            await asyncio.sleep(0.001)
        end = time.perf_counter()
        self.took += [end - due for due in (*self._due.values(), *self._waiting)]
        return end - start

    def _send(self, connection: Connection, due: float) -> None:
        self._due[connection] = due
        connection.send(next(self._requests))

    def _answered(self, connection: Connection, fine: bool) -> None:
        now = time.perf_counter()
        (self.took if fine else self.refused).append(now - self._due.pop(connection))
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        elif self._closed:
            self._send(connection, now)
        else:
            self._idle.append(connection)


async def _run(options: argparse.Namespace) -> dict[str, float]:
    bodies = Path(options.bodies).read_bytes().splitlines()
    head = "POST {} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    start = head.format(options.path).encode()
    if options.path:
        asked = [b"%sContent-Length: %d\r\n\r\n%s" % (start, len(one), one) for one in bodies]
    else:
        asked = [b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % one for one in bodies]
    load = Load(options.port, asked)
    gc.disable()
    usual = OPEN_CONNECTIONS if options.rate else CONNECTIONS
    connections = await load.connect(options.connections or usual)
    if options.rate:
        seconds = await load.opened(connections, options.seconds, options.rate)
    else:
        seconds = await load.closed(connections, options.seconds)
    p50, p99 = np.quantile(load.took, [0.5, 0.99])
    return {"requests": len(load.took), "refused": len(load.refused), "seconds": seconds,
            "p50": float(p50), "p99": float(p99),
            "refused_p99": float(np.quantile(load.refused or [0.0], 0.99))}  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """What a load brought: requests a second, processor seconds a request, latency in seconds."""

    rate: float
    cpu: float
    p50: float
    p99: float


def load(
    url: str, path: str, bodies: Path, seconds: float, rate: float = 0, connections: int = 0
) -> dict[str, float]:
    """Load the server at ``url`` from a process of its own; returns what that printed."""
    command = [sys.executable, "-m", "benchmarks.load", url.rpartition(":")[2], path, str(bodies)]
    command += ["--seconds", str(seconds), "--rate", str(rate), "--connections", str(connections)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(server: Running, path: str, bodies: Path, seconds: float, rate: float = 0) -> Measured:
    """Load a running server from a process of its own; p99 has no bound where it refused some."""
    before = cpu_of(server)
    found = load(server.url, path, bodies, seconds, rate)
    used = cpu_of(server) - before
    if found["refused"]:
        print(f"{found['refused']:,} requests to {path} were refused, {rate:,} a second asked for")
    each, p99 = found["requests"], math.inf if found["refused"] else found["p99"]
    return Measured(each / found["seconds"], used / each, found["p50"], p99)


def cpu_of(server: Running) -> float:
    """Processor seconds of a server's processes, user and system."""
    root = psutil.Process(server.process.pid)
    times = [one.cpu_times() for one in (root, *root.children(recursive=True))]
    return float(sum(one.user + one.system for one in times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("bodies")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rate", type=float, default=0, help="requests a second; 0: closed loop")
    parser.add_argument("--connections", type=int, default=0, help="0: as many as is usual")
    print(json.dumps(uvloop.run(_run(parser.parse_args()))))


if __name__ == "__main__":
    main()
