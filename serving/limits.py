"""How much at a time: a rate for each key, and a gate that keeps the queue short under load."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.to_thread

from serving.problems import Breach

PATIENCE = 0.025
"""Seconds that a request may wait for its turn: refusals come soon, answers are never stale."""

WAITING, RUNNING, THREADED = 64, 64, 16

_Made = TypeVar("_Made")
_Given = TypeVarTuple("_Given")


class Bucket:
    """A token bucket: ``rate`` requests a second, and as many at once after a quiet second."""

    def __init__(self, rate: float) -> None:
        self._rate, self._most = rate, max(rate, 1.0)
        self._tokens, self._at = self._most, time.monotonic()

    def take(self) -> float:
        """Take a token: 0, or else the seconds until there is one."""
        at = time.monotonic()
        self._tokens = min(self._most, self._tokens + (at - self._at) * self._rate)
        self._at = at
        if self._tokens < 1.0 - 1e-9:
            return (1.0 - self._tokens) / self._rate
        self._tokens -= 1.0
        return 0.0


def overloaded() -> Breach:
    """A refusal that is worth another try."""
    return Breach(
        "overloaded", "The service is busy", "more is asked than can be answered in time",
        remedy="try again after Retry-After seconds", status=503, headers={"Retry-After": "1"},
    )  # fmt: skip


class Gate:
    """Begins one request a turn of the event loop, the newest first.

    Sockets are read between two turns, so that a crowd is seen when it comes and not when its
    turn would have come. Newest first: under overload those that are served are fresh, and those
    that waited :data:`PATIENCE` are refused (first in, first out would serve each of them late).
    A slot is held until the work has ended.
    """

    def __init__(self, running: int = RUNNING, waiting: int = WAITING) -> None:
        self.running = 0
        self._most_running, self._most_waiting = running, waiting
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()
        self._awake = False

    async def enter(self) -> None:
        """Wait for a turn; :meth:`leave` gives the slot back. Raises :class:`Breach` (503)."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((time.monotonic(), turn))
        if len(self._waiting) > self._most_waiting:
            self._refuse()
        self._wake()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave()
            raise

    def leave(self) -> None:
        """The work has ended."""
        self.running -= 1
        if self._waiting:
            self._wake()

    def _wake(self) -> None:
        if not self._awake:
            self._awake = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._awake = False
        late = time.monotonic() - PATIENCE
        while self._waiting and self._waiting[0][0] < late:
            self._refuse()
        while self._waiting and self.running < self._most_running:
            _, turn = self._waiting.pop()
            if not turn.done():
                self.running += 1
                turn.set_result(None)
                break
        if self._waiting and self.running < self._most_running:
            self._wake()
        elif self._waiting:
            self._awake = True
            asyncio.get_running_loop().call_later(PATIENCE / 5, self._turn)

    def _refuse(self) -> None:
        _, turn = self._waiting.popleft()
        if not turn.done():
            turn.set_exception(overloaded())


async def in_thread(
    limiter: anyio.CapacityLimiter,
    work: Callable[[*_Given], _Made],
    *given: *_Given,
) -> _Made:
    """Work in a thread of the limiter. Raises :class:`Breach` (503) when many wait already."""
    if limiter.statistics().tasks_waiting >= THREADED:
        raise overloaded()
    return await anyio.to_thread.run_sync(work, *given, limiter=limiter)
