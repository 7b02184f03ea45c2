"""The table of new faces at a sale: who came, from where, and whether a person has to look at them first."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class Standing(StrEnum):
    """clear -> waiting -> admitted | refused. Only the clear and the admitted claim anything."""

    CLEAR = "clear"
    WAITING = "waiting"  # flagged; a person decides
    ADMITTED = "admitted"
    REFUSED = "refused"


class Newcomer(Base):
    """Somebody new who asked for something of a sale: joined just before it and has never bought anything."""

    __tablename__ = "sale_newcomers"
    __table_args__ = (
        sa.UniqueConstraint("sale_id", "member_id"),
        sa.Index(None, "sale_id", "asked_at"),
        sa.Index(None, "member_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    sale_id: Mapped[int] = mapped_column(sa.ForeignKey("sales.id"))
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    address: Mapped[str] = mapped_column(sa.String(16))  # keyed hash of whence they asked first; empty: not known
    asked_at: Mapped[datetime]
    standing: Mapped[Standing] = mapped_column(default=Standing.CLEAR)
    evidence: Mapped[dict[str, Any]]  # {"rule": …, "count": …, "minutes": …} of who was flagged
    flagged_at: Mapped[datetime | None]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str] = mapped_column(sa.String(64), default="")
