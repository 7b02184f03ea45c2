"""Stages follow from purchases and today, move with their reasons, and dates of members come once a year."""

import asyncio
from datetime import date, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.reactions import join_standings
from crm import lifecycle, member_dates, merges, orders
from crm.base import events
from crm.base.clock import FrozenClock, local_day
from crm.base.db import Sessions
from crm.lifecycle import StageMoved
from crm.lifecycle_rules import Limits, Purchase, judge
from crm.member_dates import MemberDateCame, NoSuchDay, next_coming
from crm.merges import MembersMerged
from crm.models.lifecycle import DateKind, MemberDate, MemberStage, MoveReason, Stage, StageMove
from crm.models.member import Member
from tests.factories import Make

TODAY = date(2026, 3, 9)


def ago(*days: int) -> list[Purchase]:
    """Purchases so many days before today, oldest first."""
    return [Purchase(TODAY - timedelta(days=each)) for each in days]


@pytest.mark.parametrize(
    ("purchases", "stage", "check_in"),
    [
        pytest.param(ago(), Stage.LEAD, None, id="joined, no order"),
        pytest.param(ago(0), Stage.NEW, 31, id="first order today"),
        pytest.param(ago(30), Stage.NEW, 1, id="first order thirty days ago"),
        pytest.param(ago(31), Stage.ACTIVE, 30, id="thirty-one days ago"),
        pytest.param(ago(60), Stage.ACTIVE, 1, id="sixty days of silence"),
        pytest.param(ago(61), Stage.AT_RISK, 60, id="sixty-one, without a rhythm"),
        pytest.param(ago(120), Stage.AT_RISK, 1, id="a hundred and twenty"),
        pytest.param(ago(121), Stage.LAPSED, None, id="a hundred and twenty-one"),
        pytest.param(ago(90, 61), Stage.AT_RISK, 60, id="two purchases are no rhythm"),
        pytest.param(ago(50, 30, 10), Stage.ACTIVE, 21, id="on a rhythm of twenty days"),
        pytest.param(ago(70, 50, 30), Stage.ACTIVE, 1, id="one and a half times the rhythm"),
        pytest.param(ago(71, 51, 31), Stage.AT_RISK, 30, id="a day beyond it"),
        pytest.param(ago(100, 80, 60), Stage.AT_RISK, 1, id="three times the rhythm"),
        pytest.param(ago(101, 81, 61), Stage.LAPSED, None, id="a day beyond three times"),
        pytest.param(ago(400, 300, 200, 100), Stage.ACTIVE, 51, id="a slow rhythm is patient"),
        pytest.param(ago(80, 60, 40, 20), Stage.LOYAL, 11, id="four orders on rhythm"),
        pytest.param(ago(91, 71, 51, 31), Stage.AT_RISK, 30, id="four orders, off rhythm"),
        pytest.param(ago(200, 20), Stage.WON_BACK, 11, id="ordered after they were lost"),
        pytest.param(ago(211, 31), Stage.ACTIVE, 30, id="won back a month ago"),
        pytest.param(ago(140, 20), Stage.ACTIVE, 41, id="at risk is not lost"),
        pytest.param(ago(12, 11, 10), Stage.NEW, 19, id="new outweighs a rhythm of days"),
    ],
)
def test_where_purchases_put_a_member(purchases: list[Purchase], stage: Stage, check_in: int | None) -> None:
    verdict = judge(purchases, TODAY)
    assert verdict.stage is stage
    assert verdict.check_on == (None if check_in is None else TODAY + timedelta(days=check_in))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 500), st.integers(1, 3)), max_size=12, unique_by=lambda one: one[0]))
def test_silence_changes_nothing_before_the_day_it_is_looked_at(told: list[tuple[int, int]]) -> None:
    purchases = sorted((Purchase(TODAY - timedelta(days=day), count) for day, count in told), key=lambda one: one.day)
    verdict = judge(purchases, TODAY)
    last = verdict.check_on or TODAY + timedelta(days=1600)
    for later in range(1, (last - TODAY).days):
        assert judge(purchases, TODAY + timedelta(days=later)).stage is verdict.stage


