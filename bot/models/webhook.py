"""Tables of outgoing webhooks: where events go, each event on its way with its frozen body, and every attempt."""

from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class Webhook(Base):
    """One address that hears of events. Rows stay for their log; a removed one hears nothing."""

    __tablename__ = "webhooks"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(40), unique=True)  # for good
    url: Mapped[str]
    events: Mapped[list[str]]  # names; empty: all that are told
    secret: Mapped[str]  # sealed
    created_by: Mapped[str] = mapped_column(sa.String(64))
    created_at: Mapped[datetime]
    failing_since: Mapped[datetime | None]  # first failure since the last success
    disabled_at: Mapped[datetime | None]  # nothing is sent; what happens meanwhile waits
    disabled_because: Mapped[str] = mapped_column(default="")
    removed_at: Mapped[datetime | None]


class DeliveryState(StrEnum):
    WAITING = "waiting"  # for its first or its next attempt
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"  # after about a day; a replay begins again


class WebhookDelivery(Base):
    """One event on its way to one address. The body was frozen when the event was read: every attempt sends it."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        sa.UniqueConstraint("webhook_id", "event_id"),
        sa.Index("ix_webhook_deliveries_newest", "webhook_id", "id"),
        sa.Index("ix_webhook_deliveries_state", "webhook_id", "state", "settled_at"),
        sa.Index(
            "ix_webhook_deliveries_due",
            "webhook_id",
            "due_at",
            sqlite_where=sa.text("state = 'waiting'"),
            postgresql_where=sa.text("state = 'waiting'"),
        ),
        sa.Index(
            "ix_webhook_deliveries_member",
            "about_member_id",
            sqlite_where=sa.text("about_member_id IS NOT NULL"),
            postgresql_where=sa.text("about_member_id IS NOT NULL"),
        ),
        sa.CheckConstraint("(state = 'waiting') = (settled_at IS NULL)", name="settled_has_its_instant"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    webhook_id: Mapped[int] = mapped_column(sa.ForeignKey("webhooks.id"))
    event_id: Mapped[int | None]  # None: a test
    event: Mapped[str] = mapped_column(sa.String(80))  # its name
    about_member_id: Mapped[int | None]  # as the event had it: an erasure takes the row
    body: Mapped[str]
    state: Mapped[DeliveryState] = mapped_column(default=DeliveryState.WAITING)
    attempts: Mapped[int] = mapped_column(default=0)  # since it was written, or replayed
    due_at: Mapped[datetime]  # while an attempt runs, the end of its lease
    created_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]


class WebhookAttempt(Base):
    """One try, and what came back."""

    __tablename__ = "webhook_attempts"
    __table_args__ = (sa.Index(None, "delivery_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    delivery_id: Mapped[int] = mapped_column(sa.ForeignKey("webhook_deliveries.id"))
    at: Mapped[datetime]
    status: Mapped[int | None]  # of HTTP; None: no answer
    took_ms: Mapped[int]
    answer: Mapped[str] = mapped_column(sa.String(300), default="")  # its first characters
    error: Mapped[str] = mapped_column(sa.String(200), default="")  # why there was no answer
