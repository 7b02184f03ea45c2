"""Tables of 老带新: programmes, members' invite links, who came by whom, what both got for it, and what looks odd."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class ProgrammeStatus(StrEnum):
    RUNNING = "running"  # from starts_at to ends_at
    PAUSED = "paused"  # takes no new invitations; what was promised goes on
    CLOSED = "closed"


class CameBy(StrEnum):
    CONTACT_WAY = "contact_way"  # added one of the staff by the inviter's own code
    KF = "kf"  # opened the kf chat by the inviter's link
    CHAT = "chat"  # typed the code
    H5 = "h5"  # took the invitation on the page


class InviteStatus(StrEnum):
    JOINED = "joined"  # here, nothing bought yet
    BOUGHT = "bought"  # the first order is paid; its refund window is open
    COUNTED = "counted"
    LAPSED = "lapsed"  # bought nothing in time
    FAILED = "failed"  # before it counted: see why
    REVOKED = "revoked"  # after it counted: see why
    REFUSED = "refused"  # never an invitation: not new, one's own link; kept because attempts tell of rings


LIVE = (InviteStatus.JOINED, InviteStatus.BOUGHT, InviteStatus.COUNTED)


class Side(StrEnum):
    INVITER = "inviter"
    INVITEE = "invitee"


class RewardStatus(StrEnum):
    PENDING = "pending"  # promised; its cost is reserved
    PAID = "paid"
    TO_DO = "to_do"  # cash that a colleague has to pay
    STUCK = "stuck"  # due, and cannot be given now: see why; tried again
    UNFUNDED = "unfunded"  # the budget is used up; nothing is reserved
    VOID = "void"  # never given
    TAKEN_BACK = "taken_back"


RESERVED = (RewardStatus.PENDING, RewardStatus.PAID, RewardStatus.TO_DO, RewardStatus.STUCK)


class ReferralProgramme(Base):
    """What inviting brings to both sides, and what it may cost. committed_fen is the sum of reserved rewards."""

    __tablename__ = "referral_programmes"
    __table_args__ = (
        sa.CheckConstraint("committed_fen >= 0 AND committed_fen <= budget_fen", name="committed_within_budget"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(60), unique=True)
    terms: Mapped[dict[str, Any]]  # referral_rules.Terms
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]  # exclusive
    budget_fen: Mapped[int]
    committed_fen: Mapped[int] = mapped_column(default=0)
    status: Mapped[ProgrammeStatus]
    paused_because: Mapped[str] = mapped_column(sa.String(200), default="")  # "cap", "budget", or in words
    saved_at: Mapped[datetime]


class ReferralLink(Base):
    """A member's own link: one, whatever programmes come and go. A merged member has several, all of them good."""

    __tablename__ = "referral_links"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(sa.String(8), unique=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"), index=True)
    made_for_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"), unique=True)  # as whom, before any merge
    made_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]  # the member was erased


