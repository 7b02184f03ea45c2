"""The gate of marketing messages: touches, the platform's quota, holds on members, the emergency brake.

Why: no marketing message leaves unless the gate let it through, and a row that says otherwise cannot be written.
Live: new tables; the outbox gets one nullable column with a check that running code keeps, as it writes no marketing.
Down: drops them; what was touched is forgotten.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016_gate"
down_revision = "0015_group_bot"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Instant = sa.DateTime(timezone=True)
PASSED = "(purpose = 'marketing') = (gate_ref IS NOT NULL)"


def upgrade() -> None:
    op.execute("DELETE FROM outbox WHERE purpose = 'marketing'")  # nothing wrote one before there was a gate
    if op.get_bind().dialect.name == "sqlite":  # a batch would copy the table and lose its other checks
        op.execute(
            "ALTER TABLE outbox ADD COLUMN gate_ref VARCHAR(64)"
            f" CONSTRAINT ck_outbox_marketing_passed_the_gate CHECK ({PASSED})"
        )
    else:
        op.add_column("outbox", sa.Column("gate_ref", sa.String(64), nullable=True))
        op.create_check_constraint(op.f("ck_outbox_marketing_passed_the_gate"), "outbox", PASSED)
    _partial_index("ix_outbox_gate_ref", "outbox", ["gate_ref"], "gate_ref IS NOT NULL")
    _passes()
    _brakes()


def _passes() -> None:
    op.create_table(
        "touches",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("ref", sa.String(64), nullable=False),
        sa.Column("channel", sa.String(40), nullable=False),
        sa.Column("topic", sa.String(40), nullable=False),
        sa.Column("state", sa.String(40), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("code", sa.String(40), nullable=False),
        sa.UniqueConstraint("member_id", "ref"),
    )
    op.create_index("ix_touches_ref", "touches", ["ref"])
    op.create_table(
        "quota_uses",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=True),
        sa.Column("group_id", BigInt, sa.ForeignKey("customer_groups.id"), nullable=True),
        sa.Column("ref", sa.String(64), nullable=False),
        sa.Column("state", sa.String(40), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("code", sa.String(40), nullable=False),
        sa.UniqueConstraint("member_id", "ref"),
        sa.UniqueConstraint("group_id", "ref"),
        sa.CheckConstraint("(member_id IS NULL) <> (group_id IS NULL)", name=op.f("ck_quota_uses_customer_or_group")),
    )
    op.create_index("ix_quota_uses_ref", "quota_uses", ["ref"])


def _brakes() -> None:
    op.create_table(
        "marketing_holds",
        sa.Column("ref", sa.String(64), primary_key=True),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("since", Instant, nullable=False),
        sa.Column("until", Instant, nullable=True),
        sa.Column("lifted_at", Instant, nullable=True),
    )
    op.create_index("ix_marketing_holds_member_id", "marketing_holds", ["member_id"])
    op.create_table(
        "sending_stops",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("scope", sa.String(40), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("stopped_by", sa.String(64), nullable=False),
        sa.Column("stopped_at", Instant, nullable=False),
        sa.Column("resumed_by", sa.String(64), nullable=False),
        sa.Column("resumed_at", Instant, nullable=True),
    )
    _partial_index("uq_sending_stops_open", "sending_stops", ["scope"], "resumed_at IS NULL", unique=True)


def _partial_index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def downgrade() -> None:
    for table in ("sending_stops", "marketing_holds", "quota_uses", "touches"):
        op.drop_table(table)
    op.drop_index("ix_outbox_gate_ref", "outbox")
    if op.get_bind().dialect.name == "sqlite":
        op.execute("ALTER TABLE outbox DROP COLUMN gate_ref")
    else:
        op.drop_constraint(op.f("ck_outbox_marketing_passed_the_gate"), "outbox", type_="check")
        op.drop_column("outbox", "gate_ref")
