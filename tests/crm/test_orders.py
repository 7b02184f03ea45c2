"""Orders told by the shop, in whatever order it tells them."""

import itertools
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import merges, order_changes, orders
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.events import EventRow
from crm.models.member import Member
from crm.models.order import EarlyNews, MemberOrders, Order, OrderStatus, Refund
from crm.order_terms import (
    AmountInvalid,
    Line,
    RefundOfNobody,
    RefundToldDifferently,
    RefundTooLarge,
    Told,
)
from tests.factories import Make

NO = "20260309-1"


def told(member: Member, clock: FrozenClock, **more: Any) -> Told:
    facts: dict[str, Any] = {"source": "shop", "external_no": NO, "placed_at": clock.now(), "total_fen": 10000}
    return Told(member_id=member.id, **{**facts, **more})


async def the_order(session: AsyncSession) -> Order:
    found = await orders.find(session, "shop", NO)
    assert found is not None
    return found


async def totals(sessions: Sessions, member: Member) -> tuple[int, int, int]:
    async with sessions.read() as session:
        row = await session.get(MemberOrders, member.id)
        return (row.orders, row.paid_fen, row.refunded_fen) if row else (0, 0, 0)


async def names_of_events(sessions: Sessions) -> list[str]:
    async with sessions.read() as session:
        rows = await session.scalars(sa.select(EventRow.name).order_by(EventRow.id))
        return [name for name in rows if name.startswith("Order")]


