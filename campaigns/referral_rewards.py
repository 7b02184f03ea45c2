"""Rewards of referral: promised within the budget, paid once, taken back. Each row names the invitation that caused it.

The callers hold the people concerned. A reward's row is written before its programme's, and that before coupons and
points.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import coupons, offers, referral_programmes, referral_rules
from campaigns.coupon_terms import LimitReached, OfferNotOpen, OfferSoldOut
from campaigns.models.offer import Coupon, CouponStatus, Offer
from campaigns.models.referral import ReferralInvitation, ReferralProgramme, ReferralReward, RewardStatus, Side
from campaigns.offers import OfferNotFound
from campaigns.referral_facts import RewardDue, RewardNotToDo, RewardSettled
from campaigns.referral_rules import Back, Gift, Terms
from crm import holds, point_returns, points
from crm.base import events
from crm.base.db import insert
from crm.holds import PersonErased
from crm.point_ledger import Cause
from crm.point_returns import PointsNotFound
from crm.points import NoPoints

NO_SYNC = {"synchronize_session": False}
FRESH = {"populate_existing": True}
RETRY_AFTER = timedelta(days=1)
CAUSE = "referral"
PAYABLE = (RewardStatus.PENDING, RewardStatus.STUCK)
NOT_YET = (*PAYABLE, RewardStatus.UNFUNDED)
ENDED = (RewardStatus.VOID, RewardStatus.TAKEN_BACK)
UNGIVABLE = (OfferSoldOut, OfferNotOpen, LimitReached, OfferNotFound, NoPoints)  # now; perhaps later


@dataclass(frozen=True, slots=True)
class For:
    """Whom a reward is for, and why: the same `because` is promised once."""

    member_id: int
    side: Side
    because: str


# Reads


async def of_invitation(session: AsyncSession, invitation_id: int) -> list[ReferralReward]:
    mine = sa.select(ReferralReward).where(ReferralReward.invitation_id == invitation_id)
    return list(await session.scalars(mine.order_by(ReferralReward.id).execution_options(**FRESH)))


async def of_member(
    session: AsyncSession, programme_id: int, member_id: int, *, side: Side | None = None
) -> list[ReferralReward]:
    """What somebody was promised in a programme, oldest first."""
    mine = [ReferralReward.programme_id == programme_id, ReferralReward.member_id == member_id]
    mine += [ReferralReward.side == side] if side is not None else []
    rows = sa.select(ReferralReward).where(*mine).order_by(ReferralReward.id).execution_options(**FRESH)
    return list(await session.scalars(rows))


# Promise


async def promise(
    session: AsyncSession,
    programme: ReferralProgramme,
    invitation: ReferralInvitation,
    whom: For,
    gift: Gift | Back,
    *,
    base_fen: int = 0,
    now: datetime,
) -> ReferralReward:
    """Write a reward down and reserve its cost; the same cause gives the same row.

    base_fen: of a share, what it is a share of. Beyond the budget it is written down as unfunded, and the programme
    pauses itself: nobody else is invited with a promise that cannot be kept.
    """
    known = await _known(session, programme.id, whom)
    if known and known[-1].status not in ENDED:
        return known[-1]
    terms = referral_programmes.terms_of(programme)
    offer = await offers.find(session, gift.coupon) if isinstance(gift, Gift) and gift.coupon is not None else None
    row = insert(session, ReferralReward).values(
        programme_id=programme.id,
        invitation_id=invitation.id,
        member_id=whom.member_id,
        made_for_id=whom.member_id,
        side=whom.side,
        because=whom.because,
        turn=len(known),
        offer_id=offer.id if offer is not None else None,
        status=RewardStatus.PENDING,
        why="",
        settled_by="",
        back_bp=gift.percent_bp if isinstance(gift, Back) else None,
        promised_at=now,
        **_worth(gift, offer, terms, base_fen),
    )
    keys = ["programme_id", "made_for_id", "because", "turn"]
    fresh: ReferralReward | None = await session.scalar(
        row.on_conflict_do_nothing(index_elements=keys).returning(ReferralReward)
    )
    if fresh is None:  # somebody was quicker
        return (await _known(session, programme.id, whom))[-1]
    await _reserve(session, fresh, now=now)
    return fresh


async def _known(session: AsyncSession, programme_id: int, whom: For) -> list[ReferralReward]:
    """What this person, whoever they were before a merge, was promised for the same cause."""
    theirs = sa.or_(ReferralReward.member_id == whom.member_id, ReferralReward.made_for_id == whom.member_id)
    same = (ReferralReward.programme_id == programme_id, ReferralReward.because == whom.because, theirs)
    rows = sa.select(ReferralReward).where(*same).order_by(ReferralReward.turn, ReferralReward.id)
    return list(await session.scalars(rows.execution_options(**FRESH)))


def _worth(gift: Gift | Back, offer: Offer | None, terms: Terms, base_fen: int) -> dict[str, int]:
    if isinstance(gift, Back):
        fen = gift.fen_of(base_fen)
        if gift.paid_in == "cash":
            return {"points": 0, "cash_fen": fen, "cost_fen": fen}
        return {"points": terms.points_for(fen), "cash_fen": 0, "cost_fen": fen}
    cost = referral_rules.worth_of(gift, offer, terms) or 0
    return {"points": gift.points or 0, "cash_fen": gift.cash_fen or 0, "cost_fen": cost}


async def _reserve(session: AsyncSession, reward: ReferralReward, *, now: datetime) -> bool:
    if await referral_programmes.reserve(session, reward.programme_id, reward.cost_fen):
        await referral_programmes.watch_cost(session, reward.programme_id, now=now)
        return True
    reward.status, reward.why, reward.retry_at = RewardStatus.UNFUNDED, "budget", now + RETRY_AFTER
    await session.flush()
    await referral_programmes.pause(session, reward.programme_id, because="budget", now=now)
    return False


# Pay


async def pay(session: AsyncSession, reward_id: int, *, now: datetime) -> ReferralReward:
    """Give what was promised, once: of any number of calls one finds it unpaid. What cannot be given now is retried."""
    mine = (ReferralReward.id == reward_id, ReferralReward.status.in_(PAYABLE))
    values = {"status": RewardStatus.PAID, "settled_at": now, "why": "", "retry_at": None}
    taken = sa.update(ReferralReward).where(*mine).values(**values).returning(ReferralReward)
    reward = await session.scalar(taken.execution_options(**FRESH))
    if reward is None:
        return await session.get_one(ReferralReward, reward_id, populate_existing=True)
    try:
        async with session.begin_nested():
            await _give(session, reward, now=now)
    except PersonErased:
        await _void(session, reward, "erased", now=now)
    except UNGIVABLE as no:
        reward = await session.get_one(ReferralReward, reward_id, populate_existing=True)
        reward.status, reward.why, reward.retry_at = RewardStatus.STUCK, no.code, now + RETRY_AFTER
        reward.settled_at = None
        await session.flush()
    return reward


async def _give(session: AsyncSession, reward: ReferralReward, *, now: datetime) -> None:
    if (await holds.hold_one(session, reward.member_id)).is_erased:
        raise PersonErased
    if reward.offer_id is None and not (reward.points or reward.cash_fen):
        await _void(session, reward, "nothing_left", now=now)
        return
    if reward.cash_fen:
        reward.status, reward.settled_at = RewardStatus.TO_DO, None
        await session.flush()
        return
    if reward.offer_id is not None:
        because = f"{CAUSE}:{reward.id}"
        coupon = await coupons.issue(session, reward.offer_id, reward.member_id, because=because, now=now)
        reward.coupon_id = coupon.id
    elif reward.points:
        cause = Cause(CAUSE, str(reward.id))
        entry = await points.earn(session, reward.member_id, reward.points, cause=cause, now=now)
        await _only(session, reward, entry.points)
    await session.flush()
    told = RewardSettled(reward_id=reward.id, member_id=reward.member_id, side=reward.side)
    await events.append(session, told, now=now)


async def _only(session: AsyncSession, reward: ReferralReward, got: int) -> None:
    """The day's cap let fewer points in: the rest of the cost is free again."""
    if got < reward.points:
        cost = -(-reward.cost_fen * got // reward.points)
        await _lower(session, reward, cost)
        reward.points, reward.why = got, "points_capped"


async def _lower(session: AsyncSession, reward: ReferralReward, cost_fen: int) -> None:
    await referral_programmes.give_back(session, reward.programme_id, reward.cost_fen - cost_fen)
    reward.cost_fen = cost_fen


async def recount(session: AsyncSession, reward: ReferralReward, back: Back, terms: Terms, *, kept_fen: int) -> None:
    """A share follows what is left of the order, while it is not paid. It never grows."""
    if reward.back_bp is None or reward.status not in PAYABLE:
        return
    fen = min(reward.cost_fen, back.fen_of(kept_fen))
    await _lower(session, reward, fen)
    reward.cash_fen = fen if reward.cash_fen else 0
    reward.points = terms.points_for(fen) if not reward.cash_fen else 0
    await session.flush()


async def cash_paid(session: AsyncSession, reward_id: int, *, by: str, now: datetime) -> ReferralReward:
    """A colleague has paid it. Raises RewardNotToDo."""
    mine = (ReferralReward.id == reward_id, ReferralReward.status == RewardStatus.TO_DO)
    done = sa.update(ReferralReward).where(*mine).values(status=RewardStatus.PAID, settled_at=now, settled_by=by[:64])
    reward = await session.scalar(done.returning(ReferralReward).execution_options(**FRESH))
    if reward is None:
        raise RewardNotToDo(reward_id)
    told = RewardSettled(reward_id=reward.id, member_id=reward.member_id, side=reward.side)
    await events.append(session, told, now=now)
    return reward


async def ripen(session: AsyncSession, *, now: datetime, limit: int = 200) -> int:
    """Have tried again what could not be given, or had no budget; each is left alone for a day. Returns how many."""
    due = (ReferralReward.status.in_((RewardStatus.STUCK, RewardStatus.UNFUNDED)), ReferralReward.retry_at <= now)
    some = sa.select(ReferralReward.id).where(*due).order_by(ReferralReward.id).limit(limit)
    some = some.with_for_update(skip_locked=True)
    taken = sa.update(ReferralReward).where(ReferralReward.id.in_(some)).values(retry_at=now + RETRY_AFTER)
    facts = taken.returning(ReferralReward.id, ReferralReward.member_id)
    rows = (await session.execute(facts, execution_options=NO_SYNC)).all()
    await events.append_all(session, [RewardDue(reward_id=row[0], member_id=row[1]) for row in sorted(rows)], now=now)
    return len(rows)


async def try_again(session: AsyncSession, reward_id: int, *, now: datetime) -> None:
    reward = await session.get_one(ReferralReward, reward_id, populate_existing=True)
    await holds.hold_one(session, reward.member_id)
    await fund(session, reward_id, now=now)
    await pay(session, reward_id, now=now)


async def fund(session: AsyncSession, reward_id: int, *, now: datetime) -> bool:
    """Reserve for one that had no budget. The row first: of two who try one does."""
    mine = (ReferralReward.id == reward_id, ReferralReward.status == RewardStatus.UNFUNDED)
    taken = sa.update(ReferralReward).where(*mine).values(status=RewardStatus.STUCK, why="")
    reward = await session.scalar(taken.returning(ReferralReward).execution_options(**FRESH))
    return reward is not None and await _reserve(session, reward, now=now)


# Back


async def take_back(session: AsyncSession, reward: ReferralReward, *, why: str, now: datetime) -> None:
    """What is not given is void; points go back, or are owed; a coupon goes back unless it was used.

    A used coupon and paid cash stay paid, with the reason beside them: the shop bears them, and can see it.
    """
    if reward.status in (*NOT_YET, RewardStatus.TO_DO):
        await _void(session, reward, why, now=now)
    elif reward.status is not RewardStatus.PAID:
        return
    elif await _take_from_member(session, reward, now=now):
        reward.status, reward.why = RewardStatus.TAKEN_BACK, why
        await session.flush()
        await referral_programmes.give_back(session, reward.programme_id, reward.cost_fen)
    else:
        reward.why = f"{why}:kept"
        await session.flush()


async def _take_from_member(session: AsyncSession, reward: ReferralReward, *, now: datetime) -> bool:
    """False: it is spent, and cannot be had back."""
    if reward.coupon_id is not None:
        if await coupons.cancel(session, reward.coupon_id):
            return True
        coupon = await session.get(Coupon, reward.coupon_id, populate_existing=True)
        return coupon is None or coupon.status in (CouponStatus.EXPIRED, CouponStatus.CANCELLED)
    if reward.points:
        cause, back = Cause(CAUSE, str(reward.id)), Cause(CAUSE, f"{reward.id}/back")
        try:
            await point_returns.cancel_earning(session, cause, by_cause=back, now=now)
        except PointsNotFound:  # erased with their owner
            return True
        return True
    return not reward.cash_fen


async def _void(session: AsyncSession, reward: ReferralReward, why: str, *, now: datetime) -> None:
    reserved = reward.status is not RewardStatus.UNFUNDED
    reward.status, reward.why, reward.settled_at, reward.retry_at = RewardStatus.VOID, why, now, None
    await session.flush()
    if reserved:
        await referral_programmes.give_back(session, reward.programme_id, reward.cost_fen)
