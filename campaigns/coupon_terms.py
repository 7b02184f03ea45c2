"""What can be said of coupons: the order they are put on, what happened to them, and what is refused."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from campaigns.models.offer import Coupon
from crm.base.errors import NotFound, Refused


@dataclass(frozen=True, slots=True)
class OrderRef:
    """An order by its shop's number; it may not have been told to us yet."""

    source: str
    number: str

    def has(self, coupon: Coupon) -> bool:
        return (coupon.order_source, coupon.order_no) == (self.source, self.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponIssued:
    """A member got a coupon."""

    coupon_id: int
    offer_id: int
    member_id: int
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponRedeemed:
    """A coupon was spent on an order."""

    coupon_id: int
    offer_id: int
    member_id: int
    order_source: str
    order_no: str
    discount_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponExpiring:
    """A coupon that nobody used ends soon. Said once for each coupon."""

    coupon_id: int
    offer_id: int
    member_id: int
    expires_at: datetime


@dataclass(eq=False)
class OfferNotOpen(Refused):
    """Not yet, or no longer."""

    code: ClassVar[str] = "offer.not_open"
    key: str
    starts_at: datetime
    ended_at: datetime | None


@dataclass(eq=False)
class OfferSoldOut(Refused):
    """All of them are given."""

    code: ClassVar[str] = "offer.sold_out"
    key: str


@dataclass(eq=False)
class LimitReached(Refused):
    """This person took as many as one person may."""

    code: ClassVar[str] = "offer.limit_reached"
    key: str
    per_member: int


@dataclass(eq=False)
class BudgetSpent(Refused):
    """What the shop meant to give away is given away."""

    code: ClassVar[str] = "offer.budget_spent"
    key: str


@dataclass(eq=False)
class CouponNotFound(NotFound):
    """This member has no such coupon."""

    code: ClassVar[str] = "coupon.not_found"
    coupon_code: str


@dataclass(eq=False)
class CouponExpired(Refused):
    """Its validity ended."""

    code: ClassVar[str] = "coupon.expired"
    coupon_code: str
    expired_at: datetime


@dataclass(eq=False)
class CouponSpent(Refused):
    """It was spent before."""

    code: ClassVar[str] = "coupon.spent"
    coupon_code: str
    redeemed_at: datetime


@dataclass(eq=False)
class CouponInUse(Refused):
    """Another order holds it."""

    code: ClassVar[str] = "coupon.in_use"
    coupon_code: str
    order_no: str
    held_until: datetime


@dataclass(eq=False)
class CouponUnfit(Refused):
    """It does nothing for this basket. reason: scope, threshold, nothing_left, not_together."""

    code: ClassVar[str] = "coupon.unfit"
    coupon_code: str
    reason: str
    missing_fen: int = 0
