"""Posts into customer groups, and our tags on groups.

Why: a sale is announced, and a campaign speaks, in groups: by tasks that each group's owner confirms.
Live: new tables only. Down: drops them; tasks that owners have stay with them and nobody asks after those any more.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0035_group_posts"
down_revision = "0034_claim_origins"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)
Status = sa.String(40)


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    told = sa.text(where)
    op.create_index(op.f(name), table, columns, sqlite_where=told, postgresql_where=told)


def upgrade() -> None:
    op.create_table(
        "group_tags",
        sa.Column("group_id", BigInt, sa.ForeignKey("customer_groups.id"), primary_key=True, autoincrement=False),
        sa.Column("tag", sa.String(40), primary_key=True),
    )
    op.create_table(
        "group_posts",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("ref", sa.String(64), nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("status", Status, nullable=False),
        sa.Column("told", Json, nullable=False),
        sa.Column("due_at", Instant, nullable=False),
        sa.Column("ticked_at", Instant, nullable=False),
        sa.Column("ended_at", Instant),
        sa.CheckConstraint(
            "(status IN ('done', 'cancelled')) = (ended_at IS NOT NULL)", name=op.f("ck_group_posts_end_is_whole")
        ),
    )
    _partial("ix_group_posts_open", "group_posts", ["status"], "ended_at IS NULL")
    _tasks()
    _copies()


def _tasks() -> None:
    op.create_table(
        "group_tasks",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("post_id", BigInt, sa.ForeignKey("group_posts.id"), nullable=False),
        sa.Column("staff_id", BigInt, sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("variant", sa.SmallInteger(), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("status", Status, nullable=False),
        sa.Column("outbox_key", sa.String(64), nullable=False, unique=True),
        sa.Column("msgid", sa.String(200), unique=True),
        sa.Column("waiting_since", Instant, nullable=False),
        sa.Column("asked_at", Instant),
        sa.Column("confirmed_at", Instant),
        sa.Column("ended_at", Instant),
        sa.Column("reminders", sa.SmallInteger(), nullable=False),
        sa.Column("poll_at", Instant),
        sa.Column("error", sa.Text, nullable=False),
        sa.CheckConstraint(
            "(status IN ('done', 'failed')) = (poll_at IS NULL)", name=op.f("ck_group_tasks_open_ones_are_polled")
        ),
    )
    op.create_index(op.f("ix_group_tasks_post_id"), "group_tasks", ["post_id"])
    _partial("ix_group_tasks_open", "group_tasks", ["poll_at"], "poll_at IS NOT NULL")


def _copies() -> None:
    op.create_table(
        "group_copies",
        sa.Column("post_id", BigInt, sa.ForeignKey("group_posts.id"), primary_key=True, autoincrement=False),
        sa.Column("group_id", BigInt, sa.ForeignKey("customer_groups.id"), primary_key=True, autoincrement=False),
        sa.Column("variant", sa.SmallInteger(), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("status", Status, nullable=False),
        sa.Column("reason", sa.String(60)),
        sa.Column("due_at", Instant),
        sa.Column("task_id", BigInt, sa.ForeignKey("group_tasks.id")),
        sa.Column("sent_at", Instant),
        sa.CheckConstraint(
            "(status IN ('planned', 'held')) = (due_at IS NOT NULL)",
            name=op.f("ck_group_copies_waiting_ones_are_due"),
        ),
    )
    op.create_index(op.f("ix_group_copies_task_id"), "group_copies", ["task_id"])
    _partial("ix_group_copies_due", "group_copies", ["post_id", "due_at"], "due_at IS NOT NULL")


def downgrade() -> None:
    for table in ("group_copies", "group_tasks", "group_posts", "group_tags"):
        op.drop_table(table)
