"""Referral: programmes, links, invitations, standings, rewards, reviews.

Why: members bring their friends, once each, and both get something for it within a budget.
Live: new tables only. Down: drops them.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0033_referral"
down_revision = "0032_subscriptions"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "referral_programmes",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("name", sa.String(60), nullable=False, unique=True),
        sa.Column("terms", Json, nullable=False),
        sa.Column("starts_at", Instant, nullable=False),
        sa.Column("ends_at", Instant, nullable=True),
        sa.Column("budget_fen", BigInt, nullable=False),
        sa.Column("committed_fen", BigInt, nullable=False),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("paused_because", sa.String(200), nullable=False),
        sa.Column("saved_at", Instant, nullable=False),
        sa.CheckConstraint("committed_fen >= 0 AND committed_fen <= budget_fen", name="committed_within_budget"),
    )
    op.create_table(
        "referral_links",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("code", sa.String(8), nullable=False, unique=True),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("made_for_id", BigInt, sa.ForeignKey("members.id"), nullable=False, unique=True),
        sa.Column("made_at", Instant, nullable=False),
        sa.Column("closed_at", Instant, nullable=True),
    )
    op.create_index("ix_referral_links_member_id", "referral_links", ["member_id"])
    _invitations()
    op.create_table(
        "referral_standings",
        sa.Column("programme_id", BigInt, sa.ForeignKey("referral_programmes.id"), primary_key=True),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), primary_key=True),
        sa.Column("counted", BigInt, nullable=False),
        sa.Column("reached_at", Instant, nullable=False),
        sa.CheckConstraint("counted >= 0", name="counted_not_negative"),
    )
    op.create_index("ix_referral_standings_programme_id_counted", "referral_standings", ["programme_id", "counted"])
    _rewards()
    op.create_table(
        "referral_reviews",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("invitation_id", BigInt, sa.ForeignKey("referral_invitations.id"), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("evidence", Json, nullable=False),
        sa.Column("opened_at", Instant, nullable=False),
        sa.Column("verdict", sa.String(40), nullable=True),
        sa.Column("decided_by", sa.String(64), nullable=False),
        sa.Column("decided_at", Instant, nullable=True),
        sa.Column("note", sa.Text, nullable=False),
        sa.UniqueConstraint("invitation_id", "kind"),
        sa.CheckConstraint("(verdict IS NULL) = (decided_at IS NULL)", name="verdict_has_its_instant"),
    )
    _partly("ix_referral_reviews_open", "referral_reviews", ["opened_at"], "verdict IS NULL")


def _invitations() -> None:
    op.create_table(
        "referral_invitations",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("programme_id", BigInt, sa.ForeignKey("referral_programmes.id"), nullable=False),
        sa.Column("link_id", BigInt, sa.ForeignKey("referral_links.id"), nullable=False),
        sa.Column("inviter_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("inviter_as_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("invitee_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("invitee_as_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("came_by", sa.String(40), nullable=False),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("why", sa.String(40), nullable=False),
        sa.Column("is_held", sa.Boolean, nullable=False),
        sa.Column("invited_at", Instant, nullable=False),
        sa.Column("lapses_at", Instant, nullable=False),
        sa.Column("order_id", BigInt, sa.ForeignKey("orders.id"), nullable=True),
        sa.Column("due_at", Instant, nullable=True),
        sa.Column("told_due_at", Instant, nullable=True),
        sa.Column("counted_at", Instant, nullable=True),
        sa.Column("ended_at", Instant, nullable=True),
        sa.UniqueConstraint("link_id", "invitee_as_id"),
        sa.CheckConstraint("status NOT IN ('bought', 'counted') OR order_id IS NOT NULL", name="bought_has_order"),
    )
    table = "referral_invitations"
    _partly("uq_referral_invitations_invitee", table, ["invitee_as_id"], "status <> 'refused'", unique=True)
    op.create_index("ix_referral_invitations_inviter_id_invited_at", table, ["inviter_id", "invited_at"])
    op.create_index("ix_referral_invitations_invitee_id", table, ["invitee_id"])
    op.create_index("ix_referral_invitations_programme_id_status", table, ["programme_id", "status"])
    _partly("ix_referral_invitations_order", table, ["order_id"], "order_id IS NOT NULL")
    _partly("ix_referral_invitations_due", table, ["due_at"], "status = 'bought' AND NOT is_held")
    _partly("ix_referral_invitations_lapsing", table, ["lapses_at"], "status = 'joined'")


def _rewards() -> None:
    op.create_table(
        "referral_rewards",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("programme_id", BigInt, sa.ForeignKey("referral_programmes.id"), nullable=False),
        sa.Column("invitation_id", BigInt, sa.ForeignKey("referral_invitations.id"), nullable=False),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("made_for_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("side", sa.String(40), nullable=False),
        sa.Column("because", sa.String(40), nullable=False),
        sa.Column("turn", BigInt, nullable=False),
        sa.Column("offer_id", BigInt, sa.ForeignKey("offers.id"), nullable=True),
        sa.Column("points", BigInt, nullable=False),
        sa.Column("cash_fen", BigInt, nullable=False),
        sa.Column("cost_fen", BigInt, nullable=False),
        sa.Column("back_bp", BigInt, nullable=True),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("why", sa.String(60), nullable=False),
        sa.Column("coupon_id", BigInt, nullable=True),
        sa.Column("promised_at", Instant, nullable=False),
        sa.Column("settled_at", Instant, nullable=True),
        sa.Column("settled_by", sa.String(64), nullable=False),
        sa.Column("retry_at", Instant, nullable=True),
        sa.UniqueConstraint("programme_id", "made_for_id", "because", "turn"),
        sa.CheckConstraint("points >= 0 AND cash_fen >= 0 AND cost_fen >= 0", name="nothing_negative"),
    )
    op.create_index("ix_referral_rewards_invitation_id", "referral_rewards", ["invitation_id"])
    op.create_index("ix_referral_rewards_member_id", "referral_rewards", ["member_id"])
    _partly("ix_referral_rewards_retry", "referral_rewards", ["retry_at"], "status IN ('stuck', 'unfunded')")


def _partly(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    some = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=some, postgresql_where=some)


def downgrade() -> None:
    for table in ("reviews", "rewards", "standings", "invitations", "links", "programmes"):
        op.drop_table(f"referral_{table}")
