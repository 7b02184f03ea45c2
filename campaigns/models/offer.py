"""Tables of what is promised and what members hold of it: offers, coupons, and how many of an offer one person took."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class OfferKind(StrEnum):
    AMOUNT = "amount"  # 满减: so much off
    PERCENT = "percent"  # 折扣: a share off, with a cap
    GIFT = "gift"  # 赠品
    SHIPPING = "shipping"  # 免邮


class CouponStatus(StrEnum):
    ISSUED = "issued"  # in the member's wallet
    HELD = "held"  # reserved by an unpaid order
    REDEEMED = "redeemed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"  # taken back by the shop


class Offer(Base):
    """A promise with its terms and its limits. Terms of an offer that was issued stay; only limits and the end move."""

    __tablename__ = "offers"
    __table_args__ = (
        sa.CheckConstraint("threshold_fen >= 0 AND amount_fen >= 0", name="money_not_negative"),
        sa.CheckConstraint("percent_bp BETWEEN 0 AND 10000", name="percent_of_a_whole"),
        sa.CheckConstraint("issued >= 0 AND (stock IS NULL OR issued <= stock)", name="issued_within_stock"),
        sa.CheckConstraint(
            "committed_fen >= 0 AND (budget_fen IS NULL OR committed_fen <= budget_fen)", name="committed_within_budget"
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(sa.String(40), unique=True)  # the shop's own name for it, and what members type
    title: Mapped[str] = mapped_column(sa.String(60))  # what members read
    kind: Mapped[OfferKind]
    amount_fen: Mapped[int] = mapped_column(default=0)  # off; of shipping: at most, 0 is all of it
    percent_bp: Mapped[int] = mapped_column(default=0)  # off, in basis points: 2000 is 20 % off (八折)
    cap_fen: Mapped[int | None]  # of a percentage: at most so much off
    gift_sku: Mapped[str] = mapped_column(sa.String(64), default="")
    gift_fen: Mapped[int] = mapped_column(default=0)  # what a gift costs the shop, for the budget
    threshold_fen: Mapped[int] = mapped_column(default=0)  # of the articles it is for
    skus: Mapped[list[str]]  # it is for these articles
    categories: Mapped[list[str]]  # and these; both empty: for all
    stacks: Mapped[bool] = mapped_column(default=False)  # may be used with others that stack
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]  # exclusive; no coupon lives longer
    valid_days: Mapped[int | None]  # a coupon lives so many days, to the end of the last, shop-local
    stock: Mapped[int | None]
    issued: Mapped[int] = mapped_column(default=0)
    per_member: Mapped[int | None]
    budget_fen: Mapped[int | None]
    committed_fen: Mapped[int] = mapped_column(default=0)  # of held and redeemed coupons
    points_price: Mapped[int | None]  # in the points shop; None: not there
    claimable: Mapped[bool] = mapped_column(default=False)  # members may take it themselves by its key
    closed_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class OfferTaken(Base):
    """How many coupons of an offer one person took."""

    __tablename__ = "offer_taken"
    __table_args__ = (sa.CheckConstraint("taken >= 0", name="taken_not_negative"),)

    offer_id: Mapped[int] = mapped_column(sa.ForeignKey("offers.id"), primary_key=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"), primary_key=True)
    taken: Mapped[int]


class Coupon(Base):
    """One coupon in one member's wallet. Rows are kept for good: the wallet is the audit trail."""

    __tablename__ = "coupons"
    __table_args__ = (
        sa.Index(None, "member_id", "status"),
        sa.UniqueConstraint("offer_id", "issued_to_id", "because"),
        sa.Index(None, "issued_to_id"),
        sa.Index(
            "ix_coupons_order",
            "order_source",
            "order_no",
            sqlite_where=sa.text("order_no IS NOT NULL"),
            postgresql_where=sa.text("order_no IS NOT NULL"),
        ),
        sa.Index(
            "ix_coupons_live",
            "expires_at",
            sqlite_where=sa.text("status IN ('issued', 'held')"),
            postgresql_where=sa.text("status IN ('issued', 'held')"),
        ),
        sa.Index(
            "ix_coupons_held",
            "held_until",
            sqlite_where=sa.text("status = 'held'"),
            postgresql_where=sa.text("status = 'held'"),
        ),
        sa.CheckConstraint("(status IN ('held', 'redeemed')) = (order_no IS NOT NULL)", name="in_use_has_order"),
        sa.CheckConstraint("(order_no IS NULL) = (order_source IS NULL)", name="order_is_whole"),
        sa.CheckConstraint("(status = 'held') = (held_until IS NOT NULL)", name="held_until_some_time"),
        sa.CheckConstraint("(status = 'redeemed') = (redeemed_at IS NOT NULL)", name="redeemed_at_some_time"),
        sa.CheckConstraint("discount_fen >= 0", name="discount_not_negative"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(sa.String(8), unique=True)  # what the member types: no 0/O/1/I
    offer_id: Mapped[int] = mapped_column(sa.ForeignKey("offers.id"))
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    issued_to_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))  # as whom, before any merge
    because: Mapped[str] = mapped_column(sa.String(64))  # what it was issued for: the same cause gives the same coupon
    status: Mapped[CouponStatus] = mapped_column(default=CouponStatus.ISSUED)
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime]  # UTC, exclusive: at this instant it is dead
    order_source: Mapped[str | None] = mapped_column(sa.String(40))
    order_no: Mapped[str | None] = mapped_column(sa.String(64))
    discount_fen: Mapped[int] = mapped_column(default=0)  # on the order that holds or spent it; of a gift its cost
    held_until: Mapped[datetime | None]  # an order unpaid by then gives it back
    redeemed_at: Mapped[datetime | None]
    reminded_at: Mapped[datetime | None]  # of its end


class Ladder(Base):
    """A tiered offer: ordered tiers, each with who it is for and what it gives. The first that fits is the best."""

    __tablename__ = "ladders"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(sa.String(40), unique=True)  # the shop's own name for it, and what members type
    title: Mapped[str] = mapped_column(sa.String(60))
    tiers: Mapped[list[Any]]  # ladders.Tier each
    claimable: Mapped[bool] = mapped_column(default=False)
    closed_at: Mapped[datetime | None]
    saved_at: Mapped[datetime]


class LadderGift(Base):
    """What a member got of a tiered offer, once for each cause, and why that tier."""

    __tablename__ = "ladder_gifts"
    __table_args__ = (sa.UniqueConstraint("ladder_id", "member_id", "because"), sa.Index(None, "member_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    ladder_id: Mapped[int] = mapped_column(sa.ForeignKey("ladders.id"))
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))  # as whom; a merge leaves it
    because: Mapped[str] = mapped_column(sa.String(48))
    tier: Mapped[str] = mapped_column(sa.String(40))
    reason: Mapped[str]  # the tier's condition in words, as it was then
    coupon_id: Mapped[int | None] = mapped_column(sa.ForeignKey("coupons.id"))
    points: Mapped[int] = mapped_column(default=0)
    given_at: Mapped[datetime]
