"""Tables of the reading of bills: how far it has come, and money that fits no claim."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class BillReading(Base):
    """How far the corp's bills have been read. One row; whoever moves `next_at` on reads this time."""

    __tablename__ = "bill_readings"

    name: Mapped[str] = mapped_column(sa.String(16), primary_key=True)
    read_until: Mapped[datetime]  # everything paid before is known, but for what the vendor lists late
    next_at: Mapped[datetime]


class StrayBill(Base):
    """A payment that fits no claim, kept until a person says whose it is. Its transaction may turn up elsewhere yet."""

    __tablename__ = "stray_bills"
    __table_args__ = (
        sa.Index(
            "ix_stray_bills_open",
            "id",
            sqlite_where=sa.text("settled_at IS NULL"),
            postgresql_where=sa.text("settled_at IS NULL"),
        ),
        sa.Index(None, "external_userid"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    transaction_id: Mapped[str] = mapped_column(sa.String(64), unique=True)
    external_userid: Mapped[str] = mapped_column(sa.String(64))  # who paid; empty: nobody's customer
    payee: Mapped[str] = mapped_column(sa.String(64))  # userid of who collected it
    paid_fen: Mapped[int]
    paid_at: Mapped[datetime]
    words: Mapped[str]  # the remark and what was sold, as staff wrote them
    why: Mapped[str]  # it fits none
    found_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]
    settled_as: Mapped[str] = mapped_column(default="")  # the claim's number, or what else it was for
