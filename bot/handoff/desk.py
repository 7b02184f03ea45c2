"""What an agent does in desk mode: takes a ticket, answers within the window, closes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot import texts
from bot.dialogue.turn import TEXT_BYTES, cut
from bot.handoff import csat, queue
from bot.handoff.policy import Policy
from bot.handoff.queue import TicketClosed, TicketTaken
from bot.models.conversation import Conversation
from bot.models.handoff import StepKind, Ticket, TicketMode, TicketStatus
from bot.wecom import lanes, window
from crm.base import outbox
from crm.base.errors import Invalid, Refused

NOTE_CHARS = 1000


@dataclass(eq=False)
class WindowSpent(Refused):
    """Five messages went out since the customer's last one, or 48 hours are over: only their next word opens it."""

    code: ClassVar[str] = "window.spent"
    ticket_id: int


@dataclass(eq=False)
class NotAtDesk(Invalid):
    """This ticket is answered in the WeCom client, where the API may not write."""

    code: ClassVar[str] = "ticket.not_at_desk"
    ticket_id: int


@dataclass(eq=False)
class NothingSaid(Invalid):
    """An empty answer, or one too long for a message."""

    code: ClassVar[str] = "message.unsendable"


async def take(session: AsyncSession, ticket_id: int, *, staff: str, policy: Policy, now: datetime) -> Ticket:
    """The ticket is `staff`'s. Raises TicketTaken, TicketClosed, NotAtDesk."""
    conversation, _ = await _open(session, ticket_id)
    ticket = await queue.take(session, ticket_id, by=staff, now=now)
    await queue.silence_bot(session, conversation, now=now)
    for name, value in queue.has_it(ticket, staff, policy, now=now).items():
        setattr(ticket, name, value)
    return ticket


async def reply(
    session: AsyncSession, ticket_id: int, *, staff: str, text: str, key: str, policy: Policy, now: datetime
) -> window.Window:
    """Say `text` to the customer; returns what is left of the window. Writing to a ticket nobody has takes it.

    key: names this answer, so that a form sent twice is one message. Raises TicketTaken, TicketClosed, NotAtDesk,
    NothingSaid, WindowSpent.
    """
    words = check_words(text)
    conversation, ticket = await _open(session, ticket_id)
    if ticket.servicer_userid != staff:
        await take(session, ticket_id, staff=staff, policy=policy, now=now)
    left = await window.of(session, conversation, now=now)
    if not left.messages:
        raise WindowSpent(ticket_id)
    message = lanes.kf_message(
        queue.address(conversation),
        {"msgtype": "text", "text": {"content": words}},
        because=("desk", ticket_id, key),
        deadline=left.until,
        by_person=True,
    )
    if await outbox.put(session, [message], now=now):
        await queue.person_spoke(session, conversation.id, policy, by=staff, at=now, now=now)
    return await window.of(session, conversation, now=now)


def check_words(text: str) -> str:
    """What would be sent of `text`. Raises NothingSaid when it is nothing, or more than one message."""
    words = text.strip()
    if not words or len(cut(words, TEXT_BYTES)) > 1:
        raise NothingSaid
    return words


async def pass_on(
    session: AsyncSession, ticket_id: int, *, staff: str, to: str | None, policy: Policy, now: datetime
) -> None:
    """`staff` gives the ticket to a colleague, who is told; to None: to whoever takes it next.

    Raises TicketTaken when it is somebody else's, TicketClosed, NotAtDesk.
    """
    conversation, ticket = await _open(session, ticket_id)
    if ticket.servicer_userid not in (None, staff):
        raise TicketTaken(ticket_id, ticket.servicer_userid or "")
    await queue.step(session, ticket_id, StepKind.PASSED, now=now, by=staff, note=to or "")
    if to is None:
        ticket.status, ticket.servicer_userid = TicketStatus.WAITING, None
        await outbox.put(session, [queue.bring_again(conversation, ticket, without=(staff,), now=now)], now=now)
        return
    ticket.accepted_at = now
    for name, value in queue.has_it(ticket, to, policy, now=now).items():
        setattr(ticket, name, value)
    words = texts.STAFF_PASSED.format(number=ticket_id, quote=ticket.quote)
    message = {"msgtype": "text", "text": {"content": words}}
    because = ("passed", ticket_id, staff, to, now.isoformat())
    await outbox.put(session, [lanes.staff_message(message, because=because, userids=(to,))], now=now)


async def close(session: AsyncSession, ticket_id: int, *, staff: str, policy: Policy, now: datetime) -> None:
    """The talk is over: the bot answers the customer's next message, and the customer is asked how it was."""
    conversation, ticket = await _open(session, ticket_id)
    if ticket.servicer_userid not in (None, staff):
        raise TicketTaken(ticket_id, ticket.servicer_userid or "")
    closed = await queue.close(session, conversation, now=now, by=staff)
    if closed is not None:
        await outbox.put(session, await csat.ask_at_desk(session, conversation, closed, policy, now=now), now=now)


async def note(
    session: AsyncSession, ticket_id: int, *, staff: str, words: str, mentioned: Sequence[str] = (), now: datetime
) -> None:
    """A remark for colleagues; the customer never sees it. Those mentioned are told in WeCom. Raises NothingSaid."""
    remark = words.strip()
    if not remark:
        raise NothingSaid
    await queue.step(session, ticket_id, StepKind.NOTED, now=now, by=staff, note=remark[:NOTE_CHARS])
    if mentioned:
        told = {"msgtype": "text", "text": {"content": texts.STAFF_MENTIONED.format(number=ticket_id, words=remark)}}
        because = ("mentioned", ticket_id, staff, now.isoformat())
        await outbox.put(session, [lanes.staff_message(told, because=because, userids=tuple(mentioned))], now=now)


async def _open(session: AsyncSession, ticket_id: int) -> tuple[Conversation, Ticket]:
    """The ticket and its conversation, locked in the order in which the dialogue locks them."""
    conversation = await session.scalar(
        sa.select(Conversation)
        .join(Ticket, Ticket.conversation_id == Conversation.id)
        .where(Ticket.id == ticket_id)
        .with_for_update(of=Conversation, key_share=True)
    )
    ticket = await session.get(Ticket, ticket_id, with_for_update=True, populate_existing=True)
    if conversation is None or ticket is None or ticket.status is TicketStatus.CLOSED:
        raise TicketClosed(ticket_id)
    if ticket.mode is not TicketMode.DESK:
        raise NotAtDesk(ticket_id)
    return conversation, ticket
