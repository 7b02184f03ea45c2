"""Staff accounts, their sign-ins, and the audit log.

Why: people work in the browser, each with a role, and what they do is kept where nobody can rewrite it.
Live: new tables only. Down: drops them; the log is gone.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0031_access"
down_revision = "0024_api_keys"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("name", sa.String(40), nullable=False, unique=True),
        sa.Column("title", sa.String(40), nullable=False),
        sa.Column("role", sa.String(40), nullable=False),
        sa.Column("userid", sa.String(64), nullable=True, unique=True),
        sa.Column("password", sa.String(200), nullable=True),
        sa.Column("totp_secret", sa.String(200), nullable=True),
        sa.Column("totp_step", BigInt, nullable=False),
        sa.Column("language", sa.String(5), nullable=False),
        sa.Column("made_at", Instant, nullable=False),
        sa.Column("disabled_at", Instant, nullable=True),
    )
    op.create_table(
        "sign_ins",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("token_hash", sa.String(64), nullable=False, unique=True),
        sa.Column("account_id", BigInt, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("began_at", Instant, nullable=False),
        sa.Column("seen_at", Instant, nullable=False),
        sa.Column("ends_at", Instant, nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("browser", sa.String(200), nullable=False),
        sa.Column("revoked_at", Instant, nullable=True),
    )
    op.create_index("ix_sign_ins_account_id", "sign_ins", ["account_id"])
    op.create_table(
        "sign_in_tries",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("at", Instant, nullable=False),
    )
    op.create_index("ix_sign_in_tries_name_at", "sign_in_tries", ["name", "at"])
    op.create_index("ix_sign_in_tries_address_at", "sign_in_tries", ["address", "at"])
    op.create_table(
        "audit_log",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("at", Instant, nullable=False),
        sa.Column("by", sa.String(40), nullable=False),
        sa.Column("action", sa.String(60), nullable=False),
        sa.Column("about", sa.String(80), nullable=False),
        sa.Column("facts", Json, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False, unique=True),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    op.create_index("ix_audit_log_about", "audit_log", ["about"])
    for statement in _only_grows(op.get_bind().dialect.name):
        op.execute(statement)


def _only_grows(dialect: str) -> list[str]:
    """SQL after which the database itself refuses to change or drop an entry."""
    if dialect == "sqlite":
        return [
            f"CREATE TRIGGER audit_log_no_{deed.lower()} BEFORE {deed} ON audit_log "
            "BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END"
            for deed in ("UPDATE", "DELETE")
        ]
    return [
        "CREATE FUNCTION audit_log_only_grows() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit log only grows'; END $$",
        "CREATE TRIGGER audit_log_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_log_only_grows()",
    ]


def downgrade() -> None:
    op.drop_table("audit_log")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION audit_log_only_grows()")
    op.drop_table("sign_in_tries")
    op.drop_table("sign_ins")
    op.drop_table("accounts")
