"""What comes in a turn of the event loop is worked on together: many cost little more than one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Told = TypeVar("Told")

MOST = 16
"""So many are worked on together: the next ones are not kept waiting for longer."""


class Together(Generic[Asked, Told]):
    """Gathers what is asked until the loop has turned, and has ``answers`` answer it in one go.

    An exception among the answers is raised for the one who asked. When ``answers`` itself fails,
    each is asked for alone, so that nobody fails for another's sake. ``keep`` may put what is
    answered somewhere first: it calls what it is given with None in the end, or with an exception
    for all.
    """

    def __init__(
        self,
        answers: Callable[[Sequence[Asked]], Sequence[Told | Exception]],
        keep: Callable[[Sequence[Told], Callable[[Exception | None], None]], None] | None = None,
    ) -> None:
        self._answers, self._keep = answers, keep
        self._waiting: deque[tuple[Asked, asyncio.Future[Told]]] = deque()
        self._turning = False

    async def answer(self, asked: Asked, *, last: bool = False) -> Told:
        """The answer, together with those of others who ask now.

        With the ``last`` of them nobody waits for the loop to turn.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Told] = loop.create_future()
        self._waiting.append((asked, future))
        if last:
            self._turn()
        elif not self._turning:
            self._turning = True
            loop.call_soon(self._turn)
        try:
            return await future
        finally:
            del future  # what it raises would hold it, and be held by it

    def _turn(self) -> None:
        self._turning = False
        some = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST))]
        answers = self._told([one for one, _ in some]) if some else []
        tell = partial(_tell, [future for _, future in some], answers)
        if self._keep is None:
            tell(None)
        else:
            try:
                self._keep([told for told in answers if not isinstance(told, Exception)], tell)
            except Exception as error:  # or else they would wait for ever
                tell(error)
        if self._waiting and not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _told(self, asked: Sequence[Asked]) -> Sequence[Told | Exception]:
        try:
            return self._answers(asked)
        except Exception as error:
            if len(asked) == 1:
                return [error]
            return [told for one in asked for told in self._told([one])]


def _tell(
    futures: Sequence[asyncio.Future[Told]],
    answers: Sequence[Told | Exception],
    error: Exception | None,
) -> None:
    for future, answer in zip(futures, answers, strict=True):
        told = error or answer
        if future.done():
            continue
        if isinstance(told, Exception):
            future.set_exception(told)
        else:
            future.set_result(told)
