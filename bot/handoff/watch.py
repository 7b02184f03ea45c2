"""The watch over tickets: warns, escalates once, moves a ticket on from whoever is silent, tries again, reminds.

Everything due is decided from the row and written with it; steps have keys, so two watches do nothing twice.
"""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot import texts
from bot.app import App
from bot.handoff import csat, queue
from bot.handoff.hours import say_when
from bot.metrics import ALERTS
from bot.models.conversation import Conversation
from bot.models.handoff import StepKind, Ticket, TicketMode, TicketStatus
from bot.wecom import lanes
from bot.wecom.window import WINDOW
from crm import staff
from crm.base import outbox
from crm.base.outbox import Message
from crm.models.member import Member

TOGETHER = 50
LOOK_EVERY = 1.0  # seconds; a look without work is one query on a small index


class Watch:
    """A loop of every worker; rows locked by one are skipped by the others."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def run(self) -> None:
        """Forever: look for tickets with something due."""
        while True:
            if not await self.tick():
                await self._app.peers.wait("sla", seconds=LOOK_EVERY)

    async def tick(self) -> int:
        """Do what is due now; returns how many tickets were looked at."""
        now = self._app.clock.now()
        if not await self._something_is_due(now):
            return 0
        async with self._app.sessions.begin() as session:
            tickets = await _due(session, now=now)
            for ticket in tickets:
                await self._look_at(session, ticket, now=now)
        if tickets:
            self._app.peers.tap("send")
        return len(tickets)

    async def _something_is_due(self, now: datetime) -> bool:
        """A look that takes no turn among the writers."""
        async with self._app.sessions.read() as session:
            return await session.scalar(sa.select(Ticket.id).where(Ticket.check_at <= now).limit(1)) is not None

    async def _look_at(self, session: AsyncSession, ticket: Ticket, *, now: datetime) -> None:
        conversation = await session.get_one(Conversation, ticket.conversation_id)
        if ticket.status is TicketStatus.CLOSED:
            messages = await self._remind(session, conversation, ticket, now=now)
        else:
            messages = await self._alarms(session, conversation, ticket, now=now)
            messages += await self._silence(session, conversation, ticket, now=now)
            messages += self._retry(conversation, ticket, now=now)
            ticket.check_at = next_check(ticket, now=now)
        await outbox.put(session, messages, now=now)

    async def _alarms(
        self, session: AsyncSession, conversation: Conversation, ticket: Ticket, *, now: datetime
    ) -> list[Message]:
        found: list[Message] = []
        for clock, (warn_at, due_at) in running_clocks(ticket).items():
            if due_at is not None and due_at <= now:
                kind, at = StepKind.BREACHED, due_at
            elif warn_at is not None and warn_at <= now and due_at is not None:
                kind, at = StepKind.WARNED, due_at
            else:
                continue
            if await queue.step(session, ticket.id, kind, now=now, note=clock, once=f"{clock}:{kind}"):
                found.append(await self._alarm(session, conversation, ticket, kind, clock, at, now=now))
        return found

    async def _alarm(
        self,
        session: AsyncSession,
        conversation: Conversation,
        ticket: Ticket,
        kind: StepKind,
        clock: str,
        at: datetime,
        *,
        now: datetime,
    ) -> Message:
        """A warning goes to who has the ticket, a breach to the supervisors; without a name, to all servicers."""
        breached = kind is StepKind.BREACHED
        if breached:
            ALERTS.labels(f"sla_{clock}").inc()
        who = ticket.servicer_userid or ""
        words = (texts.SLA_BREACHED if breached else texts.SLA_WARNED).format(
            number=ticket.id,
            customer=await _name_of(session, ticket),
            reason=texts.REASONS.get(ticket.reason, ticket.reason),
            clock=texts.SLA_CLOCKS[clock],
            when=say_when(at, now=now),
            who=await staff.name_of(session, who) or who or "无人",
        )
        named = self._app.handoff.supervisors if breached else tuple(filter(None, [who]))
        return lanes.staff_message(
            {"msgtype": "text", "text": {"content": words}},
            because=("sla", ticket.id, clock, kind),
            userids=named,
            open_kfid=conversation.open_kfid,
            about=ticket.member_id,
        )

    async def _silence(
        self, session: AsyncSession, conversation: Conversation, ticket: Ticket, *, now: datetime
    ) -> list[Message]:
        """Whoever has not answered in time loses the ticket, a limited number of times."""
        if ticket.silence_at is None or ticket.silence_at > now or ticket.status is not TicketStatus.ASSIGNED:
            return []
        silent, ticket.silence_at = ticket.servicer_userid or "", None
        if ticket.offers > self._app.handoff.reassigns:
            return []
        await queue.step(session, ticket.id, StepKind.REASSIGNED, now=now, by=silent, once=f"silent:{ticket.offers}")
        if ticket.mode is TicketMode.DESK:
            ticket.status, ticket.servicer_userid = TicketStatus.WAITING, None
        return [queue.bring_again(conversation, ticket, without=(silent,), now=now)]

    def _retry(self, conversation: Conversation, ticket: Ticket, *, now: datetime) -> list[Message]:
        if ticket.retry_at is None or ticket.retry_at > now or ticket.status is TicketStatus.ASSIGNED:
            return []
        return [queue.bring_again(conversation, ticket, now=now)]

    async def _remind(
        self, session: AsyncSession, conversation: Conversation, ticket: Ticket, *, now: datetime
    ) -> list[Message]:
        """Once, if there is no rating and the customer's window is open; a new ticket is no time to ask."""
        ticket.check_at = None
        heard = conversation.last_customer_at
        if ticket.csat_score is not None or heard is None or now >= heard + WINDOW:
            return []
        if conversation.human_wanted_at is not None:
            return []
        asked = await queue.step(session, ticket.id, StepKind.ASKED, now=now, note="reminder", once="csat_reminder")
        return [csat.reminder(conversation, ticket)] if asked else []


def running_clocks(ticket: Ticket) -> dict[str, tuple[datetime | None, datetime | None]]:
    """The clocks that run: when each warns and when it is broken."""
    clocks = {"resolution": (ticket.resolution_warn_at, ticket.resolution_due_at)}
    if ticket.first_response_at is None:
        clocks["first_response"] = (ticket.first_response_warn_at, ticket.first_response_due_at)
    return clocks


def next_check(ticket: Ticket, *, now: datetime) -> datetime | None:
    """The next instant at which something may be due on an open ticket."""
    instants = [ticket.silence_at, ticket.retry_at]
    for pair in running_clocks(ticket).values():
        instants += pair
    return min((at for at in instants if at is not None and at > now), default=None)


async def _due(session: AsyncSession, *, now: datetime) -> Sequence[Ticket]:
    return (
        await session.scalars(
            sa.select(Ticket)
            .where(Ticket.check_at <= now)
            .order_by(Ticket.check_at, Ticket.id)
            .limit(TOGETHER)
            .with_for_update(skip_locked=True)
        )
    ).all()


async def _name_of(session: AsyncSession, ticket: Ticket) -> str:
    member = await session.get(Member, ticket.member_id) if ticket.member_id is not None else None
    return member.name if member is not None and member.name else "未具名客户"
