"""Paid in time, too late, twice, or not at all; and who waits gets what comes back, in their order."""

import random
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot import privacy
from bot.flashsale import payments, sales, waiting
from bot.flashsale.merging import follow_merge
from bot.flashsale.terms import CannotCancel, ClaimNotFound, LimitReached, SoldOut, StockIsBack, UnpaidClaim
from bot.models.sale import ClaimStatus, PaymentOutcome, Sale, SaleItem, SaleStatus
from crm import merges, orders
from crm.models.order import OrderStatus
from tests.bot.flashsale.stall import Stall, item

QUARTER = timedelta(minutes=15)


async def wait(stall: Stall, a1: SaleItem, member_id: int, quantity: int = 1, **more: Any) -> int:
    async with stall.sessions.begin() as session:
        request = stall.request(a1, member_id, quantity, **more)
        return (await waiting.join(session, request, now=stall.clock.now())).number


async def place(stall: Stall, a1: SaleItem, member_id: int) -> int | None:
    async with stall.sessions.read() as session:
        found = await waiting.place_of(session, a1.id, member_id)
    return found.number if found else None


async def test_a_paid_claim_is_an_order_once_however_often_it_is_told(stall: Stall) -> None:
    (lin,) = await stall.members(1)
    a1 = await stall.item()
    granted = await stall.claim(a1, lin)
    for _ in range(3):
        assert (await stall.pay(granted.no, 1990)).outcome is PaymentOutcome.APPLIED
    assert await stall.counters(a1) == (0, 1, 2)
    async with stall.sessions.read() as session:
        (order,) = await orders.latest_of(session, lin)
        (line,) = await orders.lines_of(session, order.id)
    assert (order.status, order.paid_fen, line.sku, line.quantity) == (OrderStatus.PAID, 1990, "SKU-A1", 1)


async def test_what_is_not_paid_in_time_is_released(stall: Stall) -> None:
    lin, chen = await stall.members(2)
    a1 = await stall.item(stock=1)
    await stall.claim(a1, lin)
    stall.clock.advance(QUARTER - timedelta(seconds=0.1))
    assert await stall.release() == []
    assert await stall.counters(a1) == (1, 0, 0)
    stall.clock.advance(seconds=0.1)
    await stall.release()
    assert await stall.counters(a1) == (0, 0, 1)
    assert (await stall.claim(a1, chen)).is_new


async def test_late_money_takes_a_unit_that_is_left_and_otherwise_goes_back(stall: Stall) -> None:
    lin, chen, wang = await stall.members(3)
    a1 = await stall.item(stock=2)
    first, second = await stall.claim(a1, lin), await stall.claim(a1, chen)
    stall.clock.advance(QUARTER)
    await stall.release()
    assert (await stall.pay(first.no, 1990)).outcome is PaymentOutcome.HONOURED
    await stall.claim(a1, wang)
    late = await stall.pay(second.no, 1990)
    assert (late.outcome, late.why) == (PaymentOutcome.REFUND_DUE, "超过付款时限，已经没有库存")
    assert await stall.counters(a1) == (1, 1, 0)
    async with stall.sessions.begin() as session:
        assert [one.id for one in await payments.due_back(session)] == [late.id]
        assert await payments.refunded(session, late.id)
        assert await payments.due_back(session) == []


async def test_a_shop_may_choose_not_to_honour_late_money(stall: Stall) -> None:
    (lin,) = await stall.members(1)
    a1 = await stall.item(honours_late=False)
    granted = await stall.claim(a1, lin)
    stall.clock.advance(QUARTER)
    await stall.release()
    assert (await stall.pay(granted.no, 1990)).outcome is PaymentOutcome.REFUND_DUE
    assert await stall.counters(a1) == (0, 0, 3)


@pytest.mark.parametrize("fen", [1, 1989, 1991])
async def test_another_amount_goes_back_and_the_claim_waits_on(stall: Stall, fen: int) -> None:
    (lin,) = await stall.members(1)
    a1 = await stall.item()
    granted = await stall.claim(a1, lin)
    assert (await stall.pay(granted.no, fen, transaction="wrong")).outcome is PaymentOutcome.REFUND_DUE
    assert await stall.counters(a1) == (1, 0, 2)
    assert (await stall.pay(granted.no, 1990)).outcome is PaymentOutcome.APPLIED


async def test_money_that_comes_twice_goes_back_once(stall: Stall) -> None:
    (lin,) = await stall.members(1)
    a1 = await stall.item()
    granted = await stall.claim(a1, lin)
    await stall.pay(granted.no, 1990, transaction="one")
    assert (await stall.pay(granted.no, 1990, transaction="two")).outcome is PaymentOutcome.REFUND_DUE
    assert await stall.counters(a1) == (0, 1, 2)
    with pytest.raises(ClaimNotFound):
        await stall.pay("nothing", 1990)


