"""Refunds of one order at once never give back more than was paid; without the guard they do."""

import asyncio
from collections.abc import Awaitable, Callable

import sqlalchemy as sa

from crm import orders
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.models.order import Order, Refund
from crm.order_terms import RefundTooLarge
from tests.factories import Make

PAID, EACH, AT_ONCE = 10000, 3000, 8
Refunding = Callable[[int], Awaitable[object]]


async def race(refund: Refunding) -> list[object]:
    return await asyncio.gather(*(refund(number) for number in range(AT_ONCE)), return_exceptions=True)


async def given_back(sessions: Sessions) -> int:
    async with sessions.read() as session:
        return await session.scalar(sa.select(sa.func.coalesce(sa.func.sum(Refund.amount_fen), 0))) or 0


async def test_eight_refunds_race_for_the_money_of_one_order(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    order = await make.order(await make.member(), total_fen=PAID)

    async def refund(number: int) -> None:
        async with sessions.begin() as session:
            await orders.refund(
                session,
                "test",
                f"R{number}",
                order_no=order.external_no,
                amount_fen=EACH,
                refunded_at=clock.now(),
                now=clock.now(),
            )

    ended = await race(refund)
    assert [type(end) for end in ended if end is not None] == [RefundTooLarge] * 5
    assert await given_back(sessions) == 3 * EACH
    async with sessions.read() as session:
        assert (await session.get_one(Order, order.id)).refunded_fen == 3 * EACH


async def test_the_race_is_real_without_the_guard(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    """Look whether enough is left, wait for the others to look as well, then write."""
    order, looked = await make.order(await make.member(), total_fen=PAID), asyncio.Barrier(AT_ONCE)

    async def refund(number: int) -> None:
        async with sessions.read() as session:
            seen = await session.get_one(Order, order.id)
            left = seen.paid_fen - seen.refunded_fen
        await looked.wait()
        if left < EACH:
            return
        async with sessions.begin() as session:
            at = clock.now()
            session.add(
                Refund(
                    member_id=order.member_id,
                    order_id=order.id,
                    source="test",
                    external_no=f"R{number}",
                    amount_fen=EACH,
                    refunded_at=at,
                    refunded_on=at.date(),
                )
            )
            known = sa.update(Order).where(Order.id == order.id)
            await session.execute(known.values(refunded_fen=seen.refunded_fen + EACH))

    await race(refund)
    assert await given_back(sessions) > PAID
