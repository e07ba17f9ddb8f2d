"""Connections: what uvicorn itself never does before a request is one of ours.

One whose headers do not come is hung up. One that comes when there is no time for it is refused as
soon as its headers are there, before anything is made for it: a crowd costs little more than the
reading of it. A request that came whole and says nothing unusual is not even parsed for that. An
answer that is whole goes out in one piece.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from http import HTTPStatus
from typing import ClassVar, NamedTuple
from weakref import ref

import uvicorn.config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEADER_SECONDS = 10.0

Header = tuple[bytes, bytes]


class Whole(NamedTuple):
    """A whole answer; ``head`` holds lines of headers, each ended."""

    status: int
    head: bytes
    body: bytes


WHOLE = "leadcast.whole"
"""The extension of ASGI by which an answer that is whole is sent: a third of what messages cost.

A function of a :class:`Whole` that has its body and does not end the connection.
"""

THERE = "leadcast.there"
"""The extension of ASGI that tells whether the whole body has come: a function of nothing."""

Door = Callable[[bytes, bytes, Sequence[Header]], Whole | None]
"""Is told method, target and headers of a request, and lets it in or refuses it."""


def lines(headers: Iterable[Header]) -> bytes:
    """Headers as they are sent."""
    return b"".join(b"%s: %s\r\n" % header for header in headers)


class Head(NamedTuple):
    """Of a plain request; names of headers in lower case. Tells what a parser would tell of it."""

    method: bytes
    target: bytes
    headers: tuple[Header, ...]
    length: int
    """That of the body, in bytes."""

    def get_method(self) -> bytes:
        """That of the request; the names of these methods are those of ``httptools``."""
        return self.method

    def get_http_version(self) -> str:
        """That of plain requests."""
        return "1.1"

    def should_keep_alive(self) -> bool:
        """Plain requests do not end the connection."""
        return True

    def should_upgrade(self) -> bool:
        """Nor do they make another one of it."""
        return False


_LINE = re.compile(rb"(GET|POST|PUT|PATCH|DELETE) (/[!-~]*) HTTP/1\.1\r\n")
_HEADER = re.compile(rb"([\w!#$%&'*+.^`|~-]+): ?([!-~](?:[ -~]*[!-~])?)\r\n")
_UNUSUAL = frozenset({b"transfer-encoding", b"upgrade", b"expect"})
"""What changes where a request ends, or what it waits for."""


_LONGEST = 4_096
"""Heads of so many bytes at most are kept, as clients send the same ones again and again."""


@lru_cache
def _read_head(head: bytes) -> Head | None:
    """Headers as they come from most clients; None for any others, which are left to a parser."""
    line = _LINE.match(head)
    if line is None:
        return None
    at, headers = line.end(), dict[bytes, bytes]()
    while one := _HEADER.match(head, at):
        name = one[1].lower()
        if name in headers or name in _UNUSUAL:
            return None
        headers[name], at = one[2], one.end()
    length = headers.get(b"content-length", b"0")
    usual = length.isdigit() and headers.get(b"connection", b"keep-alive") == b"keep-alive"
    if head[at:] != b"\r\n" or not usual:
        return None
    return Head(line[1], line[2], tuple(headers.items()), int(length))


def read_whole(data: bytes) -> Head | None:
    """The head of a request that ``data`` is, no more and no less; None where it is not plain.

    What is read is what a parser reads. Not plain is what is said of the connection but that it is
    kept, of the body but its length, and whatever is written in a way that is seldom seen.
    """
    end = data.find(b"\r\n\r\n", 0, _LONGEST) + 4
    head = _read_head(data[:end])
    return head if head is not None and head.length == len(data) - end else None


_PHRASES = {one.value: one.phrase.encode() for one in HTTPStatus}


@lru_cache(maxsize=16)
def _start(status: int, usual: tuple[Header, ...]) -> bytes:
    """The first lines of an answer."""
    return b"HTTP/1.1 %d %s\r\n" % (status, _PHRASES[status]) + lines(usual)


def _is_there(asked: ref[RequestResponseCycle]) -> bool:
    cycle = asked()
    return cycle is not None and not cycle.more_body


class _Answered:
    """In the place of uvicorn's record of a request, for one that needs no more work."""

    response_complete = True
    message_event = asyncio.Event()


