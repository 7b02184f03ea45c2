"""Subscriptions: signed up, reminded, ordered, paid, skipped, ended; a changed plan; bad input that loses nothing."""

from datetime import date, timedelta

import pytest
import sqlalchemy as sa

from bot import privacy as everything
from campaigns import subscription_orders, subscription_plans, subscriptions
from campaigns.models.campaign import Batch, Delivery, Run
from campaigns.models.subscription import CycleStatus, Mode, ReminderStatus, Subscription, SubscriptionStatus, Way
from campaigns.subscription_plans import PlanDraft
from campaigns.subscription_terms import (
    AlreadySubscribed,
    DateInvalid,
    NothingOpen,
    PaidAlready,
    PaymentDiffers,
    PlanClosed,
    PlanFixed,
    QuantityInvalid,
    SubscriptionNotFound,
    TooLate,
    WrongStanding,
)
from crm import merges, orders
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.models.order import Order, OrderStatus
from crm.privacy import Reason
from tests.campaigns.subscribers import Club, by_status, club, counted

__all__ = ["club"]
S = CycleStatus
FAR = date(2026, 4, 10)


async def books(sessions: Sessions) -> list[tuple[int, OrderStatus]]:
    async with sessions.read() as session:
        return [(one.total_fen, one.status) for one in await session.scalars(sa.select(Order).order_by(Order.id))]


async def test_who_signs_up_for_tomorrow_has_said_yes(club: Club, sessions: Sessions) -> None:
    await club.plan()
    view = await club.subscriber(quantity=2)
    assert (view.cycle and view.cycle.status, view.price_fen, view.paid_until_gift) == (S.ORDERED, 19_800, 3)
    assert await books(sessions) == [(19_800, OrderStatus.PLACED)]
    assert view.subscription.due_on == club.today + timedelta(days=1)
    paid = await club.pay(view)
    assert paid.status is S.PAID
    view = await club.look(view)
    assert (view.cycle, view.paid_until_gift) == (None, 2)
    assert view.subscription.due_on == date(2026, 4, 10), "a month after the first"
    assert await books(sessions) == [(19_800, OrderStatus.PAID)]
    async with sessions.read() as session:
        [order] = await session.scalars(sa.select(Order))
        [line] = await orders.lines_of(session, order.id)
    assert (line.sku, line.quantity) == ("F1", 2)


async def test_a_delivery_far_ahead_climbs_its_ladder_and_is_ordered_by_default(club: Club, sessions: Sessions) -> None:
    await club.plan()
    view = await club.subscriber(first_on=FAR)
    assert view.cycle is None
    for days in range(12, -2, -1):
        await club.day(FAR - timedelta(days=days), hours=(9, 10, 17))
        if days == 0:
            assert (await club.cycles(view))[0].status is S.ANNOUNCED, "until six in the evening there is time"
            await club.day(FAR, hours=(18,))
    assert [(one.step, (FAR - one.remind_on).days) for one in await club.reminders(view)] == [
        ("d7", 7), ("d3", 3), ("d0", 0), ("p1", -1),
    ]  # fmt: skip
    assert await books(sessions) == [(9900, OrderStatus.PLACED)]
    assert (await club.cycles(view))[0].ordered_by == "default"


async def test_who_wants_to_be_asked_and_says_nothing_gets_nothing(club: Club, sessions: Sessions) -> None:
    await club.plan()
    view = await club.subscriber(first_on=FAR, mode=Mode.ASKS)
    for days in (7, 3, 0, -1):
        await club.day(FAR - timedelta(days=days))
    assert [one.status for one in await club.cycles(view)] == [S.MISSED]
    assert await books(sessions) == []
    view = await club.look(view)
    assert view.subscription.due_on == date(2026, 5, 10)


async def test_confirm_skip_postpone_and_what_comes_next(club: Club, sessions: Sessions) -> None:
    await club.plan()
    view = await club.subscriber(first_on=FAR)
    with pytest.raises(NothingOpen) as nothing:
        await club.do(subscriptions.confirm, view)
    assert nothing.value.due_on == FAR
    await club.day(FAR - timedelta(days=7))
    view = await club.do(subscriptions.postpone, view, 7)
    assert view.cycle and view.cycle.due_on == FAR + timedelta(days=7)
    await club.day(FAR)
    assert [one.step for one in await club.reminders(view)] == ["d7", "d7"], "a new day is told of anew"
    view = await club.do(subscriptions.confirm, view)
    assert view.cycle and view.cycle.status is S.ORDERED
    with pytest.raises(TooLate):
        await club.do(subscriptions.postpone, view, 7)
    view = await club.do(subscriptions.skip, view)
    assert await books(sessions) == [(9900, OrderStatus.CANCELLED)]
    assert (view.cycle, view.subscription.due_on) == (None, date(2026, 5, 17)), "the rhythm moved with it"
    assert view.subscription.bought == 0


