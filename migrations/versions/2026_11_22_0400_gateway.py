"""The gate and the talk: callbacks, kf accounts, pulled messages, conversations, window slots, tickets.

Why: a customer's message comes in over the inbox and is answered over the outbox.
Live: creates tables only.  Down: drops them with all that was said.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004_gateway"
down_revision = "0003_members"
branch_labels = None
depends_on = None

Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON().with_variant(JSONB(), "postgresql")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    _callbacks()
    _accounts()
    _conversations()
    _messages()


def _callbacks() -> None:
    op.create_table(
        "callbacks",
        sa.Column("id", Key, primary_key=True),
        sa.Column("app", sa.String(64), nullable=False),
        sa.Column("envelope", sa.String(64), nullable=False),
        sa.Column("dedupe_key", sa.String(64)),
        sa.Column("event", sa.String(80), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("received_at", Instant, nullable=False),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("attempts", Key, nullable=False),
        sa.Column("not_before", Instant, nullable=False),
        sa.Column("done_at", Instant),
        sa.Column("error", sa.Text()),
        sa.UniqueConstraint("envelope", name=op.f("uq_callbacks_envelope")),
        sa.UniqueConstraint("dedupe_key", name=op.f("uq_callbacks_dedupe_key")),
    )
    _index_where("ix_callbacks_open", "callbacks", ["not_before", "id"], "status = 'open'")
    op.create_index("ix_callbacks_received_at", "callbacks", ["received_at"])


def _accounts() -> None:
    op.create_table(
        "kf_accounts",
        sa.Column("open_kfid", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("app", sa.String(64), nullable=False),
        sa.Column("cursor", sa.String(128)),
        sa.Column("token", sa.String(256)),
        sa.Column("token_at", Instant),
        sa.Column("wanted_at", Instant),
        sa.Column("pulled_at", Instant),
        sa.Column("pulled_by", Key),
        sa.Column("pulled_until", Instant),
        sa.Column("removed_at", Instant),
    )


def _conversations() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", Key, primary_key=True),
        sa.Column("open_kfid", sa.String(64), nullable=False),
        sa.Column("external_userid", sa.String(64), nullable=False),
        sa.Column("member_id", Key, sa.ForeignKey("members.id")),
        sa.Column("due_at", Instant),
        sa.Column("service_state", sa.SmallInteger()),
        sa.Column("servicer_userid", sa.String(64)),
        sa.Column("human_wanted_at", Instant),
        sa.Column("last_customer_at", Instant),
        sa.Column("topic", sa.String(40)),
        sa.Column("topic_data", Json),
        sa.Column("topic_expires_at", Instant),
        sa.Column("created_at", Instant, nullable=False),
        sa.UniqueConstraint("open_kfid", "external_userid", name=op.f("uq_conversations_open_kfid_external_userid")),
    )
    _index_where("ix_conversations_due", "conversations", ["due_at"], "due_at IS NOT NULL")
    op.create_index("ix_conversations_member_id", "conversations", ["member_id"])
    op.create_table(
        "tickets",
        sa.Column("id", Key, primary_key=True),
        sa.Column("conversation_id", Key, sa.ForeignKey("conversations.id"), nullable=False),
        sa.Column("member_id", Key, sa.ForeignKey("members.id")),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("quote", sa.Text(), nullable=False),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("servicer_userid", sa.String(64)),
        sa.Column("opened_at", Instant, nullable=False),
        sa.Column("assigned_at", Instant),
        sa.Column("closed_at", Instant),
    )
    _index_where("uq_tickets_open", "tickets", ["conversation_id"], "status <> 'closed'", unique=True)


def _messages() -> None:
    op.create_table(
        "inbound_messages",
        sa.Column("id", Key, primary_key=True),
        sa.Column("msgid", sa.String(128), nullable=False),
        sa.Column("conversation_id", Key, sa.ForeignKey("conversations.id"), nullable=False),
        sa.Column("origin", Key, nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("body", Json, nullable=False),
        sa.Column("sent_at", Instant, nullable=False),
        sa.Column("received_at", Instant, nullable=False),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("attempts", Key, nullable=False),
        sa.Column("done_at", Instant),
        sa.Column("error", sa.Text()),
        sa.UniqueConstraint("msgid", name=op.f("uq_inbound_messages_msgid")),
    )
    _index_where("ix_inbound_messages_open", "inbound_messages", ["conversation_id", "id"], "status = 'open'")
    op.create_index("ix_inbound_messages_conversation_id_id", "inbound_messages", ["conversation_id", "id"])
    op.create_table(
        "kf_sends",
        sa.Column("outbox_id", Key, sa.ForeignKey("outbox.id"), primary_key=True),
        sa.Column("conversation_id", Key, sa.ForeignKey("conversations.id"), nullable=False),
        sa.Column("msgid", sa.String(32), nullable=False),
        sa.Column("taken_at", Instant, nullable=False),
        sa.Column("failed_type", sa.SmallInteger()),
        sa.UniqueConstraint("msgid", name=op.f("uq_kf_sends_msgid")),
    )
    op.create_index("ix_kf_sends_conversation_id_taken_at", "kf_sends", ["conversation_id", "taken_at"])


def _index_where(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    predicate = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=predicate, postgresql_where=predicate)


def downgrade() -> None:
    for table in ("kf_sends", "inbound_messages", "tickets", "conversations", "kf_accounts", "callbacks"):
        op.drop_table(table)
