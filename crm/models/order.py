"""Tables of orders, their lines and refunds, news that came before its order, and each member's totals."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class OrderStatus(StrEnum):
    """Follows from the facts, see orders.status_of()."""

    PLACED = "placed"
    PAID = "paid"
    PARTLY_REFUNDED = "partly_refunded"
    REFUNDED = "refunded"  # all that was paid
    CANCELLED = "cancelled"  # and never paid


class Order(Base):
    """One order of one member, named by the shop system it came from."""

    __tablename__ = "orders"
    __table_args__ = (
        sa.UniqueConstraint("source", "external_no"),
        sa.Index(None, "member_id", "paid_at", "paid_fen", "refunded_fen"),  # whether they bought, without the rows
        sa.Index(None, "paid_on"),
        sa.CheckConstraint("total_fen >= 0", name="total_not_negative"),
        sa.CheckConstraint("refunded_fen >= 0 AND refunded_fen <= paid_fen", name="refunds_within_payment"),
        sa.CheckConstraint("(paid_at IS NULL) = (paid_on IS NULL)", name="payment_has_its_day"),
        sa.CheckConstraint("paid_at IS NOT NULL OR paid_fen = 0", name="payment_has_its_instant"),
        sa.CheckConstraint(
            "(status IN ('paid', 'partly_refunded', 'refunded')) = (paid_at IS NOT NULL)",
            name="paid_orders_have_their_instant",
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    source: Mapped[str] = mapped_column(sa.String(40))
    external_no: Mapped[str] = mapped_column(sa.String(64))
    status: Mapped[OrderStatus]
    total_fen: Mapped[int]  # what it costs
    paid_fen: Mapped[int] = mapped_column(default=0)  # what was paid for it
    refunded_fen: Mapped[int] = mapped_column(default=0)  # sum of its refunds
    placed_at: Mapped[datetime]
    told_at: Mapped[datetime]  # when the shop system last changed it: an older telling does not overwrite a newer one
    paid_at: Mapped[datetime | None]
    paid_on: Mapped[date | None]  # shop-local
    cancelled_at: Mapped[datetime | None]  # a paid order keeps this fact, and is paid until refunded


class OrderLine(Base):
    """One article of one order."""

    __tablename__ = "order_lines"
    __table_args__ = (
        sa.UniqueConstraint("order_id", "line_no"),
        sa.CheckConstraint("quantity > 0", name="quantity_positive"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(sa.ForeignKey("orders.id"))
    line_no: Mapped[int]  # 1, 2, … within the order
    sku: Mapped[str] = mapped_column(sa.String(64))
    name: Mapped[str]
    category: Mapped[str] = mapped_column(sa.String(64), default="")
    quantity: Mapped[int]
    price_fen: Mapped[int]  # of one piece


class Refund(Base):
    """Money that went back to a member. Without an order it lowers what the member spent and nothing else."""

    __tablename__ = "refunds"
    __table_args__ = (
        sa.UniqueConstraint("source", "external_no"),
        sa.Index(None, "member_id", "refunded_at"),
        sa.CheckConstraint("amount_fen > 0", name="amount_positive"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    order_id: Mapped[int | None] = mapped_column(sa.ForeignKey("orders.id"), index=True)
    source: Mapped[str] = mapped_column(sa.String(40))
    external_no: Mapped[str] = mapped_column(sa.String(64))  # the refund's own number
    amount_fen: Mapped[int]
    refunded_at: Mapped[datetime]
    refunded_on: Mapped[date]  # shop-local


class EarlyNews(Base):
    """A payment, cancellation or refund told before what it builds on. Applied, and deleted, when that arrives."""

    __tablename__ = "early_order_news"
    __table_args__ = (sa.UniqueConstraint("source", "order_no", "kind", "own_no"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(sa.String(40))
    order_no: Mapped[str] = mapped_column(sa.String(64))
    kind: Mapped[str] = mapped_column(sa.String(40))  # "paid", "cancelled", "refunded"
    own_no: Mapped[str] = mapped_column(sa.String(64), default="")  # of the refund
    body: Mapped[dict[str, Any]]
    came_at: Mapped[datetime]
    refused: Mapped[str] = mapped_column(default="")  # why it could not be applied; a person decides


class MemberOrders(Base):
    """A member's totals over all time, kept in the transaction of each order: sums of the rows above.

    Counted are orders that were paid with an amount above zero and not refunded in full.
    """

    __tablename__ = "member_orders"

    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"), primary_key=True, autoincrement=False)
    orders: Mapped[int] = mapped_column(default=0)  # counted ones
    paid_fen: Mapped[int] = mapped_column(default=0)  # of every order, counted or not
    refunded_fen: Mapped[int] = mapped_column(default=0)  # of every refund, with an order or without
    first_paid_at: Mapped[datetime | None]  # of counted orders
    last_paid_at: Mapped[datetime | None]
    last_paid_on: Mapped[date | None]  # shop-local
