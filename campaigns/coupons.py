"""Coupons: issued to a member, held by an unpaid order, redeemed when it is paid, released or expired.

Every step is decided by a WHERE clause or a CHECK: of any number at once one coupon is spent once, no more are issued
than there are, and an offer never commits more than its budget. A coupon's row is written before its offer's, always.
"""

import random
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import offer_rules, offers
from campaigns.coupon_terms import (
    BudgetSpent,
    CouponExpired,
    CouponInUse,
    CouponIssued,
    CouponNotFound,
    CouponRedeemed,
    CouponSpent,
    CouponUnfit,
    LimitReached,
    OfferNotOpen,
    OfferSoldOut,
    OrderRef,
)
from campaigns.models.offer import Coupon, CouponStatus, Offer, OfferTaken
from campaigns.offer_rules import Basket, Quote
from crm import holds
from crm.base import events
from crm.base.clock import SHANGHAI, day_start, local_day
from crm.base.db import insert
from crm.base.errors import Busy
from crm.base.ids import code as fresh_code
from crm.holds import PersonErased

CHANCE = secrets.SystemRandom()
CODE_ATTEMPTS = 5
NO_SYNC = {"synchronize_session": False}
IN_WALLET = (CouponStatus.ISSUED, CouponStatus.HELD)


# Reads


async def wallet_of(
    session: AsyncSession, member_id: int, *, now: datetime, limit: int = 50
) -> list[tuple[Coupon, Offer]]:
    """What a member can use, or an order of theirs holds, what ends first at the top."""
    rows = await session.execute(
        sa.select(Coupon, Offer)
        .join(Offer, Offer.id == Coupon.offer_id)
        .where(
            Coupon.member_id == member_id,
            Coupon.status.in_(IN_WALLET),
            sa.or_(Coupon.status == CouponStatus.HELD, Coupon.expires_at > now),
        )
        .order_by(Coupon.expires_at, Coupon.id)
        .limit(limit)
    )
    return [(coupon, offer) for coupon, offer in rows]


async def of_order(session: AsyncSession, order: OrderRef) -> list[Coupon]:
    """The coupons that an order holds or spent."""
    rows = await session.scalars(sa.select(Coupon).where(*_of(order)).order_by(Coupon.id))
    return list(rows)


async def quote(
    session: AsyncSession,
    member_id: int,
    codes: Sequence[str],
    basket: Basket,
    *,
    order: OrderRef | None = None,
    now: datetime,
) -> Quote:
    """What the basket costs with these coupons; without codes, with the best that the wallet has.

    order: whose own coupons may be used again. Raises CouponNotFound, CouponExpired, CouponSpent, CouponInUse.
    """
    if not codes:
        usable = [(one.code, offers.terms_of(offer)) for one, offer in await wallet_of(session, member_id, now=now)
                  if one.status is CouponStatus.ISSUED or (order is not None and order.has(one))]  # fmt: skip
        return offer_rules.best(basket, usable)
    found = await _usable(session, member_id, codes, order=order, now=now)
    return offer_rules.quote(basket, [(one.code, offers.terms_of(offer)) for one, offer in found])


# Issue


