"""Tables of reviews with pictures (晒单): what a member sent of an article they bought, and what staff said to it."""

from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class ReviewStatus(StrEnum):
    WAITING = "waiting"  # for staff
    APPROVED = "approved"
    REFUSED = "refused"  # the article may be reviewed again


_STANDING = sa.text("status IN ('waiting', 'approved')")


class TaskReview(Base):
    """A review of one article of one order: of each there is one that waits or was approved, whatever the task."""

    __tablename__ = "task_reviews"
    __table_args__ = (
        sa.Index(
            "uq_task_reviews_article",
            "order_id",
            "sku",
            unique=True,
            sqlite_where=_STANDING,
            postgresql_where=_STANDING,
        ),
        sa.Index(
            "ix_task_reviews_waiting",
            "sent_at",
            sqlite_where=sa.text("status = 'waiting'"),
            postgresql_where=sa.text("status = 'waiting'"),
        ),
        sa.Index(None, "member_id", "sent_at"),
        sa.CheckConstraint("(status = 'waiting') = (decided_at IS NULL)", name="decided_at_some_time"),
        sa.CheckConstraint("status <> 'refused' OR reason <> ''", name="refused_with_a_reason"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    task_id: Mapped[int] = mapped_column(sa.ForeignKey("community_tasks.id"), index=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))  # as whom; a merge leaves it
    order_id: Mapped[int] = mapped_column(sa.ForeignKey("orders.id"))
    sku: Mapped[str] = mapped_column(sa.String(64))
    article: Mapped[str]  # its name when it was sent
    words: Mapped[str] = mapped_column(default="")
    status: Mapped[ReviewStatus] = mapped_column(default=ReviewStatus.WAITING)
    reason: Mapped[str] = mapped_column(default="")  # why it was refused, as the member reads it
    by: Mapped[str] = mapped_column(sa.String(64), default="")  # userid of who decided
    channel: Mapped[str] = mapped_column(sa.String(20))  # "chat", "h5"
    sent_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]


class ReviewPicture(Base):
    """One picture of a review; of one sent in the chat first its media_id, for three days, then what it shows."""

    __tablename__ = "review_pictures"
    __table_args__ = (
        sa.Index(
            "ix_review_pictures_due",
            "fetch_at",
            sqlite_where=sa.text("fetch_at IS NOT NULL"),
            postgresql_where=sa.text("fetch_at IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    review_id: Mapped[int] = mapped_column(sa.ForeignKey("task_reviews.id"), index=True)
    media_id: Mapped[str] = mapped_column(default="")
    content_type: Mapped[str] = mapped_column(sa.String(40), default="")
    content: Mapped[bytes | None] = mapped_column(sa.LargeBinary)  # None: not here yet, or no more
    fetch_at: Mapped[datetime | None]  # when to ask WeCom for it next
    tries: Mapped[int] = mapped_column(default=0)
    error: Mapped[str] = mapped_column(default="")  # why it cannot be had
    sent_at: Mapped[datetime]
