"""The limiter never lets a window exceed its limit, keeps still after 45009, and wakes in order."""

import asyncio

import pytest

from bot.wecom.errors import RateLimited
from bot.wecom.limits import Limiter, Rate

SEND, LIST, ROBOT = "/cgi-bin/kf/send_msg", "/cgi-bin/externalcontact/list", "/cgi-bin/webhook/send"
PER_MINUTE = {SEND: (Rate(10, 60),)}


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_burst_passes_and_the_next_call_is_told_when(clock):
    limiter = Limiter(clock, rates=PER_MINUTE, patience=0)
    for _ in range(2):
        assert limiter.retry_after(SEND) == 0
        async with limiter.slot(SEND):
            pass
    assert limiter.retry_after(SEND) == pytest.approx(60 / 8)
    with pytest.raises(RateLimited) as limited:
        async with limiter.slot(SEND):
            pytest.fail("it had no turn")
    assert limited.value.retry_after == pytest.approx(60 / 8)
    clock.advance(seconds=7.5)
    async with limiter.slot(SEND):
        pass


@pytest.mark.parametrize("rate", [Rate(10, 60), Rate(20, 60), Rate(7, 10), Rate(300, 60)])
async def test_no_window_ever_holds_more_than_its_limit(clock, rate):
    limiter = Limiter(clock, rates={SEND: (rate,)}, patience=0)
    passed = []
    for _ in range(600):
        while limiter.retry_after(SEND) == 0:
            async with limiter.slot(SEND):
                passed.append(clock.monotonic())
        clock.advance(seconds=rate.seconds / 97)
    fullest = max(sum(start <= at < start + rate.seconds for at in passed) for start in passed[::9])
    assert rate.count * 0.7 <= fullest <= rate.count


async def test_a_short_wait_is_waited_for(clock):
    limiter = Limiter(clock, rates=PER_MINUTE, patience=10)
    done = []

    async def call(name: int) -> None:
        async with limiter.slot(SEND):
            done.append(name)

    async with asyncio.TaskGroup() as tasks:
        for name in range(3):
            tasks.create_task(call(name))
        await settle()
        assert done == [0, 1]
        clock.advance(seconds=7.5)
        await settle()
        assert done == [0, 1, 2]


async def test_a_waiting_call_that_is_cancelled_gives_its_turn_back(clock):
    limiter = Limiter(clock, rates=PER_MINUTE, patience=10)

    async def call() -> None:
        async with limiter.slot(SEND):
            pass

    await asyncio.gather(call(), call())
    before = limiter.retry_after(SEND)
    waiting = asyncio.create_task(call())
    await settle()
    assert limiter.retry_after(SEND) > before
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert limiter.retry_after(SEND) == before


async def test_apps_robots_and_paths_have_limits_of_their_own(clock):
    limiter = Limiter(clock)
    for _ in range(4):
        async with limiter.slot(ROBOT, "robot-1"):
            pass
    assert limiter.retry_after(ROBOT, "robot-1") > 0
    assert limiter.retry_after(ROBOT, "robot-2") == 0
    assert limiter.retry_after(SEND, "robot-1") == 0


async def test_a_share_leaves_room_for_the_other_processes(clock):
    half = Limiter(clock, rates={SEND: (Rate(100, 60),)}, share=0.5, patience=0)
    for _ in range(10):
        async with half.slot(SEND):
            pass
    assert half.retry_after(SEND) == pytest.approx(60 / 40)


async def test_after_45009_nothing_goes_out_until_the_window_ends(clock):
    limiter = Limiter(clock)
    assert limiter.block(SEND, "shop", seconds=60) == 60
    with pytest.raises(RateLimited) as limited:
        async with limiter.slot(SEND, "shop"):
            pytest.fail("it had no turn")
    assert limited.value.retry_after == 60
    clock.advance(seconds=20)
    assert limiter.retry_after(SEND, "shop") == 40
    assert limiter.block(SEND, "shop", seconds=60) == 40  # an answer that was already on its way
    assert limiter.retry_after(SEND, "desk") == 0
    clock.advance(seconds=40)
    async with limiter.slot(SEND, "shop"):
        pass


async def test_hit_again_right_after_a_block_it_is_the_hours_limit(clock):
    limiter = Limiter(clock)
    limiter.block(SEND, seconds=60)
    clock.advance(seconds=61)
    assert limiter.block(SEND, seconds=60) == 3600
    clock.advance(hours=3)
    assert limiter.block(SEND, seconds=60) == 60


async def test_five_list_reads_are_under_way_at_most_whatever_their_paths(clock):
    limiter = Limiter(clock)
    inside = most = 0

    async def read(path: str) -> None:
        nonlocal inside, most
        async with limiter.slot(path):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    paths = [LIST, "/cgi-bin/externalcontact/get", "/cgi-bin/externalcontact/groupchat/get"]
    await asyncio.gather(*(read(path) for path in paths * 20))
    assert most == 5


async def test_too_many_at_once_halves_what_is_let_in_and_it_grows_back(clock):
    limiter = Limiter(clock, in_flight={SEND: 8})

    async def most_at_once() -> int:
        inside = most = 0

        async def call() -> None:
            nonlocal inside, most
            async with limiter.slot(SEND):
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0)
                inside -= 1

        await asyncio.gather(*(call() for _ in range(20)))
        return most

    assert await most_at_once() == 8
    limiter.crowded(SEND)
    assert await most_at_once() == 4
    clock.advance(seconds=31)
    assert await most_at_once() == 5
    for _ in range(8):
        limiter.crowded(SEND)
    assert await most_at_once() == 1


async def test_cancelled_callers_in_the_queue_lose_no_place_for_the_others(clock):
    limiter = Limiter(clock, in_flight={SEND: 1})
    done = []

    async def call(name: str) -> None:
        async with limiter.slot(SEND):
            await asyncio.sleep(0)
            done.append(name)

    tasks = {name: asyncio.create_task(call(name)) for name in "abcd"}
    await asyncio.sleep(0)
    tasks["b"].cancel()
    tasks["c"].cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    assert done == ["a", "d"]
    await call("e")
    assert done[-1] == "e"


async def test_one_key_is_changed_by_one_caller_at_a_time(clock):
    limiter, inside, log = Limiter(clock), set(), []

    async def change(key: str) -> None:
        async with limiter.alone("mark_tag", key):
            assert key not in inside
            inside.add(key)
            log.append(len(inside))
            await asyncio.sleep(0)
            inside.remove(key)

    await asyncio.gather(*(change(key) for key in "ab" * 5))
    assert max(log) == 2
    assert not limiter._lines
