"""Who may ask, how much at a time, and what is said of it: in front of every route.

Raw ASGI: a request costs some ten microseconds here.
"""

from __future__ import annotations

import asyncio
import random
import re
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httptools
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Asgi

from serving import logs, metrics, traces
from serving.connections import THERE, WHOLE, Header, Whole, lines
from serving.health import Health
from serving.http import answer, failed, problem_answer, unavailable
from serving.keys import SCOPES, Key, Keys, is_loopback
from serving.limits import Bucket, Gate, overloaded
from serving.operation import Operation, Scope
from serving.problems import Breach
from serving.store import StoreUnavailable
from serving.traces import Traces

if TYPE_CHECKING:
    from opentelemetry.trace import Span

BODY_SECONDS, SLOWEST = 10.0, 64 * 1024
"""A body has ten seconds, and one more for each 64 KiB of it."""

TELL_SECONDS = 0.2
"""So often metrics are told what runs."""

AUDITED: frozenset[Scope | None] = frozenset({"admin", "erase", "decide"})
OPEN = Key("00000000", "open", SCOPES, "0" * 64, 0, rate=1e9)
"""Who asks where there are no keys: anybody on this machine."""

UNKNOWN = "unknown"
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
]
_HEAD = lines(_HEADERS)
_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
_REQUEST_ID = re.compile(rb"[0-9a-fA-F-]{16,64}")
_IDS = random.Random(secrets.randbits(128))
"""Ids need to differ, not to be secret: asking the system for each costs as much as a metric."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})


class Guard:
    """An ASGI middleware: BentoML's ``app`` lives and dies with it, ``api`` answers.

    So that nothing else of BentoML's answers: not its schema, nor its page that loads a tracker.
    ``told``: whom spans of requests are told to, if anybody.
    ``keys``: None leaves the service open to this machine, and to nobody else.
    """

    def __init__(
        self,
        app: ASGIApp,
        api: ASGIApp,
        operations: Sequence[Operation],
        keys: Keys | None,
        health: Health,
        told: Traces | None = None,
    ) -> None:
        self._app, self._api, self._keys, self._health = app, api, keys, health
        self._traces = told
        self._gate, self._admin_gate = Gate(), Gate()
        self._shed = Counter[str]()
        self._running, self._telling = 0, False
        self._buckets: dict[str, Bucket] = {}
        self._operation = lru_cache(maxsize=256)(self._find)  # asked for at the door and behind it
        self._entrance = lru_cache(maxsize=256)(self._at)
        self._plain: dict[tuple[str, str], Operation] = {}
        self._shaped: list[tuple[str, re.Pattern[str], Operation]] = []
        for one in operations:
            if "{" in one.path:
                self._shaped.append((one.method, compile_path(one.path)[0], one))
            else:
                self._plain[one.method, one.path] = one

    async def __call__(self, scope: Asgi, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, scope: Asgi, receive: Receive, send: Send) -> None:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        operation, scope["path_params"] = self._operation(method, scope["path"])
        gate = scope["gate"] = self._gate_of(operation)
        gate.came()
        visit = Visit(gate, operation, scope, receive, send)
        if self._traces is not None:
            visit.span = self._traces.begin(visit.method, visit.headers)
        self._running += 1
        if not self._telling:
            self._tell_running()
        try:
            await self._pass(visit)
        except Breach as breach:
            await visit.refuse(breach)
        except Exception as error:
            logs.event("failed", error=type(error).__name__, at=logs.places(error),
                       request_id=visit.id)  # fmt: skip
            await visit.fail()
        finally:
            self._running -= 1
            visit.end()

    def door(self, method: bytes, target: bytes, headers: Sequence[Header]) -> Whole | None:
        """Refuse a request for which there is no time, before anything of it is made or told.

        What this costs is what a crowd costs. Metrics and the log are told how many there were once
        a second.
        """
        gate, route = self._entrance(method, target)
        if gate is None or gate.lets_in():
            return None
        if not self._shed:
            asyncio.get_running_loop().call_later(1.0, self._tell_shed)
        self._shed[route] += 1
        own = b""
        for name, value in headers:
            if name == b"x-request-id":
                own = value
        return Whole(503, _BUSY_HEAD % _request_id(own).encode(), _BUSY_BODY)

    def _at(self, method: bytes, target: bytes) -> tuple[Gate | None, str]:
        """The gate of what is asked for, and the route that metrics are told; None: all may in."""
        path = unquote(httptools.parse_url(target).path.decode("ascii"))  # as it comes in, too
        operation, _ = self._operation(method.decode("ascii"), path)
        return (None, "") if operation is None else (self._gate_of(operation), operation.template)

    def _tell_running(self) -> None:
        """Five times a second, while something runs: a write at each request costs more than it."""
        metrics.RUNNING.set(self._running)
        self._telling = self._running > 0
        if self._telling:
            asyncio.get_running_loop().call_later(TELL_SECONDS, self._tell_running)

    def _tell_shed(self) -> None:
        for route, count in self._shed.items():
            metrics.answered(route, 503).inc(count)
        metrics.refused("overloaded").inc(self._shed.total())
        logs.event("overloaded", refused=self._shed.total())
        self._shed.clear()

    async def _pass(self, visit: Visit) -> None:
        path = visit.scope["path"]
        if path in self._health.paths:
            visit.route = path
            await self._health(self._app, visit.scope, visit.receive, visit.send)
            return
        if path == "/metrics":
            visit.route = path
            if not _is_loopback(visit.scope["client"]):
                visit.key = self._allowed(visit, "admin")
            await visit.say(answer(metrics.exposed(), media=metrics.MEDIA))
            return
        operation = visit.operation
        if operation is None or operation.scope is not None:
            visit.key = self._allowed(visit, operation.scope if operation else None)
            visit.scope["key_id"] = visit.key.id
        if not visit.sends_body():
            await visit.begin()
        if operation is None:
            await self._api(visit.scope, visit.receive, visit.send)
        else:
            await self._do(operation, visit)

    async def _do(self, operation: Operation, visit: Visit) -> None:
        """Answer as the application's router would, without looking for the operation again."""
        visit.scope["app"] = self._api
        request = Request(visit.scope, visit.receive, visit.send)
        try:
            made = await operation.handler(request)
        except StoreUnavailable as error:
            made = await unavailable(request, error)
        await visit.say(made)

    def _find(self, method: str, path: str) -> tuple[Operation | None, dict[str, str]]:
        """What is asked for, and the parts of its path."""
        found = self._plain.get((method, path))
        if found is not None:
            return found, {}
        for its, shape, one in self._shaped:
            if its == method and (parts := shape.match(path)):
                return one, parts.groupdict()
        return None, {}

    def _gate_of(self, operation: Operation | None) -> Gate:
        """Who asks a lot does not keep out who administers."""
        administers = operation is not None and operation.scope == "admin"
        return self._admin_gate if administers else self._gate

    def _allowed(self, visit: Visit, needed: Scope | None) -> Key:
        """The key of a request. Raises :class:`Breach` (401, 403, 429)."""
        if self._keys is None:
            host = visit.headers.get(b"host", b"localhost")
            if not _is_loopback(visit.scope["server"]) or not _named_local(host):
                raise _unauthorised("the service has no keys and answers on loopback only",
                                    "set LEADCAST_KEYS to a file: see leadcast keys")  # fmt: skip
            return OPEN
        sort, _, given = visit.headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if sort.lower() != "bearer" or not given:
            raise _unauthorised("there is no key", "send the header Authorization: Bearer KEY")
        key = self._keys.find(given.strip())
        if key is None:
            raise _unauthorised("the key is not known, or has ended", "ask for a new key")
        visit.key = key
        if needed is not None and needed not in key.scopes:
            raise _forbidden(needed)
        bucket = self._buckets.get(key.id)
        if bucket is None:
            bucket = self._buckets[key.id] = Bucket(key.rate)
        wait = bucket.take()
        if wait:
            raise _too_many(wait)
        return key


