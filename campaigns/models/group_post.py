"""Tables of posts into customer groups: what is said to which groups, and the tasks of their owners that carry it."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from campaigns.models.campaign import Asking, DeliveryStatus
from crm.base.db import Base


class PostStatus(StrEnum):
    OPEN = "open"
    PAUSED = "paused"
    ASKS = "asks"  # it slept too long: a person says whether it still goes on
    DONE = "done"  # every group has its end
    CANCELLED = "cancelled"


class GroupPost(Base):
    """What is said to some customer groups at once: a run of a campaign, the announcement of a sale."""

    __tablename__ = "group_posts"
    __table_args__ = (
        sa.Index(
            "ix_group_posts_open",
            "status",
            sqlite_where=sa.text("ended_at IS NULL"),
            postgresql_where=sa.text("ended_at IS NULL"),
        ),
        sa.CheckConstraint("(status IN ('done', 'cancelled')) = (ended_at IS NOT NULL)", name="end_is_whole"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    ref: Mapped[str] = mapped_column(sa.String(64), unique=True)  # whose it is: "run:12"; makes it once
    name: Mapped[str]  # what staff read of it
    status: Mapped[PostStatus] = mapped_column(default=PostStatus.OPEN)
    told: Mapped[dict[str, Any]]  # group_posts.Told
    due_at: Mapped[datetime]
    ticked_at: Mapped[datetime]  # newest step; one much older than now is a restored copy or a long sleep
    ended_at: Mapped[datetime | None]


class GroupTask(Asking, Base):
    """One mass-send task of one owner: one content for some of their groups."""

    __tablename__ = "group_tasks"
    __table_args__ = (
        sa.Index(
            "ix_group_tasks_open",
            "poll_at",
            sqlite_where=sa.text("poll_at IS NOT NULL"),
            postgresql_where=sa.text("poll_at IS NOT NULL"),
        ),
        sa.Index(None, "post_id"),
        sa.CheckConstraint("(status IN ('done', 'failed')) = (poll_at IS NULL)", name="open_ones_are_polled"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    post_id: Mapped[int] = mapped_column(sa.ForeignKey("group_posts.id"))
    staff_id: Mapped[int] = mapped_column(sa.ForeignKey("staff.id"))
    variant: Mapped[int] = mapped_column(sa.SmallInteger)
    url: Mapped[str] = mapped_column(default="")


class GroupCopy(Base):
    """One group's copy of a post, and what became of it."""

    __tablename__ = "group_copies"
    __table_args__ = (
        sa.Index(
            "ix_group_copies_due",
            "post_id",
            "due_at",
            sqlite_where=sa.text("due_at IS NOT NULL"),
            postgresql_where=sa.text("due_at IS NOT NULL"),
        ),
        sa.Index(None, "task_id"),
        sa.CheckConstraint("(status IN ('planned', 'held')) = (due_at IS NOT NULL)", name="waiting_ones_are_due"),
    )

    post_id: Mapped[int] = mapped_column(sa.ForeignKey("group_posts.id"), primary_key=True, autoincrement=False)
    group_id: Mapped[int] = mapped_column(sa.ForeignKey("customer_groups.id"), primary_key=True, autoincrement=False)
    variant: Mapped[int] = mapped_column(sa.SmallInteger, default=0)
    url: Mapped[str] = mapped_column(default="")  # this group's own link; alike ones share a task
    status: Mapped[DeliveryStatus] = mapped_column(default=DeliveryStatus.PLANNED)
    reason: Mapped[str | None] = mapped_column(sa.String(60))  # code of why held, skipped or failed
    due_at: Mapped[datetime | None]  # when it is put into a task
    task_id: Mapped[int | None] = mapped_column(sa.ForeignKey("group_tasks.id"))
    sent_at: Mapped[datetime | None]
