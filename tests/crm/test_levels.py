"""Levels: up at once, down only after a period and its grace; each move dated, with its reason."""

from datetime import date, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.reactions import join_standings, part_standings
from crm import (
    level_changes,
    level_programme,
    level_standing,
    levels,
    loyalty_rules,
    member_tags,
    merges,
    orders,
    rule_tags,
)
from crm.base import events
from crm.base.clock import FrozenClock, local_day
from crm.base.db import Sessions
from crm.level_changes import LevelNotFound
from crm.level_programme import LevelTold, ProgrammeTold
from crm.level_rules import Held, LevelRules, Step, judge
from crm.loyalty_rules import RulesWrong
from crm.merges import MembersMerged, MergeUndone
from crm.models.loyalty import Level, LevelMove, LevelReason, MemberLevel
from crm.models.member import Member
from crm.points import ReasonMissing
from tests.factories import Make

PLAIN, SILVER, GOLD, BLACK = LADDER = (Step(1, 1, 0), Step(2, 2, 500), Step(3, 3, 2000), Step(4, 4, 5000))
TODAY, RULES = date(2026, 3, 9), LevelRules()
TOLD = ProgrammeTold(
    levels=[
        LevelTold(name="普通", threshold_fen=0),
        LevelTold(name="银卡", threshold_fen=50_000),
        LevelTold(name="金卡", threshold_fen=200_000, benefits={"points_bp": 15_000, "early_minutes": 5}),
        LevelTold(name="黑卡", threshold_fen=500_000),
    ]
)


def day(number: int) -> date:
    return TODAY + timedelta(days=number)


GOLD_HELD = Held(3, TODAY, day(365), None, 1)


@pytest.mark.parametrize(
    ("held", "growth", "today", "ends"),
    [
        pytest.param(None, 2500, 0, (3, LevelReason.JOINED, 365), id="who comes with a history begins where it leads"),
        pytest.param(Held(1, TODAY), 499, 9, (1, None, None), id="short by a fen"),
        pytest.param(Held(1, TODAY), 500, 9, (2, LevelReason.REACHED, 374), id="reached to the fen"),
        pytest.param(Held(1, TODAY), 9999, 9, (4, LevelReason.REACHED, 374), id="several at once"),
        pytest.param(GOLD_HELD, 0, 364, (3, None, 365), id="nothing is lost before the period ends"),
        pytest.param(GOLD_HELD, 2000, 365, (3, None, 730), id="renewed from its end"),
        pytest.param(GOLD_HELD, 2000, 900, (3, None, 1265), id="nobody looked for years"),
        pytest.param(GOLD_HELD, 1999, 365, (3, None, 365), id="a grace begins"),
        pytest.param(Held(3, TODAY, day(365), day(395)), 1999, 394, (3, None, 365), id="still in grace"),
        pytest.param(Held(3, TODAY, day(365), day(395)), 2000, 394, (3, None, 759), id="made good in the grace"),
        pytest.param(Held(3, TODAY, day(365), day(395)), 5000, 394, (4, LevelReason.REACHED, 759), id="and more"),
        pytest.param(Held(3, TODAY, day(365), day(395)), 0, 395, (2, LevelReason.FELL, 760), id="one level down"),
        pytest.param(Held(2, TODAY, day(365), day(395)), 0, 395, (1, LevelReason.FELL, None), id="to the lowest"),
        pytest.param(GOLD_HELD, 0, 500, (2, LevelReason.FELL, 865), id="period and grace slept through"),
        pytest.param(Held(99, TODAY, day(365)), 700, 9, (2, LevelReason.REDEFINED, 374), id="a level that is gone"),
    ],
)
def test_where_a_member_stands(
    held: Held | None, growth: int, today: int, ends: tuple[int, LevelReason | None, int | None]
) -> None:
    found = judge(held, growth, LADDER, day(today), RULES)
    level_id, reason, until = ends
    assert (found.held.level_id, found.reason) == (level_id, reason)
    assert found.held.until_on == (None if until is None else day(until))