class Visit:
    """One request and what became of it."""

    __slots__ = (
        "_begun", "_deadline", "_receive", "_said", "_send", "_started", "gate", "headers", "id",
        "key", "method", "operation", "route", "scope", "span", "status",
    )  # fmt: skip

    def __init__(
        self, gate: Gate, operation: Operation | None, scope: Asgi, receive: Receive, send: Send
    ) -> None:
        self.gate, self._receive, self._send = gate, receive, send
        self.operation, self.scope = operation, scope
        self.method = scope["method"] if scope["method"] in _METHODS else UNKNOWN
        self.span: Span | None = None
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.route = operation.template if operation else UNKNOWN
        self.key: Key | None = None
        self.status = 0
        self._started = time.perf_counter()
        self._deadline, self._begun, self._said = BODY_SECONDS, False, False
        self.id = _request_id(self.headers.get(b"x-request-id", b""))
        scope["request_id"] = self.id

    def sends_body(self) -> bool:
        """Whether the request announces a body."""
        length = self.headers.get(b"content-length", b"0")
        return length != b"0" or b"transfer-encoding" in self.headers

    async def begin(self) -> None:
        """Take a slot for the work. Raises :class:`Breach` (503)."""
        if not self._begun:
            await self.gate.enter()
            self._begun = True

    async def receive(self) -> Message:
        """The next part of the body; with the last one the work begins.

        So a body that trickles in keeps nobody waiting. Raises :class:`Breach` (408, 503).
        """
        if self._begun or self._said:
            return await self._receive()
        message = await (self._receive() if self._is_there() else self._received())
        if message["type"] == "http.request":
            self._deadline += len(message.get("body", b"")) / SLOWEST
            if not message.get("more_body"):
                await self.begin()
        return message

    def _is_there(self) -> bool:
        """Whether the whole body has come already."""
        there = self.scope.get("extensions", {}).get(THERE)
        return there is not None and there()

    async def _received(self) -> Message:
        """The next part of the body, once it comes."""
        left = self._deadline - (time.perf_counter() - self._started)
        try:
            async with asyncio.timeout(max(left, 0.0)):
                return await self._receive()
        except TimeoutError:
            raise _too_slow() from None

    async def send(self, message: Message) -> None:
        """Pass an answer on, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self._said = True
            self.status = message["status"]
            own = [(b"x-request-id", self.id.encode()), *_HEADERS]
            message["headers"] = [*message.get("headers", ()), *own]
        await self._send(message)

    async def say(self, response: Any) -> None:
        """Answer with a Starlette response, in one piece where it is a usual one."""
        whole = self.scope.get("extensions", {}).get(WHOLE)
        usual = type(response) is Response and response.status_code == 200
        if whole is None or not usual or self.method == "HEAD":
            await response(self.scope, self.receive, self.send)
            return
        self._said, self.status = True, 200
        head = lines([*response.raw_headers, (b"x-request-id", self.id.encode())])
        whole(Whole(200, head + _HEAD, response.body))

    async def refuse(self, breach: Breach) -> None:
        """Answer with a problem."""
        self.scope["reason"] = breach.slug
        if not self._said:
            await self.say(problem_answer(breach.problem(), breach.headers))

    async def fail(self) -> None:
        """Answer that the service failed, where nothing was answered yet."""
        if not self._said:
            await self.say(problem_answer(failed().problem()))

    def end(self) -> None:
        """Give the slot back; count and log what was answered."""
        if self._begun:
            self.gate.leave()
        took = time.perf_counter() - self._started
        metrics.answered(self.route, self.status).inc()
        metrics.seconds(self.route).observe(took)
        if self.status in _REFUSING:
            why = self.scope.get("reason") or _REFUSING[self.status]
            metrics.refused(why).inc()
        told: dict[str, Any] = {
            "method": self.method, "route": self.route, "status": self.status,
            "ms": round(took * 1e3, 3), "key": self.key.id if self.key else None,
            "request_id": self.id,
        }  # fmt: skip
        logs.later("request", **told)
        if self.span is not None:
            traces.end(self.span, f"{self.method} {self.route}", told)
        if self.operation is not None and self.operation.scope in AUDITED:
            logs.event("audit", operation=self.operation.name, **told)


_BUSY = problem_answer(overloaded().problem(), overloaded().headers)
_BUSY_HEAD = lines([*_BUSY.raw_headers, (b"x-request-id", b"%s")]) + _HEAD
_BUSY_BODY = bytes(_BUSY.body)
_REFUSING = {
    401: "unauthorised", 403: "forbidden", 408: "too-slow", 413: "too-large", 429: "too-many",
    503: "overloaded",
}  # fmt: skip


def _request_id(given: bytes) -> str:
    """What the caller calls the request, or else an id of our own."""
    return given.decode() if _REQUEST_ID.fullmatch(given) else f"{_IDS.getrandbits(64):016x}"


@lru_cache
def _is_loopback(address: tuple[Any, ...] | None) -> bool:
    return address is not None and is_loopback(address[0])


@lru_cache
def _named_local(host: bytes) -> bool:
    """Whether the caller meant this machine: a page elsewhere may name it by a domain of its own"""
    return re.sub(r":\d*$", "", host.decode("latin-1").lower()) in _LOCAL


def _unauthorised(detail: str, remedy: str) -> Breach:
    headers = {"WWW-Authenticate": 'Bearer realm="leadcast"'}
    return Breach("unauthorised", "There is no valid key", detail, remedy=remedy, status=401,
                  headers=headers)  # fmt: skip


def _forbidden(needed: Scope) -> Breach:
    challenge = f'Bearer realm="leadcast", error="insufficient_scope", scope="{needed}"'
    return Breach("forbidden", "The key may not do this", f"the key lacks the scope {needed}",
                  remedy="use a key with that scope", status=403,
                  headers={"WWW-Authenticate": challenge})  # fmt: skip


def _too_many(wait: float) -> Breach:
    return Breach("too-many", "The key asks too often", "more requests than the key's rate",
                  remedy="try again after Retry-After seconds", status=429,
                  headers={"Retry-After": str(int(wait) + 1)})  # fmt: skip


def _too_slow() -> Breach:
    return Breach("too-slow", "The body did not come in time", "the body came too slowly",
                  remedy="send it faster, or in smaller requests", status=408,
                  headers={"Connection": "close"})  # fmt: skip
