"""The clocks: one that stands, one that runs and can be pushed."""

import asyncio
from datetime import UTC, date, datetime, timedelta

import pytest

from crm.base.clock import FrozenClock, MovableClock, day_start, local_day


async def test_a_frozen_clock_stands_until_it_is_told_to_move(clock: FrozenClock) -> None:
    before = clock.now()
    sleeper = asyncio.create_task(clock.sleep(3600))
    await asyncio.sleep(0.02)
    assert clock.now() == before and not sleeper.done()
    clock.advance(minutes=59)
    await asyncio.sleep(0.02)
    assert not sleeper.done()
    clock.advance(minutes=1)
    await asyncio.wait_for(sleeper, 1)
    assert clock.now() == before + timedelta(hours=1)


async def test_a_running_clock_wakes_by_itself_and_by_a_push() -> None:
    clock = MovableClock()
    await asyncio.wait_for(clock.sleep(0.01), 1)
    sleeper = asyncio.create_task(clock.sleep(3600))
    await asyncio.sleep(0)
    clock.advance(hours=1)
    await asyncio.wait_for(sleeper, 1)


@pytest.mark.parametrize("steps", range(4))
async def test_a_sleeper_that_is_pushed_and_cancelled_at_once_stops(steps: int) -> None:
    clock = MovableClock()
    sleeper = asyncio.create_task(clock.sleep(3600))
    await asyncio.sleep(0.01)
    clock.advance(minutes=1)
    for _ in range(steps):
        await asyncio.sleep(0)
    sleeper.cancel()
    await asyncio.wait([sleeper], timeout=1)
    assert sleeper.cancelled()


def test_time_does_not_go_back(clock: FrozenClock) -> None:
    with pytest.raises(ValueError, match="back"):
        clock.advance(seconds=-1)


def test_the_shops_day_begins_at_its_own_midnight() -> None:
    assert local_day(datetime(2026, 3, 8, 16, 0, tzinfo=UTC)) == date(2026, 3, 9)
    assert local_day(datetime(2026, 3, 8, 15, 59, tzinfo=UTC)) == date(2026, 3, 8)
    assert day_start(date(2026, 3, 9)) == datetime(2026, 3, 8, 16, 0, tzinfo=UTC)
