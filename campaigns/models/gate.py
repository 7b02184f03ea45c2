"""Tables of the gate: who was or will be touched, what the platform's quota was spent on, who is left in peace."""

from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class PassState(StrEnum):
    PENDING = "pending"  # let through; it may reach them at any moment
    SENT = "sent"  # it reached them, at `at`
    RELEASED = "released"  # it will not reach them


class Touch(Base):
    """One marketing message that the gate let through to one member."""

    __tablename__ = "touches"
    __table_args__ = (sa.UniqueConstraint("member_id", "ref"), sa.Index(None, "ref"))

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    ref: Mapped[str] = mapped_column(sa.String(64))  # the caller's own: a delivery, or a broadcast with many members
    channel: Mapped[str] = mapped_column(sa.String(40))  # guard_rules.Channel
    topic: Mapped[str] = mapped_column(sa.String(40))  # of the consent that it needs
    state: Mapped[PassState] = mapped_column(default=PassState.PENDING)
    at: Mapped[datetime]  # pending: when it was let through; sent: when it reached them
    code: Mapped[str] = mapped_column(sa.String(40), default="")  # why it was released, as Decision.code


class QuotaUse(Base):
    """One 企业群发 to one customer or one group, of the few that WeCom lets through in a month."""

    __tablename__ = "quota_uses"
    __table_args__ = (
        sa.UniqueConstraint("member_id", "ref"),
        sa.UniqueConstraint("group_id", "ref"),
        sa.Index(None, "ref"),
        sa.CheckConstraint("(member_id IS NULL) <> (group_id IS NULL)", name="customer_or_group"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int | None] = mapped_column(sa.ForeignKey("members.id"))
    group_id: Mapped[int | None] = mapped_column(sa.ForeignKey("customer_groups.id"))
    ref: Mapped[str] = mapped_column(sa.String(64))  # as in touches; "platform:DATE" is what WeCom told us
    state: Mapped[PassState] = mapped_column(default=PassState.PENDING)
    at: Mapped[datetime]
    code: Mapped[str] = mapped_column(sa.String(40), default="")


class MarketingHold(Base):
    """A reason to leave one member in peace, for as long as it stands: an open complaint, say."""

    __tablename__ = "marketing_holds"
    __table_args__ = (sa.Index(None, "member_id"),)

    ref: Mapped[str] = mapped_column(sa.String(64), primary_key=True)  # whose hold it is: "ticket:12"
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    reason: Mapped[str] = mapped_column(sa.String(40))  # "complaint", "manual"
    since: Mapped[datetime]
    until: Mapped[datetime | None]  # exclusive; None: until it is lifted
    lifted_at: Mapped[datetime | None]


class SendingStop(Base):
    """The emergency brake: while a row is open, no marketing message leaves. One is open at a time."""

    __tablename__ = "sending_stops"
    __table_args__ = (
        sa.Index(
            "uq_sending_stops_open",
            "scope",
            unique=True,
            sqlite_where=sa.text("resumed_at IS NULL"),
            postgresql_where=sa.text("resumed_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    scope: Mapped[str] = mapped_column(sa.String(40), default="marketing")
    reason: Mapped[str]
    stopped_by: Mapped[str] = mapped_column(sa.String(64))
    stopped_at: Mapped[datetime]
    resumed_by: Mapped[str] = mapped_column(sa.String(64), default="")
    resumed_at: Mapped[datetime | None]