async def issue(
    session: AsyncSession,
    offer_id: int,
    member_id: int,
    *,
    because: str,
    now: datetime,
    chance: random.Random = CHANCE,
    zone: ZoneInfo = SHANGHAI,
) -> Coupon:
    """One coupon for a member. The same `because` (≤ 64 characters) gives the same coupon, however often.

    Raises OfferNotFound, OfferNotOpen, OfferSoldOut, LimitReached, PersonErased; nothing is written then.
    """
    held = await holds.hold_one(session, member_id)
    if held.is_erased:
        raise PersonErased
    member_id = held.member_id
    theirs = sa.or_(Coupon.member_id == member_id, Coupon.issued_to_id == member_id)
    same = sa.select(Coupon).where(Coupon.offer_id == offer_id, Coupon.because == because, theirs)
    if known := await session.scalar(same.limit(1)):
        return known
    async with session.begin_nested():
        offer = await session.scalar(
            sa.update(Offer)
            .where(
                Offer.id == offer_id,
                *offers.open_at(now),
                sa.or_(Offer.stock.is_(None), Offer.issued < Offer.stock),
            )
            .values(issued=Offer.issued + 1)
            .returning(Offer)
            .execution_options(populate_existing=True)
        )
        if offer is None:
            raise await _why_not_issued(session, offer_id, now=now)
        if not await _take_one(session, offer, member_id):
            raise LimitReached(offer.key, offer.per_member or 0)
        coupon = Coupon(offer_id=offer_id, member_id=member_id, issued_to_id=member_id, because=because)
        coupon.code, coupon.status = await _new_code(session, chance), CouponStatus.ISSUED
        coupon.issued_at, coupon.expires_at, coupon.discount_fen = now, ends(offer, now, zone), 0
        session.add(coupon)
        await session.flush()
    told = CouponIssued(coupon_id=coupon.id, offer_id=offer_id, member_id=member_id, because=because)
    await events.append(session, told, now=now)
    return coupon


async def _take_one(session: AsyncSession, offer: Offer, member_id: int) -> bool:
    row = insert(session, OfferTaken).values(offer_id=offer.id, member_id=member_id, taken=1)
    under = None if offer.per_member is None else OfferTaken.taken < offer.per_member
    again = row.on_conflict_do_update(
        index_elements=["offer_id", "member_id"], set_={"taken": OfferTaken.taken + 1}, where=under
    )
    return await session.scalar(again.returning(OfferTaken.taken)) is not None


async def _new_code(session: AsyncSession, chance: random.Random) -> str:
    """A code nobody has; the unique index has the last word."""
    for _ in range(CODE_ATTEMPTS):
        code = fresh_code(chance)
        if await session.scalar(sa.select(Coupon.id).where(Coupon.code == code)) is None:
            return code
    raise Busy


def ends(offer: Offer, now: datetime, zone: ZoneInfo) -> datetime:
    """The end of the last of its days, today being the first; never after the offer's own end."""
    ends = [offer.ends_at] if offer.ends_at is not None else []
    if offer.valid_days is not None:
        ends.append(day_start(local_day(now, zone) + timedelta(days=offer.valid_days), zone))
    return min(ends)


async def _why_not_issued(session: AsyncSession, offer_id: int, *, now: datetime) -> Exception:
    offer = await session.get(Offer, offer_id, populate_existing=True)
    if offer is None:
        return offers.OfferNotFound(str(offer_id))
    if not offers.is_open(offer, now):
        return OfferNotOpen(offer.key, offer.starts_at, offer.closed_at or offer.ends_at)
    return OfferSoldOut(offer.key)


async def cancel(session: AsyncSession, coupon_id: int) -> bool:
    """Take a coupon back that nobody used; it can be issued to somebody else. False: it is in use, spent or gone."""
    gone = await session.scalar(
        sa.update(Coupon)
        .where(Coupon.id == coupon_id, Coupon.status == CouponStatus.ISSUED)
        .values(status=CouponStatus.CANCELLED)
        .returning(Coupon)
        .execution_options(populate_existing=True)
    )
    if gone is None:
        return False
    less = sa.update(Offer).where(Offer.id == gone.offer_id).values(issued=Offer.issued - 1)
    await session.execute(less, execution_options=NO_SYNC)
    mine = (OfferTaken.offer_id == gone.offer_id, OfferTaken.member_id == gone.member_id, OfferTaken.taken > 0)
    fewer = sa.update(OfferTaken).where(*mine).values(taken=OfferTaken.taken - 1)
    await session.execute(fewer, execution_options=NO_SYNC)
    return True


# Hold, redeem, release


