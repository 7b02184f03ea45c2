"""Indexes under the page of webhooks.

Why: how a webhook fares and its newest deliveries are asked for whenever somebody looks, over a month of them.
Live: adds two indexes to a table that only we write; on PostgreSQL that holds writers up for the time it takes.
Down: drops them.
"""

from alembic import op

revision = "0050_webhook_indexes"
down_revision = "0048_follow_ups"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_webhook_deliveries_newest", "webhook_deliveries", ["webhook_id", "id"])
    op.create_index("ix_webhook_deliveries_state", "webhook_deliveries", ["webhook_id", "state", "settled_at"])


def downgrade() -> None:
    op.drop_index("ix_webhook_deliveries_state", "webhook_deliveries")
    op.drop_index("ix_webhook_deliveries_newest", "webhook_deliveries")
