"""What time and merges do to coupons: they expire, somebody is reminded, and they follow the person."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.coupon_terms import CouponExpiring
from campaigns.models.offer import Coupon, CouponStatus, OfferTaken
from crm.base import events
from crm.base.db import insert
from crm.models.member import Member

NO_SYNC = {"synchronize_session": False}
REMIND_BEFORE = timedelta(days=3)
NOT_TOO_SOON = timedelta(days=1)  # who just got it knows


async def expire_due(session: AsyncSession, *, now: datetime, limit: int = 500) -> int:
    """Write down which coupons are over. Returns how many."""
    due = sa.select(Coupon.id).where(Coupon.status == CouponStatus.ISSUED, Coupon.expires_at <= now)
    some = due.order_by(Coupon.expires_at).limit(limit).with_for_update(skip_locked=True)
    ended = sa.update(Coupon).where(Coupon.id.in_(some), Coupon.status == CouponStatus.ISSUED)
    rows = await session.scalars(
        ended.values(status=CouponStatus.EXPIRED).returning(Coupon.id), execution_options=NO_SYNC
    )
    return len(rows.all())


def expiring(*, now: datetime, within: timedelta = REMIND_BEFORE) -> tuple[sa.ColumnElement[bool], ...]:
    """SQL for coupons that end soon and whose member was not reminded."""
    return (
        Coupon.status == CouponStatus.ISSUED,
        Coupon.expires_at > now,
        Coupon.expires_at <= now + within,
        Coupon.issued_at <= now - NOT_TOO_SOON,
        Coupon.reminded_at.is_(None),
    )


async def warn(session: AsyncSession, *, now: datetime, limit: int = 500) -> int:
    """Say once of each coupon that it ends soon: a campaign may remind its member. Returns how many."""
    some = sa.select(Coupon.id).where(*expiring(now=now)).order_by(Coupon.expires_at).limit(limit)
    told = sa.update(Coupon).where(Coupon.id.in_(some), Coupon.reminded_at.is_(None)).values(reminded_at=now)
    facts = told.returning(Coupon.id, Coupon.offer_id, Coupon.member_id, Coupon.expires_at)
    rows = (await session.execute(facts, execution_options=NO_SYNC)).all()
    news = [
        CouponExpiring(coupon_id=row.id, offer_id=row.offer_id, member_id=row.member_id, expires_at=row.expires_at)
        for row in rows
    ]
    await events.append_all(session, news, now=now)
    return len(rows)


async def follow_people(session: AsyncSession, *member_ids: int) -> None:
    """After a merge, or its undoing, a coupon is in the wallet of whoever it was issued to is now.

    What each took is counted anew: after a merge one person may be above an offer's limit, and gets no more of it.
    """
    person = (
        sa.select(sa.func.coalesce(Member.merged_into_id, Member.id))
        .where(Member.id == Coupon.issued_to_id)
        .scalar_subquery()
    )
    theirs = Coupon.member_id.in_(member_ids)
    await session.execute(sa.update(Coupon).where(theirs).values(member_id=person), execution_options=NO_SYNC)
    await session.execute(sa.delete(OfferTaken).where(OfferTaken.member_id.in_(member_ids)), execution_options=NO_SYNC)
    counted = (
        sa.select(Coupon.offer_id, Coupon.member_id, sa.func.count())
        .where(theirs, Coupon.status != CouponStatus.CANCELLED)
        .group_by(Coupon.offer_id, Coupon.member_id)
    )
    await session.execute(insert(session, OfferTaken).from_select(["offer_id", "member_id", "taken"], counted))
