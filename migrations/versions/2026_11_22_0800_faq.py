"""The knowledge base: articles with revisions, publications, the regression set, questions asked and what to write.

Why: answers are edited by the shop, go live in all processes at once, and learn from what was asked in vain.
Live: new tables only. Down: drops them; export the articles to a file first.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008_faq"
down_revision = "0007_handoff"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    _articles()
    _publishing()
    _learning()


def _articles() -> None:
    op.create_table(
        "faq_articles",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("key", sa.String(64), nullable=False, unique=True),
        sa.Column("newest", BigInt, nullable=False),
        sa.Column("live", BigInt, nullable=True),
        sa.Column("created_at", Instant, nullable=False),
    )
    op.create_table(
        "faq_revisions",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("article_id", BigInt, sa.ForeignKey("faq_articles.id"), nullable=False),
        sa.Column("number", BigInt, nullable=False),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("similar", Json, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("tags", Json, nullable=False),
        sa.Column("valid_from", sa.Date, nullable=True),
        sa.Column("valid_to", sa.Date, nullable=True),
        sa.Column("link", Json, nullable=True),
        sa.Column("image", sa.Text, nullable=False),
        sa.Column("menu", Json, nullable=False),
        sa.Column("audience", sa.Text, nullable=False),
        sa.Column("saved_at", Instant, nullable=False),
        sa.Column("saved_by", sa.String(64), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.UniqueConstraint("article_id", "number"),
    )
    op.create_table(
        "faq_pictures",
        sa.Column("source", sa.String(500), primary_key=True),
        sa.Column("media_id", sa.String(255), nullable=True),
        sa.Column("uploaded_at", Instant, nullable=True),
        sa.Column("tried_at", Instant, nullable=False),
        sa.Column("error", sa.Text, nullable=True),
    )


def _publishing() -> None:
    op.create_table(
        "faq_publications",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("article_id", BigInt, sa.ForeignKey("faq_articles.id"), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("revision", BigInt, nullable=True),
        sa.Column("version", BigInt, nullable=False),
        sa.Column("published_at", Instant, nullable=False),
        sa.Column("published_by", sa.String(64), nullable=False),
        sa.Column("despite", sa.Text, nullable=True),
    )
    op.create_index("ix_faq_publications_article_id_id", "faq_publications", ["article_id", "id"])
    state = op.create_table(
        "faq_state",
        sa.Column("id", BigInt, primary_key=True, autoincrement=False),
        sa.Column("version", BigInt, nullable=False),
        sa.Column("file_sha256", sa.String(64), nullable=True),
        sa.CheckConstraint("id = 1", name="one_row"),
    )
    op.bulk_insert(state, [{"id": 1, "version": 0}])
    op.create_table(
        "faq_cases",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("normalized", sa.Text, nullable=False, unique=True),
        sa.Column("article_id", BigInt, sa.ForeignKey("faq_articles.id"), nullable=False),
        sa.Column("reached", sa.SmallInteger, nullable=True),
        sa.Column("added_at", Instant, nullable=False),
        sa.Column("added_by", sa.String(64), nullable=False),
    )
    op.create_index("ix_faq_cases_article_id", "faq_cases", ["article_id"])


def _learning() -> None:
    op.create_table(
        "faq_clusters",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("article_key", sa.String(64), nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("closed_at", Instant, nullable=True),
        sa.Column("closed_by", sa.String(64), nullable=True),
    )
    op.create_index("ix_faq_clusters_status", "faq_clusters", ["status"])
    op.create_table(
        "faq_questions",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("conversation_id", BigInt, sa.ForeignKey("conversations.id"), nullable=False),
        sa.Column("inbound_id", BigInt, sa.ForeignKey("inbound_messages.id"), nullable=False, unique=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("hits", Json, nullable=False),
        sa.Column("article_key", sa.String(64), nullable=True),
        sa.Column("follow", sa.String(40), nullable=True),
        sa.Column("unanswered", sa.Boolean, nullable=False),
        sa.Column("cluster_id", BigInt, sa.ForeignKey("faq_clusters.id"), nullable=True),
        sa.Column("asked_at", Instant, nullable=False),
        sa.Column("followed_at", Instant, nullable=True),
    )
    op.create_index("ix_faq_questions_conversation_id_id", "faq_questions", ["conversation_id", "id"])
    op.create_index("ix_faq_questions_asked_at", "faq_questions", ["asked_at"])
    op.create_index("ix_faq_questions_cluster_id", "faq_questions", ["cluster_id"])
    waiting = sa.text("cluster_id IS NULL AND unanswered")
    op.create_index(
        "ix_faq_questions_unsorted", "faq_questions", ["id"], sqlite_where=waiting, postgresql_where=waiting
    )


def downgrade() -> None:
    for name in (
        "faq_questions", "faq_clusters", "faq_cases", "faq_state", "faq_publications", "faq_pictures",
        "faq_revisions", "faq_articles",
    ):  # fmt: skip
        op.drop_table(name)
