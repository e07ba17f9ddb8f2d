"""How much at a time: a rate for each key, and a gate that keeps the queue short under load."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.to_thread

from serving.problems import Breach

SOON = 0.010
"""Seconds after which a request's turn has to come, or else it is refused."""

PATIENCE = 0.040
"""Seconds that a request waits for its turn while all slots stay taken."""

STANDING, LONG = 0.005, 0.030
"""So many seconds of work in the house at every moment of so many seconds are a queue that stands.

A burst leaves again; from a queue that stands nobody gains. After CoDel (Nichols and Jacobson,
"Controlling Queue Delay", ACM Queue 10(5), 2012), with the work that waits in place of the time
that it has waited.
"""

RETURN = 0.010
"""Seconds in which who was answered asks again: only slowly does the house count as emptier.

Clients that are answered together leave it together, and come back together.
"""

CROWD, ENOUGH, RECENT = 1.0, 0.75, 0.02
"""So many times what can be answered, over so many seconds, is a crowd where one was refused.

Below the second figure none is. Of a crowd nobody waits: what is served then is served soon, the
rest is refused.
"""

REFUSED = 0.05
"""Seconds for which a refusal is remembered."""

TURN, TURN_CROWDED = 16, 4
"""So many begin at a time, usually and of a crowd: what they ask for is worked on together."""

CALM = 4
"""In a crowd more begin only after a turn of the loop in which so few came: it has caught up.

What came while others were worked on is refused first, so that refusals are soon, too.
"""

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

    The event loop turns until the next ones, and what they ask for is worked on together
    (:mod:`serving.together`). Sockets are read between, so that a crowd is seen when it comes and
    not when its turn would have come. A request whose turn would come too late, by the pace at
    which the queue moves, is refused at once; one that waits already is not, unless all slots stay
    taken or a crowd is seen. A slot is held until the work has ended.
    """

    def __init__(self, running: int = RUNNING) -> None:
        self.running = 0
        self._most_running = running
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()
        self._coming, self._woken = 0, 0
        self._begun, self._turning, self._watching = 0, False, False
        self._asked, self._house = 0.0, 0.0
        self._asked_at, self._refused, self._quiet = 0.0, 0.0, 0.0
        self._crowded, self._came, self._came_before, self._counting = False, 0, 0, False
        self._first, self._last = 0.0, 0.0
        self._pace = 0.0003

    @property
    def more_come(self) -> bool:
        """Whether others, for whom there is time, are on their way in this turn of the loop."""
        return self._coming > 0 or self._woken > 0

    def lets_in(self) -> bool:
        """Whether there is time for who comes now, and will say so (:meth:`came`) in a moment.

        So a crowd is seen before any of it can :meth:`enter`.
        """
        at, before = time.monotonic(), self._crowded
        self._crowded = self._sees_crowd(at)
        if self._crowded:
            self._count()
            if not before:
                self._send_away()
        if not (self._calm() if self._crowded else self._soon(self._coming)):
            self._refused = at
            return False
        self._coming += 1
        return True

    def came(self) -> None:
        """Whoever was let in is here; who came otherwise may say so, too."""
        self._coming = max(self._coming - 1, 0)

    async def enter(self) -> None:
        """Wait for a turn; :meth:`leave` gives the slot back. Raises :class:`Breach` (503)."""
        if self._free(0):
            self._begin()
            return
        if not self._soon(0):
            self._refused = time.monotonic()
            raise overloaded()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((time.monotonic(), turn))
        try:
            await turn
            self._woken -= 1
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._woken -= 1
                self.leave()
            raise

    def _free(self, before: int) -> bool:
        """Whether who comes after so many others can begin in this turn."""
        room = self.running + before < self._most_running
        return room and self._begun + before < TURN and not self._waiting

    def _soon(self, before: int) -> bool:
        """Whether the turn of who comes after so many others comes soon."""
        behind = max(self._begun + before - TURN, 0) + len(self._waiting)
        return self._free(before) or (behind + 1) * self._pace <= SOON

    def _sees_crowd(self, at: float) -> bool:
        """Whether who comes now is one of a crowd."""
        since, self._asked_at = at - self._asked_at, at
        self._asked = 1.0 + self._asked * math.exp(-since / RECENT)
        house = self.running + self._coming + len(self._waiting)
        self._house = max(house, self._house * math.exp(-since / RETURN))
        if self._house <= TURN or self._house * self._pace < STANDING:
            self._quiet = at
        use = self._asked * self._pace / RECENT
        if use < ENOUGH:
            return False
        if at - self._quiet > LONG:
            return True
        return at - self._refused < REFUSED and (self._crowded or use > CROWD)

    def _send_away(self) -> None:
        """Nobody waits of a crowd: whose turn has not come yet is refused."""
        while self._waiting:
            self._refuse_next()

    def _refuse_next(self) -> None:
        _, turn = self._waiting.popleft()
        if not turn.done():
            turn.set_exception(overloaded())

    def _count(self) -> None:
        """Count who comes in this turn of the loop."""
        self._came += 1
        if not self._counting:
            self._counting = True
            asyncio.get_running_loop().call_soon(self._counted)

    def _counted(self) -> None:
        self._came_before, self._came, self._counting = self._came, 0, False

    def _calm(self) -> bool:
        """Whether one more can begin in a crowd, of which nobody waits for a turn."""
        calm = not self._turning and self._came_before <= CALM
        return calm and self._coming < TURN_CROWDED and self._free(self._coming)

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
            self._first = time.monotonic()
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """The sockets were read, and the last ones worked on: the next ones begin."""
        at = time.monotonic()
        if self._begun and (self._last or self._crowded):
            pace = min((at - (self._last or self._first)) / self._begun, PATIENCE)
            if not self._last or self._begun < TURN // 2:
                pace = min(pace, self._pace)  # few cost more each: they say at most it is quicker
            self._pace += 0.01 * self._begun * (pace - self._pace)
        self._begun, self._turning = 0, False
        while self._waiting and self._begun < TURN and self.running < self._most_running:
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._woken += 1
                self._begin()
        busy = self._begun or self._coming or self.running  # until the next turn
        self._last = at if busy else 0.0
        while self._waiting and not self._begun and self._waiting[0][0] < at - PATIENCE:
            self._refuse_next()
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