async def test_an_order_told_twice_is_one_order(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member = await make.member()
    lines = [
        Line(sku="cat-litter-6l", name="豆腐猫砂 6L", category="猫砂", quantity=2, price_fen=2990),
        Line(sku="toy-1", name="逗猫棒", price_fen=990),
    ]
    ids, one = set(), told(member, clock, lines=lines, total_fen=6970, paid_at=clock.now())
    for _ in range(2):
        async with sessions.begin() as session:
            ids.add((await orders.place(session, one, now=clock.now())).id)
            assert [line.sku for line in await orders.lines_of(session, min(ids))] == ["cat-litter-6l", "toy-1"]
        clock.advance(hours=1)
    assert len(ids) == 1
    assert await totals(sessions, member) == (1, 6970, 0)
    assert await names_of_events(sessions) == ["OrderPlaced", "OrderPaid"]


async def test_a_changed_order_is_an_update_and_an_older_telling_is_not(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member, began = await make.member(), clock.now()
    newer = told(member, clock, total_fen=500, lines=[Line(sku="b", name="b", price_fen=500)])
    async with sessions.begin() as session:
        await orders.place(session, told(member, clock, lines=[Line(sku="a", name="a", price_fen=9)]), now=began)
        clock.advance(hours=2)
        await orders.place(session, newer, now=clock.now())
        await orders.place(session, told(member, clock, total_fen=777, told_at=began), now=clock.now())
        order = await the_order(session)
        assert (order.total_fen, [line.sku for line in await orders.lines_of(session, order.id)]) == (500, ["b"])
    assert await names_of_events(sessions) == ["OrderPlaced", "OrderChanged"]


async def test_an_order_goes_through_its_stages(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member, seen = await make.member(), []
    async with sessions.begin() as session:
        order = await orders.place(session, told(member, clock), now=clock.now())
        seen.append(order.status)
        await orders.pay(session, "shop", NO, paid_at=clock.now(), now=clock.now())
        seen.append(order.status)
        for number, fen in (("R1", 4000), ("R1", 4000), ("R2", 6000)):
            await orders.refund(
                session, "shop", number, order_no=NO, amount_fen=fen, refunded_at=clock.now(), now=clock.now()
            )
            seen.append(order.status)
    assert [status.value for status in seen] == ["placed", "paid", "partly_refunded", "partly_refunded", "refunded"]
    assert await totals(sessions, member) == (0, 10000, 10000)
    assert await names_of_events(sessions) == ["OrderPlaced", "OrderPaid", "OrderRefunded", "OrderRefunded"]


async def test_paid_on_is_the_shops_day(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    late = clock.now().replace(hour=16, minute=30)  # 00:30 of the next day in Shanghai
    async with sessions.begin() as session:
        order = await orders.place(session, told(await make.member(), clock, paid_at=late), now=late)
    assert order.paid_on is not None and order.paid_on.day == late.day + 1


async def test_no_more_goes_back_than_was_paid(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member, now = await make.member(), clock.now()
    async with sessions.begin() as session:
        await orders.place(session, told(member, clock, paid_at=now, paid_fen=9000), now=now)
        await orders.refund(session, "shop", "R1", order_no=NO, amount_fen=8000, refunded_at=now, now=now)
    with pytest.raises(RefundTooLarge) as refused:
        async with sessions.begin() as session:
            await orders.refund(session, "shop", "R2", order_no=NO, amount_fen=1001, refunded_at=now, now=now)
    assert (refused.value.refund_fen, refused.value.left_fen) == (1001, 1000)
    with pytest.raises(RefundToldDifferently):
        async with sessions.begin() as session:
            await orders.refund(session, "shop", "R1", order_no=NO, amount_fen=7999, refunded_at=now, now=now)
    assert await totals(sessions, member) == (1, 9000, 8000)


@pytest.mark.parametrize("fen", [0, -1])
async def test_a_refund_of_nothing_is_refused(sessions: Sessions, clock: FrozenClock, fen: int) -> None:
    with pytest.raises(AmountInvalid):
        async with sessions.begin() as session:
            await orders.refund(
                session, "shop", "R", order_no=NO, amount_fen=fen, refunded_at=clock.now(), now=clock.now()
            )


async def test_a_refund_without_an_order_lowers_what_its_member_spent_and_nothing_else(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member, now = await make.member(), clock.now()
    async with sessions.begin() as session:
        await orders.place(session, told(member, clock, paid_at=now), now=now)
        for _ in range(2):
            await orders.refund(session, "shop", "C1", member_id=member.id, amount_fen=2500, refunded_at=now, now=now)
        assert (await the_order(session)).status is OrderStatus.PAID
    assert await totals(sessions, member) == (1, 10000, 2500)
    with pytest.raises(RefundOfNobody):
        async with sessions.begin() as session:
            await orders.refund(session, "shop", "C2", amount_fen=1, refunded_at=now, now=now)


async def test_a_paid_order_that_is_cancelled_stays_paid_until_its_refund(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member, now = await make.member(), clock.now()
    async with sessions.begin() as session:
        order = await orders.place(session, told(member, clock, paid_at=now), now=now)
        await orders.cancel(session, "shop", NO, cancelled_at=now, now=now)
        assert (order.status, order.cancelled_at) == (OrderStatus.PAID, now)
        await orders.refund(session, "shop", "R", order_no=NO, amount_fen=10000, refunded_at=now, now=now)
        assert order.status is OrderStatus.REFUNDED


STORIES: dict[str, Sequence[str]] = {
    "placed, paid, refunded in two parts": ("place", "pay", "refund one", "refund two"),
    "placed, cancelled": ("place", "cancel"),
    "placed, paid, cancelled, refunded": ("place", "pay", "cancel", "refund all"),
    "changed while it was paid": ("place", "place again", "pay", "refund one"),
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
async def test_however_news_overtakes_each_other_the_end_is_the_same(
    sessions: Sessions, make: Make, clock: FrozenClock, story: Sequence[str]
) -> None:
    began, ends = clock.now(), set()
    clock.advance(days=1)
    for turn, way in enumerate(itertools.permutations(story)):
        member, number = await make.member(), f"S-{turn}"
        async with sessions.begin() as session:
            for step in (*way, way[0]):  # and the first one is told again
                await tell(session, step, number, member, began, clock)
        async with sessions.begin() as session:
            order = await orders.find(session, "shop", number)
            assert order is not None
            row = await session.get_one(MemberOrders, member.id)
            sums = (row.orders, row.paid_fen, row.refunded_fen, row.last_paid_at)
            facts = (order.total_fen, order.paid_fen, order.refunded_fen, order.paid_at, order.cancelled_at)
            ends.add((order.status, facts, sums))
            assert not list(await session.scalars(sa.select(EarlyNews)))
    assert len(ends) == 1


async def tell(session: AsyncSession, step: str, number: str, member: Member, began: Any, clock: FrozenClock) -> None:
    now, hour = clock.now(), timedelta(hours=1)
    if step == "place":
        one = told(member, clock, external_no=number, placed_at=began, told_at=began, total_fen=9000)
        await orders.place(session, one, now=now)
    elif step == "place again":
        one = told(member, clock, external_no=number, placed_at=began, told_at=began + hour)
        await orders.place(session, one, now=now)
    elif step == "pay":
        await orders.pay(session, "shop", number, paid_at=began + hour, paid_fen=10000, now=now)
    elif step == "cancel":
        await orders.cancel(session, "shop", number, cancelled_at=began + 2 * hour, now=now)
    else:
        fen = {"refund one": 4000, "refund two": 5000, "refund all": 10000}[step]
        refund_no = f"{number}-{step}"
        await orders.refund(
            session, "shop", refund_no, order_no=number, amount_fen=fen, refunded_at=began + 3 * hour, now=now
        )


async def test_an_early_refund_that_proves_too_large_waits_for_a_person(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member, now = await make.member(), clock.now()
    async with sessions.begin() as session:
        await orders.refund(session, "shop", "R", order_no=NO, amount_fen=10001, refunded_at=now, now=now)
        order = await orders.place(session, told(member, clock, paid_at=now), now=now)
        assert order.status is OrderStatus.PAID
        [left] = await session.scalars(sa.select(EarlyNews))
        assert left.refused == "order.refund_too_large"


async def test_a_merge_carries_orders_refunds_and_totals(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    one, other, now = await make.member(), await make.member(), clock.now()
    await make.order(one, total_fen=3000)
    await make.order(other, total_fen=5000, days_ago=3)
    async with sessions.begin() as session:
        await orders.refund(session, "shop", "C1", member_id=other.id, amount_fen=700, refunded_at=now, now=now)
        await merges.merge(session, one.id, other.id, because="manual", now=now)
    assert await totals(sessions, one) == (2, 8000, 700)
    assert await totals(sessions, other) == (0, 0, 0)
    async with sessions.begin() as session:  # told under the number that was absorbed
        late = told(other, clock, paid_at=now)
        assert (await orders.place(session, late, now=now)).member_id == one.id
        assert [row.member_id for row in await session.scalars(sa.select(Refund))] == [one.id]


async def test_an_order_that_turns_out_to_be_somebody_elses_moves(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    one, other, now = await make.member(), await make.member(), clock.now()
    async with sessions.begin() as session:
        await orders.place(session, told(one, clock, paid_at=now), now=now)
        await orders.refund(session, "shop", "R", order_no=NO, amount_fen=100, refunded_at=now, now=now)
        await orders.place(session, told(other, clock), now=now)
    assert await totals(sessions, one) == (0, 0, 0)
    assert await totals(sessions, other) == (1, 10000, 100)


async def test_totals_moved_step_by_step_are_the_totals_made_anew(
    sessions: Sessions, make: Make, clock: FrozenClock, chance: Any
) -> None:
    member, now = await make.member(), clock.now()
    for step in range(40):
        number = f"O{chance.randrange(8)}"
        at = now + timedelta(hours=chance.randrange(500))
        async with sessions.begin() as session:
            order = await orders.find(session, "shop", number)
            if order is None or chance.random() < 0.3:
                fen = max(chance.randrange(0, 9000), order.refunded_fen if order else 0)
                one = told(member, clock, external_no=number, paid_at=at, paid_fen=fen)
                await orders.place(session, one, now=now)
            elif (left := order.paid_fen - order.refunded_fen) > 0:
                fen = chance.choice([left, 1 + chance.randrange(left)])
                await orders.refund(
                    session, "shop", f"R{step}", order_no=number, amount_fen=fen, refunded_at=at, now=now
                )
    kept = await everything(sessions, member)
    async with sessions.begin() as session:
        await order_changes.recount(session, [member.id])
    assert await everything(sessions, member) == kept


async def everything(sessions: Sessions, member: Member) -> dict[str, Any]:
    async with sessions.read() as session:
        row = await session.get_one(MemberOrders, member.id)
        return {column.key: getattr(row, column.key) for column in sa.inspect(MemberOrders).columns}


async def test_the_newest_orders_come_first(sessions: Sessions, make: Make) -> None:
    member = await make.member()
    for days in (9, 2, 5, 7):
        await make.order(member, days_ago=days, external_no=f"T-{days}")
    async with sessions.read() as session:
        newest = await orders.latest_of(session, member.id)
    assert [order.external_no for order in newest] == ["T-2", "T-5", "T-7"]
