"""Points for coupons: the offers that have a price in points, and the exchange, which is both or neither."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import coupons, offers
from campaigns.models.offer import Coupon, Offer
from crm import points
from crm.base.errors import Refused
from crm.point_ledger import Cause


@dataclass(eq=False)
class NotForPoints(Refused):
    """This offer is not to be had for points."""

    code: ClassVar[str] = "offer.not_for_points"
    key: str


async def on_show(session: AsyncSession, *, now: datetime) -> list[Offer]:
    """What can be had for points now."""
    return await offers.on_show(session, Offer.points_price.is_not(None), now=now)


async def exchange(
    session: AsyncSession, key: str, member_id: int, *, because: str, now: datetime
) -> tuple[Coupon, int]:
    """A coupon of this offer for its price in points; returns both. The same `because` pays once.

    Raises OfferNotFound, NotForPoints, NotEnoughPoints and what coupons.issue() raises; nothing is written then.
    """
    offer = await offers.get(session, key)
    if offer.points_price is None:
        raise NotForPoints(offer.key)
    price = offer.points_price
    async with session.begin_nested():
        coupon = await coupons.issue(session, offer.id, member_id, because=because, now=now)
        cause = Cause("points_shop", str(coupon.id))
        await points.spend(session, coupon.member_id, price, cause=cause, reason=offer.title, now=now)
    return coupon, price
