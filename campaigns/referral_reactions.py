"""What referral does when facts change below it. Importing this registers it with campaigns/reactions.py."""

import logging
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import (
    referral_checks,
    referral_links,
    referral_people,
    referral_rewards,
    referral_rules,
    referrals,
)
from campaigns.models.referral import CameBy, ReferralInvitation
from campaigns.reactions import reacts_to
from campaigns.referral_facts import (
    InvitationDue,
    InviteAttempted,
    LinkClosed,
    LinkNotFound,
    MemberInvited,
    NothingOpen,
    RewardDue,
)
from crm import holds
from crm.contacts import ContactAdded, ContactLost
from crm.holds import PersonErased
from crm.merges import MembersMerged, MergeUndone
from crm.models.order import Order
from crm.orders import OrderChanged, OrderPaid, OrderRefunded
from crm.privacy import MemberErased

log = logging.getLogger(__name__)

NOT_TOO_OLD = timedelta(days=7)  # a first sync tells of contacts from years ago


@reacts_to(ContactAdded)
async def came_by_code(session: AsyncSession, event: ContactAdded, *, now: datetime) -> None:
    """Who added one of us by a member's own code was invited by them."""
    code = referral_rules.code_in(event.state)
    if code is None or event.added_at < now - NOT_TOO_OLD:
        return
    try:
        await referral_links.invite(
            session, code, event.member_id, came_by=CameBy.CONTACT_WAY, at=event.added_at, now=now
        )
    except (LinkNotFound, LinkClosed, NothingOpen, PersonErased) as refused:
        log.info("referral.not_invited", extra={"contact_id": event.contact_id, "code": refused.code})


@reacts_to(MemberInvited)
@reacts_to(InviteAttempted)
async def look_at_invitation(session: AsyncSession, event: MemberInvited | InviteAttempted, *, now: datetime) -> None:
    """What looks odd is held; else the newcomer is welcomed, and what they bought meanwhile is seen."""
    for member_id in sorted({event.member_id, event.inviter_id}):
        await holds.hold(session, member_id)
    one = await referrals.get(session, event.invitation_id)
    await referral_checks.screen(session, one, now=now)
    await referrals.welcome(session, one, now=now)
    await referrals.look(session, one.id, now=now)


@reacts_to(OrderPaid)
@reacts_to(OrderRefunded)
@reacts_to(OrderChanged)
async def follow_order(
    session: AsyncSession, event: OrderPaid | OrderRefunded | OrderChanged, *, now: datetime
) -> None:
    """An order of an invitee: the first one, or what became of it."""
    if event.order_id is None:
        return
    owner = sa.select(Order.member_id).where(Order.id == event.order_id)
    theirs = sa.or_(ReferralInvitation.invitee_id.in_(owner), ReferralInvitation.order_id == event.order_id)
    mine = sa.select(ReferralInvitation.id).where(theirs, ReferralInvitation.status.in_(referrals.MAY_COUNT))
    for invitation_id in sorted(await session.scalars(mine)):
        await referrals.look(session, invitation_id, now=now)


@reacts_to(InvitationDue)
async def count_invitation(session: AsyncSession, event: InvitationDue, *, now: datetime) -> None:
    """The last look before both are paid: at where their parcels go. Who is held meanwhile is not counted."""
    one = await referrals.get(session, event.invitation_id)
    for member_id in sorted({one.inviter_id, one.invitee_id}):
        await holds.hold(session, member_id)
    await referral_checks.compare_addresses(session, one, now=now)
    await referrals.count(session, event.invitation_id, now=now)


@reacts_to(RewardDue)
async def try_reward_again(session: AsyncSession, event: RewardDue, *, now: datetime) -> None:
    await referral_rewards.try_again(session, event.reward_id, now=now)


@reacts_to(ContactLost)
async def who_leaves_does_not_count(session: AsyncSession, event: ContactLost, *, now: datetime) -> None:
    await referral_people.left(session, event.member_id, ended_at=event.ended_at, now=now)


@reacts_to(MembersMerged)
async def join_invitations(session: AsyncSession, event: MembersMerged, *, now: datetime) -> None:
    await holds.hold(session, event.kept_id)
    await referral_people.follow_people(session, event.kept_id, event.absorbed_id)
    await referral_people.judge_merged(session, event.kept_id, because=event.because, now=now)


@reacts_to(MergeUndone)
async def part_invitations(session: AsyncSession, event: MergeUndone, *, now: datetime) -> None:
    await referral_people.follow_people(session, event.kept_id, event.absorbed_id)


@reacts_to(MemberErased)
async def forget_invitations(session: AsyncSession, event: MemberErased, *, now: datetime) -> None:
    await referral_people.erased(session, event.member_id, now=now)
