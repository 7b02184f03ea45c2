"""Phones and addresses, sealed; and who looked at them.

Why: a shop's list of members comes with phone numbers, which nobody may read in the database or by chance on a screen.
Live: new tables only. Down: drops what is sealed; the phone identities stay and still lead to their members.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013_private"
down_revision = "0012_audience"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "private_values",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("sealed", sa.Text, nullable=False),
        sa.Column("added_at", Instant, nullable=False),
        sa.UniqueConstraint("kind", "fingerprint"),
    )
    op.create_index("ix_private_values_member_id", "private_values", ["member_id"])
    op.create_table(
        "reveals",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("userid", sa.String(64), nullable=False),
        sa.Column("because", sa.Text, nullable=False),
        sa.Column("revealed_at", Instant, nullable=False),
    )
    op.create_index("ix_reveals_member_id", "reveals", ["member_id"])


def downgrade() -> None:
    op.drop_table("reveals")
    op.drop_table("private_values")
