"""Members' invite links, and who comes by them: once a person, and only who is new."""

import random
import secrets
from collections.abc import Collection
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import referral_programmes
from campaigns.models.referral import CameBy, InviteStatus, ReferralInvitation, ReferralLink, ReferralProgramme
from campaigns.referral_facts import InviteAttempted, LinkClosed, LinkNotFound, MemberInvited
from campaigns.referral_rules import Terms
from crm import holds
from crm.base import events
from crm.base.db import insert
from crm.base.errors import Busy
from crm.base.ids import code as fresh_code
from crm.holds import PersonErased
from crm.models.member import Member
from crm.models.order import Order

CHANCE = secrets.SystemRandom()
FRESH = {"populate_existing": True}
CODE_ATTEMPTS = 5
JUST_CAME = timedelta(days=1)  # who is known for longer than this when they are invited is not new


# Links


async def link_of(
    session: AsyncSession, member_id: int, *, now: datetime, chance: random.Random = CHANCE
) -> ReferralLink:
    """A member's own link, made when it is asked for the first time. Raises PersonErased."""
    held = await holds.hold_one(session, member_id)
    if held.is_erased:
        raise PersonErased
    mine = sa.select(ReferralLink).where(ReferralLink.member_id == held.member_id, ReferralLink.closed_at.is_(None))
    for _ in range(CODE_ATTEMPTS):
        if known := await session.scalar(mine.order_by(ReferralLink.id).limit(1)):
            return known
        row = {"code": fresh_code(chance), "member_id": held.member_id, "made_for_id": held.member_id, "made_at": now}
        await session.execute(insert(session, ReferralLink).values(**row).on_conflict_do_nothing())
    raise Busy


async def find_link(session: AsyncSession, code: str) -> ReferralLink:
    """The link with this code, in whatever case it was typed. Raises LinkNotFound, LinkClosed."""
    typed = code.strip().upper()
    link = await session.scalar(sa.select(ReferralLink).where(ReferralLink.code == typed).execution_options(**FRESH))
    if link is None:
        raise LinkNotFound(typed[:8])
    if link.closed_at is not None:
        raise LinkClosed
    return link


# Who comes


async def invite(
    session: AsyncSession,
    code: str,
    invitee_id: int,
    *,
    came_by: CameBy,
    at: datetime,
    programme_id: int | None = None,
    now: datetime,
) -> ReferralInvitation:
    """Somebody came by this code at `at`. The same person again gets the same row.

    Who is not new, or came by their own link, gets a REFUSED row that says why: such attempts tell of rings.
    Raises LinkNotFound, LinkClosed, NothingOpen, PersonErased; nothing is written then.
    """
    link = await find_link(session, code)
    programme = await referral_programmes.get_open(session, programme_id, at=at)
    people = await hold_all(session, [link.member_id, invitee_id])
    inviter_id, invitee_id = people[link.member_id], people[invitee_id]
    if (known := await _known(session, link, invitee_id)) is not None:
        return known
    why = await _why_not(session, programme, inviter_id, invitee_id, at=at)
    row = insert(session, ReferralInvitation).values(
        programme_id=programme.id,
        link_id=link.id,
        inviter_id=inviter_id,
        inviter_as_id=inviter_id,
        invitee_id=invitee_id,
        invitee_as_id=invitee_id,
        came_by=came_by,
        status=InviteStatus.REFUSED if why else InviteStatus.JOINED,
        why=why,
        is_held=False,
        invited_at=at,
        lapses_at=at + referral_programmes.terms_of(programme).order_within,
        ended_at=now if why else None,
    )
    made: ReferralInvitation | None = await session.scalar(row.on_conflict_do_nothing().returning(ReferralInvitation))
    if made is None:  # came by two links at once, and the other one was quicker: look again
        raise Busy(retry_after=0.1)
    await events.append(session, _told(made), now=now)
    return made


def _told(made: ReferralInvitation) -> MemberInvited | InviteAttempted:
    who = {"invitation_id": made.id, "member_id": made.invitee_id, "inviter_id": made.inviter_id}
    if made.status is InviteStatus.REFUSED:
        return InviteAttempted(**who, why=made.why)
    return MemberInvited(**who, came_by=made.came_by)


async def _known(session: AsyncSession, link: ReferralLink, invitee_id: int) -> ReferralInvitation | None:
    """What this person already has of this link."""
    theirs = sa.or_(ReferralInvitation.invitee_id == invitee_id, ReferralInvitation.invitee_as_id == invitee_id)
    same = sa.select(ReferralInvitation).where(ReferralInvitation.link_id == link.id, theirs)
    found: ReferralInvitation | None = await session.scalar(
        same.order_by(ReferralInvitation.id).limit(1).execution_options(**FRESH)
    )
    return found


async def _why_not(
    session: AsyncSession, programme: ReferralProgramme, inviter_id: int, invitee_id: int, *, at: datetime
) -> str:
    """Why somebody cannot be invited; empty: they can."""
    if inviter_id == invitee_id:
        return "own_link"
    before = (ReferralInvitation.invitee_id == invitee_id, ReferralInvitation.status != InviteStatus.REFUSED)
    if await session.scalar(sa.select(ReferralInvitation.id).where(*before).limit(1)):
        return "invited_before"
    if not await is_new(session, referral_programmes.terms_of(programme), invitee_id, at=at):
        return "not_new"
    return ""


async def is_new(session: AsyncSession, terms: Terms, member_id: int, *, at: datetime) -> bool:
    """Whether somebody was new at this instant: never bought before; and, unless the terms say so, not known before."""
    bought = sa.select(Order.id).where(Order.member_id == member_id, Order.paid_at < at, Order.paid_fen > 0).limit(1)
    if await session.scalar(bought) is not None:
        return False
    if terms.newcomer == "bought":
        return True
    joined_at = await session.scalar(sa.select(Member.joined_at).where(Member.id == member_id))
    return joined_at is not None and joined_at >= at - JUST_CAME


async def hold_all(session: AsyncSession, member_ids: Collection[int]) -> dict[int, int]:
    """Hold people, the older first; returns who each is by now. Raises PersonErased for one who was erased."""
    found: dict[int, int] = {}
    for member_id in sorted(set(member_ids)):
        held = await holds.hold_one(session, member_id)
        if held.is_erased:
            raise PersonErased
        found[member_id] = held.member_id
    return found
