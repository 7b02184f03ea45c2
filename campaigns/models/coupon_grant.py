"""Table of coupons given to a whole audience: what, to whom, and how far it has come."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class GrantStatus(StrEnum):
    RUNNING = "running"
    ASKS = "asks"  # it slept for too long, as a restored copy does: a person says whether it goes on
    FINISHED = "finished"  # everybody had their turn
    STOPPED = "stopped"  # by a person, or because there were no more; see `ended_because`


class CouponGrant(Base):
    """One coupon of an offer for everybody of an audience. The name is its own: told twice it is the same."""

    __tablename__ = "coupon_grants"
    __table_args__ = (
        sa.Index(
            "ix_coupon_grants_open",
            "status",
            sqlite_where=sa.text("ended_at IS NULL"),
            postgresql_where=sa.text("ended_at IS NULL"),
        ),
        sa.CheckConstraint("(status IN ('finished', 'stopped')) = (ended_at IS NOT NULL)", name="end_is_whole"),
        sa.CheckConstraint("issued + had_it + at_limit + missed = selected", name="everybody_has_an_end"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(60), unique=True)
    offer_id: Mapped[int] = mapped_column(sa.ForeignKey("offers.id"))
    audience: Mapped[dict[str, Any]]  # the condition as it was when it began
    status: Mapped[GrantStatus] = mapped_column(default=GrantStatus.RUNNING)
    cursor: Mapped[int] = mapped_column(default=0)  # members up to this id had their turn
    last_id: Mapped[int]  # the newest member when it began
    selected: Mapped[int] = mapped_column(default=0)  # members of the audience who had their turn; of these
    issued: Mapped[int] = mapped_column(default=0)  # got one,
    had_it: Mapped[int] = mapped_column(default=0)  # had got it of this grant before, as who they were then,
    at_limit: Mapped[int] = mapped_column(default=0)  # had as many of the offer as one person may,
    missed: Mapped[int] = mapped_column(default=0)  # came when there was none left
    ended_because: Mapped[str] = mapped_column(sa.String(60), default="")  # code of what stopped it
    created_by: Mapped[str] = mapped_column(sa.String(64))
    created_at: Mapped[datetime]  # the audience is judged as of here
    ticked_at: Mapped[datetime]  # newest step
    ended_at: Mapped[datetime | None]
