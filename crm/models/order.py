"""Tables of orders and their lines."""

from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class OrderStatus(StrEnum):
    PLACED = "placed"
    PAID = "paid"
    REFUNDED = "refunded"
    CANCELLED = "cancelled"


class Order(Base):
    """One order of one member, named by the shop system it came from."""

    __tablename__ = "orders"
    __table_args__ = (
        sa.UniqueConstraint("source", "external_no"),
        sa.Index(None, "member_id", "paid_at"),
        sa.CheckConstraint("total_fen >= 0", name="total_not_negative"),
        sa.CheckConstraint(
            "(status IN ('paid', 'refunded')) = (paid_at IS NOT NULL)", name="paid_orders_have_their_instant"
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    source: Mapped[str] = mapped_column(sa.String(40))
    external_no: Mapped[str] = mapped_column(sa.String(64))
    status: Mapped[OrderStatus]
    total_fen: Mapped[int]
    placed_at: Mapped[datetime]
    paid_at: Mapped[datetime | None]


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
