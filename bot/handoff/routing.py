"""Who gets a ticket: among those who are receiving, by room, own customer, knowledge of the topic, and turn."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.handoff.policy import Policy
from bot.handoff.queue import OPEN
from bot.models.gateway import KfAccount
from bot.models.handoff import Ticket, TicketStatus
from crm.models.member import Contact, Staff

NEVER = datetime.min.replace(tzinfo=UTC)


def choose(
    candidates: Collection[str],
    *,
    load: Mapping[str, int],
    last: Mapping[str, datetime],
    own: Sequence[str],
    skilled: Collection[str],
    capacity: int,
) -> str | None:
    """The servicer whose turn it is; None when nobody has room.

    Only those with fewer than `capacity` open tickets. First who knows the customer (in the order of `own`: who served
    them last, then whose contact they are), then who knows the topic, then who got a ticket longest ago.
    """
    free = [one for one in candidates if load.get(one, 0) < capacity]
    place = {userid: number for number, userid in reversed(list(enumerate(own)))}
    return min(
        free,
        key=lambda one: (place.get(one, len(own)), one not in skilled, last.get(one, NEVER), one),
        default=None,
    )


async def reserve(
    session: AsyncSession, ticket_id: int, open_kfid: str, candidates: Sequence[str], policy: Policy, *, now: datetime
) -> str | None:
    """Choose a servicer and put the ticket in their name, before WeCom is asked; None: nobody has room.

    The account's row is locked, so two tickets reserved at once see each other and nobody gets more than they can hold.
    """
    await session.execute(sa.select(KfAccount.open_kfid).where(KfAccount.open_kfid == open_kfid).with_for_update())
    ticket = await session.get(Ticket, ticket_id, populate_existing=True, with_for_update=True)
    if ticket is None or ticket.status is TicketStatus.CLOSED or not candidates:
        return None
    load, last = await _loads(session, candidates, but=ticket_id)
    chosen = choose(
        candidates,
        load=load,
        last=last,
        own=await _own(session, ticket),
        skilled=policy.skills.get(ticket.skill, ()),
        capacity=policy.capacity,
    )
    if chosen is not None:
        ticket.servicer_userid, ticket.assigned_at = chosen, now
    return chosen


async def _loads(
    session: AsyncSession, userids: Sequence[str], *, but: int
) -> tuple[dict[str, int], dict[str, datetime]]:
    """How many open tickets each has, and when each last got one."""
    rows = await session.execute(
        sa.select(
            Ticket.servicer_userid,
            sa.func.sum(sa.case((OPEN, 1), else_=0)),
            sa.func.max(Ticket.assigned_at, type_=Ticket.assigned_at.type),
        )
        .where(Ticket.servicer_userid.in_(userids), Ticket.id != but)
        .group_by(Ticket.servicer_userid)
    )
    found = rows.all()
    return {row[0]: int(row[1]) for row in found}, {row[0]: row[2] for row in found if row[2] is not None}


async def _own(session: AsyncSession, ticket: Ticket) -> list[str]:
    """Who served this customer last, then the staff in whose contacts they are."""
    served = await session.scalars(
        sa.select(Ticket.servicer_userid)
        .where(
            Ticket.conversation_id == ticket.conversation_id,
            Ticket.id != ticket.id,
            Ticket.servicer_userid.is_not(None),
            Ticket.first_response_at.is_not(None),
        )
        .order_by(Ticket.id.desc())
        .limit(1)
    )
    followers = await session.scalars(
        sa.select(Staff.userid)
        .join(Contact, Contact.staff_id == Staff.id)
        .where(Contact.member_id == ticket.member_id, Contact.ended_at.is_(None))
        .order_by(Contact.added_at.desc())
    )
    return [one for one in [*served.all(), *followers.all()] if one]
