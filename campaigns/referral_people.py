"""What merges, leavings and erasures mean for invitations: a person is invited once, and not by themselves."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import referral_checks, referral_links, referral_programmes, referrals
from campaigns.models.referral import (
    LIVE,
    CameBy,
    InviteStatus,
    ReferralInvitation,
    ReferralLink,
    ReferralProgramme,
    ReferralReward,
    ReferralStanding,
)
from crm import contacts
from crm.base.db import insert
from crm.models.member import Member

NO_SYNC = {"synchronize_session": False}
FRESH = {"populate_existing": True}


async def follow_people(session: AsyncSession, *member_ids: int) -> None:
    """After a merge, or its undoing, every row is of whoever it was made for is now; standings are counted anew."""
    for table, column, made_for in (
        (ReferralLink, ReferralLink.member_id, ReferralLink.made_for_id),
        (ReferralReward, ReferralReward.member_id, ReferralReward.made_for_id),
        (ReferralInvitation, ReferralInvitation.inviter_id, ReferralInvitation.inviter_as_id),
        (ReferralInvitation, ReferralInvitation.invitee_id, ReferralInvitation.invitee_as_id),
    ):
        now_is = sa.select(sa.func.coalesce(Member.merged_into_id, Member.id)).where(Member.id == made_for)
        moved = sa.update(table).where(column.in_(member_ids)).values({column.key: now_is.scalar_subquery()})
        await session.execute(moved, execution_options=NO_SYNC)
    await _count_anew(session, member_ids)


async def _count_anew(session: AsyncSession, member_ids: tuple[int, ...]) -> None:
    theirs = ReferralStanding.member_id.in_(member_ids)
    await session.execute(sa.delete(ReferralStanding).where(theirs), execution_options=NO_SYNC)
    one = ReferralInvitation
    counted = (
        sa.select(one.programme_id, one.inviter_id, sa.func.count(), sa.func.max(one.counted_at))
        .where(one.inviter_id.in_(member_ids), one.status == InviteStatus.COUNTED)
        .group_by(one.programme_id, one.inviter_id)
    )
    columns = ["programme_id", "member_id", "counted", "reached_at"]
    await session.execute(insert(session, ReferralStanding).from_select(columns, counted))


async def judge_merged(session: AsyncSession, kept_id: int, *, because: str, now: datetime) -> None:
    """What a merge reveals: an inviter who is their own invitee, one person invited twice, a newcomer who is none.

    Inviting oneself is looked at by a person; the other two are plain facts.
    """
    mine = sa.or_(ReferralInvitation.inviter_id == kept_id, ReferralInvitation.invitee_id == kept_id)
    live = sa.select(ReferralInvitation).where(mine, ReferralInvitation.status.in_(LIVE))
    found = list(await session.scalars(live.order_by(ReferralInvitation.id).execution_options(**FRESH)))
    for one in found:
        if one.inviter_id == one.invitee_id:
            evidence = {"because": because, "as": [one.inviter_as_id, one.invitee_as_id]}
            await referral_checks.open_review(session, one, "same_person", evidence, now=now)
    came = [one for one in found if one.invitee_id == kept_id != one.inviter_id]
    for place, one in enumerate(came):
        programme = await session.get_one(ReferralProgramme, one.programme_id)
        terms = referral_programmes.terms_of(programme)
        if place or not await referral_links.is_new(session, terms, kept_id, at=one.invited_at):
            await referrals.end(session, one, why="invited_before" if place else "not_new", now=now)


async def left(session: AsyncSession, member_id: int, *, ended_at: datetime, now: datetime) -> None:
    """Who came by a contact way and has none of us any more, sooner than the programme asks, does not count."""
    one = await referrals.find_live(session, member_id)
    if one is None or one.came_by is not CameBy.CONTACT_WAY or await contacts.open_of(session, one.invitee_id):
        return
    programme = await session.get_one(ReferralProgramme, one.programme_id)
    if ended_at < one.invited_at + referral_programmes.terms_of(programme).stay:
        await referrals.end_held(session, one.id, why="left", now=now)


async def erased(session: AsyncSession, member_id: int, *, now: datetime) -> None:
    """What an erased person had not brought to its end is over; what others got for them stays theirs."""
    waits = (InviteStatus.JOINED, InviteStatus.BOUGHT)
    mine = sa.select(ReferralInvitation.id).where(
        ReferralInvitation.invitee_id == member_id, ReferralInvitation.status.in_(waits)
    )
    for invitation_id in sorted(await session.scalars(mine)):
        await referrals.end_held(session, invitation_id, why="erased", now=now)