async def use(
    session: AsyncSession,
    member_id: int,
    codes: Sequence[str],
    *,
    order: OrderRef,
    basket: Basket,
    until: datetime | None,
    now: datetime,
) -> Quote:
    """Put coupons on an order: held until then, or redeemed at once when `until` is None. All of them, or none.

    Said again for the same order it is the same, with the discount of the basket as it is now. Raises CouponNotFound,
    CouponExpired, CouponSpent, CouponInUse, CouponUnfit, BudgetSpent; nothing is written then.
    """
    member_id = await holds.hold(session, member_id)
    found = await _usable(session, member_id, codes, order=order, locks=True, now=now)
    result = offer_rules.quote(basket, [(one.code, offers.terms_of(offer)) for one, offer in found])
    if result.unfit:
        first = result.unfit[0]
        raise CouponUnfit(first.code, first.reason, first.missing_fen)
    cost = {one.code: one.cost_fen for one in result.saved}
    more: Counter[int] = Counter()
    async with session.begin_nested():
        for coupon, offer in found:
            if coupon.status is not CouponStatus.REDEEMED:
                more[offer.id] += await _put_on(session, coupon, order, cost[coupon.code], until=until, now=now)
        await _commit_all(session, more)
    if until is None:
        await _tell_redeemed(session, [coupon for coupon, _ in found], now=now)
    return result


async def _put_on(
    session: AsyncSession, coupon: Coupon, order: OrderRef, cost_fen: int, *, until: datetime | None, now: datetime
) -> int:
    """Returns how much more it costs than before: it may be on this order already."""
    before, was = coupon.discount_fen, coupon.status
    free = sa.and_(Coupon.status == CouponStatus.ISSUED, Coupon.expires_at > now)
    taken = await session.scalar(
        sa.update(Coupon)
        .where(
            Coupon.id == coupon.id,
            Coupon.member_id == coupon.member_id,
            Coupon.discount_fen == before,
            free if was is CouponStatus.ISSUED else sa.and_(Coupon.status == CouponStatus.HELD, *_of(order)),
        )
        .values(
            status=CouponStatus.REDEEMED if until is None else CouponStatus.HELD,
            order_source=order.source,
            order_no=order.number,
            discount_fen=cost_fen,
            held_until=until,
            redeemed_at=now if until is None else None,
        )
        .returning(Coupon)
        .execution_options(populate_existing=True)
    )
    if taken is None:  # somebody was quicker
        raise await _why_not(session, coupon.member_id, coupon.code, order=order, now=now)
    return cost_fen - before


async def _commit_all(session: AsyncSession, more: Mapping[int, int]) -> None:
    """Count so much more against each offer's budget; in the order of their ids, so that nobody waits in a ring."""
    for offer_id, fen in sorted(more.items()):
        if not await _commit(session, offer_id, fen):
            raise BudgetSpent((await session.get_one(Offer, offer_id)).key)


async def _commit(session: AsyncSession, offer_id: int, more_fen: int) -> bool:
    """Count so much more against the offer's budget, if that is within it."""
    if not more_fen:
        return True
    within = sa.or_(Offer.budget_fen.is_(None), Offer.committed_fen + more_fen <= Offer.budget_fen)
    mine = sa.update(Offer).where(Offer.id == offer_id, *([within] if more_fen > 0 else []))
    done = mine.values(committed_fen=Offer.committed_fen + more_fen).returning(Offer.id)
    return await session.scalar(done, execution_options=NO_SYNC) is not None


async def redeem_order(session: AsyncSession, order: OrderRef, *, now: datetime) -> list[Coupon]:
    """The order was paid: what it holds is spent. Those it spent already stay spent."""
    rows = await session.scalars(
        sa.update(Coupon)
        .where(*_of(order), Coupon.status == CouponStatus.HELD)
        .values(status=CouponStatus.REDEEMED, held_until=None, redeemed_at=now)
        .returning(Coupon)
        .execution_options(populate_existing=True)
    )
    spent = list(rows)
    await _tell_redeemed(session, spent, now=now)
    return spent


async def release_order(session: AsyncSession, order: OrderRef, *, now: datetime) -> int:
    """The order will not be paid: what it holds goes back to the wallet. Returns how many."""
    return await _give_back(session, *_of(order), Coupon.status == CouponStatus.HELD, now=now)


