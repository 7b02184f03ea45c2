"""Tables of campaigns, their runs, the deliveries of each run, and the mass sends that carry them."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from campaigns.guard_rules import Channel
from crm.base.db import Base


class Kind(StrEnum):
    ONE_OFF = "one_off"
    RECURRING = "recurring"
    TRIGGERED = "triggered"  # something happens to a member
    STEPS = "steps"  # several messages over days to everybody who enters; see models/sequence.py


class CampaignStatus(StrEnum):
    """draft -> in_review -> scheduled -> running <-> paused -> finished | cancelled"""

    DRAFT = "draft"
    IN_REVIEW = "in_review"  # waits for a second person
    SCHEDULED = "scheduled"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    CANCELLED = "cancelled"


class RunStatus(StrEnum):
    ASKS = "asks"  # it is late: a person says whether it still fires
    PLANNING = "planning"  # walks through the members
    SENDING = "sending"  # everybody has a delivery; they are on their way
    FINISHED = "finished"
    CANCELLED = "cancelled"


class DeliveryStatus(StrEnum):
    PLANNED = "planned"
    HELD = "held"  # the gate says not now
    QUEUED = "queued"  # on its way to the platform
    ASKED = "asked"  # a member of staff has the task and has not tapped yet
    SENT = "sent"  # the platform says so
    SKIPPED = "skipped"  # by a rule, see `reason`
    FAILED = "failed"  # the platform or the staff did not, see `reason`
    HOLDOUT = "holdout"  # deliberately not contacted


OPEN = (DeliveryStatus.PLANNED, DeliveryStatus.HELD, DeliveryStatus.QUEUED, DeliveryStatus.ASKED)


class BroadcastStatus(StrEnum):
    WAITING = "waiting"  # in the outbox
    ASKED = "asked"  # the platform has it, the sender has not tapped
    CONFIRMED = "confirmed"  # tapped; results are coming in
    DONE = "done"  # every copy has its end
    FAILED = "failed"  # never became a task, or was taken back


class Campaign(Base):
    """Whom to contact, with what, when. A changed definition is another version."""

    __tablename__ = "campaigns"
    __table_args__ = (
        sa.Index(
            "ix_campaigns_due",
            "next_fire_at",
            sqlite_where=sa.text("next_fire_at IS NOT NULL"),
            postgresql_where=sa.text("next_fire_at IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(60), unique=True)  # what files call it
    kind: Mapped[Kind]
    status: Mapped[CampaignStatus] = mapped_column(default=CampaignStatus.DRAFT)
    definition: Mapped[dict[str, Any]]
    version: Mapped[int] = mapped_column(default=1)  # runs keep the definition they began with
    created_by: Mapped[str] = mapped_column(sa.String(64))  # userid, or "file"
    reviewed_by: Mapped[str] = mapped_column(sa.String(64), default="")
    review_because: Mapped[str] = mapped_column(default="")  # what made a second person necessary
    paused_because: Mapped[str] = mapped_column(default="")
    next_fire_at: Mapped[datetime | None]  # None: not by time, or over
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]


class Run(Base):
    """One occurrence of a campaign, which is fired once: the unique key lets one of two leaders through."""

    __tablename__ = "campaign_runs"
    __table_args__ = (
        sa.UniqueConstraint("campaign_id", "occurrence"),
        sa.Index(
            "ix_campaign_runs_open",
            "status",
            "campaign_id",
            sqlite_where=sa.text("finished_at IS NULL"),
            postgresql_where=sa.text("finished_at IS NULL"),
        ),
        sa.CheckConstraint("(status IN ('finished', 'cancelled')) = (finished_at IS NOT NULL)", name="end_is_whole"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    campaign_id: Mapped[int] = mapped_column(sa.ForeignKey("campaigns.id"))
    occurrence: Mapped[str] = mapped_column(sa.String(40))  # the instant it was due, or a triggered campaign's day
    status: Mapped[RunStatus]
    definition: Mapped[dict[str, Any]]  # as it was when the run began
    due_at: Mapped[datetime]
    ticked_at: Mapped[datetime]  # newest step; one much older than now is a restored copy or a long sleep
    asks_because: Mapped[str] = mapped_column(default="")
    cursor: Mapped[int] = mapped_column(default=0)  # members up to this id are planned
    last_id: Mapped[int] = mapped_column(default=0)  # the newest member when it began
    sent: Mapped[int] = mapped_column(default=0)  # copies the platform says it showed, and
    failed: Mapped[int] = mapped_column(default=0)  # those it refused: the rate that pauses a campaign
    figures: Mapped[dict[str, Any] | None]  # deliveries by status and reason, counted once at the end
    finished_at: Mapped[datetime | None]


class Batch(Base):
    """A range of a run's members that is worked on together: whoever locks this row has them all."""

    __tablename__ = "campaign_batches"
    __table_args__ = (
        sa.Index(
            "ix_campaign_batches_due",
            "run_id",
            "due_at",
            sqlite_where=sa.text("due_at IS NOT NULL"),
            postgresql_where=sa.text("due_at IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(sa.ForeignKey("campaign_runs.id"))
    after_id: Mapped[int]  # exclusive
    upto_id: Mapped[int]  # inclusive
    letters: Mapped[int] = mapped_column(default=0)  # how often kf letters were written; part of their references
    due_at: Mapped[datetime | None]  # when there is something to do again; None: all are on their way or ended


class Delivery(Base):
    """What one run meant to send to one member, and what became of it.

    The hot table: its key is its only index and it has no foreign keys, because each costs a third of the planning.
    """

    __tablename__ = "deliveries"

    run_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    member_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    status: Mapped[DeliveryStatus]
    variant: Mapped[int] = mapped_column(sa.SmallInteger)  # place in the definition's messages
    tier: Mapped[int | None] = mapped_column(sa.SmallInteger)  # place in its tiers; None: of none, or not yet judged
    channel: Mapped[Channel | None]
    reason: Mapped[str | None] = mapped_column(sa.String(60))  # code of why held, skipped or failed
    sent_at: Mapped[datetime | None]


class Asking:
    """What a mass-send task goes through with the staff who confirm it, to customers and into groups alike."""

    status: Mapped[BroadcastStatus]
    outbox_key: Mapped[str] = mapped_column(sa.String(64), unique=True)
    msgid: Mapped[str | None] = mapped_column(sa.String(200), unique=True)
    waiting_since: Mapped[datetime]
    asked_at: Mapped[datetime | None]
    confirmed_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    reminders: Mapped[int] = mapped_column(sa.SmallInteger, default=0)
    poll_at: Mapped[datetime | None]
    error: Mapped[str] = mapped_column(default="")


class Broadcast(Asking, Base):
    """One mass-send task of one sender: one content for at most 10,000 customers."""

    __tablename__ = "broadcasts"
    __table_args__ = (
        sa.Index(
            "ix_broadcasts_open",
            "poll_at",
            sqlite_where=sa.text("poll_at IS NOT NULL"),
            postgresql_where=sa.text("poll_at IS NOT NULL"),
        ),
        sa.Index(None, "run_id"),
        sa.CheckConstraint("(status IN ('done', 'failed')) = (poll_at IS NULL)", name="open_ones_are_polled"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(sa.ForeignKey("campaign_runs.id"))
    staff_id: Mapped[int] = mapped_column(sa.ForeignKey("staff.id"))
    variant: Mapped[int] = mapped_column(sa.SmallInteger)
    tier: Mapped[int | None] = mapped_column(sa.SmallInteger)


class Copy(Base):
    """One customer's copy of a mass send: by whom, to which of the member's WeChat identities."""

    __tablename__ = "broadcast_copies"
    __table_args__ = (
        sa.Index(
            "ix_broadcast_copies_loose",
            "run_id",
            "staff_id",
            sqlite_where=sa.text("broadcast_id IS NULL"),
            postgresql_where=sa.text("broadcast_id IS NULL"),
        ),
        sa.Index(None, "broadcast_id", "external_userid"),
    )

    run_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    member_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    staff_id: Mapped[int]
    variant: Mapped[int] = mapped_column(sa.SmallInteger)
    tier: Mapped[int | None] = mapped_column(sa.SmallInteger)
    external_userid: Mapped[str] = mapped_column(sa.String(64))
    broadcast_id: Mapped[int | None]  # None: not yet put together


class Conversion(Base):
    """A paid order credited to the last delivery that reached its member inside the window."""

    __tablename__ = "conversions"
    __table_args__ = (sa.Index(None, "run_id"),)

    order_id: Mapped[int] = mapped_column(sa.ForeignKey("orders.id"), primary_key=True, autoincrement=False)
    run_id: Mapped[int] = mapped_column(sa.ForeignKey("campaign_runs.id"))
    member_id: Mapped[int]
    touched_at: Mapped[datetime]
    paid_at: Mapped[datetime]
