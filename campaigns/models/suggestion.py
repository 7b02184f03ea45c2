"""Tables of suggestions: what the shop sells, as its orders tell it, and what is bought together. Nobody's data."""

from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class Item(Base):
    """An article that was sold, with what the newest line of an order calls it."""

    __tablename__ = "items"
    __table_args__ = (sa.Index(None, "category", "first_on"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    sku: Mapped[str] = mapped_column(sa.String(64), unique=True)
    name: Mapped[str]
    category: Mapped[str] = mapped_column(sa.String(64), default="")
    orders: Mapped[int] = mapped_column(default=0)  # that have it, in the time looked at
    first_on: Mapped[date | None]  # shop-local days on which it was first and last paid for
    last_on: Mapped[date | None]


class ItemPair(Base):
    """Two articles that are often in one order. Of each article the best others, both ways."""

    __tablename__ = "item_pairs"

    item_id: Mapped[int] = mapped_column(sa.ForeignKey("items.id"), primary_key=True, autoincrement=False)
    other_id: Mapped[int] = mapped_column(sa.ForeignKey("items.id"), primary_key=True, autoincrement=False)
    together: Mapped[int]  # orders that have both
    score: Mapped[float]  # together / √(orders of one × orders of the other): 1 is always together


class ItemRun(Base):
    """One night's count, once a day whoever does it."""

    __tablename__ = "item_runs"

    counted_on: Mapped[date] = mapped_column(primary_key=True)
    line_id: Mapped[int]  # newest line of an order that articles' names were taken from
    since_on: Mapped[date | None]  # the first day with an order in what was looked at
    lines: Mapped[int]
    pairs: Mapped[int]
    counted_at: Mapped[datetime]
