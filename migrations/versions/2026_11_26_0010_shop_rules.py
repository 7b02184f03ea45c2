"""Rules of the shop that are changed in the console, version by version.

Why: hours, caps, clocks and words stood in the environment alone, and a change took a restart of every process.
Live: a new table only; empty, everything goes by the environment as before. Down: drops it, the environment holds.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0063_shop_rules"
down_revision = "0062_group_sequences"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.create_table(
        "shop_rule_versions",
        sa.Column("version", BigInt, primary_key=True, autoincrement=False),
        sa.Column("texts", Json, nullable=False),
        sa.Column("changed", Json, nullable=False),
        sa.Column("made_by", sa.String(64), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("back_to", BigInt, nullable=True),
    )


def downgrade() -> None:
    op.drop_table("shop_rule_versions")
