"""Orders told by the shop, and the numbers on the first screen."""

from datetime import timedelta

from crm import contacts, orders, reports
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.models.member import ContactEnd
from crm.models.order import OrderStatus
from crm.orders import Line
from tests.factories import Make


async def test_an_order_told_twice_is_one_order(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member = await make.member()
    lines = [
        Line(sku="cat-litter-6l", name="豆腐猫砂 6L", category="猫砂", quantity=2, price_fen=2990),
        Line(sku="toy-1", name="逗猫棒", price_fen=990),
    ]
    ids = set()
    for _ in range(2):
        async with sessions.begin() as session:
            order = await orders.record(
                session,
                member_id=member.id,
                source="shop",
                external_no="20260309-1",
                status=OrderStatus.PAID,
                placed_at=clock.now(),
                paid_at=clock.now(),
                total_fen=6970,
                lines=lines,
            )
            ids.add(order.id)
            assert [line.sku for line in await orders.lines_of(session, order.id)] == ["cat-litter-6l", "toy-1"]
    assert len(ids) == 1


async def test_the_newest_orders_come_first(sessions: Sessions, make: Make) -> None:
    member = await make.member()
    for days in (9, 2, 5, 7):
        await make.order(member, days_ago=days, external_no=f"T-{days}")
    async with sessions.read() as session:
        newest = await orders.latest_of(session, member.id)
    assert [order.external_no for order in newest] == ["T-2", "T-5", "T-7"]


async def test_the_counts_of_the_first_screen(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    lin = await make.staff("lin")
    began = clock.now()
    kept, gone = await make.contact(lin), await make.contact(lin)
    await make.group(lin, kept.external_userid, "wm-only-here")
    clock.advance(hours=1)
    async with sessions.begin() as session:
        await contacts.lost(
            session,
            userid="lin",
            external_userid=gone.external_userid,
            at=clock.now(),
            by=ContactEnd.STAFF,
            now=clock.now(),
        )
    async with sessions.read() as session:
        assert await reports.headcount(session) == reports.Headcount(
            members=3, contacts=1, groups=1, grouped=2, orders=0
        )
        day = await reports.movement(session, since=began, until=clock.now() + timedelta(seconds=1))
        assert day == reports.Movement(enrolled=3, contacts_added=2, contacts_lost=1, group_joined=2, group_left=0)
        before = await reports.movement(session, since=began - timedelta(days=1), until=began)
        assert before == reports.Movement(enrolled=0, contacts_added=0, contacts_lost=0, group_joined=0, group_left=0)
