"""Outgoing webhooks: addresses, deliveries and attempts.

Why: other systems of the shop hear of orders, members and coupons without asking all the time.
Live: new tables only. Down: drops them; what waited is lost, the events stay.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0040_webhooks"
down_revision = "0040_suggestions"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)


def _partial(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("name", sa.String(40), nullable=False, unique=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("events", Json, nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("failing_since", Instant, nullable=True),
        sa.Column("disabled_at", Instant, nullable=True),
        sa.Column("disabled_because", sa.Text, nullable=False),
        sa.Column("removed_at", Instant, nullable=True),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("webhook_id", BigInt, sa.ForeignKey("webhooks.id"), nullable=False),
        sa.Column("event_id", BigInt, nullable=True),
        sa.Column("event", sa.String(80), nullable=False),
        sa.Column("about_member_id", BigInt, nullable=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("state", sa.String(40), nullable=False),
        sa.Column("attempts", BigInt, nullable=False),
        sa.Column("due_at", Instant, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("settled_at", Instant, nullable=True),
        sa.UniqueConstraint("webhook_id", "event_id"),
        sa.CheckConstraint("(state = 'waiting') = (settled_at IS NULL)", name="settled_has_its_instant"),
    )
    due = ["webhook_id", "due_at"]
    op.create_index("ix_webhook_deliveries_due", "webhook_deliveries", due, **_partial("state = 'waiting'"))
    about = _partial("about_member_id IS NOT NULL")
    op.create_index("ix_webhook_deliveries_member", "webhook_deliveries", ["about_member_id"], **about)
    op.create_table(
        "webhook_attempts",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("delivery_id", BigInt, sa.ForeignKey("webhook_deliveries.id"), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("status", BigInt, nullable=True),
        sa.Column("took_ms", BigInt, nullable=False),
        sa.Column("answer", sa.String(300), nullable=False),
        sa.Column("error", sa.String(200), nullable=False),
    )
    op.create_index("ix_webhook_attempts_delivery_id", "webhook_attempts", ["delivery_id"])


def downgrade() -> None:
    op.drop_table("webhook_attempts")
    op.drop_table("webhook_deliveries")
    op.drop_table("webhooks")
