"""What is kept is made once; what nobody waits for is not made."""

from __future__ import annotations

import asyncio

import pytest

from topa.core.errors import VideoError
from topa.serving.watching import Kept


def test_what_several_want_at_once_is_made_once_and_the_oldest_goes_first():
    made = []

    async def make(key):
        made.append(key)
        await asyncio.sleep(0)
        return key.upper()

    async def run():
        kept = Kept(2)
        found = await asyncio.gather(*(kept.get("a", lambda: make("a")) for _ in range(3)))
        await kept.get("b", lambda: make("b"))
        await kept.get("a", lambda: make("a"))  # now b is the oldest
        await kept.get("c", lambda: make("c"))
        assert ("a" in kept, "b" in kept, "c" in kept) == (True, False, True)
        kept.forget("a")
        assert "a" not in kept
        return found

    assert asyncio.run(run()) == ["A", "A", "A"]
    assert made == ["a", "b", "c"]


def test_who_goes_takes_the_work_along_only_as_the_last_one():
    ended = []

    async def run():
        kept, going = Kept(2), asyncio.Event()

        async def make():
            try:
                await going.wait()
                return 1
            finally:
                ended.append(going.is_set())

        first, second = (asyncio.create_task(kept.get("a", make)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        assert not ended
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        third = asyncio.create_task(kept.get("a", make))  # doesn't get what was given up
        await asyncio.sleep(0)
        assert ended == [False]
        going.set()
        assert await third == 1

    asyncio.run(run())
    assert ended == [False, True]


def test_a_failure_is_everybodys_and_is_not_kept():
    calls = []

    async def fail():
        calls.append(1)
        await asyncio.sleep(0)
        raise VideoError("broken")

    async def run():
        kept = Kept(2)
        found = await asyncio.gather(*(kept.get("a", fail) for _ in range(2)), return_exceptions=True)
        assert [str(error) for error in found] == ["broken", "broken"]
        with pytest.raises(VideoError):
            await kept.get("a", fail)

    asyncio.run(run())
    assert len(calls) == 2