def test_several_orders_of_a_day_are_one_purchase_and_count_for_loyalty() -> None:
    bought = [Purchase(TODAY - timedelta(days=40), 3), Purchase(TODAY - timedelta(days=20))]
    verdict = judge(bought, TODAY)
    assert (verdict.stage, verdict.rhythm_days) == (Stage.LOYAL, None)
    assert judge(bought, TODAY, Limits(loyal_orders=5)).stage is Stage.ACTIVE


async def moves(sessions: Sessions, member: Member) -> list[StageMove]:
    async with sessions.read() as session:
        return list(reversed(await lifecycle.moves_of(session, member.id)))


async def night(sessions: Sessions, clock: FrozenClock) -> None:
    async with sessions.begin() as session:
        assert await lifecycle.begin(session, now=clock.now()) <= 1
        while await lifecycle.review(session, now=clock.now()):
            pass


async def test_a_members_life_in_dated_moves_with_reasons(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member = await make.member()
    await night(sessions, clock)
    await make.order(member)
    for days in (30, 1, 29, 1, 59, 1, 179):
        clock.advance(days=days)
        await night(sessions, clock)
    await make.order(member)
    for _ in range(3):
        clock.advance(days=10)
        await make.order(member)
    clock.advance(days=1)
    await night(sessions, clock)
    lived = [(move.to_stage, (move.moved_at.date() - TODAY).days) for move in await moves(sessions, member)]
    assert lived == [
        (Stage.LEAD, 0),
        (Stage.NEW, 0),
        (Stage.ACTIVE, 31),
        (Stage.AT_RISK, 61),
        (Stage.LAPSED, 121),
        (Stage.WON_BACK, 300),
        (Stage.LOYAL, 331),
    ]
    words = [lifecycle.in_words(move) for move in await moves(sessions, member)]
    assert words[3] == "已 61 天没有下单，超过 60 天（下单不满三次）"
    assert words[6] == "一年内 5 单，节奏正常（平时每 10 天买一次）"
    async with sessions.begin() as session:
        told = [one.load(StageMoved) for one in await events.take(session, "test") if one.name == "StageMoved"]
    assert [(one.from_stage, one.to_stage) for one in told][-1] == (Stage.WON_BACK, Stage.LOYAL)
    assert told[-1].moved_on == TODAY + timedelta(days=331)


async def test_a_full_refund_takes_the_stage_back(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member = await make.member()
    order = await make.order(member, total_fen=500)
    async with sessions.begin() as session:
        await orders.refund(
            session, "test", "R1", amount_fen=500, refunded_at=clock.now(), order_no=order.external_no, now=clock.now()
        )
    lived = await moves(sessions, member)
    assert [move.to_stage for move in lived] == [Stage.NEW, Stage.LEAD]
    assert lived[-1].reason is MoveReason.REFUNDED


async def test_a_night_run_twice_moves_nobody_twice(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member = await make.member()
    await make.order(member, days_ago=61)
    await night(sessions, clock)
    await night(sessions, clock)
    assert [move.to_stage for move in await moves(sessions, member)] == [Stage.AT_RISK]


async def test_an_import_is_judged_at_the_next_review(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member = await make.member()
    await make.order(member, days_ago=130)
    async with sessions.begin() as session:
        await lifecycle.mark(session, [member.id], now=clock.now())
    await night(sessions, clock)
    assert [move.to_stage for move in await moves(sessions, member)] == [Stage.LAPSED]


async def test_a_newcomer_met_by_several_at_once_begins_once(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member = await make.member()

    async def meet() -> None:
        async with sessions.begin() as session:
            await lifecycle.judge_members(session, [member.id], now=clock.now())

    await asyncio.gather(*(meet() for _ in range(8)))
    assert [move.to_stage for move in await moves(sessions, member)] == [Stage.LEAD]


async def test_the_race_is_real_without_the_first_row(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    """Look, wait until everybody looked, write: each believes to be the first."""
    if sessions.dialect == "sqlite":
        return  # one writer: nobody else is there
    member = await make.member()
    looked = asyncio.Barrier(3)

    async def meet() -> None:
        async with sessions.begin() as session:
            known = await session.get(MemberStage, member.id)
            await looked.wait()
            if known is None:
                session.add(
                    StageMove(
                        member_id=member.id,
                        from_stage=None,
                        to_stage=Stage.LEAD,
                        reason=MoveReason.JOINED,
                        facts={},
                        moved_at=clock.now(),
                    )
                )

    await asyncio.gather(*(meet() for _ in range(3)))
    assert len(await moves(sessions, member)) == 3


async def test_a_merge_joins_stages_moves_and_days(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    one, other = await make.member(), await make.member()
    for member, days_ago in ((one, 50), (one, 30), (other, 10)):
        await make.order(member, days_ago=days_ago)
    async with sessions.begin() as session:
        for member, day in ((one, 5), (other, 6)):
            await member_dates.remember(session, member.id, DateKind.BIRTHDAY, month=5, day=day, now=clock.now())
        await member_dates.remember(
            session, other.id, DateKind.PET_BIRTHDAY, whose="团子", month=2, day=29, now=clock.now()
        )
        kept = await merges.merge(session, one.id, other.id, because="manual", now=clock.now())
        merged = MembersMerged(kept_id=kept, absorbed_id=other.id, because="manual")
        for _ in range(2):  # events are read at least once
            await join_standings(session, merged, now=clock.now())
    async with sessions.read() as session:
        [stage] = list(await session.scalars(sa.select(MemberStage)))
        days = await member_dates.of(session, kept)
        assert await lifecycle.moves_of(session, other.id) == []
    assert (stage.member_id, stage.stage, stage.rhythm_days) == (kept, Stage.ACTIVE, 20.0)
    assert {(one.kind, one.whose, one.day) for one in days} == {
        (DateKind.BIRTHDAY, "", 5),
        (DateKind.PET_BIRTHDAY, "团子", 29),
    }


async def came(sessions: Sessions, clock: FrozenClock) -> list[MemberDateCame]:
    async with sessions.begin() as session:
        while await member_dates.come(session, now=clock.now()):
            pass
    async with sessions.begin() as session:
        return [one.load(MemberDateCame) for one in await events.take(session, "test") if one.name == "MemberDateCame"]


async def test_a_pets_birthday_comes_once_a_year_and_says_the_age(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member = await make.member()
    async with sessions.begin() as session:
        await member_dates.remember(
            session, member.id, DateKind.PET_BIRTHDAY, whose="团子", month=3, day=11, year=2023, now=clock.now()
        )
    found = []
    for _ in range(72):
        clock.advance(days=10)
        found += await came(sessions, clock)
        found += await came(sessions, clock)
    assert [(one.came_on, one.age) for one in found] == [(date(2026, 3, 11), 3), (date(2027, 3, 11), 4)]


async def test_a_day_told_again_does_not_come_again_and_one_slept_through_comes_late(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member = await make.member()

    async def tell(day: int) -> None:
        async with sessions.begin() as session:
            await member_dates.remember(session, member.id, DateKind.BIRTHDAY, month=3, day=day, now=clock.now())

    await tell(9)
    assert [one.came_on for one in await came(sessions, clock)] == [TODAY]
    async with sessions.read() as session:
        assert [one.next_on for one in await member_dates.of(session, member.id)] == [TODAY]  # all day
    await tell(9)
    assert await came(sessions, clock) == []
    await tell(10)  # corrected
    clock.advance(days=3)
    assert [one.came_on for one in await came(sessions, clock)] == [date(2026, 3, 10)]
    async with sessions.begin() as session:
        with pytest.raises(NoSuchDay):
            await member_dates.remember(session, member.id, DateKind.BIRTHDAY, month=2, day=30, now=clock.now())
        await member_dates.forget(session, member.id, DateKind.BIRTHDAY)
        assert (await session.scalars(sa.select(MemberDate))).all() == []


def test_the_29th_of_february_comes_every_year() -> None:
    assert next_coming(2, 29, date(2026, 2, 28)) == date(2026, 2, 28)
    assert next_coming(2, 29, date(2027, 3, 1)) == date(2028, 2, 29)
    assert next_coming(2, 29, date(2028, 2, 28)) == date(2028, 2, 29)
    assert next_coming(1, 1, date(2026, 12, 31)) == date(2027, 1, 1)


def test_the_clock_of_these_tests_is_where_they_think(clock: FrozenClock) -> None:
    assert local_day(clock.now()) == TODAY