class Patient(HttpToolsProtocol):
    """The protocol of uvicorn, a limit to the time that headers take, and a ``door``."""

    door: ClassVar[Door | None] = None
    _limit: asyncio.TimerHandle | None = None
    _expects = True
    _between, _let_in = True, False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first request has begun, even if nothing of it is there."""
        super().connection_made(transport)
        self.access_log = False  # the guard writes it, without paths, which may hold ids
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of the headers, where they are not all there."""
        if self._between and (head := read_whole(data)):
            refusal = self._refusal(head.method, head.target, head.headers)
            if refusal is not None:
                self._stop()
                self._unset_keepalive_if_required()
                self._send(refusal, keeps=True)
            else:
                self._let_in = True
                self._tell(head, data[len(data) - head.length :])
            return
        super().data_received(data)
        if self._expects and self._limit is None:
            self._wait()

    def _tell(self, head: Head, body: bytes) -> None:
        """What a parser would tell of a request."""
        self._unset_keepalive_if_required()
        parser, self.parser = self.parser, head  # type: ignore[assignment]
        try:
            self.on_message_begin()
            self.url = head.target
            self.headers += head.headers
            self.on_headers_complete()
            self.on_body(body)
            self.on_message_complete()
        finally:
            self.parser = parser

    def on_message_begin(self) -> None:
        """A later request has begun."""
        super().on_message_begin()
        self._expects, self._between = True, False

    def on_message_complete(self) -> None:
        """What comes next is another request."""
        super().on_message_complete()
        self._between = True

    def on_headers_complete(self) -> None:
        """From here on the guard waits for the body, where the door lets the request in."""
        self._expects = False
        self._stop()
        refusal = self._judged()
        if refusal is None:
            super().on_headers_complete()
            cycle = ref(self.cycle)  # which holds the scope: a circle would wait for the collector
            self.scope["extensions"] = {
                WHOLE: partial(self._say, cycle),  # type: ignore[dict-item]
                THERE: partial(_is_there, cycle),  # type: ignore[dict-item]
            }
        else:
            keeps = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
            self.cycle = _Answered()  # type: ignore[assignment]
            self._send(refusal, keeps)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop()
        super().connection_lost(exc)

    def _judged(self) -> Whole | None:
        """What the door says of a request that was parsed, if it was not asked before."""
        if self._let_in or self.expect_100_continue or self.parser.should_upgrade():
            self._let_in = False
            return None
        return self._refusal(self.parser.get_method(), self.url, self.headers)

    def _refusal(self, method: bytes, target: bytes, headers: Sequence[Header]) -> Whole | None:
        """What the door says; one whose answer has its turn after others' is let in."""
        door = type(self).door
        follows = self.cycle is not None and not self.cycle.response_complete
        return None if door is None or follows else door(method, target, headers)

    def _say(self, asked: ref[RequestResponseCycle], answer: Whole) -> None:
        """Send the answer to a request."""
        cycle = asked()
        if cycle is not None and not cycle.disconnected:
            cycle.response_started = cycle.response_complete = True
            cycle.message_event.set()
            self._send(answer, cycle.keep_alive)

    def _send(self, answer: Whole, keeps: bool) -> None:
        start = _start(answer.status, tuple(self.server_state.default_headers))
        end = b"\r\n" if keeps else b"connection: close\r\n\r\n"
        self.transport.write(start + answer.head + end + answer.body)
        if not keeps:
            self.transport.close()
        self.on_response_complete()

    def _wait(self) -> None:
        self._limit = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _stop(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


def install() -> None:
    """Let the server that is about to start, whose configuration is not ours, use it."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{Patient.__name__}"
