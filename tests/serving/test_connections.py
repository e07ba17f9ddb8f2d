"""What is read of a request without a parser is what the parser reads."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httptools
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.connections import Header, Patient, read_whole
from tests.serving.server import listening

REQUEST = b"POST /v1/score?x=1 HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n{}"

HEADERS = st.tuples(
    st.sampled_from([
        b"Host", b"X-Request-Id", b"content-length", b"Content-Length", b"Connection",
        b"Transfer-Encoding", b"Expect", b"Upgrade", b"X y", b"", b"Authorization",
    ]),
    st.sampled_from([b": ", b":", b" : ", b":  ", b":\t", b""]),
    st.sampled_from([
        b"0", b"2", b"7", b"+2", b"2 ", b"2, 2", b"close", b"keep-alive", b"Keep-Alive", b"chunked",
        b"100-continue", b"h2c", b"", b"a b", b"\xc3\xbc", b"a\x00", b"a\tb", b"0123456789abcdef",
    ]),
    st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r\n "]),
).map(b"".join)  # fmt: skip
REQUESTS = st.builds(
    lambda line, headers, body: b"".join([line, *headers, b"\r\n", body]),
    st.sampled_from([
        b"POST /v1/score HTTP/1.1\r\n", b"GET /v1/leads/%C3%BC/score HTTP/1.1\r\n",
        b"POST /v1/score HTTP/1.0\r\n", b"BREW /v1/score HTTP/1.1\r\n", b"GET * HTTP/1.1\r\n",
        b"POST  /v1/score HTTP/1.1\r\n", b"GET http://x/ HTTP/1.1\r\n", b"\r\nGET / HTTP/1.1\r\n",
        b"get / HTTP/1.1\r\n", b"GET /\xff HTTP/1.1\r\n", b"CONNECT /x HTTP/1.1\r\n",
    ]),
    st.lists(HEADERS, max_size=4),
    st.sampled_from([b"", b"{}", b"{}\r\n\r\n", REQUEST]),
)  # fmt: skip
CUT = st.builds(
    lambda at, junk: REQUEST[:at] + junk + REQUEST[at:], st.integers(0, len(REQUEST)),
    st.binary(max_size=2),
)  # fmt: skip

USUAL = st.builds(
    lambda method, target, headers, length, body: b"%s /%s HTTP/1.1\r\n%s\r\n%s" % (
        method, target, b"".join([*headers, b"Content-Length: %d\r\n" % length]), body
    ),
    st.sampled_from([b"GET", b"POST", b"PUT", b"PATCH", b"DELETE"]),
    st.text("abz/%?&=#;~\"<>{}|^`\\", max_size=8).map(str.encode),
    st.lists(st.builds(
        lambda name, value: b"%s: %s\r\n" % (name.encode(), value.encode()),
        st.text("abXY-_!#$.", min_size=1, max_size=3), st.text("ab \t\"\\:;,~", max_size=4),
    ), max_size=3),
    st.integers(0, 3),
    st.sampled_from([b"", b"{", b"{}", b"{} "]),
)  # fmt: skip


class Parsed:
    """What the parser says of some bytes."""

    def __init__(self, data: bytes) -> None:
        self.target, self.headers, self.ends = b"", list[Header](), 0
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_message_complete(self) -> None:
        self.ends += 1


@settings(max_examples=600, deadline=None)
@given(st.one_of(REQUESTS, CUT, USUAL))
@example(REQUEST)
def test_what_is_read_without_a_parser_is_what_the_parser_reads(data: bytes) -> None:
    head = read_whole(data)
    if data == REQUEST:
        assert head is not None
    if head is None:
        return
    parsed = Parsed(data)  # and raises nothing
    assert parsed.ends == 1
    assert parsed.parser.get_method() == head.method
    assert (parsed.target, parsed.headers) == (head.target, [*head.headers])
    assert parsed.parser.get_http_version() == "1.1"
    assert parsed.parser.should_keep_alive()
    assert not parsed.parser.should_upgrade()
    alone = data[: len(data) - head.length]
    assert Parsed(alone).ends == (head.length == 0)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with all that an application is told of a request."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message.get("more_body", False)
    told = {name: scope[name] for name in ("method", "path", "raw_path", "query_string", "headers",
                                           "http_version", "scheme")}  # fmt: skip
    content = repr((sorted(told.items()), body)).encode()
    size = (b"content-length", b"%d" % len(content))
    await send({"type": "http.response.start", "status": 200, "headers": [size]})
    await send({"type": "http.response.body", "body": content})


@contextmanager
def echoing(protocol: type[HttpToolsProtocol]) -> Iterator[socket.socket]:
    """A connection to what answers so."""
    with listening(echo, protocol) as place, socket.create_connection(place) as connection:
        yield connection


def answered(connection: socket.socket, pieces: Sequence[bytes]) -> bytes:
    """The body of the answer to a request that comes in pieces."""
    for piece in pieces[:-1]:
        connection.sendall(piece)
        time.sleep(0.002)
    connection.sendall(pieces[-1])
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.read()


CHUNKED = b"PUT /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
ESCAPED = b"GET /v1/leads/%C3%BC/score?a=%20 HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nX-A: 2\r\n\r\n"


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([
    [REQUEST], [REQUEST[:30], REQUEST[30:]], [REQUEST[:-1], REQUEST[-1:]], [CHUNKED], [ESCAPED],
    [ESCAPED.replace(b"X-A: 2", b"X-B: 2")],
]), min_size=1, max_size=8))  # fmt: skip
def test_an_application_is_told_the_same_whoever_read_the_request(
    requests: list[list[bytes]],
) -> None:
    with echoing(Patient) as ours, echoing(HttpToolsProtocol) as theirs:
        for pieces in requests:
            assert answered(ours, pieces) == answered(theirs, pieces)
