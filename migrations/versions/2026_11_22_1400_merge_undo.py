"""What a merge of two members carried over, so that it can be undone; and when it was.

Why: two people share a phone, are taken for one, and a manager notices an hour later.
Live: running code that merges must be stopped: it does not say what it carried. Down: undone merges are forgotten.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014_merge_undo"
down_revision = "0013_private"
branch_labels = None
depends_on = None

Json = sa.JSON(none_as_null=True).with_variant(sa.dialects.postgresql.JSONB(none_as_null=True), "postgresql")
STANDING = sa.text("undone_at IS NULL")


def upgrade() -> None:
    with op.batch_alter_table("member_merges") as merges:
        merges.add_column(sa.Column("carried", Json, nullable=False, server_default=sa.text("'{}'")))
        merges.add_column(sa.Column("profile", Json, nullable=False, server_default=sa.text("'{}'")))
        merges.add_column(sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True))
        merges.drop_constraint(op.f("uq_member_merges_absorbed_id"), type_="unique")
    with op.batch_alter_table("member_merges") as merges:
        for name in ("carried", "profile"):
            merges.alter_column(name, existing_type=Json, server_default=None)
    op.create_index(
        "uq_member_merges_standing",
        "member_merges",
        ["absorbed_id"],
        unique=True,
        sqlite_where=STANDING,
        postgresql_where=STANDING,
    )


def downgrade() -> None:
    op.drop_index("uq_member_merges_standing", table_name="member_merges")
    op.execute("DELETE FROM member_merges WHERE undone_at IS NOT NULL")
    with op.batch_alter_table("member_merges") as merges:
        merges.create_unique_constraint(op.f("uq_member_merges_absorbed_id"), ["absorbed_id"])
        for name in ("undone_at", "profile", "carried"):
            merges.drop_column(name)
