"""Replenishment: the habit and how sure it is, a word before it runs out, and when it stops."""

from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns import brakes, replenishment
from campaigns.guard_rules import Gate
from campaigns.models.campaign import Delivery, Run
from campaigns.models.replenishment import Replenishment, Subject
from campaigns.models.subscription import Mode
from campaigns.replenishment_rules import habits, remind_on
from crm import merges, orders
from crm.base.clock import FrozenClock, day_start
from crm.base.db import Sessions
from crm.models.member import Member
from crm.order_terms import Line, Told
from tests.campaigns.subscribers import Club, club
from tests.factories import Make

__all__ = ["club"]
GATE = Gate(caps=())
EVERYBODY = 10**9


def test_the_median_and_how_often_it_held() -> None:
    days = np.array([0, 30, 60, 90, 0, 10, 50, 0, 7])
    found = habits(np.array([0, 0, 0, 0, 1, 1, 1, 2, 2]), days, 4)
    assert found.purchases.tolist() == [4, 3, 2, 0]
    assert found.median_days[:3].tolist() == [30, 25, 7]
    assert found.confidence_bp.tolist() == [8000, 2500, 6666, 0]
    assert found.last.tolist() == [90, 50, 7, 0]
    assert found.believed.tolist() == [True, False, False, False]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 400), max_size=8), max_size=6))
def test_it_is_what_one_would_count_by_hand(bought: list[list[int]]) -> None:
    groups = np.array([place for place, days in enumerate(bought) for _ in days], dtype=np.int64)
    found = habits(groups, np.array([day for days in bought for day in days], dtype=np.int64), len(bought))
    for place, days in enumerate(bought):
        different = sorted(set(days))
        gaps = [later - day for day, later in pairwise(different)]
        assert found.purchases[place] == len(different)
        if gaps:
            median = float(np.median(gaps))
            hits = sum(abs(gap - median) <= median / 4 for gap in gaps)
            assert found.median_days[place] == median
            assert found.confidence_bp[place] == 10_000 * (hits + 1) // (len(gaps) + 2)


@pytest.mark.parametrize(("median", "ahead"), [(1, 0), (2, 1), (7, 2), (30, 4), (60, 7), (180, 7)])
def test_a_word_comes_some_days_before(median: int, ahead: int) -> None:
    last = date(2026, 3, 1)
    assert remind_on(last, median) == last + timedelta(days=median - ahead)


class Till:
    """Orders of one member, paid, and the habits that follow."""

    def __init__(self, sessions: Sessions, make: Make, clock: FrozenClock) -> None:
        self.sessions, self.make, self.clock, self.number = sessions, make, clock, 0

    async def buys(
        self, member: Member, *days_ago: int, sku: str = "F1", category: str = "猫粮", fen: int = 9900
    ) -> None:
        for ago in days_ago:
            self.number += 1
            at = self.clock.now() - timedelta(days=ago)
            told = Told(
                source="shop", external_no=f"N{self.number}", member_id=member.id, placed_at=at, total_fen=fen,
                lines=[Line(sku=sku, name="全价猫粮", category=category, price_fen=fen)], paid_at=at,
            )  # fmt: skip
            async with self.sessions.begin() as session:
                order = await orders.place(session, told, now=self.clock.now())
                await replenishment.follow_order(session, order.id, now=self.clock.now())

    async def count(self) -> int:
        async with self.sessions.begin() as session:
            return await replenishment.refresh(session, 0, EVERYBODY, now=self.clock.now())

    async def remind(self) -> int:
        async with self.sessions.begin() as session:
            return await replenishment.remind(session, gate=GATE, now=self.clock.now())

    async def rows(self) -> dict[tuple[Subject, str], Replenishment]:
        async with self.sessions.read() as session:
            return {(one.subject, one.key): one for one in await session.scalars(sa.select(Replenishment))}

    async def sent_to(self) -> list[tuple[str, int]]:
        rows = sa.select(Run.definition, Delivery.member_id).join(Run, Run.id == Delivery.run_id).order_by(Run.id)
        async with self.sessions.read() as session:
            return [(row[0]["messages"][0]["text"][:7], row[1]) for row in await session.execute(rows)]

    async def day(self, on: date) -> None:
        self.clock.advance(day_start(on) + timedelta(hours=11) - self.clock.now())
        await self.count()
        await self.remind()
        assert await self.remind() == 0, "a second look finds nothing"


