"""Table of what members buy again and again: how often, how sure that is, and when they were reminded."""

from datetime import date
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class Subject(StrEnum):
    SKU = "sku"
    CATEGORY = "category"


class Replenishment(Base):
    """One member's habit with one article, or with one category. A row is there while the habit is believed."""

    __tablename__ = "replenishments"
    __table_args__ = (
        sa.Index(
            "ix_replenishments_due",
            "remind_on",
            sqlite_where=sa.text("remind_on IS NOT NULL"),
            postgresql_where=sa.text("remind_on IS NOT NULL"),
        ),
        sa.CheckConstraint("median_days > 0", name="takes_some_days"),
        sa.CheckConstraint("reminders BETWEEN 0 AND 2", name="two_are_enough"),
    )

    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"), primary_key=True, autoincrement=False)
    subject: Mapped[Subject] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(sa.String(64), primary_key=True)  # the sku, or the category's name
    label: Mapped[str] = mapped_column(sa.String(64))  # what a reminder calls it
    purchases: Mapped[int]  # different days on which they bought it
    median_days: Mapped[int]  # between two of them
    confidence_bp: Mapped[int]  # how sure that is, see replenishment_rules.py
    last_on: Mapped[date]
    runs_out_on: Mapped[date]
    remind_on: Mapped[date | None]  # None: no more, until they buy again
    reminders: Mapped[int]  # since they last bought
    stopped_because: Mapped[str] = mapped_column(sa.String(60))  # a code of the gate's, "subscribed" or "ignored"
