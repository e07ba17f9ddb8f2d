"""Bodies that are too large or never end, headers that never end: they cost nobody else."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import psutil
import pytest

from serving.connections import HEADER_SECONDS
from serving.guard import BODY_SECONDS

MIB = 2**20
HEAD = b"POST /v1/score HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


def server_of(client: httpx.Client) -> psutil.Process:
    """The process that answers: it holds connections of the port."""
    assert client.get("/livez").status_code == 200
    port = client.base_url.port
    [worker] = [one for one in psutil.Process().children(recursive=True) if _answers(one, port)]
    return worker


def _answers(process: psutil.Process, port: int | None) -> bool:
    try:
        held = process.net_connections()
    except psutil.NoSuchProcess:  # it has ended meanwhile
        return False
    return any(one.laddr.port == port and one.status == "ESTABLISHED" for one in held)


class Peak(threading.Thread):
    """The most resident memory of a process while the context is open, above that at its start."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__()
        self._process, self._ends = process, threading.Event()
        self._first = self._most = process.memory_info().rss

    def run(self) -> None:
        while not self._ends.wait(0.002):
            self._most = max(self._most, self._process.memory_info().rss)

    def __enter__(self) -> Peak:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self.join()
        self.more = self._most - self._first


def chunks() -> Iterator[bytes]:
    for _ in range(300):
        yield b"\r\n".join([b"%x" % MIB, b" " * MIB, b""])


def plain() -> Iterator[bytes]:
    for _ in range(300):
        yield b" " * MIB


def connected(client: httpx.Client) -> socket.socket:
    assert client.base_url.port is not None
    return socket.create_connection((client.base_url.host, client.base_url.port), timeout=30)


def readable(connection: socket.socket) -> bool:
    return bool(select.select([connection], [], [], 0)[0])


@pytest.mark.parametrize("chunked", [False, True])
def test_300_megabytes_are_refused_and_not_held(client: httpx.Client, chunked: bool) -> None:
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (300 * MIB)
    answer, sent = b"", 0
    with Peak(server_of(client)) as peak, connected(client) as sender:
        with suppress(BrokenPipeError, ConnectionResetError):  # it has hung up
            sender.sendall(HEAD + length + b"\r\n\r\n")
            for part in chunks() if chunked else plain():
                if readable(sender):
                    break
                sender.sendall(part)
                sent += MIB
        with suppress(ConnectionResetError):
            answer = sender.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert sent < 100 * MIB
    assert peak.more <= 20 * MIB
    assert client.get("/v1/model").status_code == 200


@pytest.mark.slow
def test_a_crowd_that_trickles_is_hung_up_and_keeps_nobody_waiting(client: httpx.Client) -> None:
    whole = HEAD + b"Content-Length: 1000\r\nX-Filler: " + b"x" * 400 + b"\r\n\r\n" + b" " * 999
    crowd = [connected(client) for _ in range(50)]
    begun, sent = time.monotonic(), 0
    for number, one in enumerate(crowd):
        if number % 2:  # its headers are there, its body is not
            one.sendall(whole[:600])
    alive, waited = list(range(50)), [0.0]
    while alive and time.monotonic() - begun < HEADER_SECONDS + BODY_SECONDS:
        for number in list(alive):
            at = 600 + sent if number % 2 else sent
            try:
                crowd[number].sendall(whole[at : at + 1])
                if readable(crowd[number]) and not crowd[number].recv(65_536):
                    alive.remove(number)
            except (BrokenPipeError, ConnectionResetError):
                alive.remove(number)
        sent += 1
        asked = time.monotonic()
        assert client.get("/v1/model").status_code == 200
        waited.append(time.monotonic() - asked)
        time.sleep(0.1)
    took = time.monotonic() - begun
    for one in crowd:
        one.close()
    assert not alive, f"{len(alive)} still hold a connection"
    assert max(waited) < 1.0
    assert took >= min(HEADER_SECONDS, BODY_SECONDS)
