"""Customer satisfaction: asked after a ticket closes, by a menu; score and comment stay with the ticket."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot import texts
from bot.handoff import queue
from bot.handoff.policy import Policy
from bot.handoff.triggers import Reason
from bot.models.conversation import Conversation
from bot.models.handoff import StepKind, Ticket, TicketStatus
from bot.wecom import lanes
from crm.base.outbox import Message

PREFIX = "csat"
TOPIC = "csat_comment"  # the customer was asked why, a moment ago
LOW = 2  # stars; from here down somebody looks into it
COMMENT_CHARS = 500
RATED_WITHIN = timedelta(days=7)


def menu(ticket_id: int, head: str) -> dict[str, Any]:
    """The question, five lines to tap; the tap comes back with `csat:ticket:score`."""
    lines = [
        {"type": "click", "click": {"id": f"{PREFIX}:{ticket_id}:{score}", "content": texts.CSAT_CHOICES[score]}}
        for score in range(5, 0, -1)
    ]
    return {"msgtype": "msgmenu", "msgmenu": {"head_content": head, "list": lines}}


async def ask_natively(
    session: AsyncSession, conversation: Conversation, ticket: Ticket, policy: Policy, *, code: str, now: datetime
) -> tuple[Message, ...]:
    """After a servicer ended the session: on the code of the end, which lives 20 seconds. Without a code, nothing."""
    if not code or not _is_asked(ticket, policy):
        return ()
    await _asked(session, ticket, now=now)
    to = queue.address(conversation)
    return (lanes.kf_event_message(code, menu(ticket.id, texts.CSAT_HEAD), to=to, deadline=now + lanes.CODE_LIFE),)


async def ask_at_desk(
    session: AsyncSession, conversation: Conversation, ticket: Ticket, policy: Policy, *, now: datetime
) -> tuple[Message, ...]:
    """After the desk closed the ticket: a message in the window; one reminder is due later, if there is no rating."""
    if not _is_asked(ticket, policy):
        return ()
    await _asked(session, ticket, now=now)
    ticket.check_at = policy.hours.opens_at(now + policy.rating_reminder)
    return (_window_message(conversation, ticket, texts.CSAT_HEAD, "ask"),)


def reminder(conversation: Conversation, ticket: Ticket) -> Message:
    return _window_message(conversation, ticket, texts.CSAT_REMINDER, "remind")


def _window_message(conversation: Conversation, ticket: Ticket, head: str, why: str) -> Message:
    to = queue.address(conversation)
    return lanes.kf_message(to, menu(ticket.id, head), because=("csat", why, ticket.id), deadline=None)


def _is_asked(ticket: Ticket, policy: Policy) -> bool:
    """Whoever never got a person, or rated badly just now, is not asked how it was."""
    served = ticket.first_response_at is not None
    return policy.asks_rating and served and ticket.reason != Reason.BAD_RATING


async def _asked(session: AsyncSession, ticket: Ticket, *, now: datetime) -> None:
    ticket.csat_asked_at = now
    await queue.step(session, ticket.id, StepKind.ASKED, now=now, once="csat")


async def rate(
    session: AsyncSession, conversation_id: int, ticket_id: int, score: int, *, now: datetime
) -> Ticket | None:
    """The first rating counts, within a week of the close; None: somebody else's ticket, too late, or rated already."""
    if not 1 <= score <= 5:
        return None
    rated: Ticket | None = await session.scalar(
        sa.update(Ticket)
        .where(
            Ticket.id == ticket_id,
            Ticket.conversation_id == conversation_id,
            Ticket.status == TicketStatus.CLOSED,
            Ticket.closed_at > now - RATED_WITHIN,
            Ticket.csat_score.is_(None),
        )
        .values(csat_score=score, csat_rated_at=now, check_at=None)
        .returning(Ticket)
        .execution_options(populate_existing=True)
    )
    if rated is not None:
        await queue.step(session, ticket_id, StepKind.RATED, now=now, note=str(score))
    return rated


async def comment(session: AsyncSession, conversation_id: int, ticket_id: int, words: str) -> None:
    """What the customer adds to a rating."""
    await session.execute(
        sa.update(Ticket)
        .where(Ticket.id == ticket_id, Ticket.conversation_id == conversation_id, Ticket.csat_score.is_not(None))
        .values(csat_comment=words[:COMMENT_CHARS])
    )
