"""Tables of what is kept sealed about a member, and of who has looked at it."""

from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class PrivateKind(StrEnum):
    PHONE = "phone"
    ADDRESS = "address"


class PrivateValue(Base):
    """One phone number or address of one member, readable only with the shop's key."""

    __tablename__ = "private_values"
    __table_args__ = (
        sa.UniqueConstraint("kind", "fingerprint"),
        sa.Index(
            "ix_private_values_place",
            "place",
            sqlite_where=sa.text("place IS NOT NULL"),
            postgresql_where=sa.text("place IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"), index=True)
    kind: Mapped[PrivateKind]
    place: Mapped[str | None] = mapped_column(sa.String(64))  # of an address: keyed hash, the same whoever lives there
    fingerprint: Mapped[str] = mapped_column(sa.String(64))  # keyed hash; of a phone also its identity
    sealed: Mapped[str]
    added_at: Mapped[datetime]


class Reveal(Base):
    """Somebody saw a member's private values in plain text. Rows stay for good."""

    __tablename__ = "reveals"

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"), index=True)
    kind: Mapped[PrivateKind]
    userid: Mapped[str] = mapped_column(sa.String(64))  # of the staff member
    because: Mapped[str]
    revealed_at: Mapped[datetime]
