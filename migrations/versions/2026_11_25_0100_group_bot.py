"""What is said to an AI bot in internal groups, and questions that were asked in no conversation of customer service.

Why: the bot answers staff in groups by a stream that WeCom polls, so its state has to outlive the process.
Live: a new table; two columns of faq_questions may be empty, which running code never writes. Down: drops the
mentions and the questions asked in groups.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015_group_bot"
down_revision = "0015_loyalty"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)
MENTION = "fk_faq_questions_mention_id_bot_mentions"
ONCE = "uq_faq_questions_mention_id"
PLACE = "ck_faq_questions_said_in_its_conversation"
OPEN = sa.text("status = 'open'")


def upgrade() -> None:
    op.create_table(
        "bot_mentions",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("bot", sa.String(64), nullable=False),
        sa.Column("msgid", sa.String(200), nullable=False, unique=True),
        sa.Column("envelope", sa.String(64), nullable=False, unique=True),
        sa.Column("stream_id", sa.String(64), nullable=False, unique=True),
        sa.Column("chat_type", sa.String(40), nullable=False),
        sa.Column("chat_id", sa.String(200), nullable=False),
        sa.Column("userid", sa.String(64), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("response_code", sa.Text, nullable=True),
        sa.Column("received_at", Instant, nullable=False),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("attempts", sa.SmallInteger, nullable=False),
        sa.Column("not_before", Instant, nullable=False),
        sa.Column("answer", sa.Text, nullable=True),
        sa.Column("offered", Json, nullable=True),
        sa.Column("done_at", Instant, nullable=True),
        sa.Column("shown_at", Instant, nullable=True),
        sa.Column("feedback", sa.SmallInteger, nullable=True),
        sa.Column("error", sa.Text, nullable=True),
    )
    op.create_index(
        "ix_bot_mentions_open", "bot_mentions", ["not_before", "id"], sqlite_where=OPEN, postgresql_where=OPEN
    )
    op.create_index("ix_bot_mentions_bot_userid_received_at", "bot_mentions", ["bot", "userid", "received_at"])
    op.create_index("ix_bot_mentions_received_at", "bot_mentions", ["received_at"])
    with op.batch_alter_table("faq_questions") as questions:
        questions.alter_column("conversation_id", existing_type=BigInt, nullable=True)
        questions.alter_column("inbound_id", existing_type=BigInt, nullable=True)
        questions.add_column(sa.Column("mention_id", BigInt, nullable=True))
        questions.add_column(sa.Column("asker", sa.String(64), nullable=True))
        questions.create_foreign_key(op.f(MENTION), "bot_mentions", ["mention_id"], ["id"])
        questions.create_unique_constraint(op.f(ONCE), ["mention_id"])
        questions.create_check_constraint(op.f(PLACE), "(inbound_id IS NULL) = (conversation_id IS NULL)")


def downgrade() -> None:
    op.execute("DELETE FROM faq_questions WHERE conversation_id IS NULL")
    with op.batch_alter_table("faq_questions") as questions:
        questions.drop_constraint(op.f(PLACE), type_="check")
        questions.drop_constraint(op.f(ONCE), type_="unique")
        questions.drop_constraint(op.f(MENTION), type_="foreignkey")
        questions.drop_column("asker")
        questions.drop_column("mention_id")
        questions.alter_column("inbound_id", existing_type=BigInt, nullable=False)
        questions.alter_column("conversation_id", existing_type=BigInt, nullable=False)
    op.drop_table("bot_mentions")
