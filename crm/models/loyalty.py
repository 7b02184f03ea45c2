"""Tables of the loyalty programme: points as a ledger of lots, check-ins, levels and the moves between them."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


def _partial(name: str, *columns: str, where: str, unique: bool = False) -> sa.Index:
    condition = sa.text(where)
    return sa.Index(name, *columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


class RuleKind(StrEnum):
    POINTS = "points"
    LEVELS = "levels"


class LoyaltyRule(Base):
    """What the shop decided, as data; the newest row of a kind counts, the older ones are history."""

    __tablename__ = "loyalty_rules"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[RuleKind]
    body: Mapped[dict[str, Any]]  # point_rules.PointRules or level_rules.LevelRules
    set_at: Mapped[datetime]
    by: Mapped[str] = mapped_column(sa.String(64), default="")


class EntryKind(StrEnum):
    """What moved points. The first three bring some, the others take some."""

    EARNED = "earned"
    GRANTED = "granted"  # by hand
    RETURNED = "returned"  # what was spent came back
    SPENT = "spent"
    TAKEN_BACK = "taken_back"  # earned by an order that was refunded
    DEDUCTED = "deducted"  # by hand
    EXPIRED = "expired"
    PARTED = "parted"  # a merge was undone after one had spent the other's: either sign


class PointEntry(Base):
    """One movement of points, once per kind and cause. A member's entries add up to active + pending - owed."""

    __tablename__ = "point_entries"
    __table_args__ = (
        sa.UniqueConstraint("kind", "cause_kind", "cause_id"),
        sa.Index(None, "member_id", "booked_on"),
        _partial("ix_point_entries_owing", "member_id", where="owed > 0"),
        sa.CheckConstraint("owed >= 0 AND (owed = 0 OR owed <= -points)", name="owes_what_it_takes"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    kind: Mapped[EntryKind]
    points: Mapped[int]  # signed; 0: earned nothing, because the day's cap was reached
    owed: Mapped[int] = mapped_column(default=0)  # of what it takes, what no lot has paid yet
    cause_kind: Mapped[str] = mapped_column(sa.String(40))  # "order", "check_in", "coupon", "manual" …
    cause_id: Mapped[str] = mapped_column(sa.String(80))
    of_entry_id: Mapped[int | None] = mapped_column(sa.ForeignKey("point_entries.id"), index=True)  # what it undoes
    reason: Mapped[str] = mapped_column(default="")  # in words, where a person gave one
    by: Mapped[str] = mapped_column(sa.String(64), default="")  # userid, where a person did it
    facts: Mapped[dict[str, Any]]  # base_fen, capped_from …
    at: Mapped[datetime]
    booked_on: Mapped[date]  # shop-local day of `at`


class LotState(StrEnum):
    PENDING = "pending"  # until the refund window closes
    ACTIVE = "active"
    EXPIRED = "expired"


class PointLot(Base):
    """Points that came together and expire together. points = remaining - the sum of its uses."""

    __tablename__ = "point_lots"
    __table_args__ = (
        sa.CheckConstraint("points > 0 AND remaining >= 0 AND remaining <= points", name="holds_what_it_had"),
        sa.Index(None, "member_id", "expires_at"),
        _partial("ix_point_lots_pending", "active_at", where="state = 'pending'"),
        _partial("ix_point_lots_expiring", "expires_at", where="state = 'active' AND remaining > 0"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    entry_id: Mapped[int] = mapped_column(sa.ForeignKey("point_entries.id"), unique=True)  # what brought them
    points: Mapped[int]
    remaining: Mapped[int]
    state: Mapped[LotState]
    active_at: Mapped[datetime]  # from then on they can be spent
    expires_at: Mapped[datetime | None]  # exclusive: at this instant they are gone
    told_at: Mapped[datetime | None]  # when its member was told that it expires soon


class PointUse(Base):
    """An entry took points out of a lot (negative), or gave some back to it (positive)."""

    __tablename__ = "point_uses"
    __table_args__ = (sa.CheckConstraint("points <> 0", name="moves_something"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    entry_id: Mapped[int] = mapped_column(sa.ForeignKey("point_entries.id"), index=True)
    lot_id: Mapped[int] = mapped_column(sa.ForeignKey("point_lots.id"), index=True)
    points: Mapped[int]


class PointAccount(Base):
    """A member's sums over lots and debts, moved with each row; the row to lock before any of their lots."""

    __tablename__ = "point_accounts"
    __table_args__ = (sa.CheckConstraint("active >= 0 AND pending >= 0 AND owed >= 0", name="never_below_zero"),)

    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"), primary_key=True, autoincrement=False)
    active: Mapped[int] = mapped_column(default=0)  # can be spent
    pending: Mapped[int] = mapped_column(default=0)
    owed: Mapped[int] = mapped_column(default=0)  # taken back after they were spent: the next points pay it


class CheckIn(Base):
    """A member checked in on a day."""

    __tablename__ = "check_ins"
    __table_args__ = (sa.UniqueConstraint("member_id", "checked_on"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    checked_on: Mapped[date]  # shop-local
    streak: Mapped[int]  # days in a row, this one included; begins again after a full cycle
    points: Mapped[int]
    checked_at: Mapped[datetime]


class Level(Base):
    """A level of membership. threshold_fen: net spend in the window that it takes; 0 for the one all begin with."""

    __tablename__ = "levels"
    __table_args__ = (
        _partial("uq_levels_rank_standing", "rank", where="retired_at IS NULL", unique=True),
        sa.CheckConstraint("threshold_fen >= 0", name="threshold_not_negative"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(30), unique=True)  # as long as a tag of WeCom's
    rank: Mapped[int]  # 1, 2, … higher is better
    threshold_fen: Mapped[int]
    benefits: Mapped[dict[str, Any]]  # what the shop promises; points_bp multiplies what orders earn (10000 = once)
    tag_id: Mapped[int | None] = mapped_column(sa.ForeignKey("tags.id"))  # our tag that shows it, also in WeCom
    retired_at: Mapped[datetime | None]


class MemberLevel(Base):
    """The level a member has since when, until when it is theirs, and the day to look again."""

    __tablename__ = "member_levels"
    __table_args__ = (sa.Index(None, "check_on"), sa.Index(None, "level_id"))

    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"), primary_key=True, autoincrement=False)
    level_id: Mapped[int] = mapped_column(sa.ForeignKey("levels.id"))
    since_on: Mapped[date]  # shop-local, as all its days
    until_on: Mapped[date | None]  # its period ends before this day; None: the lowest level has no end
    grace_until_on: Mapped[date | None]  # the period ended short of the threshold: so long it can be made good
    growth_fen: Mapped[int] = mapped_column(default=0)  # net spend in the window, when last looked at
    came_from_id: Mapped[int | None] = mapped_column(sa.ForeignKey("levels.id"))  # the level before a rise
    check_on: Mapped[date | None]  # None: only an order changes anything


class LevelReason(StrEnum):
    """Why a member's level is another; LevelMove.facts has the numbers."""

    JOINED = "joined"
    REACHED = "reached"
    FELL = "fell"  # period and grace ended short of the threshold
    REFUNDED = "refunded"  # the orders that had just raised it went back
    MANUAL = "manual"
    MERGED = "merged"  # became one with a member of a higher level
    PARTED = "parted"  # that was undone
    REDEFINED = "redefined"  # the shop changed its levels


class LevelMove(Base):
    """One move from level to level. Rows are history and stay."""

    __tablename__ = "level_moves"
    __table_args__ = (sa.Index(None, "member_id", "moved_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    from_level_id: Mapped[int | None] = mapped_column(sa.ForeignKey("levels.id"))  # None: the beginning
    to_level_id: Mapped[int] = mapped_column(sa.ForeignKey("levels.id"))
    reason: Mapped[LevelReason]
    facts: Mapped[dict[str, Any]]  # growth_fen, threshold_fen, why …
    by: Mapped[str] = mapped_column(sa.String(64), default="")
    moved_at: Mapped[datetime]
