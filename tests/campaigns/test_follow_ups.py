"""Follow-up visits: handed out once a day to whose customer it is, not again too soon, and written down once."""

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa
from pydantic import TypeAdapter

from bot.reactions import tell_of_follow_ups
from campaigns import follow_ups
from campaigns.definition import CampaignWrong
from campaigns.follow_ups import FOLLOW_UPS, FollowUpIsDone, FollowUpNotFound, FollowUpsMade
from campaigns.models.follow_up import FollowUp, FollowUpResult
from crm import merges
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.events import EventRow
from crm.base.outbox import OutboxRow
from tests.factories import Make

RULE = {"follow_up": "visits", "audience": {"is": "contact_of"}, "every_days": 30, "within_days": 3, "most_a_day": 2}


async def hand_out(sessions: Sessions, clock: FrozenClock) -> int:
    async with sessions.begin() as session:
        return await follow_ups.hand_out(session, now=clock.now())


async def visits(sessions: Sessions) -> list[FollowUp]:
    async with sessions.read() as session:
        return list(await session.scalars(sa.select(FollowUp).order_by(FollowUp.id)))


async def put(sessions: Sessions, clock: FrozenClock) -> None:
    async with sessions.begin() as session:
        await follow_ups.put(session, "老客回访", FOLLOW_UPS.read("老客回访", dict(RULE)), now=clock.now())


async def test_handed_out_by_day_and_not_again_too_soon(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    amy = await make.staff("amy")
    for number in range(3):
        await make.contact(amy, external_userid=f"wm-{number}")
    await make.member()  # nobody's contact
    await put(sessions, clock)
    assert sorted(await asyncio.gather(*(hand_out(sessions, clock) for _ in range(3)))) == [0, 0, 1]
    found = await visits(sessions)
    assert [(one.userid, (one.due_on - one.made_on).days) for one in found] == [("amy", 3)] * 2
    async with sessions.read() as session:
        (event,) = await session.scalars(sa.select(EventRow.body).where(EventRow.name == "FollowUpsMade"))
    assert (event["userid"], event["visits"]) == ("amy", 2)
    told = TypeAdapter(FollowUpsMade).validate_python(event)
    for _ in range(2):  # read at least once: told once
        async with sessions.begin() as session:
            await tell_of_follow_ups(session, told, now=clock.now())
    async with sessions.read() as session:
        (body,) = await session.scalars(sa.select(OutboxRow.body))
    assert body["userids"] == ["amy"] and "今天有 2 位客户请您回访" in body["message"]["text"]["content"]
    async with sessions.begin() as session:
        one = await follow_ups.done(
            session, found[0].id, FollowUpResult.FINE, note=" 猫很 好 ", by="amy", now=clock.now()
        )
        assert one.note == "猫很 好"
        with pytest.raises(FollowUpIsDone):
            await follow_ups.done(session, one.id, FollowUpResult.UNHAPPY, by="ben", now=clock.now())
        with pytest.raises(FollowUpNotFound):
            await follow_ups.done(session, 99, FollowUpResult.FINE, by="ben", now=clock.now())
    clock.advance(days=1)
    assert await hand_out(sessions, clock) == 1
    assert len(await visits(sessions)) == 3  # the third; the first was visited, the second is still open
    async with sessions.begin() as session:
        await merges.merge(session, found[0].member_id, found[1].member_id, because="manual", now=clock.now())
        (third,) = [one for one in await visits(sessions) if one.id not in {row.id for row in found}]
        await follow_ups.done(session, third.id, FollowUpResult.NOT_REACHED, by="amy", now=clock.now())
    clock.advance(days=30)
    await hand_out(sessions, clock)
    again = (await visits(sessions))[3:]
    assert [one.member_id for one in again] == [third.member_id]  # the merged person still has an open one
    async with sessions.read() as session:
        since = clock.now().date() - timedelta(days=60)
        (report,) = await follow_ups.by_staff(session, since=since, now=clock.now())
    assert (report.open, report.overdue, report.done, report.late) == (2, 1, 2, 0)


async def test_before_nine_nobody_is_told(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    await make.contact()
    await put(sessions, clock)
    clock.advance(hours=22)  # eight in the morning of the next day
    assert await hand_out(sessions, clock) == 0
    async with sessions.read() as session:
        assert not (await session.scalars(sa.select(OutboxRow.id))).all()


@pytest.mark.parametrize("wrong", [{"every_days": 1}, {"audience": {"is": "nothing"}}, {"typo": 1}])
def test_what_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(CampaignWrong):
        FOLLOW_UPS.read("老客回访", {**RULE, **wrong})
