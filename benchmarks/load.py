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
import gc
import json
import math
import re
import select
import socket
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

if TYPE_CHECKING:
    from serving.run import Running

CONNECTIONS, PATIENCE = 8, 2.0
OPEN_CONNECTIONS = 32
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)


class Connection:
    """One kept connection, by its bare socket: a load must not take the server's processor."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._got, self._whole = b"", 0

    def fileno(self) -> int:
        """What the system knows it by."""
        return self._socket.fileno()

    def send(self, request: bytes) -> None:
        """Send a whole request."""
        self._socket.sendall(request)

    def receive(self) -> bool | None:
        """Take what has come in: whether the answer is 200, once it is whole; before, None.

        Raises ``ConnectionError`` when the server has closed the connection.
        """
        data = self._socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the server closed a connection of the load")
        self._got += data
        if not self._whole:
            head = self._got.find(b"\r\n\r\n")
            if head < 0:
                return None
            found = _LENGTH.search(self._got, 0, head)
            assert found, "an answer without its length"
            self._whole = head + 4 + int(found[1])
        if len(self._got) < self._whole:
            return None
        fine = self._got.startswith(b"HTTP/1.1 200")
        self._got, self._whole = b"", 0
        return fine


class Load:
    """Requests in turn to one port; ``took`` holds the seconds of each since it was due.

    ``refused``: those of the answers that are not 200, which ``took`` leaves out.
    """

    def __init__(self, port: int, requests: list[bytes], connections: int) -> None:
        self._requests = cycle(requests)
        self.took: list[float] = []
        self.refused: list[float] = []
        self._waiting: deque[float] = deque()
        self._idle = deque(Connection(port) for _ in range(connections))
        self._of = {one.fileno(): one for one in self._idle}
        self._due: dict[Connection, float] = {}
        self._epoll = select.epoll()
        for number in self._of:
            self._epoll.register(number, select.EPOLLIN)

    def closed(self, seconds: float) -> float:
        """Each connection asks again as soon as it is answered; returns the seconds it took."""
        start = time.perf_counter()
        end = start + seconds
        while (now := time.perf_counter()) < end:
            while self._idle:
                self._send(now)
            self._receive(end - now)
        self._finish(start + seconds + PATIENCE)
        return time.perf_counter() - start

    def opened(self, seconds: float, rate: float) -> float:
        """``rate`` requests a second on a schedule, come what may; returns the seconds."""
        start, number, count = time.perf_counter() + 0.05, 0, int(seconds * rate)
        while number < count:
            now = time.perf_counter()
            while number < count and (due := start + number / rate) <= now:
                self._waiting.append(due)
                number += 1
            self._send_waiting()
            self._receive(max(0.0, start + number / rate - time.perf_counter()))
        self._finish(time.perf_counter() + PATIENCE)
        end = time.perf_counter()
        self.took += [end - due for due in (*self._due.values(), *self._waiting)]
        return end - start

    def _finish(self, limit: float) -> None:
        while (self._due or self._waiting) and (left := limit - time.perf_counter()) > 0:
            self._receive(left)

    def _send_waiting(self) -> None:
        while self._waiting and self._idle:
            self._send(self._waiting.popleft())

    def _send(self, due: float) -> None:
        connection = self._idle.popleft()  # in turn: a server closes those it hears nothing of
        self._due[connection] = due
        connection.send(next(self._requests))

    def _receive(self, seconds: float) -> None:
        """Wait so long for answers, and take those that are there."""
        select.select((self._epoll,), (), (), seconds)  # to the microsecond; epoll itself: to 1 ms
        for number, _ in self._epoll.poll(0):
            connection = self._of[number]
            fine = connection.receive()
            if fine is not None:
                took = time.perf_counter() - self._due.pop(connection)
                (self.took if fine else self.refused).append(took)
                self._idle.append(connection)
                self._send_waiting()


def _run(options: argparse.Namespace) -> dict[str, float]:
    bodies = Path(options.bodies).read_bytes().splitlines()
    head = "POST {} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    start = head.format(options.path).encode()
    if options.path:
        asked = [b"%sContent-Length: %d\r\n\r\n%s" % (start, len(one), one) for one in bodies]
    else:
        asked = [b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % one for one in bodies]
    usual = OPEN_CONNECTIONS if options.rate else CONNECTIONS
    load = Load(options.port, asked, options.connections or usual)
    gc.disable()
    if options.rate:
        seconds = load.opened(options.seconds, options.rate)
    else:
        seconds = load.closed(options.seconds)
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
    print(json.dumps(_run(parser.parse_args())))


if __name__ == "__main__":
    main()
