"""Where an address leads, as a keyed hash that is the same for everybody.

Why: two members of one address who invite one another are looked at by a person.
Live: one nullable column and its index; addresses kept before have none until they are told again. Down: drops both.
"""

import sqlalchemy as sa
from alembic import op

revision = "0050_places"
down_revision = "0040_webhooks"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("private_values") as values:
        values.add_column(sa.Column("place", sa.String(64), nullable=True))
    some = sa.text("place IS NOT NULL")
    op.create_index("ix_private_values_place", "private_values", ["place"], sqlite_where=some, postgresql_where=some)


def downgrade() -> None:
    op.drop_index("ix_private_values_place", "private_values")
    with op.batch_alter_table("private_values") as values:
        values.drop_column("place")
