"""Figures that are kept for a minute."""

import asyncio

import pytest

from bot.web.kept import KEPT_SECONDS, Kept
from crm.base.clock import FrozenClock


async def test_ten_who_ask_at_once_are_one_read_and_a_minute_later_it_is_read_anew(clock: FrozenClock) -> None:
    kept, reads = Kept(clock), 0

    async def read() -> int:
        nonlocal reads
        reads += 1
        await asyncio.sleep(0)
        return reads

    assert await asyncio.gather(*(kept.get("a", read) for _ in range(10))) == [1] * 10
    assert await kept.get("b", read) == 2
    clock.advance(seconds=KEPT_SECONDS)
    assert await kept.get("a", read) == 3


async def test_a_read_that_failed_is_tried_again(clock: FrozenClock) -> None:
    kept = Kept(clock)

    async def fail() -> int:
        raise OSError("away")

    async def read() -> int:
        return 1

    with pytest.raises(OSError):
        await kept.get("a", fail)
    assert await kept.get("a", read) == 1
