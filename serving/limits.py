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

SOON, PRESSED = 0.006, 0.001
"""Seconds after which a request's turn has to come: usually, and under pressure.

Under pressure the queue is short: what is served then is served soon, the rest is refused.
"""

PATIENCE = 0.040
"""Seconds that a request waits for its turn while all slots stay taken."""

PRESSURE_SECONDS = 8.0
"""So long after a refusal there is pressure; then it is tried whether the usual patience suffices.

What is served late in that trial has to be less than a hundredth of what is served until the next.
"""

CALM = 32
"""So many that come one after another and need not wait end the pressure at once."""

TURN, TURN_PRESSED = 16, 4
"""So many begin at a time, usually and under pressure: what they ask for is worked on together."""

RUNNING, THREADED = 64, 16

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
    """Begins some requests at a time, in the order of their coming.

    The event loop turns twice until the next ones: in the first they ask, in the second what they
    ask for is worked on (:mod:`serving.together`). Sockets are read between, so that a crowd is
    seen when it comes and not when its turn would have come. A request whose turn would come too
    late, by the pace at which the queue moves, is refused at once; one that waits already is not,
    unless all slots stay taken. A slot is held until the work has ended.
    """

    def __init__(self, running: int = RUNNING) -> None:
        self.running = 0
        self._most_running = running
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()
        self._begun, self._turning, self._watching = 0, False, False
        self._pressed, self._calm = 0.0, 0
        self._pace, self._last = 0.0003, 0.0

    def refuses(self) -> bool:
        """Whether it has no time for who comes now: whom :meth:`enter` would refuse."""
        if self._free():
            self._calm += 1
            if self._calm >= CALM:
                self._pressed = 0.0
            return False
        at = time.monotonic()
        if at >= self._pressed:
            self._pressed = 0.0
        patience = PRESSED if self._pressed else SOON
        if (len(self._waiting) + 1) * self._pace <= patience:
            return False
        if not self._pressed:
            self._pressed = at + PRESSURE_SECONDS
        self._calm = 0
        return True

    def _free(self) -> bool:
        return self._begun < self._most_begun and not self._waiting and self._room

    @property
    def _room(self) -> bool:
        return self.running < self._most_running

    @property
    def _most_begun(self) -> int:
        return TURN_PRESSED if self._pressed else TURN

    async def enter(self) -> None:
        """Wait for a turn; :meth:`leave` gives the slot back. Raises :class:`Breach` (503)."""
        if self.refuses():
            raise overloaded()
        if self._free():
            self._begin()
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((time.monotonic(), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave()
            raise

    def leave(self) -> None:
        """The work has ended."""
        self.running -= 1
        if self._waiting and not self._turning:
            self._turn()

    def _begin(self) -> None:
        """One more begins in this turn."""
        self.running += 1
        self._begun += 1
        if not self._turning:
            self._turning = True
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._turn)

    def _turn(self) -> None:
        """The sockets were read, and the last ones worked on: the next ones begin."""
        at = time.monotonic()
        if self._last and self._begun:  # somebody has waited since
            pace = min((at - self._last) / self._begun, PATIENCE)
            self._pace += 0.1 * (pace - self._pace)
        self._begun, self._turning = 0, False
        while self._waiting and self._begun < self._most_begun and self._room:
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._begin()
        self._last = at if self._waiting else 0.0
        while self._waiting and not self._begun and self._waiting[0][0] < at - PATIENCE:
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(overloaded())
        if self._waiting and not self._begun and not self._watching:  # all slots are taken
            self._watching = True
            asyncio.get_running_loop().call_later(PATIENCE / 5, self._watch)

    def _watch(self) -> None:
        """See whose patience has ended meanwhile."""
        self._watching = False
        if not self._turning:
            self._turn()


async def in_thread(
    limiter: anyio.CapacityLimiter,
    work: Callable[[*_Given], _Made],
    *given: *_Given,
) -> _Made:
    """Work in a thread of the limiter. Raises :class:`Breach` (503) when many wait already."""
    if limiter.statistics().tasks_waiting >= THREADED:
        raise overloaded()
    return await anyio.to_thread.run_sync(work, *given, limiter=limiter)
