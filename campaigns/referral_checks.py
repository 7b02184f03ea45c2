"""What looks odd about an invitation waits for a person, with the evidence: one person, one address, rings, bursts.

While a review is open nothing is paid. Evidence is numbers and instants, no names: who may see names sees them on the
member's card.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import referral_programmes, referrals
from campaigns.models.referral import (
    LIVE,
    InviteStatus,
    ReferralInvitation,
    ReferralProgramme,
    ReferralReview,
)
from campaigns.referral_facts import InvitationDue, ReviewNotOpen, ReviewOpened
from crm import addresses, holds
from crm.base import events
from crm.base.db import insert

FRESH = {"populate_existing": True}
LONGEST_RING = 20  # hops walked up from an inviter
MOST_FRIENDS = 1_000  # of one inviter, compared with one friend
APPROVED, REFUSED = "approved", "refused"


# Reads


async def open_reviews(session: AsyncSession, *, limit: int = 200) -> list[tuple[ReferralReview, ReferralInvitation]]:
    """What waits for a person, the oldest first."""
    rows = await session.execute(
        sa.select(ReferralReview, ReferralInvitation)
        .join(ReferralInvitation, ReferralInvitation.id == ReferralReview.invitation_id)
        .where(ReferralReview.verdict.is_(None))
        .order_by(ReferralReview.opened_at, ReferralReview.id)
        .limit(limit)
        .execution_options(**FRESH)
    )
    return [(review, invitation) for review, invitation in rows]


# Looking


async def screen(session: AsyncSession, invitation: ReferralInvitation, *, now: datetime) -> None:
    """Look at a new invitation, or at an attempt that was refused."""
    await _ring(session, invitation, now=now)
    if invitation.status in LIVE:
        await _burst(session, invitation, now=now)


async def compare_addresses(session: AsyncSession, one: ReferralInvitation, *, now: datetime) -> None:
    """Who gets parcels where their inviter does, or another friend of theirs: a family perhaps, so a person looks."""
    others = sa.select(ReferralInvitation.invitee_id).where(
        ReferralInvitation.inviter_id == one.inviter_id, ReferralInvitation.status.in_(LIVE)
    )
    among = [one.inviter_id, *(await session.scalars(others.limit(MOST_FRIENDS)))]
    if found := await addresses.neighbours(session, one.invitee_id, among):
        evidence = {"with": "inviter" if one.inviter_id in found else "friend", "members": found}
        await open_review(session, one, "same_address", evidence, now=now)


async def _burst(session: AsyncSession, one: ReferralInvitation, *, now: datetime) -> None:
    programme = await session.get_one(ReferralProgramme, one.programme_id)
    burst = referral_programmes.terms_of(programme).burst
    since = one.invited_at - burst.within
    lately = (
        ReferralInvitation.inviter_id == one.inviter_id,
        ReferralInvitation.status != InviteStatus.REFUSED,
        ReferralInvitation.invited_at > since,
        ReferralInvitation.invited_at <= one.invited_at,
    )
    facts = sa.select(sa.func.count(), sa.func.min(ReferralInvitation.invited_at)).where(*lately)
    found = (await session.execute(facts)).one()
    if found[0] > burst.most:
        evidence = {"invited": found[0], "since": found[1].isoformat(), "until": one.invited_at.isoformat()}
        evidence |= {"within_seconds": int(burst.within.total_seconds()), "most": burst.most}
        await open_review(session, one, "burst", evidence, now=now)


async def _ring(session: AsyncSession, one: ReferralInvitation, *, now: datetime) -> None:
    """Whoever came by this link once brought, over others, the very person whose link it is."""
    path = await _path_up(session, one.inviter_id, to=one.invitee_id)
    if not path:
        return
    circle = [one.invitee_id, *(step.invitee_id for step in reversed(path))]
    evidence = {"members": circle, "invitations": [step.id for step in path], "closed_by": one.id, "why": one.why}
    for step in path:
        await open_review(session, step, "ring", evidence, now=now)
    if one.status in LIVE:
        await open_review(session, one, "ring", evidence, now=now)


async def _path_up(session: AsyncSession, member_id: int, *, to: int) -> list[ReferralInvitation]:
    """The invitations that lead from a member up to another one, the lowest first; empty when they do not."""
    path: list[ReferralInvitation] = []
    seen = {member_id}
    while len(path) < LONGEST_RING:
        mine = (ReferralInvitation.invitee_id == member_id, ReferralInvitation.status != InviteStatus.REFUSED)
        step = await session.scalar(
            sa.select(ReferralInvitation)
            .where(*mine)
            .order_by(ReferralInvitation.id)
            .limit(1)
            .execution_options(**FRESH)
        )
        if step is None:
            return []
        path.append(step)
        member_id = step.inviter_id
        if member_id == to:
            return path
        if member_id in seen:
            return []
        seen.add(member_id)
    return []


async def open_review(
    session: AsyncSession, one: ReferralInvitation, kind: str, evidence: dict[str, Any], *, now: datetime
) -> bool:
    """Hold an invitation until a person has looked; once for each kind. False: that was looked at, or it is over."""
    if one.status not in LIVE:
        return False
    row = insert(session, ReferralReview).values(
        invitation_id=one.id, kind=kind, evidence=evidence, opened_at=now, decided_by="", note=""
    )
    review_id = await session.scalar(row.on_conflict_do_nothing().returning(ReferralReview.id))
    if review_id is None:
        return False
    one.is_held = True
    await session.flush()
    await events.append(session, ReviewOpened(review_id=review_id, invitation_id=one.id, kind=kind), now=now)
    return True


# Deciding


async def decide(
    session: AsyncSession, review_id: int, *, approves: bool, by: str, note: str = "", now: datetime
) -> ReferralInvitation:
    """Say yes, and the invitation goes on once nothing else is open about it; or no, and it ends, whatever else is.

    Of two who decide one does. Raises ReviewNotOpen.
    """
    found = await session.get(ReferralReview, review_id)
    if found is None:
        raise ReviewNotOpen(review_id)
    one = await referrals.get(session, found.invitation_id)
    for member_id in sorted({one.inviter_id, one.invitee_id}):
        await holds.hold_one(session, member_id)
    verdict = APPROVED if approves else REFUSED
    mine = (ReferralReview.id == review_id, ReferralReview.verdict.is_(None))
    values = {"verdict": verdict, "decided_by": by[:64], "decided_at": now, "note": note.strip()[:500]}
    done = sa.update(ReferralReview).where(*mine).values(**values).returning(ReferralReview.id)
    if await session.scalar(done, execution_options={"synchronize_session": False}) is None:
        raise ReviewNotOpen(review_id)
    one = await session.get_one(ReferralInvitation, one.id, populate_existing=True, with_for_update=True)
    if not approves:
        await _close_others(session, one.id, values)
        await referrals.end(session, one, why=found.kind, now=now)
    elif not await _waiting(session, one.id):
        await _go_on(session, one, now=now)
    return one


async def _go_on(session: AsyncSession, one: ReferralInvitation, *, now: datetime) -> None:
    one.is_held = False
    await session.flush()
    await referrals.welcome(session, one, now=now)
    if one.status is InviteStatus.BOUGHT and one.due_at is not None and one.due_at <= now:
        one.told_due_at = now
        await session.flush()
        await events.append(session, InvitationDue(invitation_id=one.id, member_id=one.invitee_id), now=now)


async def _waiting(session: AsyncSession, invitation_id: int) -> Sequence[int]:
    mine = (ReferralReview.invitation_id == invitation_id, ReferralReview.verdict.is_(None))
    return (await session.scalars(sa.select(ReferralReview.id).where(*mine))).all()


async def _close_others(session: AsyncSession, invitation_id: int, values: dict[str, Any]) -> None:
    mine = (ReferralReview.invitation_id == invitation_id, ReferralReview.verdict.is_(None))
    closed = sa.update(ReferralReview).where(*mine).values(**values)
    await session.execute(closed, execution_options={"synchronize_session": False})
