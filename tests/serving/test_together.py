"""Who asks in one turn of the loop is answered as if alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from serving.together import MOST, Together


async def everybody(together: Together[int, int], asked: Sequence[int]) -> list[int | Exception]:
    told = await asyncio.gather(*map(together.answer, asked), return_exceptions=True)
    return [one if isinstance(one, int) else _error(one) for one in told]


def _error(found: BaseException) -> Exception:
    assert isinstance(found, Exception)
    return found


def doubling(calls: list[int]) -> Together[int, int]:
    """Doubles what is asked, and keeps how many were asked for together."""

    def doubled(asked: Sequence[int]) -> list[int | Exception]:
        calls.append(len(asked))
        return [2 * one for one in asked]

    return Together(doubled)


@pytest.mark.parametrize("count", [1, 2, MOST, MOST + 1, 3 * MOST + 5])
def test_everybody_has_the_own_answer_and_few_calls_are_made(count: int) -> None:
    calls: list[int] = []

    async def scene() -> None:
        together = doubling(calls)
        for _ in range(2):
            assert await everybody(together, range(count)) == [2 * one for one in range(count)]
        assert max(calls) <= MOST
        assert len(calls) == 2 * -(-count // MOST)

    asyncio.run(scene())


def test_with_the_last_one_nobody_waits_for_the_loop_to_turn() -> None:
    calls: list[int] = []

    async def scene() -> None:
        together = doubling(calls)
        turns: list[int] = []
        asyncio.get_running_loop().call_soon(turns.append, 1)
        assert await together.answer(1, last=True) == 2
        assert not turns
        first = [asyncio.ensure_future(together.answer(one)) for one in range(3)]
        await asyncio.sleep(0)
        assert await together.answer(3, last=True) == 6
        assert [await one for one in first] == [0, 2, 4]
        await asyncio.sleep(0)
        assert sum(calls) == 5

    asyncio.run(scene())


def test_a_refusal_is_for_the_one_who_asked() -> None:
    def even(asked: Sequence[int]) -> list[int | Exception]:
        return [ValueError(str(one)) if one % 2 else one for one in asked]

    async def scene() -> None:
        found = await everybody(Together[int, int](even), range(6))
        assert found[::2] == [0, 2, 4]
        assert [str(one) for one in found[1::2]] == ["1", "3", "5"]

    asyncio.run(scene())


def test_nobody_fails_for_anothers_sake() -> None:
    def fragile(asked: Sequence[int]) -> list[int | Exception]:
        if 3 in asked:
            raise RuntimeError("three")
        return [*asked]

    async def scene() -> None:
        found = await everybody(Together[int, int](fragile), range(6))
        assert [one for one in found if isinstance(one, int)] == [0, 1, 2, 4, 5]
        assert isinstance(found[3], RuntimeError)

    asyncio.run(scene())


def test_who_has_gone_is_no_hindrance() -> None:
    async def scene() -> None:
        together = Together[int, int](lambda asked: [*asked])
        gone = asyncio.create_task(together.answer(1))
        stays = asyncio.create_task(together.answer(2))
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays == 2
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert await together.answer(3) == 3

    asyncio.run(scene())


def test_who_asks_is_told_when_what_is_answered_cannot_be_kept() -> None:
    def keep(answers: Sequence[int], done: Callable[[Exception | None], None]) -> None:
        if 1 in answers:
            raise OSError("broken")
        done(OSError("full") if 2 in answers else None)

    async def scene(asked: int) -> int:
        return await Together[int, int](lambda all_: [*all_], keep).answer(asked)

    for asked, why in ((1, "broken"), (2, "full")):
        with pytest.raises(OSError, match=why):
            asyncio.run(asyncio.wait_for(scene(asked), 10))
    assert asyncio.run(scene(3)) == 3
