"""What the edge does when facts change below it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot import notices, task_words, texts
from bot.flashsale import merging
from bot.flashsale import notices as sale_notices
from bot.flashsale.payments import RefundDue
from bot.models.conversation import Conversation
from bot.models.handoff import Ticket
from bot.referral import notices as referral_notices
from bot.wecom import lanes
from campaigns.follow_ups import FollowUpsMade
from campaigns.models.offer import Coupon, Offer
from campaigns.models.review import ReviewStatus, TaskReview
from campaigns.reactions import Reactions
from campaigns.referral_facts import InvitationCounted, InvitationEnded, RewardSettled
from campaigns.tasks.reviews import ReviewDecided
from campaigns.tasks.rewards import Given
from crm import tag_mirror
from crm.base import outbox
from crm.contacts import ContactAdded
from crm.member_tags import MemberTagged, MemberUntagged
from crm.merges import MembersMerged, MergeUndone
from crm.models.member import Contact, Identity, IdentityKind
from crm.tag_mirror import TagMirrored
from crm.tags import CorpTagMarked, CorpTagUnmarked

reactions = Reactions()
TOGETHER = 1000  # members whose relations are looked up at once


@reactions.to(MembersMerged)
@reactions.to(MergeUndone)
async def follow_identities(session: AsyncSession, event: MembersMerged | MergeUndone, *, now: datetime) -> None:
    """After a merge, or its undoing, a conversation belongs to whoever its external_userid is now."""
    del now
    owner = (
        sa.select(Identity.member_id)
        .where(Identity.kind == IdentityKind.EXTERNAL_USERID, Identity.value == Conversation.external_userid)
        .scalar_subquery()
    )
    touched = Conversation.member_id.in_([event.kept_id, event.absorbed_id])
    await session.execute(
        sa.update(Conversation)
        .where(touched)
        .values(member_id=sa.func.coalesce(owner, Conversation.member_id))
        .execution_options(synchronize_session=False)
    )
    holder = sa.select(Conversation.member_id).where(Conversation.id == Ticket.conversation_id).scalar_subquery()
    await session.execute(
        sa.update(Ticket)
        .where(Ticket.member_id.in_([event.kept_id, event.absorbed_id]))
        .values(member_id=holder)
        .execution_options(synchronize_session=False)
    )


@reactions.to(MembersMerged)
@reactions.to(MergeUndone)
async def join_claims(session: AsyncSession, event: MembersMerged | MergeUndone, *, now: datetime) -> None:
    """One person's claims and places are theirs whichever identity asked, and nobody else's after an undoing."""
    await merging.follow_merge(session, event.kept_id, event.absorbed_id, now=now)


@reactions.to(RefundDue)
async def tell_of_refund(session: AsyncSession, event: RefundDue, *, now: datetime) -> None:
    """Whose money came too late hears of it where we may write."""
    await sale_notices.refund_due(session, event, now=now)


@reactions.to(FollowUpsMade)
async def tell_of_follow_ups(session: AsyncSession, event: FollowUpsMade, *, now: datetime) -> None:
    """Whose customers are to be visited hears how many and by when; who they are is on the page."""
    said = texts.FOLLOW_UPS.format(rule=event.rule, visits=event.visits, due=texts.day(event.due_on))
    message = lanes.staff_message(
        {"msgtype": "text", "text": {"content": said}},
        because=("follow-ups", event.rule, event.made_on, event.userid),
        userids=(event.userid,),
        deadline=now + timedelta(hours=12),
    )
    await outbox.put(session, [message], now=now)


@reactions.to(ReviewDecided)
async def tell_of_review(session: AsyncSession, event: ReviewDecided, *, now: datetime) -> None:
    """Who sent a review hears what became of it, where we may write; the page says it anyhow."""
    review = await session.get(TaskReview, event.review_id)
    if review is None or review.status is ReviewStatus.WAITING:
        return
    coupon = await session.get(Coupon, event.coupon_id) if event.coupon_id is not None else None
    offer = await session.get(Offer, coupon.offer_id) if coupon is not None else None
    given = Given("", event.points, coupon, offer, event.why)
    said = task_words.decided(review, task_words.got(given) if event.has_reward else [])
    await notices.say(session, event.member_id, said, because=("review", event.review_id), now=now)


reactions.to(InvitationCounted)(referral_notices.counted)
reactions.to(RewardSettled)(referral_notices.settled)
reactions.to(InvitationEnded)(referral_notices.ended)


@reactions.to(MemberTagged)
@reactions.to(MemberUntagged)
async def mirror_tag(session: AsyncSession, event: MemberTagged | MemberUntagged, *, now: datetime) -> None:
    """What staff see in WeCom follows what we say about a member."""
    if await tag_mirror.shows(session, event.tag_id):
        because = (type(event).__name__, event.spell_id)
        await _compare(session, [event.member_id], because=because, now=now)


@reactions.to(TagMirrored)
async def mirror_everywhere(session: AsyncSession, event: TagMirrored, *, now: datetime) -> None:
    """A tag is shown to staff from now on, or no longer: every relation of everybody who bears it."""
    after = 0
    because = ("mirrored", event.tag_id, event.mirrored, now)
    while some := await tag_mirror.bearers(session, event.tag_id, after=after, limit=TOGETHER, now=now):
        await _compare(session, some, because=because, now=now)
        after = some[-1]


@reactions.to(ContactAdded)
async def mirror_to_newcomer(session: AsyncSession, event: ContactAdded, *, now: datetime) -> None:
    """Who gets a customer sees the tags that colleagues see."""
    gap = await tag_mirror.gap(session, event.contact_id, now=now)
    if gap is not None and not gap.is_closed:
        because = ("added", event.added_at)
        message = lanes.tag_marks(event.contact_id, gap.external_userid, about=event.member_id, because=because)
        await outbox.put(session, [message], now=now)


@reactions.to(CorpTagMarked)
async def take_mark(session: AsyncSession, event: CorpTagMarked, *, now: datetime) -> None:
    """Staff marked a customer with a tag of ours; one that tells a level they do not have comes off again."""
    if await tag_mirror.take_mark(session, event.contact_id, event.corp_tag_id, now=now):
        await _compare_again(session, event.contact_id, event.corp_tag_id, now=now)


@reactions.to(CorpTagUnmarked)
async def take_unmark(session: AsyncSession, event: CorpTagUnmarked, *, now: datetime) -> None:
    """Staff took a tag of ours off a customer; one that a rule holds on comes back."""
    if await tag_mirror.take_unmark(session, event.contact_id, event.corp_tag_id, now=now):
        await _compare_again(session, event.contact_id, event.corp_tag_id, now=now)


async def _compare_again(session: AsyncSession, contact_id: int, corp_tag_id: int, *, now: datetime) -> None:
    """Have one relation compared, because somebody changed this tag there by hand."""
    contact = await session.get_one(Contact, contact_id)
    because = ("again", corp_tag_id, now)
    again = lanes.tag_marks(contact.id, contact.external_userid, about=contact.member_id, because=because)
    await outbox.put(session, [again], now=now)


async def _compare(
    session: AsyncSession, member_ids: Sequence[int], *, because: tuple[object, ...], now: datetime
) -> None:
    """Have the corp tags of every relation of these members compared."""
    relations = await tag_mirror.relations_of(session, member_ids)
    messages = [
        lanes.tag_marks(contact_id, customer, about=member_id, because=because)
        for contact_id, customer, member_id in relations
    ]
    await outbox.put(session, messages, now=now)
