"""Points as a ledger of lots, check-ins, levels and who has which.

Why: members earn points and levels, and every point can be traced to the lot it came from.
Live: new tables only; running code ignores them. Down: drops them.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015_loyalty"
down_revision = "0014_merge_undo"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    _rules()
    _ledger()
    _levels()


def _rules() -> None:
    op.create_table(
        "loyalty_rules",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("body", Json, nullable=False),
        sa.Column("set_at", Instant, nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
    )


def _ledger() -> None:
    op.create_table(
        "point_entries",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("points", BigInt, nullable=False),
        sa.Column("owed", BigInt, nullable=False),
        sa.Column("cause_kind", sa.String(40), nullable=False),
        sa.Column("cause_id", sa.String(80), nullable=False),
        sa.Column("of_entry_id", BigInt, sa.ForeignKey("point_entries.id"), nullable=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.Column("facts", Json, nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("booked_on", sa.Date, nullable=False),
        sa.UniqueConstraint("kind", "cause_kind", "cause_id"),
        sa.CheckConstraint(
            "owed >= 0 AND (owed = 0 OR owed <= -points)", name=op.f("ck_point_entries_owes_what_it_takes")
        ),
    )
    op.create_index("ix_point_entries_member_id_booked_on", "point_entries", ["member_id", "booked_on"])
    op.create_index("ix_point_entries_of_entry_id", "point_entries", ["of_entry_id"])
    _partial_index("ix_point_entries_owing", "point_entries", ["member_id"], "owed > 0")
    op.create_table(
        "point_lots",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("entry_id", BigInt, sa.ForeignKey("point_entries.id"), nullable=False, unique=True),
        sa.Column("points", BigInt, nullable=False),
        sa.Column("remaining", BigInt, nullable=False),
        sa.Column("state", sa.String(40), nullable=False),
        sa.Column("active_at", Instant, nullable=False),
        sa.Column("expires_at", Instant, nullable=True),
        sa.Column("told_at", Instant, nullable=True),
        sa.CheckConstraint(
            "points > 0 AND remaining >= 0 AND remaining <= points", name=op.f("ck_point_lots_holds_what_it_had")
        ),
    )
    op.create_index("ix_point_lots_member_id_expires_at", "point_lots", ["member_id", "expires_at"])
    _partial_index("ix_point_lots_pending", "point_lots", ["active_at"], "state = 'pending'")
    _partial_index("ix_point_lots_expiring", "point_lots", ["expires_at"], "state = 'active' AND remaining > 0")
    op.create_table(
        "point_uses",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("entry_id", BigInt, sa.ForeignKey("point_entries.id"), nullable=False),
        sa.Column("lot_id", BigInt, sa.ForeignKey("point_lots.id"), nullable=False),
        sa.Column("points", BigInt, nullable=False),
        sa.CheckConstraint("points <> 0", name=op.f("ck_point_uses_moves_something")),
    )
    for column in ("entry_id", "lot_id"):
        op.create_index(f"ix_point_uses_{column}", "point_uses", [column])
    op.create_table(
        "point_accounts",
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), primary_key=True, autoincrement=False),
        sa.Column("active", BigInt, nullable=False),
        sa.Column("pending", BigInt, nullable=False),
        sa.Column("owed", BigInt, nullable=False),
        sa.CheckConstraint(
            "active >= 0 AND pending >= 0 AND owed >= 0", name=op.f("ck_point_accounts_never_below_zero")
        ),
    )
    op.create_table(
        "check_ins",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("checked_on", sa.Date, nullable=False),
        sa.Column("streak", BigInt, nullable=False),
        sa.Column("points", BigInt, nullable=False),
        sa.Column("checked_at", Instant, nullable=False),
        sa.UniqueConstraint("member_id", "checked_on"),
    )


def _levels() -> None:
    op.create_table(
        "levels",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("name", sa.String(30), nullable=False, unique=True),
        sa.Column("rank", BigInt, nullable=False),
        sa.Column("threshold_fen", BigInt, nullable=False),
        sa.Column("benefits", Json, nullable=False),
        sa.Column("tag_id", BigInt, sa.ForeignKey("tags.id"), nullable=True),
        sa.Column("retired_at", Instant, nullable=True),
        sa.CheckConstraint("threshold_fen >= 0", name=op.f("ck_levels_threshold_not_negative")),
    )
    _partial_index("uq_levels_rank_standing", "levels", ["rank"], "retired_at IS NULL", unique=True)
    op.create_table(
        "member_levels",
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), primary_key=True, autoincrement=False),
        sa.Column("level_id", BigInt, sa.ForeignKey("levels.id"), nullable=False),
        sa.Column("since_on", sa.Date, nullable=False),
        sa.Column("until_on", sa.Date, nullable=True),
        sa.Column("grace_until_on", sa.Date, nullable=True),
        sa.Column("growth_fen", BigInt, nullable=False),
        sa.Column("came_from_id", BigInt, sa.ForeignKey("levels.id"), nullable=True),
        sa.Column("check_on", sa.Date, nullable=True),
    )
    for column in ("check_on", "level_id"):
        op.create_index(f"ix_member_levels_{column}", "member_levels", [column])
    op.create_table(
        "level_moves",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("from_level_id", BigInt, sa.ForeignKey("levels.id"), nullable=True),
        sa.Column("to_level_id", BigInt, sa.ForeignKey("levels.id"), nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("facts", Json, nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.Column("moved_at", Instant, nullable=False),
    )
    op.create_index("ix_level_moves_member_id_moved_at", "level_moves", ["member_id", "moved_at"])


def _partial_index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def downgrade() -> None:
    for table in (
        *("level_moves", "member_levels", "levels", "check_ins", "point_accounts", "point_uses"),
        *("point_lots", "point_entries", "loyalty_rules"),
    ):
        op.drop_table(table)