async def test_a_skip_finds_a_paid_delivery_gone(club: Club) -> None:
    await club.plan()
    view = await club.subscriber()
    await club.pay(view)
    with pytest.raises(NothingOpen):
        await club.do(subscriptions.skip, view)


async def test_pause_resume_and_the_end(club: Club, sessions: Sessions) -> None:
    await club.plan()
    view = await club.subscriber(first_on=FAR)
    await club.day(FAR - timedelta(days=7))
    view = await club.do(subscriptions.pause, view, until=date(2026, 6, 1))
    assert (view.subscription.status, view.cycle) == (SubscriptionStatus.PAUSED, None)
    with pytest.raises(WrongStanding):
        await club.do(subscriptions.pause, view)
    await club.day(date(2026, 5, 31))
    assert (await club.look(view)).subscription.status is SubscriptionStatus.PAUSED
    await club.day(date(2026, 6, 1))
    view = await club.look(view)
    assert view.subscription.status is SubscriptionStatus.ACTIVE
    assert view.subscription.due_on == date(2026, 6, 10)
    view = await club.do(subscriptions.pause, view)
    view = await club.do(subscriptions.resume, view)
    assert view.subscription.due_on == date(2026, 6, 10)
    view = await club.do(subscriptions.cancel, view)
    assert view.subscription.status is SubscriptionStatus.CANCELLED
    with pytest.raises(WrongStanding):
        await club.do(subscriptions.resume, view)
    assert await books(sessions) == []
    again = await club.subscriber(member=await only_member(sessions))
    assert again.subscription.no != view.subscription.no


async def only_member(sessions: Sessions) -> object:
    from crm.models.member import Member

    async with sessions.read() as session:
        return (await session.scalars(sa.select(Member))).one()


async def test_money_that_does_not_come_is_asked_for_and_given_up(club: Club, sessions: Sessions) -> None:
    await club.plan()
    view = await club.subscriber(first_on=date(2026, 3, 10))
    for days in range(9):
        await club.day(date(2026, 3, 9) + timedelta(days=days))
    assert [one.step for one in await club.reminders(view)] == ["p1", "p3", "p5", "gone"]
    view = await club.look(view)
    assert (view.subscription.status, view.subscription.paused_because) == (SubscriptionStatus.PAUSED, "unpaid")
    assert await books(sessions) == [(9900, OrderStatus.CANCELLED)]
    await club.pay(view)
    view = await club.look(view)
    assert (view.subscription.status, view.subscription.bought) == (SubscriptionStatus.ACTIVE, 1), "late money counts"
    assert await books(sessions) == [(9900, OrderStatus.PAID)]
    assert view.subscription.due_on > club.today


async def test_another_amount_or_a_second_payment_changes_nothing(club: Club) -> None:
    await club.plan()
    view = await club.subscriber()
    with pytest.raises(PaymentDiffers) as differs:
        await club.pay(view, fen=1)
    assert (differs.value.owed_fen, differs.value.paid_fen) == (9900, 1)
    await club.pay(view, transaction="a")
    assert (await club.pay(view, transaction="a")).status is S.PAID
    with pytest.raises(PaidAlready):
        await club.pay(view, transaction="b")
    assert (await club.look(view)).subscription.bought == 1


