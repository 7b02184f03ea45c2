"""What both sides of an invitation hear unasked: their own rewards, in the kf chat while its window is open.

They are service messages. Whoever wants to spur people on writes a campaign on the event InvitationCounted: that goes
through the gate.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot import notices, referral_words, texts
from campaigns import referral_programmes, referral_rewards
from campaigns.models.offer import Offer
from campaigns.models.referral import InviteStatus, ReferralInvitation, ReferralProgramme, ReferralReward, Side
from campaigns.referral_facts import InvitationCounted, InvitationEnded, RewardSettled
from crm.models.member import Member

GOT = ("paid", "to_do")
TOLD_OF = ("refund", "left")  # ends that an inviter hears of; the others are between us and them


async def counted(session: AsyncSession, event: InvitationCounted, *, now: datetime) -> None:
    """An inviter hears what one more brought, and how far the next rung is."""
    programme = await session.get_one(ReferralProgramme, event.programme_id)
    mine = [
        one for one in await referral_rewards.of_invitation(session, event.invitation_id)
        if one.side is Side.INVITER and one.status in GOT
    ]  # fmt: skip
    name = referral_words.masked(await _name(session, event.invitee_id))
    said = [texts.REFERRAL_COUNTED.format(friend=name, counted=event.counted)]
    if mine:
        said.append(texts.REFERRAL_GOT.format(gifts="、".join([await _gift(session, one) for one in mine])))
    steps = referral_programmes.terms_of(programme).inviter.steps
    if ahead := next((step for step in steps if step.at > event.counted), None):
        said.append(texts.REFERRAL_NEXT.format(missing=ahead.at - event.counted, at=ahead.at))
    await notices.say(
        session, event.member_id, "\n".join(said), because=("referral", "counted", event.invitation_id), now=now
    )


async def settled(session: AsyncSession, event: RewardSettled, *, now: datetime) -> None:
    """An invitee hears of what they got; an inviter of what came later than its invitation counted."""
    reward = await session.get_one(ReferralReward, event.reward_id)
    invitation = await session.get_one(ReferralInvitation, reward.invitation_id)
    if event.side is Side.INVITER and invitation.counted_at == reward.settled_at:
        return
    why = texts.REFERRAL_WELCOME if reward.because.startswith("welcome:") else texts.REFERRAL_REWARD
    said = why.format(gift=await _gift(session, reward))
    await notices.say(session, event.member_id, said, because=("referral", "reward", event.reward_id), now=now)


async def ended(session: AsyncSession, event: InvitationEnded, *, now: datetime) -> None:
    """An inviter whose reward was taken back hears why."""
    invitation = await session.get_one(ReferralInvitation, event.invitation_id)
    if invitation.status is not InviteStatus.REVOKED or event.why not in TOLD_OF:
        return
    said = texts.REFERRAL_REVOKED.format(why=referral_words.why(event.why))
    await notices.say(session, event.member_id, said, because=("referral", "revoked", event.invitation_id), now=now)


async def _gift(session: AsyncSession, reward: ReferralReward) -> str:
    offer = await session.get(Offer, reward.offer_id) if reward.offer_id is not None else None
    return referral_words.reward(reward, offer)


async def _name(session: AsyncSession, member_id: int) -> str:
    return await session.scalar(sa.select(Member.name).where(Member.id == member_id)) or ""
