"""Share WeCom access tokens between processes.

Why: the vendor throttles gettoken; one process asks and the others read its answer.
Live: adds a table that running code does not know. Down: drops it, every process asks once again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002_wecom_tokens"
down_revision = "0001_floor"
branch_labels = None
depends_on = None

Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "wecom_tokens",
        sa.Column("app", sa.String(64), nullable=False),
        sa.Column("credentials", sa.String(32), nullable=False),
        sa.Column("access_token", sa.Text()),
        sa.Column("fetched_at", sa.DateTime(timezone=True)),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("refreshing_until", sa.DateTime(timezone=True)),
        sa.Column("refused_until", sa.DateTime(timezone=True)),
        sa.Column("refusals", Number, nullable=False),
        sa.Column("refusal_errcode", Number, nullable=False),
        sa.Column("refusal_errmsg", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("app", name="pk_wecom_tokens"),
    )


def downgrade() -> None:
    op.drop_table("wecom_tokens")
