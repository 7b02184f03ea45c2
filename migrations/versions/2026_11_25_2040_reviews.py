"""Reviews with pictures: what members sent, and what staff said to it.

Why: a picture of something bought is rewarded once for each article of an order, after somebody looked at it.
Live: new tables only. Down: drops them; what was rewarded stays.
"""

import sqlalchemy as sa
from alembic import op

revision = "0033_reviews"
down_revision = "0036_desk"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Instant = sa.DateTime(timezone=True)


def _partial(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def upgrade() -> None:
    op.create_table(
        "task_reviews",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("task_id", BigInt, sa.ForeignKey("community_tasks.id"), nullable=False),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("order_id", BigInt, sa.ForeignKey("orders.id"), nullable=False),
        sa.Column("sku", sa.String(64), nullable=False),
        sa.Column("article", sa.Text, nullable=False),
        sa.Column("words", sa.Text, nullable=False),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.Column("channel", sa.String(20), nullable=False),
        sa.Column("sent_at", Instant, nullable=False),
        sa.Column("decided_at", Instant, nullable=True),
        sa.CheckConstraint("(status = 'waiting') = (decided_at IS NULL)", name="decided_at_some_time"),
        sa.CheckConstraint("status <> 'refused' OR reason <> ''", name="refused_with_a_reason"),
    )
    standing = "status IN ('waiting', 'approved')"
    _partial("uq_task_reviews_article", "task_reviews", ["order_id", "sku"], standing, unique=True)
    _partial("ix_task_reviews_waiting", "task_reviews", ["sent_at"], "status = 'waiting'")
    op.create_index("ix_task_reviews_member_id_sent_at", "task_reviews", ["member_id", "sent_at"])
    op.create_index("ix_task_reviews_task_id", "task_reviews", ["task_id"])
    op.create_table(
        "review_pictures",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("review_id", BigInt, sa.ForeignKey("task_reviews.id"), nullable=False),
        sa.Column("media_id", sa.Text, nullable=False),
        sa.Column("content_type", sa.String(40), nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=True),
        sa.Column("fetch_at", Instant, nullable=True),
        sa.Column("tries", BigInt, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("sent_at", Instant, nullable=False),
    )
    _partial("ix_review_pictures_due", "review_pictures", ["fetch_at"], "fetch_at IS NOT NULL")
    op.create_index("ix_review_pictures_review_id", "review_pictures", ["review_id"])


def downgrade() -> None:
    op.drop_table("review_pictures")
    op.drop_table("task_reviews")