class ReferralInvitation(Base):
    """Somebody came by a member's link. A person is invited once, whatever the programme."""

    __tablename__ = "referral_invitations"
    __table_args__ = (
        sa.Index(
            "uq_referral_invitations_invitee",
            "invitee_as_id",
            unique=True,
            sqlite_where=sa.text("status <> 'refused'"),
            postgresql_where=sa.text("status <> 'refused'"),
        ),
        sa.UniqueConstraint("link_id", "invitee_as_id"),
        sa.Index(None, "inviter_id", "invited_at"),
        sa.Index(None, "invitee_id"),
        sa.Index(None, "programme_id", "status"),
        sa.Index(
            "ix_referral_invitations_order",
            "order_id",
            sqlite_where=sa.text("order_id IS NOT NULL"),
            postgresql_where=sa.text("order_id IS NOT NULL"),
        ),
        sa.Index(
            "ix_referral_invitations_due",
            "due_at",
            sqlite_where=sa.text("status = 'bought' AND NOT is_held"),
            postgresql_where=sa.text("status = 'bought' AND NOT is_held"),
        ),
        sa.Index(
            "ix_referral_invitations_lapsing",
            "lapses_at",
            sqlite_where=sa.text("status = 'joined'"),
            postgresql_where=sa.text("status = 'joined'"),
        ),
        sa.CheckConstraint("status NOT IN ('bought', 'counted') OR order_id IS NOT NULL", name="bought_has_order"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    programme_id: Mapped[int] = mapped_column(sa.ForeignKey("referral_programmes.id"))
    link_id: Mapped[int] = mapped_column(sa.ForeignKey("referral_links.id"))
    inviter_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    inviter_as_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))  # before any merge
    invitee_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    invitee_as_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    came_by: Mapped[CameBy]
    status: Mapped[InviteStatus]
    why: Mapped[str] = mapped_column(sa.String(40), default="")  # it ended as it did
    is_held: Mapped[bool] = mapped_column(default=False)  # a review is open: nothing is paid for it
    invited_at: Mapped[datetime]
    lapses_at: Mapped[datetime]
    order_id: Mapped[int | None] = mapped_column(sa.ForeignKey("orders.id"))  # the first that counts
    due_at: Mapped[datetime | None]  # then that order's refund window is over
    told_due_at: Mapped[datetime | None]  # InvitationDue was appended
    counted_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class ReferralStanding(Base):
    """How many of a member's invitations count in one programme: the ladder's rungs, and the ranking."""

    __tablename__ = "referral_standings"
    __table_args__ = (
        sa.CheckConstraint("counted >= 0", name="counted_not_negative"),
        sa.Index(None, "programme_id", "counted"),
    )

    programme_id: Mapped[int] = mapped_column(sa.ForeignKey("referral_programmes.id"), primary_key=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"), primary_key=True)
    counted: Mapped[int]
    reached_at: Mapped[datetime]  # who came to the same number earlier stands higher


class ReferralReward(Base):
    """What one side gets for an invitation, once for each cause. Rows are kept for good: they are the account."""

    __tablename__ = "referral_rewards"
    __table_args__ = (
        sa.UniqueConstraint("programme_id", "made_for_id", "because", "turn"),
        sa.Index(None, "invitation_id"),
        sa.Index(None, "member_id"),
        sa.Index(
            "ix_referral_rewards_retry",
            "retry_at",
            sqlite_where=sa.text("status IN ('stuck', 'unfunded')"),
            postgresql_where=sa.text("status IN ('stuck', 'unfunded')"),
        ),
        sa.CheckConstraint("points >= 0 AND cash_fen >= 0 AND cost_fen >= 0", name="nothing_negative"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    programme_id: Mapped[int] = mapped_column(sa.ForeignKey("referral_programmes.id"))
    invitation_id: Mapped[int] = mapped_column(sa.ForeignKey("referral_invitations.id"))  # of a step: that reached it
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    made_for_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))  # before any merge
    side: Mapped[Side]
    because: Mapped[str] = mapped_column(sa.String(40))  # "each:12", "step:3", "welcome:12", "order:12"
    turn: Mapped[int] = mapped_column(default=0)  # how many of the same cause were void or taken back before
    offer_id: Mapped[int | None] = mapped_column(sa.ForeignKey("offers.id"))
    points: Mapped[int] = mapped_column(default=0)
    cash_fen: Mapped[int] = mapped_column(default=0)
    cost_fen: Mapped[int]  # to the shop, at most
    back_bp: Mapped[int | None]  # of a share of the first order: recounted from what is kept of it
    status: Mapped[RewardStatus]
    why: Mapped[str] = mapped_column(sa.String(60), default="")
    coupon_id: Mapped[int | None]  # no foreign key: an erasure deletes coupons, and the account stays
    promised_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]
    settled_by: Mapped[str] = mapped_column(sa.String(64), default="")  # who paid the cash
    retry_at: Mapped[datetime | None]


class ReferralReview(Base):
    """Something about an invitation looks odd: what and why, and what a person decided."""

    __tablename__ = "referral_reviews"
    __table_args__ = (
        sa.UniqueConstraint("invitation_id", "kind"),
        sa.Index(
            "ix_referral_reviews_open",
            "opened_at",
            sqlite_where=sa.text("verdict IS NULL"),
            postgresql_where=sa.text("verdict IS NULL"),
        ),
        sa.CheckConstraint("(verdict IS NULL) = (decided_at IS NULL)", name="verdict_has_its_instant"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    invitation_id: Mapped[int] = mapped_column(sa.ForeignKey("referral_invitations.id"))
    kind: Mapped[str] = mapped_column(sa.String(40))  # same_person, same_address, ring, burst
    evidence: Mapped[dict[str, Any]]  # numbers and instants; no names
    opened_at: Mapped[datetime]
    verdict: Mapped[str | None] = mapped_column(sa.String(40))  # approved, refused
    decided_by: Mapped[str] = mapped_column(sa.String(64), default="")
    decided_at: Mapped[datetime | None]
    note: Mapped[str] = mapped_column(default="")
