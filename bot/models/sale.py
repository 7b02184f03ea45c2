"""Tables of flash sales: what is sold when and to whom, claims, who waits, and payments as they were told."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class SaleStatus(StrEnum):
    """draft -> announced -> open -> sold_out | closed -> settled. The clock decides who may claim, not this word."""

    DRAFT = "draft"
    ANNOUNCED = "announced"
    OPEN = "open"
    SOLD_OUT = "sold_out"  # every unit is paid: nothing can come back
    CLOSED = "closed"
    SETTLED = "settled"  # nobody owes and nobody waits any more


class Sale(Base):
    """One session of a flash sale."""

    __tablename__ = "sales"
    __table_args__ = (
        sa.UniqueConstraint("series", "opens_at"),
        sa.Index(None, "status", "opens_at"),
        sa.CheckConstraint("closes_at > opens_at", name="closes_after_opening"),
        sa.CheckConstraint("early_at IS NULL OR early_at <= opens_at", name="early_before_opening"),
        sa.CheckConstraint("pay_seconds > 0", name="time_to_pay"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(sa.String(8), unique=True)  # in links
    name: Mapped[str]
    status: Mapped[SaleStatus] = mapped_column(default=SaleStatus.DRAFT)
    early_at: Mapped[datetime | None]  # from here on for those whom `early` names
    early: Mapped[dict[str, Any]]  # {"levels": [name, …], "tags": [name, …]}; either is enough
    opens_at: Mapped[datetime]
    closes_at: Mapped[datetime]  # exclusive
    pay_seconds: Mapped[int]  # from the claim to its release
    honours_late: Mapped[bool] = mapped_column(default=True)  # a payment after release takes a unit that is left
    series: Mapped[str | None] = mapped_column(sa.String(40))  # of a weekly sale; its sessions share the name
    ahead_seconds: Mapped[int] = mapped_column(default=7200)  # before the first may claim, its groups are told
    groups_only: Mapped[bool] = mapped_column(default=True)  # False: others may claim too, by whatever way they come
    recaps: Mapped[bool] = mapped_column(default=False)  # afterwards its groups read how it went
    created_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]


class SaleItem(Base):
    """One article of a sale. held + sold + left = stock at every instant: the checks make overselling impossible."""

    __tablename__ = "sale_items"
    __table_args__ = (
        sa.UniqueConstraint("sale_id", "code"),
        sa.CheckConstraint("held >= 0 AND sold >= 0 AND held + sold <= stock", name="never_oversold"),
        sa.CheckConstraint("price_fen >= 0 AND list_price_fen >= price_fen", name="price_below_list"),
        sa.CheckConstraint("limit_each > 0", name="limit_positive"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    sale_id: Mapped[int] = mapped_column(sa.ForeignKey("sales.id"))
    code: Mapped[str] = mapped_column(sa.String(8))  # what members type: A1
    sku: Mapped[str] = mapped_column(sa.String(64))
    name: Mapped[str]
    picture: Mapped[str] = mapped_column(default="")
    price_fen: Mapped[int]
    list_price_fen: Mapped[int]
    stock: Mapped[int]  # units
    held: Mapped[int] = mapped_column(default=0)  # claimed and not yet paid
    sold: Mapped[int] = mapped_column(default=0)  # paid
    limit_each: Mapped[int] = mapped_column(default=1)  # units one person may have, over all their identities


class SaleGroup(Base):
    """A customer group the sale is told in, and its link. Whether it is for them alone says the sale's groups_only."""

    __tablename__ = "sale_groups"
    __table_args__ = (sa.UniqueConstraint("sale_id", "group_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    sale_id: Mapped[int] = mapped_column(sa.ForeignKey("sales.id"))
    group_id: Mapped[int] = mapped_column(sa.ForeignKey("customer_groups.id"))
    code: Mapped[str] = mapped_column(sa.String(8), unique=True)  # in this group's link


class SaleShare(Base):
    """A group's own share of an item's stock, where a sale divides it. Its units count in the item's too."""

    __tablename__ = "sale_shares"
    __table_args__ = (
        sa.UniqueConstraint("item_id", "group_id"),
        sa.CheckConstraint("taken >= 0 AND taken <= stock", name="never_oversold"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(sa.ForeignKey("sale_items.id"))
    group_id: Mapped[int] = mapped_column(sa.ForeignKey("customer_groups.id"))
    stock: Mapped[int]
    taken: Mapped[int] = mapped_column(default=0)  # held and sold


class ClaimStatus(StrEnum):
    HELD = "held"  # until pay_due_at
    PAID = "paid"
    RELEASED = "released"  # not paid in time, or given back by the member


class Channel(StrEnum):
    H5 = "h5"
    CHAT = "chat"
    WAITING = "waiting"  # offered to who waited


class Claim(Base):
    """Units of an item granted to one member. Of an item a member has one unpaid claim at most, wherever they ask."""

    __tablename__ = "claims"
    __table_args__ = (
        sa.Index(
            "uq_claims_unpaid",
            "item_id",
            "member_id",
            unique=True,
            sqlite_where=sa.text("status = 'held'"),
            postgresql_where=sa.text("status = 'held'"),
        ),
        sa.Index(None, "member_id", "item_id"),
        sa.Index(
            "ix_claims_due",
            "pay_due_at",
            sqlite_where=sa.text("status = 'held'"),
            postgresql_where=sa.text("status = 'held'"),
        ),
        sa.Index(
            "ix_claims_came_from",
            "came_from",
            sqlite_where=sa.text("came_from IS NOT NULL"),
            postgresql_where=sa.text("came_from IS NOT NULL"),
        ),
        sa.CheckConstraint("quantity > 0", name="quantity_positive"),
        sa.CheckConstraint("(status = 'paid') = (paid_at IS NOT NULL)", name="paid_has_its_instant"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    no: Mapped[str] = mapped_column(sa.String(32), unique=True)  # stands for (item, member, request): out_trade_no too
    item_id: Mapped[int] = mapped_column(sa.ForeignKey("sale_items.id"))
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    quantity: Mapped[int]
    total_fen: Mapped[int]
    status: Mapped[ClaimStatus]
    channel: Mapped[Channel]
    group_id: Mapped[int | None] = mapped_column(sa.ForeignKey("customer_groups.id"))  # whose link it came by
    claimed_at: Mapped[datetime]
    pay_due_at: Mapped[datetime]  # exclusive
    paid_at: Mapped[datetime | None]
    released_at: Mapped[datetime | None]
    came_from: Mapped[int | None]  # member id: who claimed, before a merge


class WaiterStatus(StrEnum):
    WAITING = "waiting"
    OFFERED = "offered"  # has a claim now
    GONE = "gone"  # gave up, or the sale was settled


class Waiter(Base):
    """One member in the queue for an item, by id."""

    __tablename__ = "sale_waiters"
    __table_args__ = (
        sa.Index(
            "uq_sale_waiters_waiting",
            "item_id",
            "member_id",
            unique=True,
            sqlite_where=sa.text("status = 'waiting'"),
            postgresql_where=sa.text("status = 'waiting'"),
        ),
        sa.Index(None, "member_id"),
        sa.Index(
            "ix_sale_waiters_came_from",
            "came_from",
            sqlite_where=sa.text("came_from IS NOT NULL"),
            postgresql_where=sa.text("came_from IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(sa.ForeignKey("sale_items.id"))
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    quantity: Mapped[int]
    group_id: Mapped[int | None] = mapped_column(sa.ForeignKey("customer_groups.id"))
    status: Mapped[WaiterStatus] = mapped_column(default=WaiterStatus.WAITING)
    since: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    came_from: Mapped[int | None]  # member id: who joined, before a merge


class PaymentOutcome(StrEnum):
    APPLIED = "applied"  # in time
    HONOURED = "honoured"  # late, and a unit was left
    REFUND_DUE = "refund_due"  # the money has to go back
    REFUNDED = "refunded"  # and it has, says a person or the bills


class SalePayment(Base):
    """One payment as the bank told it: once per transaction, and what became of it."""

    __tablename__ = "sale_payments"
    __table_args__ = (sa.Index(None, "outcome"), sa.Index(None, "claim_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    transaction_id: Mapped[str] = mapped_column(sa.String(64), unique=True)
    claim_id: Mapped[int] = mapped_column(sa.ForeignKey("claims.id"))
    paid_fen: Mapped[int]
    paid_at: Mapped[datetime]
    outcome: Mapped[PaymentOutcome]
    why: Mapped[str] = mapped_column(default="")  # it has to go back
    told_at: Mapped[datetime]


class ClaimLine(Base):
    """A line like "抢 A1 x2" or "排队 A1", written down in the turn that heard it; the deed and its answer follow."""

    __tablename__ = "claim_lines"
    __table_args__ = (
        sa.Index(
            "ix_claim_lines_open",
            "id",
            sqlite_where=sa.text("done_at IS NULL"),
            postgresql_where=sa.text("done_at IS NULL"),
        ),
        sa.Index(None, "member_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    msgid: Mapped[str] = mapped_column(sa.String(128), unique=True)
    conversation_id: Mapped[int] = mapped_column(sa.ForeignKey("conversations.id"))
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    item_id: Mapped[int] = mapped_column(sa.ForeignKey("sale_items.id"))
    quantity: Mapped[int]
    waits: Mapped[bool] = mapped_column(default=False)  # asks for a place in the queue
    said_at: Mapped[datetime]
    done_at: Mapped[datetime | None]