def test_a_grace_is_told_when_it_begins_and_once() -> None:
    first = judge(GOLD_HELD, 0, LADDER, day(365), RULES)
    assert (first.in_grace, first.check_on) == (True, day(395))
    assert not judge(first.held, 0, LADDER, day(370), RULES).in_grace


@pytest.mark.parametrize(
    ("since", "growth", "level_id"),
    [(-14, 0, 1), (-14, 700, 2), (-15, 0, 3)],
    ids=["a fresh rise is undone", "as far as it was paid for", "after the refund window it stays"],
)
def test_a_refund_undoes_the_rise_it_had_paid_for(since: int, growth: int, level_id: int) -> None:
    held = Held(3, day(since), day(since + 365), None, 1)
    found = judge(held, growth, LADDER, TODAY, RULES, shrunk=LevelReason.REFUNDED)
    assert found.held.level_id == level_id
    assert found.reason is (None if level_id == 3 else LevelReason.REFUNDED)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(1, 90), st.integers(0, 6000)), min_size=1, max_size=40))
def test_no_story_loses_a_level_early_or_leaves_a_day_unwatched(steps: list[tuple[int, int]]) -> None:
    held, today = None, TODAY
    for days, growth in steps:
        before = held
        verdict = judge(held, growth, LADDER, today, RULES)
        held = verdict.held
        level = next(step for step in LADDER if step.id == held.level_id)
        assert growth < 500 or level.rank >= max(step.rank for step in LADDER if step.threshold_fen <= growth)
        if before is not None and verdict.reason is LevelReason.FELL:
            assert before.until_on is not None
            assert today >= before.until_on + timedelta(days=RULES.grace_days)
            assert (before.level_id or 0) - level.id == 1
        assert (held.until_on is None) == (level is PLAIN)
        assert verdict.check_on is None or verdict.check_on > today
        assert judge(held, growth, LADDER, today, RULES) == type(verdict)(held)
        today += timedelta(days=days)


# In the database


async def define(sessions: Sessions, clock: FrozenClock, told: ProgrammeTold = TOLD) -> dict[str, int]:
    async with sessions.begin() as session:
        await level_programme.define(session, told, by="dianzhang", now=clock.now())
        return {level.name: level.id for level in await levels.ladder(session)}


async def review(sessions: Sessions, clock: FrozenClock) -> None:
    async with sessions.begin() as session:
        while await levels.review(session, now=clock.now()):
            pass


async def level(sessions: Sessions, member: Member) -> str | None:
    async with sessions.read() as session:
        return await levels.name_of(session, member.id)


async def history(sessions: Sessions, member: Member) -> list[tuple[str, LevelReason]]:
    async with sessions.read() as session:
        names = {one.id: one.name for one in await session.scalars(sa.select(Level))}
        moves = await levels.moves_of(session, member.id)
    return [(names[move.to_level_id], move.reason) for move in reversed(moves)]


