"""Questions missed in a row.

Why: two misses in a row call a person, across messages and restarts.
Live: adds two columns with a default; running code ignores them. Down: drops them; counting begins at nought.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006_misses"
down_revision = "0005_sync"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("conversations") as conversations:
        conversations.add_column(sa.Column("misses", sa.SmallInteger, nullable=False, server_default="0"))
        conversations.add_column(sa.Column("missed_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("conversations") as conversations:
        conversations.drop_column("missed_at")
        conversations.drop_column("misses")
