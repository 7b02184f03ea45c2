"""The figures of a period, over tickets whose answers are known."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from bot import reports
from bot.models.conversation import Conversation
from bot.models.gateway import Handling, InboundMessage
from bot.models.handoff import StepKind, Ticket, TicketStatus, TicketStep
from bot.wecom.kf_items import Origin
from crm.base.db import Sessions
from tests.factories import Make

BEGAN = datetime(2026, 3, 10, 2, 0, tzinfo=UTC)
NOW = BEGAN + timedelta(days=3)


async def conversation(sessions: Sessions, make: Make, number: int) -> int:
    """A conversation in which the customer wrote once."""
    member = await make.member()
    async with sessions.begin() as session:
        talk = Conversation(open_kfid="wkTEST", external_userid=f"wm{number}", member_id=member.id, created_at=BEGAN)
        session.add(talk)
        await session.flush()
        session.add(
            InboundMessage(
                msgid=f"m{number}",
                conversation_id=talk.id,
                origin=Origin.CUSTOMER,
                kind="text",
                body={},
                sent_at=BEGAN,
                received_at=BEGAN,
                status=Handling.DONE,
            )
        )
        return talk.id


def ticket(talk: int, *, answered: int | None, closed: int | None = None, score: int | None = None) -> Ticket:
    """Opened at BEGAN, to be answered within 15 minutes; `answered` and `closed` are minutes after."""
    return Ticket(
        conversation_id=talk,
        reason="asked_for",
        quote="人工",
        opened_at=BEGAN,
        status=TicketStatus.CLOSED if closed is not None else TicketStatus.ASSIGNED,
        first_response_due_at=BEGAN + timedelta(minutes=15),
        first_response_at=None if answered is None else BEGAN + timedelta(minutes=answered),
        closed_at=None if closed is None else BEGAN + timedelta(minutes=closed),
        csat_asked_at=None if closed is None else NOW,
        csat_score=score,
    )


async def test_each_figure_is_what_its_definition_says(sessions: Sessions, make: Make) -> None:
    talks = [await conversation(sessions, make, number) for number in range(10)]
    rows = [
        ticket(talks[0], answered=5, closed=30, score=5),
        ticket(talks[1], answered=15, closed=90, score=2),
        ticket(talks[2], answered=None),
        ticket(talks[3], answered=10, closed=60),
    ]
    async with sessions.begin() as session:
        session.add_all(rows)
        await session.flush()
        breach = TicketStep(ticket_id=rows[1].id, kind=StepKind.BREACHED, at=NOW, note="resolution", by="", once="x")
        session.add(breach)
    async with sessions.read() as session:
        found = await reports.handoff(session, since=BEGAN, until=NOW, now=NOW)
    assert (found.conversations, found.tickets, found.reasons) == (10, 4, {"asked_for": 4})
    assert found.deflection == pytest.approx(0.6)
    assert (found.first_response.count, found.first_response.median) == (3, timedelta(minutes=10))
    assert found.first_response.p90 == timedelta(minutes=15)
    assert found.first_response_met == pytest.approx(2 / 4), "at the due instant it is too late, and silence counts"
    assert found.resolution.median == timedelta(minutes=60)
    assert found.resolution_met == pytest.approx(2 / 3)
    assert (found.rating_asked, found.rated, found.rating, found.satisfied) == (3, 2, 3.5, 0.5)


async def test_an_empty_period_has_no_shares(sessions: Sessions, chance: random.Random) -> None:
    async with sessions.read() as session:
        found = await reports.handoff(session, since=BEGAN, until=NOW, now=NOW)
    assert (found.conversations, found.deflection, found.rating, found.first_response.median) == (0, None, None, None)
