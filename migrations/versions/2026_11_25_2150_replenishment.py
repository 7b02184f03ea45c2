"""Replenishment: what members buy again and again, how sure that is, and when they were reminded.

Why: a word before it runs out, and none after they bought, complained, or let two go by.
Live: a new table only. Down: drops it; the next night would count it anew.
"""

import sqlalchemy as sa
from alembic import op

revision = "0037_replenishment"
down_revision = "0036_newcomers"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "replenishments",
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), primary_key=True),
        sa.Column("subject", sa.String(40), primary_key=True),
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("label", sa.String(64), nullable=False),
        sa.Column("purchases", BigInt, nullable=False),
        sa.Column("median_days", BigInt, nullable=False),
        sa.Column("confidence_bp", BigInt, nullable=False),
        sa.Column("last_on", sa.Date, nullable=False),
        sa.Column("runs_out_on", sa.Date, nullable=False),
        sa.Column("remind_on", sa.Date, nullable=True),
        sa.Column("reminders", BigInt, nullable=False),
        sa.Column("stopped_because", sa.String(60), nullable=False),
        sa.CheckConstraint("reminders BETWEEN 0 AND 2", name=op.f("ck_replenishments_two_are_enough")),
        sa.CheckConstraint("median_days > 0", name=op.f("ck_replenishments_takes_some_days")),
    )
    where = sa.text("remind_on IS NOT NULL")
    op.create_index(
        "ix_replenishments_due", "replenishments", ["remind_on"], sqlite_where=where, postgresql_where=where
    )


def downgrade() -> None:
    op.drop_table("replenishments")
