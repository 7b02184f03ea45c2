"""A sequence's way: each step on its day, once, until the goal; late, held, paused and changed on the way."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.privacy import EVERYTHING
from campaigns import brakes, definition, engine, guards, step_times, ticks
from campaigns.definition import CampaignWrong
from campaigns.draining import Letter
from campaigns.guard_rules import Channel, FrequencyCap, Gate, PlatformQuota
from campaigns.models.campaign import Copy, Delivery, RunStatus
from campaigns.models.sequence import Enrolment, EnrolmentStatus, EnrolmentStep, Phase
from crm import consents, contacts, privacy, rfm
from crm.base import outbox
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.outbox import MarketingMessage, OutboxRow, Status
from crm.models.member import Contact, ContactEnd, Member, Staff
from tests.campaigns.fixtures import ANY_SIZE, EVERYBODY, OPEN_GATE, Platform, people, reasons, told
from tests.campaigns.sequence_world import PAID, WEEK, Shop, newcomers, ways
from tests.factories import Make

ONE_A_DAY = Gate(quiet=None, caps=(FrequencyCap(1, timedelta(days=1)),), quota=PlatformQuota(None, None, None))
DAYS = 24.0


async def member_of(sessions: Sessions, contact: Contact) -> Member:
    async with sessions.read() as session:
        return await session.get_one(Member, contact.member_id)


async def test_a_newcomer_reads_each_step_on_its_day(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    await newcomers(sessions, clock)
    await make.contact()
    shop = Shop(sessions, clock)
    await shop.live(8 * DAYS)
    assert [text for _, text in shop.read()] == ["欢迎", "首单礼", "怎么用", "一周了"]
    assert [when for when, _ in shop.read()] == ["09 10", "10 10", "12 20", "16 10"]
    (way,) = await ways(sessions)
    assert (way.status, way.step) == (EnrolmentStatus.FINISHED, 4)


async def test_the_goal_ends_it_and_takes_back_what_waits(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    await newcomers(sessions, clock)
    buyer, other = await make.contact(), await make.contact()
    shop = Shop(sessions, clock)
    await shop.live(23)
    await shop.platform.tick()
    clock.advance(hours=1)
    await shop.platform.tick()  # day 1, ten o'clock: put together, waiting to leave
    await make.order(await member_of(sessions, buyer))
    await shop.platform.step_hear()
    await shop.live(7 * DAYS)
    got = shop.times()
    assert {text for who, text in got if who == buyer.external_userid} == {"欢迎"}
    assert [text for who, text in got if who == other.external_userid] == ["欢迎", "首单礼", "怎么用", "一周了"]
    assert [(one.status, one.because) for one in await ways(sessions)] == [
        (EnrolmentStatus.LEFT, "goal_reached"), (EnrolmentStatus.FINISHED, "")
    ]  # fmt: skip
    assert set(got.values()) == {1}


async def test_a_goal_that_was_not_read_yet_is_seen_when_the_step_leaves(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    await newcomers(sessions, clock)
    buyer = await make.contact()
    shop = Shop(sessions, clock)
    await shop.live(23)
    clock.advance(hours=1, minutes=1)
    await make.order(await member_of(sessions, buyer))
    await shop.platform.step_advance()  # nobody has listened since
    await shop.settle()
    assert [text for _, text in shop.read()] == ["欢迎"]


async def test_a_held_step_shifts_those_that_follow(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    """Another message two hours before the second step: it goes a day later, and the rest keep their distance."""
    await newcomers(sessions, clock)
    contact = await make.contact()
    shop = Shop(sessions, clock, Platform(sessions, clock, gate=ONE_A_DAY))
    await shop.live(22)
    async with sessions.begin() as session:
        ref = {contact.member_id: "test:1"}
        now = clock.now()
        assert await guards.admit(session, ONE_A_DAY, ref, channel=Channel.KF, now=now + timedelta(hours=3))
        for statement in guards.sent("test:1", at=now):
            await session.execute(statement)
    await shop.live(9 * DAYS)
    days = [when.split()[0] for when, _ in shop.read()]
    assert days == ["09", "11", "13", "17"], "day 1 became day 2, so 3 is 4 and 7 is 8"


async def test_a_step_that_is_held_too_long_is_left_out(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    await newcomers(sessions, clock, steps=WEEK[1:], patience="12h")
    await make.contact()
    shop = Shop(sessions, clock)
    await shop.live(20)
    async with sessions.begin() as session:
        await brakes.stop(session, by="amy", reason="x", now=clock.now())
    await shop.live(20)
    async with sessions.begin() as session:
        await brakes.resume(session, by="amy", now=clock.now())
    await shop.live(7 * DAYS)
    assert [text for _, text in shop.read()] == ["怎么用", "一周了"]


WAITS: list[dict[str, Any]] = [
    {"name": "欢迎", "day": 0, "messages": [{"text": "欢迎"}]},
    {"name": "买了之后", "wait": {"event": "OrderPaid", "within": "2d"}, "messages": [{"text": "买了"}]},
    {"name": "之后", "after": "2h", "messages": [{"text": "再见"}]},
]


@pytest.mark.parametrize(
    ("otherwise", "buys", "read"),
    [
        ("send", True, [("10 10", "买了"), ("10 12", "再见")]),
        ("send", False, [("11 10", "买了"), ("11 12", "再见")]),
        ("skip", False, [("11 12", "再见")]),
        ("leave", False, []),
    ],
    ids=["heard", "in vain, sent", "in vain, skipped", "in vain, left"],
)
async def test_a_step_waits_for_an_event_so_long(
    sessions: Sessions, make: Make, clock: FrozenClock, otherwise: str, buys: bool, read: list[tuple[str, str]]
) -> None:
    waits = {**WAITS[1], "wait": {**WAITS[1]["wait"], "otherwise": otherwise}}
    await newcomers(sessions, clock, steps=[WAITS[0], waits, WAITS[2]], goal=[])
    contact = await make.contact()
    shop = Shop(sessions, clock)
    await shop.live(24)
    if buys:
        await make.order(await member_of(sessions, contact))
    await shop.live(2 * DAYS)
    assert shop.read() == [("09 10", "欢迎"), *read]


async def test_who_is_in_it_goes_on_as_it_was(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    campaign = await newcomers(sessions, clock)
    first = await make.contact()
    shop = Shop(sessions, clock)
    await shop.live(3)
    async with sessions.begin() as session:
        other = told(
            kind="steps", starts_at=None, messages=None, on={"event": "ContactAdded"}, goal=[PAID],
            steps=[{"name": "新的", "day": 0, "messages": [{"text": "新版欢迎"}]}],
        )  # fmt: skip
        await engine.change(session, campaign.id, other, by="amy", now=clock.now())
        await engine.submit(session, campaign.id, review=ANY_SIZE, now=clock.now())
    await shop.live(1)
    second = await make.contact()
    await shop.live(8 * DAYS)
    got = shop.times()
    assert [text for who, text in got if who == first.external_userid] == ["欢迎", "首单礼", "怎么用", "一周了"]
    assert [text for who, text in got if who == second.external_userid] == ["新版欢迎"]


async def test_who_opts_out_or_is_lost_leaves_it(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    await newcomers(sessions, clock)
    silent, lost, stays = [await make.contact() for _ in range(3)]
    shop = Shop(sessions, clock)
    await shop.live(2)
    async with sessions.begin() as session:
        await consents.opt_out(session, silent.member_id, source="test", wording_version="1", now=clock.now())
        staff_id = lost.staff_id
        userid = (await session.get_one(Staff, staff_id)).userid
        await contacts.lost(
            session, userid=userid, external_userid=lost.external_userid, by=ContactEnd.CUSTOMER, at=clock.now(),
            now=clock.now(),
        )  # fmt: skip
    await shop.live(1.5 * DAYS)
    async with sessions.begin() as session:  # says yes again: that does not bring the sequence back
        await consents.opt_in(session, silent.member_id, source="test", wording_version="1", now=clock.now())
    await shop.live(8 * DAYS)
    got = shop.times()
    assert [text for who, text in got if who != stays.external_userid] == ["欢迎", "欢迎"]
    assert sorted(one.because for one in await ways(sessions)) == ["", "gate.opted_out", "no_longer_a_contact"]


async def test_who_is_erased_on_the_way_gets_nothing_more_and_leaves_nothing(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    await newcomers(sessions, clock)
    gone, stays = await make.contact(), await make.contact()
    shop = Shop(sessions, clock)
    await shop.live(23)
    await shop.platform.tick()
    clock.advance(hours=1)
    await shop.platform.tick()  # day 1, ten o'clock: both are in a task that waits to leave
    async with sessions.read() as session:
        for table in (Enrolment, EnrolmentStep, Delivery, Copy):  # or there would be nothing to erase
            assert gone.member_id in await session.scalars(sa.select(table.member_id))
    async with sessions.begin() as session:
        await privacy.erase(session, gone.member_id, EVERYTHING, by="amy", now=clock.now())
    await shop.live(8 * DAYS)
    got = shop.times()
    assert [text for who, text in got if who == gone.external_userid] == ["欢迎"]
    assert [text for who, text in got if who == stays.external_userid] == ["欢迎", "首单礼", "怎么用", "一周了"]
    assert set(got.values()) == {1}
    async with sessions.read() as session:
        for table in (Enrolment, EnrolmentStep, Delivery, Copy):
            assert gone.member_id not in await session.scalars(sa.select(table.member_id))
    assert [one.status for one in await ways(sessions)] == [EnrolmentStatus.FINISHED]


async def test_a_pause_holds_everybody_and_what_got_late_asks(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    campaign = await newcomers(sessions, clock)
    await make.contact()
    shop = Shop(sessions, clock)
    await shop.live(20)
    async with sessions.begin() as session:
        await engine.pause(session, campaign.id, because="等等", by="amy", now=clock.now())
    await shop.live(2 * DAYS)
    async with sessions.begin() as session:
        await engine.resume(session, campaign.id, now=clock.now())
    await shop.live(3)
    assert [text for _, text in shop.read()] == ["欢迎"]
    async with sessions.read() as session:
        (asks,) = [run for run in await engine.runs_of(session, campaign.id) if run.status is RunStatus.ASKS]
    async with sessions.begin() as session:
        await engine.answer(session, asks.id, fires=True, now=clock.now())
    await shop.live(9 * DAYS)
    texts = shop.read()
    assert [text for _, text in texts] == ["欢迎", "首单礼", "怎么用", "一周了"]
    sent = [int(when.split()[0]) for when, _ in texts]
    assert sent[2] - sent[1] == 2, "the distance of the steps stays"


async def test_late_steps_of_a_copy_are_left_out_where_the_shop_says_so(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    await newcomers(sessions, clock, late="skip")
    await make.contact()
    shop = Shop(sessions, clock)
    await shop.live(2)
    clock.advance(days=2)  # switched off
    await shop.live(6 * DAYS)
    assert [text for _, text in shop.read()] == ["欢迎", "怎么用", "一周了"]


async def test_a_cancel_ends_it_for_everybody(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    campaign = await newcomers(sessions, clock)
    await make.contact()
    shop = Shop(sessions, clock)
    await shop.live(2)
    async with sessions.begin() as session:
        await engine.cancel(session, campaign.id, now=clock.now())
    await shop.live(3 * DAYS)
    assert [text for _, text in shop.read()] == ["欢迎"]
    assert [(one.status, one.because) for one in await ways(sessions)] == [(EnrolmentStatus.CANCELLED, "cancelled")]


async def test_a_cron_lets_the_audience_in_and_again_after_a_while(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    await people(make, 3)
    steps = [{"name": "券", "day": 0, "messages": [{"text": "券"}]}]
    campaign = await newcomers(
        sessions, clock, on=None, every="0 12 * * *", steps=steps, again_after="3d", goal=[], ends_at="2026-03-15"
    )
    shop = Shop(sessions, clock)
    await shop.live(3.5 * DAYS)
    assert [when for when, _ in shop.read()] == ["09 12", "12 12"]
    await shop.live(3 * DAYS)
    async with sessions.read() as session:
        assert str((await engine.get(session, campaign.id)).status) == "finished"
    assert len(await ways(sessions)) == 6


async def test_only_and_stays(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    bought = {"is": "lifetime", "orders": {"least": 1}}
    not_twice = {"is": "not", "of": {"is": "lifetime", "orders": {"least": 2}}}
    steps = [
        WEEK[0],
        {**WEEK[1], "only": bought},
        {"name": "三", "day": 2, "messages": [{"text": "都"}]},
        {"name": "四", "day": 3, "messages": [{"text": "没"}]},
    ]
    await newcomers(sessions, clock, steps=steps, goal=[], stays=not_twice)
    buyer, other = await make.contact(), await make.contact()
    shop = Shop(sessions, clock)
    await shop.live(2)
    member = await member_of(sessions, buyer)

    async def buys() -> None:
        await make.order(member)
        async with sessions.begin() as session:
            await rfm.recount(session, [member.id], now=clock.now())

    await buys()
    await shop.live(2.5 * DAYS)
    await buys()
    await shop.live(2 * DAYS)
    got = shop.times()
    assert [text for who, text in got if who == buyer.external_userid] == ["欢迎", "首单礼", "都"]
    assert [text for who, text in got if who == other.external_userid] == ["欢迎", "都", "没"]


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """March 2026, UTC; the shop is eight hours ahead."""
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("step", "ended_at", "due_at"),
    [
        ({"day": 0}, at(9, 2), at(9, 2)),
        ({"day": 0, "at": "21:30"}, at(9, 2), at(9, 13, 30)),
        ({"day": 0, "at": "09:30"}, at(9, 2), at(10, 1, 30)),
        ({"day": 1}, at(9, 2), at(10, 2)),
        ({"day": 1, "at": 20 * 60}, at(9, 2), at(10, 12)),
        ({"day": 1}, at(11, 5), at(12, 2)),
        ({"after": "2h"}, at(9, 2), at(9, 4)),
        ({"after": "2h", "at": "09:00"}, at(9, 2), at(10, 1)),
    ],
    ids=[
        "at once",
        "today",
        "too late today",
        "ten o'clock",
        "yaml's sixties",
        "overdue",
        "after",
        "after, not before",
    ],
)
def test_when_a_step_comes_due(step: dict[str, Any], ended_at: datetime, due_at: datetime) -> None:
    found = told(
        kind="steps", starts_at=None, messages=None, on={"event": "ContactAdded"},
        steps=[{"name": "一", "messages": [{"text": "嗨"}], **step}],
    )  # fmt: skip
    place = step_times.begins(found, 0, day_zero=date(2026, 3, 9), ended_at=ended_at)
    assert (place.phase, place.due_at) == (Phase.DUE, due_at)
    assert definition.read(definition.write(found)) == found


def test_a_time_of_day_just_now_is_now() -> None:
    assert step_times.at_time(at(9, 2), time(10)) == at(9, 2)


ONE = {"name": "一", "day": 1, "messages": [{"text": "嗨"}]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": []}, {"steps": [{**ONE, "after": "1h"}]}, {"steps": [{"name": "一", "messages": [{"text": "嗨"}]}]},
        {"steps": [ONE, {**ONE, "name": "二", "day": 0}]}, {"steps": [ONE, ONE]}, {"messages": [{"text": "外面"}]},
        {"steps": [{**ONE, "only": {"is": "tall"}}]}, {"on": None}, {"every": "0 9 * * *"}, {"again_after": "1h"},
        {"steps": [{"name": "一", "wait": {"event": "OrderPaid", "within": "0s"}, "messages": [{"text": "嗨"}]}]},
        {"stays": {"is": "lifetime"}}, {"kind": "triggered", "messages": [{"text": "嗨"}]},
    ],
    ids=str,
)  # fmt: skip
def test_a_sequence_that_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    usual = {"kind": "steps", "starts_at": None, "messages": None, "on": {"event": "ContactAdded"}, "steps": [ONE]}
    assert told(**usual)
    with pytest.raises(CampaignWrong):
        told(**{**usual, **wrong})


def test_everybody_is_a_condition() -> None:
    assert definition.ANYBODY == EVERYBODY


class Chat:
    """The kf chat of a shop whose customers' windows are all open."""

    async def reachable_between(self, session: AsyncSession, after_id: int, upto_id: int, *, now: datetime) -> set[int]:
        return set(range(after_id + 1, upto_id + 1))

    async def put(self, session: AsyncSession, letters: Sequence[Letter], *, now: datetime) -> None:
        put = [
            MarketingMessage(lane="kf", dedupe_key=one.ref, body={}, member_id=one.member_id, gate_ref=one.ref)
            for one in letters
        ]
        await outbox.put(session, put, now=now)


async def test_a_letter_that_has_not_left_is_taken_back_at_the_goal(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    await newcomers(sessions, clock, channels=["kf"])
    buyer = await make.contact()
    platform = Platform(sessions, clock, gate=OPEN_GATE)

    async def drain() -> None:
        async with sessions.begin() as session:
            while await ticks.drain(session, OPEN_GATE, Chat(), now=clock.now()):
                pass

    await platform.step_hear()
    await platform.step_advance()
    await drain()
    async with sessions.read() as session:
        assert [row.status for row in await session.scalars(sa.select(OutboxRow))] == [Status.WAITING]
    clock.advance(seconds=5)
    await make.order(await member_of(sessions, buyer))
    await platform.step_hear()
    clock.advance(seconds=10)
    await drain()
    async with sessions.read() as session:
        assert [row.status for row in await session.scalars(sa.select(OutboxRow))] == [Status.CANCELLED]
    assert await reasons(sessions) == {buyer.member_id: "goal_reached"}
    assert [(one.status, one.because) for one in await ways(sessions)] == [(EnrolmentStatus.LEFT, "goal_reached")]