async def test_the_shop_tells_of_a_payment_a_refund_and_a_cancellation(
    club: Club, sessions: Sessions, clock: FrozenClock
) -> None:
    await club.plan()
    view = await club.subscriber()
    [cycle] = await club.cycles(view)
    now = clock.now()
    async with sessions.begin() as session:
        order = await orders.pay(session, "subscription", cycle.order_no, paid_at=now, now=now)
        assert order is not None
        await subscription_orders.follow_payment(session, order.id, now=now)
        await subscription_orders.follow_payment(session, order.id, now=now)
    assert (await club.look(view)).subscription.bought == 1
    async with sessions.begin() as session:
        await orders.refund(
            session, "subscription", "R1", amount_fen=9900, refunded_at=now, order_no=cycle.order_no, now=now
        )
        await subscription_orders.follow_refund(session, order.id, now=now)
        await subscription_orders.follow_refund(session, order.id, now=now)
    assert ((await club.look(view)).subscription.bought, (await club.cycles(view))[0].status) == (0, S.REFUNDED)
    other = await club.subscriber()
    [cycle] = await club.cycles(other)
    async with sessions.begin() as session:
        order = await orders.cancel(session, "subscription", cycle.order_no, cancelled_at=now, now=now)
        assert order is not None
        await subscription_orders.follow_cancel(session, order.id, now=now)
    assert (await club.cycles(other))[0].status is S.CANCELLED
    assert (await club.look(other)).subscription.due_on == date(2026, 4, 10)


async def test_bad_input_is_refused_and_loses_nothing(club: Club, sessions: Sessions) -> None:
    await club.plan()
    view = await club.subscriber(first_on=FAR)
    with pytest.raises(AlreadySubscribed) as already:
        await club.subscriber(member=await only_member(sessions))  # type: ignore[arg-type]
    assert already.value.no == view.subscription.no
    for wrong in (club.today, date(2027, 3, 1), date(2020, 2, 29)):
        with pytest.raises(DateInvalid):
            await club.subscriber(first_on=wrong)
    for quantity in (0, 100):
        with pytest.raises(QuantityInvalid):
            await club.subscriber(quantity=quantity)
    for days in (0, 93):
        with pytest.raises(DateInvalid):
            await club.do(subscriptions.postpone, view, days)
    stranger = await club.make.member()
    with pytest.raises(SubscriptionNotFound):
        async with sessions.begin() as session:
            await subscriptions.cancel(session, view.subscription.no, member_id=stranger.id, now=club.clock.now())
    assert (await club.look(view)).subscription.status is SubscriptionStatus.ACTIVE


async def test_a_holiday_moves_a_day_with_its_reminders_and_not_the_rhythm(club: Club) -> None:
    """清明 and 五一: the fifth is a day off in April and in May, and none in June."""
    await club.plan(on_holiday="before")
    view = await club.subscriber(first_on=date(2026, 4, 5))
    days = []
    for due_on in (date(2026, 4, 3), date(2026, 4, 30), date(2026, 6, 5)):
        assert (await club.look(view)).subscription.due_on == due_on
        for days_before in (8, 7, 3, 0):
            await club.day(due_on - timedelta(days=days_before))
        days += [(one.due_on - one.remind_on).days for one in await club.reminders(view) if one.due_on == due_on]
        await club.pay(view)
    assert days == [7, 3, 0] * 3


# The shop changes its mind


async def test_a_new_price_is_for_those_who_are_not_locked_and_not_before_the_next_delivery(club: Club) -> None:
    await club.plan("锁价")
    await club.plan("随价", locks_price=False)
    locked, floating = await club.subscriber("锁价", first_on=FAR), await club.subscriber("随价", first_on=FAR)
    await club.day(FAR - timedelta(days=7))
    for key, locks in (("锁价", True), ("随价", False)):
        changed = await club.plan(key, price_fen=11_900, locks_price=locks)
        assert changed.terms.version == 2
    await club.plan("锁价", price_fen=11_900)
    await club.day(FAR)
    assert [(await club.cycles(one))[0].price_fen for one in (locked, floating)] == [9900, 9900], "as announced"
    for one in (locked, floating):
        await club.pay(one)
    await club.day(date(2026, 5, 3))
    await club.day(date(2026, 5, 10))
    assert [(await club.cycles(one))[1].price_fen for one in (locked, floating)] == [9900, 11_900]
    told = [due for _, due in club.ways.said if due.was_fen is not None]
    assert {(due.was_fen, due.price_fen) for due in told} == {(9900, 11_900)}
    async with club.sessions.read() as session:
        assert len(await subscription_plans.history(session, changed.plan.id)) == 2