@pytest.fixture
def till(sessions: Sessions, make: Make, clock: FrozenClock) -> Till:
    return Till(sessions, make, clock)


async def test_who_buys_every_month_is_told_before_it_runs_out_and_not_after_they_bought(till: Till) -> None:
    member = await till.make.member()
    await till.buys(member, 90, 60, 30)
    await till.buys(await till.make.member(), 50)
    assert await till.count() == 2, "the article and its category"
    row = (await till.rows())[Subject.SKU, "F1"]
    assert (row.median_days, row.purchases, row.confidence_bp) == (30, 3, 7500)
    today = row.last_on + timedelta(days=30)
    assert (row.runs_out_on, row.remind_on) == (today, today - timedelta(days=4))
    await till.remind()
    assert await till.sent_to() == [("您常买的猫粮差", member.id)], "one word for the article and its category"
    await till.buys(member, 0)
    rows = await till.rows()
    assert {one.reminders for one in rows.values()} == {0}
    assert {one.remind_on for one in rows.values()} == {today + timedelta(days=26)}
    await till.day(today + timedelta(days=25))
    assert len(await till.sent_to()) == 1
    await till.day(today + timedelta(days=26))
    assert len(await till.sent_to()) == 2


async def test_two_that_were_not_followed_are_the_last(till: Till) -> None:
    member = await till.make.member()
    await till.buys(member, 90, 60, 30)
    first = date(2026, 3, 9)
    for days in range(0, 70, 5):
        await till.day(first + timedelta(days=days + 1))
    assert len(await till.sent_to()) == 2
    assert {one.stopped_because for one in (await till.rows()).values()} == {"ignored"}
    await till.buys(member, 0)
    assert {(one.stopped_because, one.reminders) for one in (await till.rows()).values()} == {("", 0)}


async def test_a_complaint_or_a_no_ends_it(till: Till, sessions: Sessions, clock: FrozenClock) -> None:
    member = await till.make.member()
    await till.buys(member, 90, 60, 30)
    await till.count()
    async with sessions.begin() as session:
        await brakes.hold_member(session, member.id, reason=brakes.COMPLAINT, ref="T1", now=clock.now())
    await till.remind()
    assert await till.sent_to() == []
    assert {one.stopped_because for one in (await till.rows()).values()} == {"gate.complaint"}
    await till.count()
    assert {one.remind_on for one in (await till.rows()).values()} == {None}, "counting anew does not begin it again"


async def test_what_comes_by_itself_needs_no_reminder(till: Till, club: Club) -> None:
    await club.plan()
    member = await till.make.member()
    await till.buys(member, 90, 60, 30)
    await club.subscriber(member=member, first_on=date(2026, 4, 10), mode=Mode.ASKS)
    await till.count()
    await till.remind()
    assert {one.stopped_because for one in (await till.rows()).values()} == {"subscribed"}


async def test_a_habit_that_is_none_is_not_believed(till: Till) -> None:
    odd, returned, free = [await till.make.member() for _ in range(3)]
    await till.buys(odd, 200, 190, 100, 95, 30)
    await till.buys(returned, 90, 60)
    await till.buys(free, 90, 60, 30, fen=0)
    await till.buys(returned, 30)
    async with till.sessions.begin() as session:
        now = till.clock.now()
        await orders.refund(
            session, "shop", "R1", amount_fen=9900, refunded_at=now, order_no=f"N{till.number}", now=now
        )
    assert await till.count() == 0


async def test_a_habit_that_ends_goes_and_a_merge_counts_both(till: Till, sessions: Sessions) -> None:
    one, other = await till.make.member(), await till.make.member()
    await till.buys(one, 90, 60)
    await till.buys(other, 30)
    assert await till.count() == 0
    async with sessions.begin() as session:
        await merges.merge(session, one.id, other.id, because="unionid", now=till.clock.now())
        await replenishment.follow_people(session, one.id, other.id, now=till.clock.now())
    assert len(await till.rows()) == 2
    till.clock.advance(timedelta(days=800))
    assert await till.count() == 0
    assert await till.rows() == {}
