"""The chat archive of customer groups: its cursor, lines, agreements and counts; questions nobody answered there.

Why: where a shop has licensed the archive, questions and complaints in its groups reach the people who can act.
Live: new tables and a nullable column. Down: drops them, with the questions that came from groups.
"""

import sqlalchemy as sa
from alembic import op

revision = "0020_archive"
down_revision = "0019_offers"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Instant = sa.DateTime(timezone=True)
WAITING = sa.text("open_until IS NOT NULL")
ONCE = "uq_faq_questions_archived_msgid"


def upgrade() -> None:
    state = op.create_table(
        "archive_state",
        sa.Column("id", BigInt, primary_key=True, autoincrement=False),
        sa.Column("seq", BigInt, nullable=False),
        sa.Column("read_at", Instant, nullable=True),
        sa.CheckConstraint("id = 1", name="one_row"),
    )
    op.bulk_insert(state, [{"id": 1, "seq": 0}])
    op.create_table(
        "archived_lines",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("msgid", sa.String(128), nullable=False, unique=True),
        sa.Column("group_id", BigInt, sa.ForeignKey("customer_groups.id"), nullable=False),
        sa.Column("speaker", sa.String(40), nullable=False),
        sa.Column("sender", sa.String(64), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("said_at", Instant, nullable=False),
        sa.Column("open_until", Instant, nullable=True),
    )
    op.create_index("ix_archived_lines_group_id_said_at", "archived_lines", ["group_id", "said_at"])
    op.create_index(
        "ix_archived_lines_open", "archived_lines", ["open_until"], sqlite_where=WAITING, postgresql_where=WAITING
    )
    op.create_index("ix_archived_lines_sender", "archived_lines", ["sender"])
    op.create_index("ix_archived_lines_said_at", "archived_lines", ["said_at"])
    op.create_table(
        "archive_agreements",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("group_id", BigInt, sa.ForeignKey("customer_groups.id"), nullable=False),
        sa.Column("person", sa.String(64), nullable=False),
        sa.Column("agreed", sa.Boolean, nullable=False),
        sa.Column("asked_at", Instant, nullable=False),
        sa.UniqueConstraint("group_id", "person"),
    )
    op.create_index("ix_archive_agreements_person", "archive_agreements", ["person"])
    op.create_table(
        "archive_counts",
        sa.Column("on_day", sa.Date, primary_key=True),
        sa.Column("kind", sa.String(40), primary_key=True),
        sa.Column("records", BigInt, nullable=False),
    )
    with op.batch_alter_table("faq_questions") as questions:
        questions.add_column(sa.Column("archived_msgid", sa.String(128), nullable=True))
        questions.create_unique_constraint(op.f(ONCE), ["archived_msgid"])
    op.create_index("ix_faq_questions_asker", "faq_questions", ["asker"])


def downgrade() -> None:
    op.execute("DELETE FROM faq_questions WHERE archived_msgid IS NOT NULL")
    op.drop_index("ix_faq_questions_asker", table_name="faq_questions")
    with op.batch_alter_table("faq_questions") as questions:
        questions.drop_constraint(op.f(ONCE), type_="unique")
        questions.drop_column("archived_msgid")
    for name in ("archive_counts", "archive_agreements", "archived_lines", "archive_state"):
        op.drop_table(name)
