"""How far a nightly walk has come.

Why: crediting old orders began at each start of the process, in one transaction over all of them.
Live: a new table only. Down: drops it; the next walk begins from the first order.
"""

import sqlalchemy as sa
from alembic import op

revision = "0041_job_marks"
down_revision = "0045_surveys"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "job_marks",
        sa.Column("name", sa.String(60), primary_key=True),
        sa.Column("place", BigInt, nullable=False),
        sa.Column("begun_at", Instant, nullable=False),
        sa.Column("done_at", Instant, nullable=True),
    )


def downgrade() -> None:
    op.drop_table("job_marks")
