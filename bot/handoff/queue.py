"""Tickets: opened, assigned, taken, answered, closed. One open ticket per conversation, whoever races for it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.handoff.policy import Policy
from bot.handoff.sla import COMPLAINTS
from bot.handoff.triggers import Reason
from bot.models.conversation import Conversation
from bot.models.handoff import StepKind, Ticket, TicketMode, TicketStatus, TicketStep
from bot.wecom import lanes
from campaigns import brakes
from crm.base import outbox
from crm.base.db import insert
from crm.base.errors import Refused
from crm.base.outbox import Message, OutboxRow

QUOTE_CHARS = 500
LOST_AFTER = timedelta(minutes=5)  # longer than the sender tries a message without an answer
OPEN = Ticket.status != TicketStatus.CLOSED


@dataclass(eq=False)
class TicketTaken(Refused):
    """Somebody else has it."""

    code: ClassVar[str] = "ticket.taken"
    ticket_id: int
    by: str


@dataclass(eq=False)
class TicketClosed(Refused):
    """It is over."""

    code: ClassVar[str] = "ticket.closed"
    ticket_id: int


@dataclass(frozen=True, slots=True)
class Called:
    """What a call for a person led to: the open ticket, and what leaves because of the call."""

    ticket: Ticket
    messages: tuple[Message, ...]
    is_new: bool


def address(conversation: Conversation) -> lanes.KfAddress:
    """Where messages of this conversation go."""
    return lanes.KfAddress(
        conversation.id, conversation.open_kfid, conversation.external_userid, conversation.member_id
    )


async def call(
    session: AsyncSession,
    conversation: Conversation,
    policy: Policy,
    *,
    reason: Reason,
    quote: str,
    now: datetime,
    skill: str = "",
) -> Called:
    """Record that this customer needs a person, start the clocks, silence the bot, and bring the session over.

    The unique index over open tickets is the guard: of two calls one opens. Answers that wait are taken back: they
    would come after the person.
    """
    mode = policy.mode_of(conversation.open_kfid)
    promise, priority = policy.promises.of(reason), policy.promises.priority_of(reason)
    first = policy.promises.deadline(promise.first_response, since=now)
    resolution = policy.promises.deadline(promise.resolution, since=now)
    statement = insert(session, Ticket).values(
        conversation_id=conversation.id,
        member_id=conversation.member_id,
        reason=reason,
        quote=quote[:QUOTE_CHARS],
        mode=mode,
        priority=priority,
        skill=skill[:40],
        status=TicketStatus.WAITING,
        offers=1,
        opened_at=now,
        waiting_since=now,
        first_response_warn_at=first.warn_at,
        first_response_due_at=first.due_at,
        resolution_warn_at=resolution.warn_at,
        resolution_due_at=resolution.due_at,
        retry_at=_lost_at(mode, now),
        check_at=now,
    )
    ticket_id = (await session.scalars(statement.on_conflict_do_nothing().returning(Ticket.id))).first()
    conversation.misses, conversation.missed_at = 0, None
    if ticket_id is None:
        return await _call_again(session, conversation, asked=reason is Reason.ASKED_FOR, now=now)
    conversation.human_wanted_at = conversation.human_wanted_at or now
    await hush(session, conversation, now=now)
    ticket = await session.get_one(Ticket, ticket_id)
    await step(session, ticket_id, StepKind.OPENED, now=now, note=reason)
    if reason in COMPLAINTS and ticket.member_id is not None:
        ref = brake_of(ticket_id)
        await brakes.hold_member(session, ticket.member_id, ref=ref, reason=brakes.COMPLAINT, now=now)
    if not policy.hours.is_open(now):
        await step(session, ticket_id, StepKind.PROMISED, now=now, note=first.due_at.isoformat())
    return Called(ticket, (lanes.handoff(address(conversation), ticket_id, round_no=1),), is_new=True)


async def _call_again(session: AsyncSession, conversation: Conversation, *, asked: bool, now: datetime) -> Called:
    """The ticket is open already. When nobody could take it and the customer asks again, it is tried again at once."""
    ticket = await _locked(session, conversation.id)
    if ticket is None:  # closed this very moment
        raise TicketClosed(0)
    if not asked or conversation.human_wanted_at is not None:
        return Called(ticket, (), is_new=False)
    conversation.human_wanted_at, ticket.status = now, TicketStatus.WAITING  # the bot was asked, so nobody has them
    return Called(ticket, (bring_again(conversation, ticket, now=now),), is_new=False)


async def silence_bot(session: AsyncSession, conversation: Conversation, *, now: datetime) -> None:
    """A person answers from here on, by the same API: the bot says nothing, and takes back what it meant to say."""
    if conversation.human_wanted_at is None:
        conversation.human_wanted_at = now
        await hush(session, conversation, now=now)


async def hush(session: AsyncSession, conversation: Conversation, *, now: datetime) -> int:
    """Take back what the bot still meant to say; what a sender has in hand is refused by WeCom once a person holds."""
    key = address(conversation).key
    return await outbox.cancel(
        session, OutboxRow.lane == lanes.KF, OutboxRow.key == key, reason="a person takes over", now=now
    )


async def step(
    session: AsyncSession,
    ticket_id: int,
    kind: StepKind,
    *,
    now: datetime,
    by: str = "",
    note: str = "",
    once: str | None = None,
) -> bool:
    """Write down what happened; False when a step with this `once` key was written before."""
    row = {"ticket_id": ticket_id, "kind": kind, "at": now, "by": by, "note": note, "once": once}
    written = insert(session, TicketStep).values(row).on_conflict_do_nothing().returning(TicketStep.id)
    return (await session.scalars(written)).first() is not None


# What happens to it


async def assigned(session: AsyncSession, conversation: Conversation, policy: Policy, *, now: datetime) -> None:
    """A servicer has the session now, by their own hand."""
    ticket = await _locked(session, conversation.id)
    who = conversation.servicer_userid
    if ticket is None or who is None:
        return
    if ticket.status is not TicketStatus.ASSIGNED or ticket.servicer_userid != who:
        await step(session, ticket.id, StepKind.ASSIGNED, now=now, by=who)
    for name, value in has_it(ticket, who, policy, now=now).items():
        setattr(ticket, name, value)


def has_it(ticket: Ticket, servicer_userid: str, policy: Policy, *, now: datetime) -> dict[str, object]:
    """The columns of a ticket that `servicer_userid` has from now on; while the customer waits, silence is timed."""
    silence_at = policy.hours.add(now, policy.silence) if ticket.waiting_since is not None else None
    return {
        "status": TicketStatus.ASSIGNED,
        "servicer_userid": servicer_userid,
        "assigned_at": now,
        "silence_at": silence_at,
        "retry_at": None,
        "check_at": now,
    }


async def person_spoke(
    session: AsyncSession, conversation_id: int, policy: Policy, *, by: str, at: datetime, now: datetime
) -> None:
    """A person answered the customer: the first response is given, and the clock of the resolution pauses."""
    ticket = await _locked(session, conversation_id)
    if ticket is None:
        return
    at = max(at, ticket.opened_at)  # WeCom tells whole seconds
    if ticket.first_response_at is None:
        ticket.first_response_at = at
        await step(session, ticket.id, StepKind.ANSWERED, now=at, by=by)
    ticket.accepted_at = ticket.accepted_at or at
    ticket.waiting_since = ticket.silence_at = None
    if ticket.resolution_due_at is not None:
        target = policy.promises.of(ticket.reason).resolution
        left = policy.promises.left(target, due_at=ticket.resolution_due_at, now=now)
        ticket.resolution_left_seconds = int(left.total_seconds())
        ticket.resolution_due_at = ticket.resolution_warn_at = None
    ticket.check_at = now


async def customer_spoke(session: AsyncSession, conversation_id: int, policy: Policy, *, now: datetime) -> None:
    """The customer answered: the clock of the resolution runs on, and somebody's silence is timed again."""
    ticket = await _locked(session, conversation_id)
    if ticket is None or ticket.waiting_since is not None:
        return
    ticket.waiting_since, ticket.check_at = now, now
    ticket.silence_at = policy.hours.add(now, policy.silence)
    if ticket.resolution_left_seconds is not None:
        target = policy.promises.of(ticket.reason).resolution
        left = timedelta(seconds=ticket.resolution_left_seconds)
        deadline = policy.promises.deadline(target, since=now, left=left)
        ticket.resolution_left_seconds = None
        ticket.resolution_warn_at, ticket.resolution_due_at = deadline.warn_at, deadline.due_at


