"""Tables of RFM: each member's window totals with the score of now, the snapshots, and what each of them changed."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class Segment(StrEnum):
    """The classic eight, by the trade's own names. See rfm_rules.segment_of()."""

    IMPORTANT_VALUE = "重要价值"
    IMPORTANT_GROW = "重要发展"
    IMPORTANT_KEEP = "重要保持"
    IMPORTANT_RECALL = "重要挽留"
    VALUE = "一般价值"
    GROW = "一般发展"
    KEEP = "一般保持"
    RECALL = "一般挽留"


class Tier(StrEnum):
    """Three groups that are acted on differently. See rfm_rules.TIERS."""

    HIGH_VALUE = "high_value"  # 高价值
    POTENTIAL = "potential"  # 潜力
    DORMANT = "dormant"  # 沉睡


class MemberRfm(Base):
    """What a member bought since the window began, moved with each order, and the score it has by today's cut-offs.

    No row: nothing in the window. A row without a score: only refunds that name no order.
    """

    __tablename__ = "member_rfm"
    __table_args__ = (
        sa.CheckConstraint("frequency >= 0", name="frequency_not_negative"),
        sa.CheckConstraint("(frequency > 0) = (last_paid_day IS NOT NULL)", name="orders_have_a_last_day"),
        sa.CheckConstraint("frequency > 0 OR (r IS NULL AND segment IS NULL)", name="scored_by_orders"),
    )

    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"), primary_key=True, autoincrement=False)
    frequency: Mapped[int]  # paid orders above zero, fully refunded ones left out
    monetary_fen: Mapped[int]  # paid less refunds
    last_paid_day: Mapped[int | None]  # shop-local, in days since 1970-01-01: a million are read every night
    r: Mapped[int | None] = mapped_column(sa.SmallInteger())  # 1 to 5, like f and m; 5 is best
    f: Mapped[int | None] = mapped_column(sa.SmallInteger())
    m: Mapped[int | None] = mapped_column(sa.SmallInteger())
    segment: Mapped[Segment | None]
    snapshot_code: Mapped[int] = mapped_column(default=0)  # what the newest snapshot says, see rfm_rules.codes()


class RfmSnapshot(Base):
    """One scoring of everybody as of a day. The newest one's cut-offs score the orders of today."""

    __tablename__ = "rfm_snapshots"

    taken_on: Mapped[date] = mapped_column(primary_key=True)  # as of its 00:00, shop-local
    window_days: Mapped[int]
    members: Mapped[int]  # scored
    moved: Mapped[int]  # of another score than in the snapshot before, newcomers and leavers too
    cutoffs: Mapped[dict[str, Any] | None]  # None: nobody to score
    taken_at: Mapped[datetime]


class RfmChange(Base):
    """A member's score from one snapshot on, until their next row. Without scores: they left the window."""

    __tablename__ = "rfm_changes"

    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"), primary_key=True, autoincrement=False)
    taken_on: Mapped[date] = mapped_column(primary_key=True)
    code: Mapped[int]  # segment and scores, see rfm_rules.codes(); 0: no score
