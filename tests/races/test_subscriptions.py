"""A skip races the order placed by default, two workers the same day, two taps one sign-up; unguarded they go wrong."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date, timedelta

import sqlalchemy as sa

from campaigns import subscription_days, subscription_orders, subscriptions
from campaigns.models.subscription import Cycle, CycleStatus, Mode, Reminder, Subscription
from campaigns.subscription_terms import AlreadySubscribed
from crm import orders
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.models.order import Order, OrderStatus
from tests.campaigns.subscribers import Club, club

__all__ = ["club"]
AT_ONCE = 4
FAR = date(2026, 4, 10)
Race = Callable[[int], Awaitable[object]]


async def race(run: Race, times: int = AT_ONCE) -> list[object]:
    return await asyncio.gather(*map(run, range(times)), return_exceptions=True)


async def standing(sessions: Sessions) -> list[tuple[CycleStatus, OrderStatus | None]]:
    """How each delivery ended, and its order."""
    rows = sa.select(Cycle.status, Order.status).outerjoin(Order, Order.external_no == Cycle.order_no)
    async with sessions.read() as session:
        return sorted((row[0], row[1]) for row in await session.execute(rows))


async def test_a_skip_against_the_order_placed_by_default(club: Club, sessions: Sessions, clock: FrozenClock) -> None:
    """Whoever is first, a skipped delivery has no order that lives, and the other has exactly one."""
    await club.plan()
    views = [await club.subscriber(first_on=FAR) for _ in range(3)]
    await club.day(FAR, hours=(10,))
    clock.advance(hours=8)

    async def run(number: int) -> None:
        if number < len(views):
            await club.do(subscriptions.skip, views[number])
            return
        async with sessions.begin() as session:
            await subscription_days.order_due(session, now=clock.now())

    ended = await race(run, 6)
    assert ended == [None] * 6, "who skips is not refused: an order nobody paid goes back"
    for status, order in await standing(sessions):
        assert status is CycleStatus.SKIPPED
        assert order in (None, OrderStatus.CANCELLED)


async def test_two_workers_place_each_order_once(club: Club, sessions: Sessions, clock: FrozenClock) -> None:
    await club.plan()
    for _ in range(5):
        await club.subscriber(first_on=FAR)
    await club.day(FAR - timedelta(days=7), hours=(9,))
    clock.advance(days=7, hours=9)

    async def run(number: int) -> None:
        del number
        for step in (subscription_days.begin, subscription_days.remind, subscription_days.order_due):
            async with sessions.begin() as session:
                await step(session, now=clock.now())

    assert await race(run) == [None] * AT_ONCE
    async with sessions.read() as session:
        assert await session.scalar(sa.select(sa.func.count()).select_from(Order)) == 5
        assert await session.scalar(sa.select(sa.func.count()).select_from(Cycle)) == 5
        assert await session.scalar(sa.select(sa.func.count()).select_from(Reminder)) == 5


async def test_paid_and_skipped_at_once_ends_one_way(club: Club, sessions: Sessions) -> None:
    """The money counts, whichever came first: what is paid is delivered, though it was skipped a moment before."""
    await club.plan()
    view = await club.subscriber()
    await race(lambda number: club.pay(view) if number else club.do(subscriptions.skip, view), 2)
    [(status, order)] = await standing(sessions)
    assert (status, order) == (CycleStatus.PAID, OrderStatus.PAID)
    assert (await club.look(view)).subscription.bought == 1


async def test_two_taps_are_one_subscription(club: Club, sessions: Sessions) -> None:
    await club.plan()
    member = await club.make.member()
    ended = await race(lambda number: club.subscriber(member=member))
    refused = [end for end in ended if isinstance(end, AlreadySubscribed)]
    assert len(refused) == AT_ONCE - 1
    async with sessions.read() as session:
        assert await session.scalar(sa.select(sa.func.count()).select_from(Subscription)) == 1
        assert await session.scalar(sa.select(sa.func.count()).select_from(Order)) == 1


async def test_the_race_is_real_without_the_guard(club: Club, sessions: Sessions, clock: FrozenClock) -> None:
    """Look whether it is still announced, wait until the other has looked too, then do what seemed right."""
    await club.plan()
    view = await club.subscriber(first_on=FAR, mode=Mode.DEFAULT)
    await club.day(FAR - timedelta(days=7))
    [cycle] = await club.cycles(view)
    looked = asyncio.Barrier(2)

    async def act(number: int) -> None:
        async with sessions.read() as session:
            seen = await session.get_one(Cycle, cycle.id)
        await looked.wait()
        assert seen.status is CycleStatus.ANNOUNCED
        async with sessions.begin() as session:
            mine = sa.update(Cycle).where(Cycle.id == cycle.id)
            if number:
                await session.execute(mine.values(status=CycleStatus.SKIPPED, closed_at=clock.now()))
            else:
                [told] = await subscription_orders.told_of(session, [seen], now=clock.now())
                await orders.place(session, told, now=clock.now())
                await session.execute(mine.values(ordered_at=clock.now()))

    assert await race(act, 2) == [None, None]
    assert await standing(sessions) == [(CycleStatus.SKIPPED, OrderStatus.PLACED)], "skipped, and ordered all the same"
