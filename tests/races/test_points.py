"""Points spent at once, earned and refunded at once, and check-ins at once; without the guards they go wrong."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from crm import check_ins, loyalty_rules, orders, point_accounts, point_nights, point_orders, points
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.check_ins import CheckedInAlready
from crm.models.loyalty import CheckIn, EntryKind, PointAccount, PointEntry
from crm.models.member import Member
from crm.point_ledger import Cause
from crm.point_rules import PointRules
from crm.points import NotEnoughPoints
from tests.crm.loyalty_books import faults
from tests.factories import Make

HAD, EACH, AT_ONCE = 100, 30, 8


async def race(act: Callable[[int], Awaitable[object]], times: int = AT_ONCE) -> list[object]:
    return await asyncio.gather(*(act(number) for number in range(times)), return_exceptions=True)


async def member_with(sessions: Sessions, make: Make, clock: FrozenClock, had: int = HAD) -> Member:
    member, now = await make.member(), clock.now()
    async with sessions.begin() as session:
        await loyalty_rules.set_points(session, PointRules(), now=now)
        for part in range(2):  # two lots
            await points.grant(
                session, member.id, had // 2, cause=Cause("manual", str(part)), reason="补偿", by="adou", now=now
            )
    return member


async def spent(sessions: Sessions) -> int:
    async with sessions.read() as session:
        kind = PointEntry.kind == EntryKind.SPENT
        return -int(
            await session.scalar(sa.select(sa.func.coalesce(sa.func.sum(PointEntry.points), 0)).where(kind)) or 0
        )


async def test_eight_spends_race_for_points_of_three(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member = await member_with(sessions, make, clock)

    async def spend(number: int) -> None:
        async with sessions.begin() as session:
            await points.spend(session, member.id, EACH, cause=Cause("coupon", str(number)), now=clock.now())

    ended = await race(spend)
    assert [type(end) for end in ended if end is not None] == [NotEnoughPoints] * 5
    assert await spent(sessions) == 3 * EACH
    async with sessions.read() as session:
        assert await faults(session) == []


async def test_the_race_is_real_without_the_guard(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    """Look at the balance, wait for the others to look as well, then write an entry."""
    member, looked = await member_with(sessions, make, clock), asyncio.Barrier(AT_ONCE)

    async def spend(number: int) -> None:
        async with sessions.read() as session:
            found = await points.balance_of(session, member.id, now=clock.now())
        await looked.wait()
        if found.active < EACH:
            return
        async with sessions.begin() as session:
            session.add(
                PointEntry(
                    member_id=member.id, kind=EntryKind.SPENT, points=-EACH, cause_kind="coupon", cause_id=str(number),
                    facts={}, at=clock.now(), booked_on=clock.now().date(),
                )
            )  # fmt: skip

    await race(spend)
    assert await spent(sessions) > HAD


async def test_the_account_alone_lets_no_more_out_than_is_in(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    """Where nobody holds the person first, the WHERE clause still decides; and without it, the table's CHECK."""
    member = await member_with(sessions, make, clock)

    async def take(_number: int) -> bool:
        async with sessions.begin() as session:
            return await point_accounts.take(session, member.id, EACH)

    assert sorted(map(bool, await race(take))) == [False] * 5 + [True] * 3
    with pytest.raises(IntegrityError):
        async with sessions.begin() as session:
            await point_accounts.move(session, member.id, active=-EACH)


async def test_one_cause_spends_once_however_often_it_is_told_at_once(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member = await member_with(sessions, make, clock)

    async def spend(_number: int) -> int:
        async with sessions.begin() as session:
            return (await points.spend(session, member.id, EACH, cause=Cause("coupon", "1"), now=clock.now())).id

    assert len(set(await race(spend))) == 1
    assert await spent(sessions) == EACH


async def test_earning_races_the_refund_and_a_spend(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    """Told at once and in any order, an order that was refunded in full leaves nothing behind."""
    member, now = await member_with(sessions, make, clock), clock.now()
    order = await make.order(member, total_fen=20_000, days_ago=30)

    async def follow() -> None:
        async with sessions.begin() as session:
            await point_orders.follow(session, order.id, now=now)

    async def refund(number: int) -> None:
        async with sessions.begin() as session:
            await orders.refund(
                session, "test", f"R{number}", order_no=order.external_no, amount_fen=10_000, refunded_at=now, now=now
            )
        await follow()

    async def spend() -> None:
        async with sessions.begin() as session:
            await points.spend(session, member.id, 90, cause=Cause("coupon", "1"), now=now)

    async def sweep() -> None:
        async with sessions.begin() as session:
            await point_nights.settle_due(session, now=now)

    acts: list[Coroutine[Any, Any, None]] = [follow(), refund(1), follow(), sweep(), refund(2), spend(), follow()]
    ended = await asyncio.gather(*acts, return_exceptions=True)
    assert [end for end in ended if end is not None] == []
    await follow()
    async with sessions.read() as session:
        assert await faults(session) == []
        found = await points.balance_of(session, member.id, now=now)
    assert (found.active, found.pending, found.owed) == (10, 0, 0)


async def test_of_check_ins_at_once_one_counts(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member = await member_with(sessions, make, clock)

    async def check_in(_number: int) -> None:
        async with sessions.begin() as session:
            await check_ins.check_in(session, member.id, now=clock.now())

    ended = await race(check_in)
    assert [type(end) for end in ended if end is not None] == [CheckedInAlready] * (AT_ONCE - 1)
    async with sessions.read() as session:
        assert (await session.scalars(sa.select(PointAccount.active))).one() == HAD + 2


async def test_check_ins_at_once_are_real_without_the_guard(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    """Look whether there is one today, wait for the others, then give the points: everybody gives them."""
    member, looked = await member_with(sessions, make, clock), asyncio.Barrier(AT_ONCE)

    async def check_in(number: int) -> None:
        async with sessions.read() as session:
            seen = await session.scalar(sa.select(CheckIn.id).where(CheckIn.member_id == member.id))
        await looked.wait()
        if seen is None:
            async with sessions.begin() as session:
                cause = Cause("check_in", f"unguarded {number}")
                await points.earn(session, member.id, 2, cause=cause, now=clock.now())

    await race(check_in)
    async with sessions.read() as session:
        assert (await session.scalars(sa.select(PointAccount.active))).one() == HAD + 2 * AT_ONCE