async def test_a_plan_that_is_closed_takes_nobody_and_keeps_who_has_it(club: Club, sessions: Sessions) -> None:
    await club.plan()
    view = await club.subscriber(first_on=FAR)
    async with sessions.begin() as session:
        await subscription_plans.close(session, "粮", now=club.clock.now())
    with pytest.raises(PlanClosed):
        await club.subscriber()
    await club.day(FAR)
    assert (await club.cycles(view))[0].status is S.ORDERED
    async with sessions.begin() as session:
        ended = await subscriptions.end_plan(session, "粮", now=club.clock.now())
    assert [one.subscription.ended_because for one in ended] == ["plan"]
    assert await books(sessions) == [(9900, OrderStatus.CANCELLED)]
    async with sessions.begin() as session:
        assert await subscriptions.end_plan(session, "粮", now=club.clock.now()) == []
    await club.day(date(2026, 6, 10))
    assert len(await club.cycles(view)) == 1


async def test_the_rhythm_of_a_plan_that_somebody_has_stays(club: Club) -> None:
    await club.plan()
    await club.plan(every=2)
    await club.subscriber()
    with pytest.raises(PlanFixed) as fixed:
        await club.plan(unit="days", every=10)
    assert fixed.value.subscribers == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"items": []},
        {"gift_every": 1},
        {"every": 0},
        {"every": 25},
        {"price_fen": -1},
        {"key": "a b"},
        {"unit": "weeks"},
    ],
)
async def test_a_plan_that_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    good = {"key": "粮", "title": "粮", "items": [{"sku": "F1", "name": "粮", "price_fen": 100}]}
    assert PlanDraft.model_validate(good).fen == 100
    with pytest.raises(ValueError):
        PlanDraft.model_validate(good | wrong)


# People


async def test_a_merge_brings_subscriptions_along_and_its_undoing_gives_them_back(
    club: Club, sessions: Sessions
) -> None:
    await club.plan()
    one, other = await club.make.member(), await club.make.member()
    mine, theirs = await club.subscriber(member=one, first_on=FAR), await club.subscriber(member=other, first_on=FAR)
    now = club.clock.now()
    async with sessions.begin() as session:
        kept = await merges.merge(session, one.id, other.id, because="unionid", now=now)
        await subscriptions.follow_people(session, one.id, other.id)
        assert len(await subscriptions.of_member(session, kept)) == 2
    await club.day(FAR, hours=(18,))
    assert [(await club.cycles(view))[0].status for view in (mine, theirs)] == [S.ORDERED, S.ORDERED]
    with pytest.raises(AlreadySubscribed):
        await club.subscriber(member=one)


async def test_a_merge_between_the_look_and_the_order_does_not_lose_it(club: Club, sessions: Sessions) -> None:
    await club.plan()
    one, other = await club.make.member(), await club.make.member()
    view = await club.subscriber(member=other, first_on=FAR)
    await club.day(FAR - timedelta(days=7))
    async with sessions.begin() as session:  # the reaction comes later
        kept = await merges.merge(session, one.id, other.id, because="unionid", now=club.clock.now())
    await club.day(FAR, hours=(18,))
    async with sessions.read() as session:
        assert (await session.scalars(sa.select(Order.member_id))).all() == [kept]
    assert (await club.cycles(view))[0].status is S.ORDERED


# Ways


async def test_the_way_of_each_reminder(club: Club, sessions: Sessions) -> None:
    """The chat where it is open, else a mass send, else a colleague, else the list says that nobody was there."""
    await club.plan()
    talker, friend, stranger = await club.make.member(), await contact(club), await club.make.member()
    views = [await club.subscriber(member=one, first_on=FAR) for one in (talker, friend, stranger)]
    club.ways.open_to, club.ways.colleagues = {talker.id}, False
    await club.day(FAR - timedelta(days=7))
    await club.deliver()
    found = [(await club.reminders(view))[0] for view in views]
    assert [(one.status, one.way) for one in found] == [
        (ReminderStatus.SENT, Way.KF), (ReminderStatus.QUEUED, Way.BROADCAST), (ReminderStatus.FAILED, None),
    ]  # fmt: skip
    assert found[2].trail == [{"way": "todo", "why": "nobody"}]
    async with sessions.read() as session:
        [run] = await session.scalars(sa.select(Run))
        assert (await session.scalars(sa.select(Delivery.member_id))).all() == [friend.id]
        assert len((await session.scalars(sa.select(Batch))).all()) == 1
    assert run.definition["messages"][0]["text"] == "您订阅的猫粮月套餐04-10发货"
    assert found[1].run_id == run.id


