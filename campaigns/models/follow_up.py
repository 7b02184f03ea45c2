"""Tables of follow-up visits (定期回访): who shall be asked how things are, by whom, until when, what came of it."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class FollowUpRule(Base):
    """Whom the shop follows up, how often and how many a day."""

    __tablename__ = "follow_up_rules"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(sa.String(60), unique=True)
    body: Mapped[dict[str, Any]]  # follow_ups.RuleTold
    handed_on: Mapped[date | None]  # shop-local: the day its visits were handed out last
    closed_at: Mapped[datetime | None]
    changed_at: Mapped[datetime]


class FollowUpResult(StrEnum):
    FINE = "fine"
    NEEDS = "needs"  # something is to be done for them
    UNHAPPY = "unhappy"
    NOT_REACHED = "not_reached"
    DROPPED = "dropped"  # not to be asked


class FollowUp(Base):
    """One visit: a to-do of one of the staff. A merge leaves it with whom it was; readers ask for the person."""

    __tablename__ = "follow_ups"
    __table_args__ = (
        sa.Index(
            "uq_follow_ups_open",
            "rule_id",
            "member_id",
            unique=True,
            sqlite_where=sa.text("done_at IS NULL"),
            postgresql_where=sa.text("done_at IS NULL"),
        ),
        sa.Index(None, "member_id"),
        sa.Index(None, "rule_id", "made_on"),
        sa.CheckConstraint("(done_at IS NULL) = (result IS NULL)", name="done_with_a_result"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    rule_id: Mapped[int] = mapped_column(sa.ForeignKey("follow_up_rules.id"))
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    userid: Mapped[str] = mapped_column(sa.String(64))  # of the staff whose customer it is
    made_on: Mapped[date]  # shop-local
    due_on: Mapped[date]
    result: Mapped[FollowUpResult | None]
    note: Mapped[str] = mapped_column(default="")
    done_by: Mapped[str] = mapped_column(sa.String(64), default="")
    done_at: Mapped[datetime | None]