async def return_order(session: AsyncSession, order: OrderRef, *, now: datetime) -> int:
    """All of the order's money went back: what it spent or holds goes back to the wallet. Returns how many."""
    return await _give_back(session, *_of(order), now=now)


async def release_due(session: AsyncSession, *, now: datetime, limit: int = 500) -> int:
    """Give back what unpaid orders held for too long."""
    return await _give_back(session, Coupon.status == CouponStatus.HELD, Coupon.held_until <= now, now=now, limit=limit)


async def _give_back(session: AsyncSession, *where: sa.ColumnElement[bool], now: datetime, limit: int = 500) -> int:
    mine = sa.select(Coupon).where(*where).order_by(Coupon.id).limit(limit).with_for_update()
    found = (await session.scalars(mine, execution_options={"populate_existing": True})).all()
    less: Counter[int] = Counter()
    for coupon in found:
        less[coupon.offer_id] -= coupon.discount_fen
        coupon.status = CouponStatus.ISSUED if coupon.expires_at > now else CouponStatus.EXPIRED
        coupon.discount_fen, coupon.held_until, coupon.redeemed_at = 0, None, None
        coupon.order_source = coupon.order_no = None
    await session.flush()
    await _commit_all(session, less)
    return len(found)


# Pieces


async def _usable(
    session: AsyncSession,
    member_id: int,
    codes: Sequence[str],
    *,
    order: OrderRef | None,
    locks: bool = False,
    now: datetime,
) -> list[tuple[Coupon, Offer]]:
    """These coupons of the member, the oldest first."""
    wanted = dict.fromkeys(one.strip().upper() for one in codes)
    mine = (
        sa.select(Coupon, Offer)
        .join(Offer, Offer.id == Coupon.offer_id)
        .where(Coupon.code.in_(wanted), Coupon.member_id == member_id)
        .order_by(Coupon.id)
    )
    if locks:
        mine = mine.with_for_update(of=Coupon)
    rows = (await session.execute(mine, execution_options={"populate_existing": True})).all()
    known = {coupon.code: coupon for coupon, _ in rows}
    for code in wanted:
        if code not in known or not _may_use(known[code], order, now):
            raise await _why_not(session, member_id, code, order=order, now=now)
    return [(coupon, offer) for coupon, offer in rows]


def _may_use(coupon: Coupon, order: OrderRef | None, now: datetime) -> bool:
    if coupon.status is CouponStatus.ISSUED:
        return coupon.expires_at > now
    return coupon.status in {CouponStatus.HELD, CouponStatus.REDEEMED} and order is not None and order.has(coupon)


async def _why_not(
    session: AsyncSession, member_id: int, code: str, *, order: OrderRef | None, now: datetime
) -> Exception:
    """Why a coupon cannot be used; who it belongs to is nobody's business."""
    mine = sa.select(Coupon).where(Coupon.code == code, Coupon.member_id == member_id)
    coupon = await session.scalar(mine, execution_options={"populate_existing": True})
    if coupon is None or coupon.status is CouponStatus.CANCELLED:
        return CouponNotFound(code)
    if coupon.status is CouponStatus.REDEEMED:
        return CouponSpent(code, coupon.redeemed_at or now)
    if coupon.status is CouponStatus.HELD and not (order is not None and order.has(coupon)):
        return CouponInUse(code, coupon.order_no or "", coupon.held_until or now)
    return CouponExpired(code, coupon.expires_at) if coupon.expires_at <= now else Busy()


def _of(order: OrderRef) -> tuple[Any, ...]:
    return Coupon.order_source == order.source, Coupon.order_no == order.number


async def _tell_redeemed(session: AsyncSession, spent: Sequence[Coupon], *, now: datetime) -> None:
    told = [
        CouponRedeemed(
            coupon_id=one.id,
            offer_id=one.offer_id,
            member_id=one.member_id,
            order_source=one.order_source or "",
            order_no=one.order_no or "",
            discount_fen=one.discount_fen,
        )
        for one in spent
    ]
    await events.append_all(session, told, now=now)