async def contact(club: Club) -> object:
    from crm.models.member import Member

    made = await club.make.contact()
    async with club.sessions.read() as session:
        return await session.get_one(Member, made.member_id)


@pytest.mark.parametrize("end", ["held", "failed", "skipped"])
async def test_what_the_gate_or_the_staff_leave_becomes_a_to_do(club: Club, sessions: Sessions, end: str) -> None:
    await club.plan()
    view = await club.subscriber(member=await contact(club), first_on=FAR)  # type: ignore[arg-type]
    await club.day(FAR - timedelta(days=7))
    async with sessions.begin() as session:
        await session.execute(sa.update(Delivery).values(status=end, reason="not_confirmed"))
    await club.deliver()
    [one] = await club.reminders(view)
    assert (one.status, one.way) == (ReminderStatus.QUEUED, Way.TODO)
    assert one.trail == [{"way": "broadcast", "why": "not_confirmed"}]
    await club.deliver()
    assert by_status(await club.reminders(view), ReminderStatus.SENT) == [("d7", FAR - timedelta(days=7))]


async def test_who_answers_before_it_leaves_is_not_reminded(club: Club, sessions: Sessions) -> None:
    await club.plan()
    view = await club.subscriber(first_on=FAR)
    await club.day(FAR - timedelta(days=7), hours=(9,))
    async with sessions.begin() as session:
        await subscriptions.confirm(
            session, view.subscription.no, member_id=view.subscription.member_id, now=club.clock.now()
        )
    await club.day(FAR - timedelta(days=7), hours=(10,))
    assert await club.reminders(view) == []


async def test_a_week_without_the_service_is_made_up_for_with_one_reminder(club: Club) -> None:
    await club.plan()
    view = await club.subscriber(first_on=FAR)
    await club.day(FAR - timedelta(days=2))
    assert [(one.step, one.remind_on) for one in await club.reminders(view)] == [("d3", FAR - timedelta(days=2))]


async def test_the_count_towards_the_gift_is_what_the_deliveries_say(club: Club, sessions: Sessions) -> None:
    await club.plan(unit="days", every=7)
    view = await club.subscriber()
    for week in range(10):
        view = await club.look(view)
        await club.day(view.subscription.due_on)
        newest = (await club.cycles(view))[-1]
        if newest.status is S.ORDERED:
            await club.pay(view)
        if week == 4:
            await club.day((await club.look(view)).subscription.due_on - timedelta(days=3))
            await club.do(subscriptions.skip, view)
        async with sessions.read() as session:
            row = await session.get_one(Subscription, view.subscription.id)
            assert row.bought == await counted(session, row)
    assert [one.is_gift for one in await club.cycles(view) if one.status is S.PAID].count(True) == 2


async def test_nobody_is_reminded_at_night_and_no_colleague_asked(club: Club, sessions: Sessions) -> None:
    await club.plan()
    view = await club.subscriber(member=await contact(club), first_on=FAR)  # type: ignore[arg-type]
    night = FAR - timedelta(days=7)
    await club.day(night - timedelta(days=1), hours=(23,))
    await club.day(night, hours=(4, 9))
    assert await club.reminders(view) == []
    await club.day(night, hours=(10,))
    async with sessions.begin() as session:
        await session.execute(sa.update(Delivery).values(status="failed", reason="not_confirmed"))
    club.clock.advance(hours=12)
    await club.deliver()
    assert (await club.reminders(view))[0].status is ReminderStatus.QUEUED, "at ten in the evening it can wait"
    club.clock.advance(hours=13)
    await club.deliver()
    [one] = await club.reminders(view)
    assert (one.status, club.ways.said) == (ReminderStatus.FAILED, []), (
        "the day it spoke of as seven days ahead is over"
    )


async def test_an_erasure_takes_subscriptions_their_address_and_what_waits(club: Club, sessions: Sessions) -> None:
    await club.plan()
    view = await club.subscriber(first_on=FAR)
    await club.day(FAR - timedelta(days=7))
    receipt = await everything.erase(
        sessions, view.subscription.member_id, by="wang", reason=Reason.ASKED, now=club.clock.now()
    )
    assert {"订阅", "订阅的每一期", "订阅的提醒"} <= {line["title"] for line in receipt.lines}
    await club.day(FAR)
    assert await books(sessions) == []
    async with sessions.read() as session:
        assert (await session.scalars(sa.select(Subscription))).all() == []
