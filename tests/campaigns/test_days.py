"""Campaigns that look for members' days and for silence: once a day, on the right day, also of 29 February."""

from datetime import UTC, date, datetime

import pytest
import sqlalchemy as sa

from campaigns import definition, engine, firing
from campaigns.definition import CampaignWrong
from campaigns.models.campaign import Delivery
from crm import member_dates, rfm
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.models.lifecycle import DateKind
from crm.models.member import Member
from tests.campaigns.fixtures import Platform, people, scheduled, told
from tests.factories import Make

DAILY = {"kind": "triggered", "starts_at": None, "messages": [{"text": "生日快乐"}]}


async def planned(sessions: Sessions) -> list[int]:
    async with sessions.read() as session:
        return sorted(await session.scalars(sa.select(Delivery.member_id)))


async def remember(sessions: Sessions, member_id: int, kind: DateKind, day: date, clock: FrozenClock) -> None:
    async with sessions.begin() as session:
        await member_dates.remember(session, member_id, kind, month=day.month, day=day.day, now=clock.now())


async def wake(sessions: Sessions, clock: FrozenClock, platform: Platform) -> None:
    """What a minute of the service does: days come, campaigns fire, runs are worked on."""
    async with sessions.begin() as session:
        while await member_dates.come(session, now=clock.now()):
            pass
    await platform.tick()


async def test_a_birthday_is_greeted_once_on_its_day(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    today, tomorrow, child = await people(make, 3)
    await remember(sessions, today, DateKind.BIRTHDAY, date(2000, 3, 9), clock)
    await remember(sessions, tomorrow, DateKind.BIRTHDAY, date(2000, 3, 10), clock)
    await remember(sessions, child, DateKind.CHILD_BIRTHDAY, date(2000, 3, 10), clock)
    await scheduled(sessions, clock, "生日", **DAILY, on={"date": "birthday", "at": "11:00"})
    platform = Platform(sessions, clock)
    await wake(sessions, clock, platform)
    assert await planned(sessions) == [], "it is only ten o'clock"
    for _ in range(4):
        clock.advance(hours=1)
        await wake(sessions, clock, platform)
        assert await planned(sessions) == [today]
    clock.advance(hours=20, minutes=30)  # 10:30 of the next day
    await wake(sessions, clock, platform)
    clock.advance(minutes=31)
    await wake(sessions, clock, platform)
    assert await planned(sessions) == [today, tomorrow]


async def test_days_before_a_pets_birthday_that_is_in_the_next_year(sessions: Sessions, make: Make) -> None:
    clock = FrozenClock(datetime(2026, 12, 28, 1, 0, tzinfo=UTC))
    make.clock = clock
    (owner,) = await people(make, 1)
    await remember(sessions, owner, DateKind.PET_BIRTHDAY, date(2000, 1, 4), clock)
    await scheduled(sessions, clock, "宠物生日", **DAILY, on={"date": "pet_birthday", "days_before": 7})
    clock.advance(hours=1)
    await Platform(sessions, clock).tick()
    assert await planned(sessions) == [owner]


@pytest.mark.parametrize(("year", "day"), [(2026, 28), (2028, 29)], ids=["common year", "leap year"])
async def test_the_29th_of_february(sessions: Sessions, make: Make, year: int, day: int) -> None:
    clock = FrozenClock(datetime(year, 2, 27, 1, 59, tzinfo=UTC))
    make.clock = clock
    (member,) = await people(make, 1)
    await remember(sessions, member, DateKind.BIRTHDAY, date(2000, 2, 29), clock)
    await scheduled(sessions, clock, "生日", **DAILY, on={"date": "birthday"})
    platform, came = Platform(sessions, clock), []
    for _ in range(4):
        clock.advance(minutes=2)
        await wake(sessions, clock, platform)
        if await planned(sessions) and not came:
            came.append(clock.now().day)
        clock.advance(days=1, minutes=-2)
    assert came == [day]


async def test_a_day_that_was_slept_through_greets_nobody(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    (member,) = await people(make, 1)
    await remember(sessions, member, DateKind.BIRTHDAY, date(2000, 3, 10), clock)
    timed = await scheduled(sessions, clock, "生日", **DAILY, on={"date": "birthday"}, late="skip")
    on_event = {"event": "MemberDateCame", "where": {"kind": "birthday"}}
    await scheduled(sessions, clock, "生日事件", **DAILY, on=on_event, grace="4h")
    platform = Platform(sessions, clock)
    await platform.tick()
    clock.advance(days=2, hours=8)
    await wake(sessions, clock, platform)
    async with sessions.begin() as session:
        await firing.listen(session, now=clock.now())
        assert [str(run.status) for run in await engine.runs_of(session, timed.id)] == ["cancelled"]
    assert await planned(sessions) == []


async def test_silence_is_counted_from_the_last_order_or_from_joining_and_made_up_for(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    bought, recent, never = await make.contact(), await make.contact(), await make.contact()
    for contact, days_ago in ((bought, 30), (recent, 3)):
        await make.order(await _member(sessions, contact.member_id), days_ago=days_ago)
    async with sessions.begin() as session:
        await rfm.recount(session, [bought.member_id, recent.member_id, never.member_id], now=clock.now())
    await scheduled(sessions, clock, "好久不见", **DAILY, on={"silent_days": 31, "at": "10:30"}, grace="1d")
    platform = Platform(sessions, clock)
    clock.advance(hours=1)
    await platform.tick()
    assert await planned(sessions) == [], "30 days are not 31"
    clock.advance(days=1)
    await platform.tick()
    assert await planned(sessions) == [bought.member_id]
    for _ in range(32):
        clock.advance(hours=12)
        await platform.step_watch()
        clock.advance(hours=12)
        await platform.tick()
    assert await planned(sessions) == [bought.member_id, recent.member_id, never.member_id]


async def _member(sessions: Sessions, member_id: int) -> Member:
    async with sessions.read() as session:
        return await session.get_one(Member, member_id)


@pytest.mark.parametrize(
    "on",
    [
        {}, {"event": "OrderPaid", "date": "birthday"}, {"date": "birthday", "delay": "1d"}, {"date": "wedding"},
        {"silent_days": 0}, {"silent_days": 30, "days_before": 1}, {"event": "OrderPaid", "at": "10:00"},
    ],
    ids=str,
)  # fmt: skip
def test_a_trigger_that_cannot_be_meant_is_refused(on: dict[str, object]) -> None:
    with pytest.raises(CampaignWrong):
        told(**DAILY, on=on)


def test_a_time_of_day_that_yaml_read_as_sixties() -> None:
    found = told(**DAILY, on={"silent_days": 30, "at": 21 * 60 + 30})
    assert definition.next_fire(found, after=datetime(2026, 3, 9, 2, tzinfo=UTC)) == datetime(
        2026, 3, 9, 13, 30, tzinfo=UTC
    )
    assert definition.read(definition.write(found)) == found
