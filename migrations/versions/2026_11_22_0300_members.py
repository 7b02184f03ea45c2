"""Members, identities, staff, contacts, groups, corp tags, consents, orders.

Why: the facts everything else stands on: who the members are, whom they know, where they meet.
Live: new tables only. Down: drops them and what they hold.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003_members"
down_revision = "0002_wecom_tokens"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Instant = sa.DateTime(timezone=True)
Word = sa.String(40)


def key() -> sa.Column[int]:
    return sa.Column("id", BigInt, primary_key=True)


def to(name: str, target: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, BigInt, sa.ForeignKey(f"{target}.id"), nullable=nullable)


def text(name: str, length: int | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.String(length) if length else sa.Text, nullable=False)


def instant(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, Instant, nullable=nullable)


def open_once(name: str, table: str, columns: list[str], end: str) -> None:
    """At most one row without an end."""
    still = sa.text(f"{end} IS NULL")
    op.create_index(name, table, columns, unique=True, sqlite_where=still, postgresql_where=still)


def upgrade() -> None:
    _people()
    _relations()
    _groups()
    _tags()
    _consents_and_orders()


def _people() -> None:
    op.create_table(
        "members",
        key(),
        text("code", 8),
        text("name"),
        text("avatar"),
        sa.Column("gender", Word, nullable=False),
        sa.Column("source", Word, nullable=False),
        instant("joined_at"),
        to("merged_into_id", "members", nullable=True),
        instant("erased_at", nullable=True),
        sa.UniqueConstraint("code"),
    )
    op.create_index("ix_members_merged_into_id", "members", ["merged_into_id"])
    op.create_table(
        "identities",
        key(),
        to("member_id", "members"),
        sa.Column("kind", Word, nullable=False),
        text("value", 255),
        instant("added_at"),
        sa.UniqueConstraint("kind", "value"),
    )
    op.create_index("ix_identities_member_id", "identities", ["member_id"])
    op.create_table(
        "member_merges",
        key(),
        to("kept_id", "members"),
        to("absorbed_id", "members"),
        sa.Column("because", Word, nullable=False),
        instant("merged_at"),
        sa.UniqueConstraint("absorbed_id"),
    )
    op.create_index("ix_member_merges_kept_id", "member_merges", ["kept_id"])
    op.create_table(
        "staff",
        key(),
        text("key", 64),
        text("userid", 64),
        text("name"),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("follows", sa.Boolean, nullable=False),
        sa.UniqueConstraint("key"),
    )


def _relations() -> None:
    op.create_table(
        "contacts",
        key(),
        to("staff_id", "staff"),
        to("member_id", "members"),
        text("external_userid", 64),
        instant("added_at"),
        instant("told_at"),
        instant("seen_at"),
        text("state", 64),
        sa.Column("add_way", BigInt, nullable=True),
        text("remark"),
        text("description"),
        instant("ended_at", nullable=True),
        sa.Column("ended_by", Word, nullable=True),
        sa.CheckConstraint("(ended_at IS NULL) = (ended_by IS NULL)", name="end_is_whole"),
        sa.CheckConstraint("ended_at IS NULL OR ended_at >= added_at", name="ends_after_it_began"),
    )
    open_once("uq_contacts_open", "contacts", ["staff_id", "external_userid"], "ended_at")
    op.create_index("ix_contacts_member_id", "contacts", ["member_id"])
    op.create_index("ix_contacts_external_userid", "contacts", ["external_userid"])


def _groups() -> None:
    op.create_table(
        "customer_groups",
        key(),
        text("chat_id", 64),
        text("name"),
        to("owner_id", "staff", nullable=True),
        text("notice"),
        instant("created_at", nullable=True),
        text("member_version", 64),
        instant("read_at", nullable=True),
        instant("dismissed_at", nullable=True),
        sa.UniqueConstraint("chat_id"),
    )
    op.create_index("ix_customer_groups_owner_id", "customer_groups", ["owner_id"])
    op.create_table(
        "group_members",
        key(),
        to("group_id", "customer_groups"),
        text("person", 64),
        to("member_id", "members", nullable=True),
        to("staff_id", "staff", nullable=True),
        instant("joined_at"),
        sa.Column("join_scene", BigInt, nullable=True),
        text("invited_by", 64),
        text("state", 64),
        text("nickname"),
        instant("left_at", nullable=True),
        sa.Column("quit_scene", BigInt, nullable=True),
        sa.CheckConstraint("(member_id IS NULL) <> (staff_id IS NULL)", name="member_or_staff"),
        sa.CheckConstraint("left_at IS NULL OR left_at >= joined_at", name="leaves_after_joining"),
    )
    open_once("uq_group_members_open", "group_members", ["group_id", "person"], "left_at")
    op.create_index("ix_group_members_member_id", "group_members", ["member_id"])
    op.create_index("ix_group_members_staff_id", "group_members", ["staff_id"])


def _tags() -> None:
    for table in ("corp_tag_groups", "corp_tags"):
        op.create_table(
            table,
            key(),
            text("wecom_id", 64),
            *([to("group_id", "corp_tag_groups", nullable=True)] if table == "corp_tags" else []),
            text("name"),
            sa.Column("rank", BigInt, nullable=False),
            instant("created_at", nullable=True),
            instant("deleted_at", nullable=True),
            sa.UniqueConstraint("wecom_id"),
        )
    op.create_index("ix_corp_tags_group_id", "corp_tags", ["group_id"])
    op.create_table(
        "contact_tags",
        key(),
        to("contact_id", "contacts"),
        to("tag_id", "corp_tags"),
        instant("marked_at"),
        instant("unmarked_at", nullable=True),
    )
    open_once("uq_contact_tags_open", "contact_tags", ["contact_id", "tag_id"], "unmarked_at")
    op.create_index("ix_contact_tags_tag_id", "contact_tags", ["tag_id"])


def _consents_and_orders() -> None:
    op.create_table(
        "consents",
        key(),
        to("member_id", "members"),
        text("topic", 40),
        text("channel", 40),
        sa.Column("granted", sa.Boolean, nullable=False),
        text("source", 40),
        text("wording_version"),
        instant("said_at"),
    )
    op.create_index("ix_consents_member_id_topic_channel", "consents", ["member_id", "topic", "channel"])
    op.create_table(
        "orders",
        key(),
        to("member_id", "members"),
        text("source", 40),
        text("external_no", 64),
        sa.Column("status", Word, nullable=False),
        sa.Column("total_fen", BigInt, nullable=False),
        instant("placed_at"),
        instant("paid_at", nullable=True),
        sa.UniqueConstraint("source", "external_no"),
        sa.CheckConstraint("total_fen >= 0", name="total_not_negative"),
        sa.CheckConstraint(
            "(status IN ('paid', 'refunded')) = (paid_at IS NOT NULL)", name="paid_orders_have_their_instant"
        ),
    )
    op.create_index("ix_orders_member_id_paid_at", "orders", ["member_id", "paid_at"])
    op.create_table(
        "order_lines",
        key(),
        to("order_id", "orders"),
        sa.Column("line_no", BigInt, nullable=False),
        text("sku", 64),
        text("name"),
        text("category", 64),
        sa.Column("quantity", BigInt, nullable=False),
        sa.Column("price_fen", BigInt, nullable=False),
        sa.UniqueConstraint("order_id", "line_no"),
        sa.CheckConstraint("quantity > 0", name="quantity_positive"),
    )


def downgrade() -> None:
    for table in (
        *("order_lines", "orders", "consents", "contact_tags", "corp_tags", "corp_tag_groups"),
        *("group_members", "customer_groups", "contacts", "staff", "member_merges", "identities", "members"),
    ):
        op.drop_table(table)
