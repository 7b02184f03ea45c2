"""Tables of the lifecycle: where each member stands, the dated moves that led there, and days to remember."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class Stage(StrEnum):
    LEAD = "lead"  # joined, no order
    NEW = "new"  # first order not long ago
    ACTIVE = "active"
    LOYAL = "loyal"  # buys often and on rhythm
    AT_RISK = "at_risk"  # silent for longer than usual
    LAPSED = "lapsed"  # silent for so long that we lost them
    WON_BACK = "won_back"  # ordered after lapsed


class MoveReason(StrEnum):
    """Why a member stands where they stand; StageMove.facts has the numbers."""

    JOINED = "joined"
    FIRST_ORDER = "first_order"
    ON_RHYTHM = "on_rhythm"
    OFTEN = "often"
    SILENT = "silent"
    SILENT_LONG = "silent_long"
    RETURNED = "returned"
    REFUNDED = "refunded"  # nothing counts any more


class MemberStage(Base):
    """Where a member stands since when, and the day on which silence alone would change it."""

    __tablename__ = "member_stages"
    __table_args__ = (sa.Index(None, "check_on"),)

    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"), primary_key=True, autoincrement=False)
    stage: Mapped[Stage]
    since_on: Mapped[date]
    check_on: Mapped[date | None]  # shop-local; None: only an order changes anything
    rhythm_days: Mapped[float | None] = mapped_column(sa.Float())  # median days between two purchases; None: too few


class StageMove(Base):
    """One move from stage to stage. Rows are history and stay."""

    __tablename__ = "stage_moves"
    __table_args__ = (sa.Index(None, "member_id", "moved_at"), sa.Index(None, "moved_at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    from_stage: Mapped[Stage | None]  # None: the beginning
    to_stage: Mapped[Stage]
    reason: Mapped[MoveReason]
    facts: Mapped[dict[str, Any]]  # silent_days, limit_days, rhythm_days, orders …
    moved_at: Mapped[datetime]


class DateKind(StrEnum):
    BIRTHDAY = "birthday"
    CHILD_BIRTHDAY = "child_birthday"
    PET_BIRTHDAY = "pet_birthday"
    ANNIVERSARY = "anniversary"


class MemberDate(Base):
    """A day that comes once a year for a member: their birthday, a child's, a pet's."""

    __tablename__ = "member_dates"
    __table_args__ = (
        sa.UniqueConstraint("member_id", "kind", "whose"),
        sa.Index(None, "next_on"),
        sa.CheckConstraint("month BETWEEN 1 AND 12 AND day BETWEEN 1 AND 31", name="day_of_a_year"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    kind: Mapped[DateKind]
    whose: Mapped[str] = mapped_column(sa.String(40), default="")  # the child's or the pet's name
    month: Mapped[int] = mapped_column(sa.SmallInteger())
    day: Mapped[int] = mapped_column(sa.SmallInteger())
    year: Mapped[int | None] = mapped_column(sa.SmallInteger())  # of birth, when told
    next_on: Mapped[date]  # today or later, shop-local; 29 February comes on the 28th in common years
    told_on: Mapped[date | None]  # the last coming that was told of: today's is told once and stays today's
