"""What the decisions hold about people, table by table: see crm/privacy.py."""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.models.campaign import Batch, Broadcast, Campaign, Conversion, Copy, Delivery, Run
from campaigns.models.coupon_grant import CouponGrant
from campaigns.models.follow_up import FollowUp, FollowUpRule
from campaigns.models.gate import MarketingHold, QuotaUse, SendingStop, Touch
from campaigns.models.group_post import GroupCopy, GroupPost, GroupTask
from campaigns.models.job import JobMark
from campaigns.models.offer import Coupon, Ladder, LadderGift, Offer, OfferTaken
from campaigns.models.referral import (
    ReferralInvitation,
    ReferralLink,
    ReferralProgramme,
    ReferralReview,
    ReferralReward,
    ReferralStanding,
)
from campaigns.models.replenishment import Replenishment
from campaigns.models.review import ReviewPicture, TaskReview
from campaigns.models.sequence import Enrolment, EnrolmentStep, GroupEnrolment, GroupEnrolmentStep, SequenceVersion
from campaigns.models.subscription import Cycle, PlanTerms, Reminder, Subscription, SubscriptionPlan
from campaigns.models.suggestion import Item, ItemPair, ItemRun
from campaigns.models.survey import Survey, SurveyAnswer
from campaigns.models.task import CommunityTask, TaskEntry, TaskReward
from crm.privacy import Condition, Fate, Holding, Subject, of_member, through

REFERRALS = "另一个人的奖励和店里的账对得上；只剩编号，不再指向个人"
LINKS = "链接已失效；留着才能对打开的人说一声"


def _deliveries(who: Subject) -> Condition:
    """Run by run: the table's only index begins with the run."""
    return sa.and_(Delivery.run_id.in_(sa.select(Run.id)), Delivery.member_id.in_(who.member_ids))


def _copies(who: Subject) -> Condition:
    return sa.and_(Copy.run_id.in_(sa.select(Run.id)), Copy.member_id.in_(who.member_ids))


def _invitations(who: Subject) -> Condition:
    return sa.or_(ReferralInvitation.inviter_id.in_(who.member_ids), ReferralInvitation.invitee_id.in_(who.member_ids))


async def _close_links(session: AsyncSession, whose: Condition, now: datetime) -> None:
    """A link, or a poster, of somebody who is gone opens a page that says so."""
    await session.execute(sa.update(ReferralLink).where(whose, ReferralLink.closed_at.is_(None)).values(closed_at=now))


def _reviews(who: Subject) -> Condition:
    return TaskReview.member_id.in_(who.member_ids)


def _picture(row: ReviewPicture, _vault: object) -> dict[str, Any]:
    shown = base64.b64encode(row.content).decode() if row.content is not None else ""
    return {"review_id": row.review_id, "content_type": row.content_type, "sent_at": row.sent_at, "base64": shown}


DECISIONS: Sequence[Holding] = (
    of_member(Touch, "收到过的营销消息", Fate.GONE),
    of_member(QuotaUse, "用掉的群发次数", Fate.GONE),
    of_member(MarketingHold, "暂不打扰", Fate.GONE),
    Holding(model=Delivery, title="活动打算发和发过的", whose=_deliveries, fate=Fate.GONE),
    Holding(model=Copy, title="群发任务里的名字", whose=_copies, fate=Fate.GONE),
    of_member(EnrolmentStep, "步骤序列里走过的步", Fate.GONE),
    of_member(Enrolment, "进过的步骤序列", Fate.GONE),
    of_member(Coupon, "优惠券", Fate.GONE),
    of_member(LadderGift, "阶梯优惠里得到的", Fate.GONE),
    of_member(OfferTaken, "每种优惠领过几张", Fate.GONE),
    of_member(TaskEntry, "社群任务里的回答", Fate.GONE),
    of_member(FollowUp, "员工的回访", Fate.GONE),
    of_member(SurveyAnswer, "问卷里的回答", Fate.GONE),
    of_member(TaskReview, "晒单", Fate.GONE),
    Holding(
        model=ReviewPicture,
        title="晒单的图片",
        whose=through(ReviewPicture.review_id, TaskReview.id, _reviews),
        fate=Fate.GONE,
        show=_picture,
    ),
    of_member(TaskReward, "社群任务的奖励", Fate.GONE),
    of_member(ReferralLink, "邀请链接", Fate.KEPT, LINKS, prepare=_close_links),
    Holding(model=ReferralInvitation, title="邀请和被邀请", whose=_invitations, fate=Fate.KEPT, why=REFERRALS),
    of_member(ReferralReward, "邀请的奖励", Fate.KEPT, REFERRALS),
    Holding(
        model=ReferralReview,
        title="对邀请的复核",
        whose=through(ReferralReview.invitation_id, ReferralInvitation.id, _invitations),
        fate=Fate.BLANKED,
        why=REFERRALS,
        blank={"note": ""},
    ),
    of_member(ReferralStanding, "邀请榜", Fate.GONE),
    of_member(Conversion, "算在活动上的订单", Fate.GONE),
    of_member(Subscription, "订阅", Fate.GONE, locked_first=True),
    of_member(Cycle, "订阅的每一期", Fate.GONE),
    of_member(Reminder, "订阅的提醒", Fate.GONE),
    of_member(Replenishment, "常买的东西", Fate.GONE),
)
NOBODY: dict[type[Any], str] = {
    Batch: "a range of numbers",
    Broadcast: "a task of the staff's",
    Campaign: "the shop's own plans",
    JobMark: "how far a nightly walk has come",
    CouponGrant: "what the shop gives an audience",
    CommunityTask: "what the shop asks everybody",
    GroupEnrolment: "of groups",
    GroupEnrolmentStep: "of groups",
    GroupCopy: "a group as a whole",
    GroupPost: "the shop's own plans",
    GroupTask: "a task of the staff's",
    Item: "what the shop sells",
    ItemPair: "counts over all orders",
    ItemRun: "when was counted",
    FollowUpRule: "whom the shop follows up",
    Survey: "what the shop asks everybody",
    Ladder: "what the shop promises",
    Offer: "what the shop promises",
    PlanTerms: "what the shop promises",
    ReferralProgramme: "what the shop promises",
    Run: "when a campaign went out",
    SendingStop: "the shop's emergency brake",
    SubscriptionPlan: "what the shop promises",
    SequenceVersion: "the shop's own plans",
}