async def take(session: AsyncSession, ticket_id: int, *, by: str, now: datetime) -> Ticket:
    """接单: the ticket is `by`'s, once. Raises TicketTaken or TicketClosed; taking one's own again is no error.

    The WHERE clause is the guard: of any number of agents who press at once, one matches the row.
    """
    won = await session.scalar(
        sa.update(Ticket)
        .where(Ticket.id == ticket_id, OPEN, Ticket.accepted_at.is_(None))
        .values(accepted_at=now, servicer_userid=by, check_at=now)
        .returning(Ticket)
        .execution_options(populate_existing=True)
    )
    if won is not None:
        await step(session, ticket_id, StepKind.ACCEPTED, now=now, by=by)
        return won
    ticket = await session.get(Ticket, ticket_id, populate_existing=True)
    if ticket is None or ticket.status is TicketStatus.CLOSED:  # None: the customer was erased
        raise TicketClosed(ticket_id)
    if ticket.servicer_userid != by:
        raise TicketTaken(ticket_id, ticket.servicer_userid or "")
    return ticket


async def give_back(session: AsyncSession, ticket_id: int, *, by: str, now: datetime) -> None:
    """`by` could not have it after all: anybody may take it again."""
    await session.execute(
        sa.update(Ticket)
        .where(Ticket.id == ticket_id, OPEN, Ticket.servicer_userid == by, Ticket.first_response_at.is_(None))
        .values(accepted_at=None, check_at=now)
    )


