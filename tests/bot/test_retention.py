"""What is old goes, in batches; never what is still to be done, unread, or pointed at."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import ValidationError

from bot import retention
from bot.models.conversation import KfSend
from bot.models.faq import FaqQuestion
from bot.models.gateway import CallbackRow, Handling, InboundMessage
from bot.models.handoff import Ticket, TicketStatus, TicketStep
from bot.privacy import EVERYTHING
from bot.retention import SHELVES, clear, throw_out
from bot.settings import KeptSettings
from crm import privacy
from crm.base import events
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.events import EventRow
from crm.base.outbox import OutboxRow, Status
from crm.members import MemberEnrolled
from crm.models.member import MemberSource
from crm.models.private import Reveal
from tests.bot.whole_person import whole_person

KEPT = KeptSettings()
EVENTS = next(shelf for shelf in SHELVES if shelf.kept == "events")


async def rows(sessions: Sessions, model: Any) -> int:
    async with sessions.read() as session:
        return await session.scalar(sa.select(sa.func.count()).select_from(model)) or 0


async def read_all(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        while await events.take(session, "edge"):
            pass


async def test_all_that_is_over_goes_when_it_is_old_enough(sessions: Sessions, clock: FrozenClock) -> None:
    await whole_person(sessions, clock)
    await read_all(sessions)
    async with sessions.begin() as session:
        await session.execute(sa.update(Ticket).values(status=TicketStatus.CLOSED, closed_at=clock.now()))
        await session.execute(sa.update(OutboxRow).values(status=Status.SENT))
        await session.execute(sa.delete(FaqQuestion))
    gone = await clear(sessions, KEPT, now=clock.advance(days=29))
    assert sum(gone.values()) == 0
    async with sessions.read() as session:
        planned = await retention.count(session, KEPT, now=clock.now() + timedelta(days=1100))
    gone = await clear(sessions, KEPT, now=clock.advance(days=1100))
    assert {title: number for title, (_, number) in planned.items()} == gone
    for model in (CallbackRow, Ticket, TicketStep, InboundMessage, OutboxRow, KfSend, EventRow, Reveal):
        assert await rows(sessions, model) == 0, model


async def test_what_is_still_to_be_done_stays_however_old(sessions: Sessions, clock: FrozenClock) -> None:
    await whole_person(sessions, clock)
    async with sessions.begin() as session:
        await session.execute(sa.update(InboundMessage).values(status=Handling.OPEN))
        await session.execute(sa.update(CallbackRow).values(status=Handling.OPEN))
        await session.execute(sa.delete(FaqQuestion))
    await clear(sessions, KEPT, now=clock.advance(days=3000))
    for model in (CallbackRow, Ticket, InboundMessage, EventRow):  # nobody ever read an event
        assert await rows(sessions, model) > 0, model
    async with sessions.read() as session:
        assert set(await session.scalars(sa.select(OutboxRow.status))) == {Status.WAITING}


async def test_a_message_that_a_question_points_at_stays_with_it(sessions: Sessions, clock: FrozenClock) -> None:
    await whole_person(sessions, clock)
    await clear(sessions, KEPT, now=clock.advance(days=3000))
    assert await rows(sessions, InboundMessage) == 1


async def test_no_event_goes_that_one_reader_has_not_read(sessions: Sessions, clock: FrozenClock) -> None:
    async with sessions.begin() as session:
        for number in range(10):
            told = MemberEnrolled(member_id=number, source=MemberSource.KF, joined_at=clock.now())
            await events.append(session, told, now=clock.now())
    async with sessions.begin() as session:
        await events.take(session, "edge", limit=10)
        slow = await events.take(session, "campaigns", limit=4)
    later = clock.advance(days=1000)
    async with sessions.begin() as session:
        gone, _ = await throw_out(session, EVENTS, before=later)
    assert gone == len(slow) == 4
    async with sessions.begin() as session:
        assert [one.body["member_id"] for one in await events.take(session, "campaigns")] == list(range(4, 10))


async def test_batches_are_bounded_and_come_to_the_end(sessions: Sessions, clock: FrozenClock) -> None:
    async with sessions.begin() as session:
        told = MemberEnrolled(member_id=1, source=MemberSource.KF, joined_at=clock.now())
        await events.append_all(session, [told] * 7, now=clock.now())
    await read_all(sessions)
    before, place, gone = clock.advance(days=1000), 0, []
    while place is not None:
        async with sessions.begin() as session:
            some, place = await throw_out(session, EVENTS, before=before, after=place, limit=3)
            gone.append(some)
    assert gone == [3, 3, 1]


async def test_young_rows_end_the_look_after_one_batch(sessions: Sessions, clock: FrozenClock) -> None:
    async with sessions.begin() as session:
        told = MemberEnrolled(member_id=1, source=MemberSource.KF, joined_at=clock.now())
        await events.append_all(session, [told] * 7, now=clock.now())
    await read_all(sessions)
    async with sessions.begin() as session:
        assert await throw_out(session, EVENTS, before=clock.now(), limit=3) == (0, None)


async def test_the_night_sweeps_what_came_to_erased_members_since(sessions: Sessions, clock: FrozenClock) -> None:
    member_id = await whole_person(sessions, clock)
    async with sessions.begin() as session:
        await privacy.erase(session, member_id, EVERYTHING, by="wang", now=clock.now())
    await read_all(sessions)
    assert await rows(sessions, EventRow) > 0
    await clear(sessions, KEPT, now=clock.advance(days=1))
    async with sessions.read() as session:
        assert await session.scalar(sa.select(EventRow.id).where(EventRow.member_id == member_id)) is None


def test_nothing_is_kept_for_less_than_a_week() -> None:
    with pytest.raises(ValidationError):
        KeptSettings(outbox=timedelta(days=1))
