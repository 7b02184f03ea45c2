"""Tables of step sequences: versions of a definition, members and groups who are in it, and the steps each has had."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class EnrolmentStatus(StrEnum):
    ACTIVE = "active"
    FINISHED = "finished"  # had all of its steps
    LEFT = "left"  # before that, see `because`
    CANCELLED = "cancelled"  # the campaign was


class Phase(StrEnum):
    """What an active enrolment is doing until `due_at`."""

    DUE = "due"  # waits for the instant of its step
    LISTENS = "listens"  # waits for an event, at most so long
    UNDER_WAY = "under_way"  # its step's delivery is on its way; looked at then


class SequenceVersion(Base):
    """A sequence as it was when somebody entered it: they go through it to the end as it was."""

    __tablename__ = "sequence_versions"

    campaign_id: Mapped[int] = mapped_column(sa.ForeignKey("campaigns.id"), primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    definition: Mapped[dict[str, Any]]  # with the segment's condition in place of its name


class OnTheWay:
    """How far somebody has come in a sequence, a member and a customer group alike."""

    campaign_id: Mapped[int] = mapped_column(sa.ForeignKey("campaigns.id"))
    version: Mapped[int]
    status: Mapped[EnrolmentStatus] = mapped_column(default=EnrolmentStatus.ACTIVE)
    step: Mapped[int] = mapped_column(sa.SmallInteger, default=0)  # the one that comes, or is under way
    phase: Mapped[Phase]  # a group waits for no event
    due_at: Mapped[datetime | None]
    run_id: Mapped[int | None]  # of the step under way
    entered_at: Mapped[datetime]
    day_zero: Mapped[date]  # the shop-local day that `day` counts from; a step that went late moves it
    ended_at: Mapped[datetime | None]
    because: Mapped[str] = mapped_column(sa.String(60), default="")


class StepHad:
    """A step that was had, once; `reason` says why nothing was to be sent."""

    enrolment_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    step: Mapped[int] = mapped_column(sa.SmallInteger, primary_key=True, autoincrement=False)
    run_id: Mapped[int | None]
    planned_on: Mapped[date]  # the day it should have gone
    at: Mapped[datetime]
    reason: Mapped[str | None] = mapped_column(sa.String(60))


class Enrolment(OnTheWay, Base):
    """One member's way through a sequence. Of each campaign they are on one way at a time."""

    __tablename__ = "enrolments"
    __table_args__ = (
        sa.Index(
            "uq_enrolments_active",
            "campaign_id",
            "member_id",
            unique=True,
            sqlite_where=sa.text("status = 'active'"),
            postgresql_where=sa.text("status = 'active'"),
        ),
        sa.Index(
            "ix_enrolments_due",
            "due_at",
            sqlite_where=sa.text("due_at IS NOT NULL"),
            postgresql_where=sa.text("due_at IS NOT NULL"),
        ),
        sa.Index(None, "member_id"),
        sa.Index(None, "campaign_id", "status"),
        sa.CheckConstraint("(status = 'active') = (due_at IS NOT NULL)", name="active_is_due"),
        sa.CheckConstraint("(status = 'active') = (ended_at IS NULL)", name="end_is_whole"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    waits_since: Mapped[datetime | None]  # listening: events before that do not count


class EnrolmentStep(StepHad, Base):
    """A step that an enrolment has had, once: its delivery is this member's in that run, or `reason` says why none."""

    __tablename__ = "enrolment_steps"
    __table_args__ = (sa.Index(None, "run_id", "member_id"), sa.Index(None, "member_id"))

    member_id: Mapped[int]


class GroupEnrolment(OnTheWay, Base):
    """One customer group's way through a sequence, once: it does not come in again."""

    __tablename__ = "group_enrolments"
    __table_args__ = (
        sa.UniqueConstraint("campaign_id", "group_id"),
        sa.Index(
            "ix_group_enrolments_due",
            "due_at",
            sqlite_where=sa.text("due_at IS NOT NULL"),
            postgresql_where=sa.text("due_at IS NOT NULL"),
        ),
        sa.CheckConstraint("(status = 'active') = (due_at IS NOT NULL)", name="active_is_due"),
        sa.CheckConstraint("(status = 'active') = (ended_at IS NULL)", name="end_is_whole"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    group_id: Mapped[int] = mapped_column(sa.ForeignKey("customer_groups.id"))


class GroupEnrolmentStep(StepHad, Base):
    """A step that a group has had, once: its copy is the one in the post of that run, or `reason` says why none."""

    __tablename__ = "group_enrolment_steps"
    __table_args__ = (sa.Index(None, "run_id"),)

    group_id: Mapped[int]