async def test_money_of_who_was_erased_meanwhile_is_written_down_and_goes_back(stall: Stall) -> None:
    (lin,) = await stall.members(1)
    a1 = await stall.item()
    granted = await stall.claim(a1, lin)
    await privacy.erase(stall.sessions, lin, by="zhou", reason=privacy.Reason.ASKED, now=stall.clock.now())
    assert (await stall.pay(granted.no, 1990)).outcome is PaymentOutcome.REFUND_DUE
    stall.clock.advance(QUARTER)
    await stall.release()
    assert await stall.counters(a1) == (0, 0, 3)
    assert (await stall.pay(granted.no, 1990, transaction="late")).outcome is PaymentOutcome.REFUND_DUE
    assert await stall.counters(a1) == (0, 0, 3)


async def test_who_waits_is_served_in_order_with_a_time_of_their_own(stall: Stall) -> None:
    people = await stall.members(5)
    a1 = await stall.item(stock=2)
    await stall.claim(a1, people[0])
    await stall.claim(a1, people[1])
    assert [await wait(stall, a1, one) for one in people[2:]] == [1, 2, 3]
    assert await wait(stall, a1, people[3]) == 2  # asking again keeps the place
    stall.clock.advance(QUARTER)
    offers = await stall.release()
    assert [one.member_id for one in offers] == people[2:4]
    assert {one.pay_due_at for one in offers} == {stall.clock.now() + QUARTER}
    assert await stall.counters(a1) == (2, 0, 0)
    with pytest.raises(SoldOut):
        await stall.claim(a1, people[0])  # nobody steps in between
    assert await place(stall, a1, people[4]) == 1
    await stall.pay(offers[0].no, 1990)
    stall.clock.advance(QUARTER)
    assert [one.member_id for one in await stall.release()] == [people[4]]
    assert await stall.counters(a1) == (1, 1, 0)


async def test_who_gives_back_hands_on_at_once(stall: Stall) -> None:
    lin, chen = await stall.members(2)
    a1 = await stall.item(stock=1)
    granted = await stall.claim(a1, lin)
    await wait(stall, a1, chen)
    async with stall.sessions.begin() as session:
        with pytest.raises(ClaimNotFound):
            await payments.give_back(session, granted.no, member_id=chen, now=stall.clock.now())
        offers = await payments.give_back(session, granted.no, member_id=lin, now=stall.clock.now())
    assert [one.member_id for one in offers] == [chen]
    async with stall.sessions.begin() as session:
        with pytest.raises(CannotCancel):
            await payments.give_back(session, granted.no, member_id=lin, now=stall.clock.now())


async def test_nobody_waits_for_what_is_there_or_beyond_their_limit(stall: Stall) -> None:
    lin, chen = await stall.members(2)
    a1 = await stall.item(stock=1)
    with pytest.raises(StockIsBack):
        await wait(stall, a1, lin)
    granted = await stall.claim(a1, lin)
    with pytest.raises(UnpaidClaim):
        await wait(stall, a1, lin)
    await stall.pay(granted.no, 1990)
    with pytest.raises(LimitReached):
        await wait(stall, a1, lin)
    await wait(stall, a1, chen)
    async with stall.sessions.begin() as session:
        assert await waiting.leave(session, a1.id, chen, now=stall.clock.now())
    assert await place(stall, a1, chen) is None


async def test_a_group_share_comes_back_to_its_group(stall: Stall) -> None:
    lin, chen, wang = await stall.members(3)
    cats, dogs = (await stall.make.group()).id, (await stall.make.group()).id
    made = await stall.sale(item(stock=2, shares={cats: 1, dogs: 1}), group_ids=[cats, dogs])
    (a1,) = await stall.items(made)
    await stall.claim(a1, lin, group_id=cats)
    stall.clock.advance(QUARTER)
    await stall.release()
    assert (await stall.claim(a1, chen, group_id=cats)).is_new
    assert (await stall.claim(a1, wang, group_id=dogs)).is_new
    assert await stall.counters(a1) == (2, 0, 0)


async def test_who_waits_for_a_share_keeps_the_place_when_another_group_s_comes_back(stall: Stall) -> None:
    lin, chen, wang, zhao = await stall.members(4)
    cats, dogs = (await stall.make.group()).id, (await stall.make.group()).id
    made = await stall.sale(item(stock=2, shares={cats: 1, dogs: 1}), group_ids=[cats, dogs])
    (a1,) = await stall.items(made)
    of_cats = await stall.claim(a1, lin, group_id=cats)
    of_dogs = await stall.claim(a1, chen, group_id=dogs)
    await wait(stall, a1, wang, group_id=dogs)
    await wait(stall, a1, zhao, group_id=cats)
    for granted, who, whose_turn in ((of_cats, lin, zhao), (of_dogs, chen, wang)):
        async with stall.sessions.begin() as session:
            offers = await payments.give_back(session, granted.no, member_id=who, now=stall.clock.now())
        assert [one.member_id for one in offers] == [whose_turn]
    assert await stall.counters(a1) == (2, 0, 0)