async def close(session: AsyncSession, conversation: Conversation, *, now: datetime, by: str = "") -> Ticket | None:
    """The talk with a person is over: the next message is the bot's. Returns the ticket that was open."""
    conversation.human_wanted_at = None
    ticket = await _locked(session, conversation.id)
    if ticket is None:
        return None
    ticket.status, ticket.closed_at = TicketStatus.CLOSED, now
    ticket.silence_at = ticket.retry_at = ticket.check_at = None
    await step(session, ticket.id, StepKind.CLOSED, now=now, by=by)
    await brakes.lift(session, brake_of(ticket.id), now=now)
    return ticket


def brake_of(ticket_id: int) -> str:
    """Under which a complaint keeps marketing away from its member, until it is closed."""
    return f"ticket:{ticket_id}"


def bring_again(conversation: Conversation, ticket: Ticket, *, without: tuple[str, ...] = (), now: datetime) -> Message:
    """Bring a ticket to somebody once more, but not to those `without`; anybody may take it again."""
    ticket.offers += 1
    ticket.accepted_at = ticket.silence_at = None
    ticket.retry_at = _lost_at(ticket.mode, now)
    ticket.check_at = now
    return lanes.handoff(address(conversation), ticket.id, round_no=ticket.offers, without=without)


def _lost_at(mode: TicketMode, now: datetime) -> datetime | None:
    """When a try of which nothing was heard counts as lost, so that nobody waits in silence for ever."""
    return now + LOST_AFTER if mode is TicketMode.NATIVE else None


async def _locked(session: AsyncSession, conversation_id: int) -> Ticket | None:
    found: Ticket | None = await session.scalar(
        sa.select(Ticket)
        .where(Ticket.conversation_id == conversation_id, OPEN)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return found