async def test_a_year_of_a_member(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    await define(sessions, clock)
    member = await make.member()
    await make.order(member, total_fen=49_900)
    assert await level(sessions, member) == "普通"
    await make.order(member, total_fen=150_100)
    assert await level(sessions, member) == "金卡"
    for _ in range(13):
        clock.advance(days=30)
        await review(sessions, clock)
    assert await level(sessions, member) == "金卡", "the grace has begun"
    async with sessions.begin() as session:
        [grace] = [one.body for one in await events.take(session, "test", limit=500) if one.name == "LevelGraceBegan"]
    assert (grace["growth_fen"], grace["threshold_fen"]) == (0, 200_000)
    clock.advance(days=10)
    await review(sessions, clock)
    assert await level(sessions, member) == "银卡"
    await make.order(member, total_fen=700_000)
    assert await history(sessions, member) == [
        ("普通", LevelReason.JOINED),
        ("金卡", LevelReason.REACHED),
        ("银卡", LevelReason.FELL),
        ("黑卡", LevelReason.REACHED),
    ]


async def test_a_refund_lowers_growth_and_undoes_a_fresh_rise(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    await define(sessions, clock)
    member = await make.member()
    await make.order(member, total_fen=60_000)
    order = await make.order(member, total_fen=200_000)
    assert await level(sessions, member) == "金卡"
    async with sessions.begin() as session:
        await orders.refund(
            session, "test", "R1", order_no=order.external_no, amount_fen=200_000, refunded_at=clock.now(),
            now=clock.now(),
        )  # fmt: skip
    assert await level(sessions, member) == "银卡"
    assert (await history(sessions, member))[-1] == ("银卡", LevelReason.REFUNDED)


async def test_growth_is_counted_over_the_window(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    await define(sessions, clock)
    member = await make.member()
    for days_ago, fen in ((364, 1000), (365, 2000), (0, 4000)):
        await make.order(member, total_fen=fen, days_ago=days_ago)
    async with sessions.begin() as session:
        await orders.refund(
            session, "test", "R1", member_id=member.id, amount_fen=300, refunded_at=clock.now(), now=clock.now()
        )
        found = await levels.growth_of(session, [member.id], RULES, today=local_day(clock.now()))
    assert found == {member.id: 4700}


async def test_levels_come_to_who_was_there_before_them(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    rich, poor = await make.member(), await make.member()
    await make.order(rich, total_fen=60_000)
    await define(sessions, clock)
    await review(sessions, clock)
    assert (await level(sessions, rich), await level(sessions, poor)) == ("银卡", "普通")
    tightened = ProgrammeTold(levels=[TOLD.levels[0], LevelTold(name="银卡", threshold_fen=90_000)])
    await define(sessions, clock, tightened)
    await review(sessions, clock)
    assert await level(sessions, rich) == "银卡", "what is held is kept to the end of its period"
    await define(sessions, clock, ProgrammeTold(levels=[TOLD.levels[0], LevelTold(name="铜卡", threshold_fen=1000)]))
    await review(sessions, clock)
    assert await level(sessions, rich) == "铜卡"
    assert (await history(sessions, rich))[-1] == ("铜卡", LevelReason.REDEFINED)


@pytest.mark.parametrize(
    ("told", "fields"),
    [
        ([("普通", 1)], {"levels.0.threshold_fen"}),
        ([("普通", 0), ("银卡", 9), ("金卡", 9)], {"levels.2.threshold_fen"}),
        ([("普通", 0), ("普通", 9)], {"levels"}),
    ],
    ids=["the lowest costs", "two of one threshold", "two of one name"],
)
async def test_a_ladder_that_cannot_be_meant_is_refused(
    sessions: Sessions, clock: FrozenClock, told: list[tuple[str, int]], fields: set[str]
) -> None:
    made = ProgrammeTold(levels=[LevelTold(name=name, threshold_fen=fen) for name, fen in told])
    with pytest.raises(RulesWrong) as refused:
        await define(sessions, clock, made)
    assert {one["field"] for one in refused.value.mistakes} == fields


async def test_a_hand_gives_a_level_for_a_period(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    ids, member = await define(sessions, clock), await make.member()
    async with sessions.begin() as session:
        for level_id, reason, error in ((ids["黑卡"], " ", ReasonMissing), (999, "老友", LevelNotFound)):
            with pytest.raises(error):
                await level_changes.set_by_hand(
                    session, member.id, level_id, reason=reason, by="dianzhang", now=clock.now()
                )
        await level_changes.set_by_hand(session, member.id, ids["黑卡"], reason="老友", by="dianzhang", now=clock.now())
    clock.advance(days=300)
    await review(sessions, clock)
    assert await level(sessions, member) == "黑卡"
    clock.advance(days=100)
    await review(sessions, clock)
    assert (await history(sessions, member))[-2:] == [("黑卡", LevelReason.MANUAL), ("金卡", LevelReason.FELL)]


async def test_a_merge_keeps_the_higher_level_and_its_undoing_gives_each_their_own(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    await define(sessions, clock)
    one, other = await make.member(), await make.member()
    await make.order(one, total_fen=1000)
    await make.order(other, total_fen=250_000)
    clock.advance(hours=1)
    async with sessions.begin() as session:
        await merges.merge(session, one.id, other.id, because="manual", now=clock.now())
        told = MembersMerged(kept_id=one.id, absorbed_id=other.id, because="manual")
        await join_standings(session, told, now=clock.now())
    assert await level(sessions, one) == "金卡"
    async with sessions.begin() as session:
        await merges.undo(session, other.id, now=clock.now())
        await part_standings(session, MergeUndone(kept_id=one.id, absorbed_id=other.id), now=clock.now())
    assert (await level(sessions, one), await level(sessions, other)) == ("普通", "金卡")
    assert (await history(sessions, one))[-2:] == [("金卡", LevelReason.MERGED), ("普通", LevelReason.PARTED)]
    assert await history(sessions, other) == [("金卡", LevelReason.JOINED)]


async def test_a_level_shows_as_a_tag_of_ours(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    await define(sessions, clock)
    member = await make.member()
    for fen, wanted in ((60_000, ["银卡"]), (200_000, ["金卡"])):
        await make.order(member, total_fen=fen)
        async with sessions.begin() as session:
            await rule_tags.follow(session, [member.id], now=clock.now())
            borne = await member_tags.borne_by(session, member.id, now=clock.now())
        assert [(tag.group, tag.name) for tag in borne] == [("会员等级", name) for name in wanted]
    await define(sessions, clock)
    await define(sessions, clock)
    async with sessions.read() as session:
        assert len(list(await session.scalars(sa.select(Level)))) == 4


async def test_a_shop_can_give_its_levels_up(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    await define(sessions, clock)
    member = await make.member()
    await make.order(member, total_fen=60_000)
    await review(sessions, clock)
    async with sessions.begin() as session:
        await rule_tags.follow(session, [member.id], now=clock.now())
    await define(sessions, clock, ProgrammeTold(levels=[]))
    await review(sessions, clock)
    assert await level(sessions, member) is None
    async with sessions.read() as session:
        assert await member_tags.borne_by(session, member.id, now=clock.now()) == []
        assert await level_standing.standing_of(session, member.id, now=clock.now()) is None
    await define(sessions, clock)
    await review(sessions, clock)
    assert await level(sessions, member) == "银卡"


async def test_a_card_reads_where_a_member_stands_and_why(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    await define(sessions, clock)
    member = await make.member()
    await make.order(member, total_fen=60_000)
    async with sessions.read() as session:
        found = await level_standing.standing_of(session, member.id, now=clock.now())
    assert found is not None
    assert (found.name, found.until_on, found.growth_fen, found.keeps_with_fen) == ("银卡", day(365), 60_000, 0)
    assert (found.next_name, found.next_in_fen) == ("金卡", 140_000)
    assert found.reason == "2026-03-09 入会，窗口内净消费 600.00 元"


async def test_an_import_waits_for_the_review(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    await define(sessions, clock)
    member = await make.member()
    async with sessions.begin() as session:
        await levels.mark(session, [member.id], now=clock.now())
        [row] = await session.scalars(sa.select(MemberLevel))
        assert (row.level_id, row.check_on) == ((await levels.ladder(session))[0].id, date(2026, 3, 9))
    await review(sessions, clock)
    async with sessions.read() as session:
        assert [one.check_on for one in await session.scalars(sa.select(MemberLevel))] == [None]
        assert list(await session.scalars(sa.select(LevelMove))) == []


async def test_a_shop_without_levels_has_none(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member = await make.member()
    await make.order(member)
    async with sessions.begin() as session:
        assert await levels.begin(session, now=clock.now()) == 0
        assert await levels.benefits_of(session, member.id) == {}
        assert (await loyalty_rules.of_levels(session)).grace_days == 30
    assert await level(sessions, member) is None