async def test_a_sale_opens_closes_and_is_settled_when_nobody_owes(stall: Stall) -> None:
    lin, chen, _ = await stall.members(3)
    made = await stall.sale(item(stock=1), opens_in=timedelta(minutes=5))
    (a1,) = await stall.items(made)

    async def status_at(**later: float) -> SaleStatus:
        stall.clock.advance(**later)
        await stall.release()
        async with stall.sessions.begin() as session:
            await sales.follow_clock(session, now=stall.clock.now())
            return (await sales.get(session, made.code)).status

    assert await status_at(minutes=4) is SaleStatus.ANNOUNCED
    assert await status_at(minutes=1) is SaleStatus.OPEN
    stall.clock.advance(minutes=50)
    await stall.claim(a1, lin)
    await wait(stall, a1, chen)
    assert await status_at(minutes=10) is SaleStatus.CLOSED
    assert await status_at(minutes=5) is SaleStatus.CLOSED  # chen was offered what lin did not pay
    assert await stall.statuses(chen) == [ClaimStatus.HELD]
    assert await status_at(minutes=25) is SaleStatus.SETTLED
    assert await stall.counters(a1) == (0, 0, 1)


async def test_all_paid_is_sold_out_and_settled(stall: Stall) -> None:
    (lin,) = await stall.members(1)
    made = await stall.sale(item(stock=1))
    (a1,) = await stall.items(made)
    await stall.pay((await stall.claim(a1, lin)).no, 1990)
    async with stall.sessions.begin() as session:
        assert await sales.follow_clock(session, now=stall.clock.now()) == 3  # opened, sold out, settled
        assert (await sales.get(session, made.code)).status is SaleStatus.SETTLED


async def test_a_weekly_sale_has_its_next_session_once_and_none_for_weeks_missed(stall: Stall) -> None:
    made = await stall.sale(item(stock=5), series="周四")
    stall.clock.advance(days=15)
    for _ in range(2):
        async with stall.sessions.begin() as session:
            await sales.next_sessions(session, now=stall.clock.now(), chance=stall.make.chance)
    async with stall.sessions.read() as session:
        (later,) = await sales.on_now(session, now=stall.clock.now())
        (twin,) = await sales.items_of(session, later.id)
    assert later.opens_at == made.opens_at + timedelta(days=21)
    assert (twin.code, twin.stock, twin.held) == ("A1", 5, 0)


async def test_a_weekly_sale_that_nobody_announced_has_no_next_session(stall: Stall) -> None:
    made = await stall.sale(item(), series="周四")
    async with stall.sessions.begin() as session:
        await session.execute(sa.update(Sale).where(Sale.id == made.id).values(status=SaleStatus.DRAFT))
    stall.clock.advance(days=1)
    async with stall.sessions.begin() as session:
        assert await sales.next_sessions(session, now=stall.clock.now(), chance=random.Random(99)) == 0
        assert await sales.on_now(session, now=stall.clock.now()) == []


async def test_a_merged_person_has_one_unpaid_claim_and_one_place(stall: Stall) -> None:
    kept, absorbed, wang = await stall.members(3)
    made = await stall.sale(item("A1", stock=2), item("A2", stock=1))
    a1, a2 = await stall.items(made)
    await stall.claim(a1, kept)
    await stall.claim(a1, absorbed)
    await stall.claim(a2, wang)
    for one in (kept, absorbed):
        await wait(stall, a2, one)
    async with stall.sessions.begin() as session:
        assert await merges.merge(session, kept, absorbed, because="unionid", now=stall.clock.now()) == kept
        await follow_merge(session, kept, absorbed, now=stall.clock.now())
    await stall.release()
    assert await stall.counters(a1) == (1, 0, 1)
    assert (await place(stall, a2, kept), await place(stall, a2, absorbed)) == (1, None)


async def test_the_tables_refuse_what_no_code_may_do(stall: Stall) -> None:
    a1 = await stall.item(stock=2)
    for wrong in ({"held": 3}, {"sold": -1}, {"held": 1, "sold": 2}):
        with pytest.raises(sa.exc.IntegrityError):
            async with stall.sessions.begin() as session:
                await session.execute(sa.update(SaleItem).where(SaleItem.id == a1.id).values(**wrong))


async def test_a_sale_ended_by_hand_offers_nothing_any_more_and_a_series_can_end(stall: Stall) -> None:
    lin, chen = await stall.members(2)
    made = await stall.sale(item(stock=1), series="周四")
    (a1,) = await stall.items(made)
    await stall.claim(a1, lin)
    await wait(stall, a1, chen)
    async with stall.sessions.begin() as session:
        assert await sales.close(session, made.id, now=stall.clock.now())
        assert await sales.end_series(session, "周四") == 1
    stall.clock.advance(QUARTER)
    assert await stall.release() == []
    assert await place(stall, a1, chen) is None
    stall.clock.advance(days=8)
    async with stall.sessions.begin() as session:
        assert await sales.next_sessions(session, now=stall.clock.now(), chance=stall.make.chance) == 0
