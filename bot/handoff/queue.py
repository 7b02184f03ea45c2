"""Tickets: a customer needs a person; one open ticket per conversation."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.models.conversation import Conversation
from bot.models.handoff import Ticket, TicketStatus
from bot.wecom import lanes
from crm.base.db import insert
from crm.base.outbox import Message

QUOTE_CHARS = 500


async def call(
    session: AsyncSession, conversation: Conversation, *, reason: str, quote: str, now: datetime
) -> tuple[Message, ...]:
    """Record that this customer needs a person, and return the message that brings the session to one.

    Empty when a person was called already: the open ticket's unique index is the guard.
    """
    statement = insert(session, Ticket).values(
        conversation_id=conversation.id,
        member_id=conversation.member_id,
        reason=reason,
        quote=quote[:QUOTE_CHARS],
        status=TicketStatus.WAITING,
        opened_at=now,
    )
    ticket_id = (await session.scalars(statement.on_conflict_do_nothing().returning(Ticket.id))).first()
    conversation.human_wanted_at = conversation.human_wanted_at or now
    return () if ticket_id is None else (lanes.handoff(address(conversation), ticket_id),)


def address(conversation: Conversation) -> lanes.KfAddress:
    """Where messages of this conversation go."""
    return lanes.KfAddress(
        conversation.id, conversation.open_kfid, conversation.external_userid, conversation.member_id
    )


async def assigned(session: AsyncSession, conversation: Conversation, *, now: datetime) -> None:
    """A servicer has the session now."""
    await session.execute(
        sa.update(Ticket)
        .where(Ticket.conversation_id == conversation.id, Ticket.status != TicketStatus.CLOSED)
        .values(status=TicketStatus.ASSIGNED, servicer_userid=conversation.servicer_userid, assigned_at=now)
    )


async def closed(session: AsyncSession, conversation: Conversation, *, now: datetime) -> None:
    """The session ended: so did the ticket."""
    await session.execute(
        sa.update(Ticket)
        .where(Ticket.conversation_id == conversation.id, Ticket.status != TicketStatus.CLOSED)
        .values(status=TicketStatus.CLOSED, closed_at=now)
    )
