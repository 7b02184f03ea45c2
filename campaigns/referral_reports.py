"""What referral programmes bring and cost: figures, the money a colleague has to pay, and who brought most, by name."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from campaigns import referral_programmes, referral_rules
from campaigns.models.offer import Offer
from campaigns.models.referral import (
    InviteStatus,
    ReferralInvitation,
    ReferralProgramme,
    ReferralReview,
    ReferralReward,
    ReferralStanding,
    RewardStatus,
)
from crm.models.member import Member
from crm.models.order import Order


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One programme in numbers."""

    by_status: Mapping[InviteStatus, int]  # invitations; REFUSED are attempts
    reasons: Mapping[str, int]  # why invitations ended, or were none
    acquired: int  # bought and counted
    committed_fen: int  # promised and paid
    paid_fen: int
    budget_fen: int
    cost_each_fen: int | None  # None: nobody acquired yet
    cap_fen: int
    waiting_reviews: int
    waiting_cash_fen: int
    stuck: int  # rewards that cannot be given now


@dataclass(frozen=True, slots=True)
class CashDue:
    """Cash that a colleague has to pay."""

    reward_id: int
    member_code: str
    member_name: str
    cash_fen: int
    because: str
    promised_at: datetime


@dataclass(frozen=True, slots=True)
class Ranked:
    """One line of the ranking, with the member's name."""

    place: int
    member_id: int
    code: str
    name: str
    counted: int


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A review with the two people it is about."""

    review: ReferralReview
    invitation: ReferralInvitation
    programme: str
    inviter: Member
    invitee: Member


async def reviews(session: AsyncSession, *, decided: bool = False, limit: int = 100) -> list[Reviewed]:
    """What waits for a person, the oldest first; or what was decided, the newest first."""
    inviter, invitee = aliased(Member), aliased(Member)
    one = ReferralReview
    order = (one.decided_at.desc(), one.id.desc()) if decided else (one.opened_at, one.id)
    rows = await session.execute(
        sa.select(one, ReferralInvitation, ReferralProgramme.name, inviter, invitee)
        .join(ReferralInvitation, ReferralInvitation.id == one.invitation_id)
        .join(ReferralProgramme, ReferralProgramme.id == ReferralInvitation.programme_id)
        .join(inviter, inviter.id == ReferralInvitation.inviter_id)
        .join(invitee, invitee.id == ReferralInvitation.invitee_id)
        .where(one.verdict.is_not(None) if decided else one.verdict.is_(None))
        .order_by(*order)
        .limit(limit)
    )
    return [Reviewed(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class Traced:
    """An invitation with its two people, its order, and every reward it caused."""

    invitation: ReferralInvitation
    inviter: Member
    invitee: Member
    order_no: str
    rewards: list[tuple[ReferralReward, str]]  # with the title of the offer


async def traced(
    session: AsyncSession,
    programme_id: int,
    *,
    status: InviteStatus | None = None,
    before_id: int | None = None,
    size: int = 50,
) -> list[Traced]:
    """A page of a programme's invitations, the newest first."""
    inviter, invitee = aliased(Member), aliased(Member)
    one = ReferralInvitation
    mine = [one.programme_id == programme_id]
    mine += [one.status == status] if status is not None else []
    mine += [one.id < before_id] if before_id is not None else []
    rows = (
        await session.execute(
            sa.select(one, inviter, invitee, Order.external_no)
            .join(inviter, inviter.id == one.inviter_id)
            .join(invitee, invitee.id == one.invitee_id)
            .outerjoin(Order, Order.id == one.order_id)
            .where(*mine)
            .order_by(one.id.desc())
            .limit(size)
        )
    ).all()
    caused = await session.execute(
        sa.select(ReferralReward, Offer.title)
        .outerjoin(Offer, Offer.id == ReferralReward.offer_id)
        .where(ReferralReward.invitation_id.in_([row[0].id for row in rows]))
        .order_by(ReferralReward.id)
    )
    rewards: defaultdict[int, list[tuple[ReferralReward, str]]] = defaultdict(list)
    for reward, title in caused:
        rewards[reward.invitation_id].append((reward, title or ""))
    return [Traced(row[0], row[1], row[2], row[3] or "", rewards[row[0].id]) for row in rows]


async def waiting(session: AsyncSession) -> tuple[int, int]:
    """How many reviews wait, and how many rewards in cash, in all programmes."""
    open_reviews = sa.select(sa.func.count()).select_from(ReferralReview).where(ReferralReview.verdict.is_(None))
    cash = sa.select(sa.func.count()).select_from(ReferralReward).where(ReferralReward.status == RewardStatus.TO_DO)
    return await session.scalar(open_reviews) or 0, await session.scalar(cash) or 0


async def figures(session: AsyncSession, programme: ReferralProgramme) -> Figures:
    mine = ReferralInvitation.programme_id == programme.id
    rows = (
        await session.execute(
            sa.select(ReferralInvitation.status, ReferralInvitation.why, sa.func.count())
            .where(mine)
            .group_by(ReferralInvitation.status, ReferralInvitation.why)
        )
    ).all()
    by_status: dict[InviteStatus, int] = {}
    reasons: dict[str, int] = {}
    for status, why, count in rows:
        by_status[status] = by_status.get(status, 0) + count
        if why:
            reasons[why] = reasons.get(why, 0) + count
    money = await _money(session, programme.id)
    reviews = (
        sa.select(sa.func.count())
        .select_from(ReferralReview)
        .join(ReferralInvitation, ReferralInvitation.id == ReferralReview.invitation_id)
        .where(mine, ReferralReview.verdict.is_(None))
    )
    acquired = sum(by_status.get(status, 0) for status in referral_programmes.ACQUIRED)
    return Figures(
        by_status=by_status,
        reasons=reasons,
        acquired=acquired,
        committed_fen=programme.committed_fen,
        paid_fen=money.get(RewardStatus.PAID, (0, 0))[1],
        budget_fen=programme.budget_fen,
        cost_each_fen=referral_rules.cost_each(programme.committed_fen, acquired),
        cap_fen=referral_programmes.terms_of(programme).cap_fen,
        waiting_reviews=await session.scalar(reviews) or 0,
        waiting_cash_fen=money.get(RewardStatus.TO_DO, (0, 0))[1],
        stuck=sum(money.get(status, (0, 0))[0] for status in (RewardStatus.STUCK, RewardStatus.UNFUNDED)),
    )


async def _money(session: AsyncSession, programme_id: int) -> dict[RewardStatus, tuple[int, int]]:
    """How many rewards, and their cost, by status."""
    sums = sa.select(ReferralReward.status, sa.func.count(), sa.func.sum(ReferralReward.cost_fen))
    rows = await session.execute(
        sums.where(ReferralReward.programme_id == programme_id).group_by(ReferralReward.status)
    )
    return {status: (count, int(fen)) for status, count, fen in rows}


async def cash_due(session: AsyncSession, *, limit: int = 200) -> list[CashDue]:
    """The oldest first."""
    rows = await session.execute(
        sa.select(ReferralReward, Member.code, Member.name)
        .join(Member, Member.id == ReferralReward.member_id)
        .where(ReferralReward.status == RewardStatus.TO_DO)
        .order_by(ReferralReward.id)
        .limit(limit)
    )
    return [
        CashDue(reward.id, code, name, reward.cash_fen, reward.because, reward.promised_at)
        for reward, code, name in rows
    ]


async def ranking(session: AsyncSession, programme_id: int, *, limit: int = 20) -> list[Ranked]:
    """Who brought most; of equals who came to it first."""
    one = ReferralStanding
    rows = await session.execute(
        sa.select(one.member_id, one.counted, Member.code, Member.name)
        .join(Member, Member.id == one.member_id)
        .where(one.programme_id == programme_id, one.counted > 0)
        .order_by(one.counted.desc(), one.reached_at, one.member_id)
        .limit(limit)
    )
    return [Ranked(place, row.member_id, row.code, row.name, row.counted) for place, row in enumerate(rows, 1)]


async def names_of(session: AsyncSession, member_ids: Collection[int]) -> dict[int, str]:
    rows = await session.execute(sa.select(Member.id, Member.name).where(Member.id.in_(set(member_ids))))
    return {row.id: row.name for row in rows}


async def place_of(session: AsyncSession, programme_id: int, member_id: int) -> int | None:
    """A member's place in the ranking. None: nothing of theirs counts."""
    keys = (ReferralStanding.programme_id == programme_id, ReferralStanding.member_id == member_id)
    mine = await session.scalar(sa.select(ReferralStanding).where(*keys, ReferralStanding.counted > 0))
    if mine is None:
        return None
    one = ReferralStanding
    before = sa.or_(one.counted > mine.counted, sa.and_(one.counted == mine.counted, one.reached_at < mine.reached_at))
    ahead = sa.select(sa.func.count()).select_from(one).where(one.programme_id == programme_id, before)
    return (await session.scalar(ahead) or 0) + 1
