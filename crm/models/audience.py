"""Tables of our own tags, of who bears them since when, and of segments with the members they hold."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class TagSource(StrEnum):
    """Who says that a member bears a tag. What a person said outlives what a rule says."""

    MANUAL = "manual"
    RULE = "rule"
    IMPORT = "import"
    WECOM = "wecom"  # marked by staff in their WeCom client


class TagEnd(StrEnum):
    """Why a member no longer bears a tag."""

    UNTAGGED = "untagged"
    REPLACED = "replaced"  # by another of its exclusive group
    EXPIRED = "expired"
    RULE = "rule"  # the rule no longer holds
    WECOM = "wecom"  # staff took it off in their WeCom client
    MERGED = "merged"  # the member became part of one who bears it too


class TagGroup(Base):
    """Tags that answer one question. exclusive: a member bears at most one of them."""

    __tablename__ = "tag_groups"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(30), unique=True)  # as long as WeCom takes
    exclusive: Mapped[bool] = mapped_column(default=False)


class Tag(Base):
    """One tag of ours; with a rule, it is put on and taken off by that rule."""

    __tablename__ = "tags"
    __table_args__ = (sa.UniqueConstraint("group_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    group_id: Mapped[int] = mapped_column(sa.ForeignKey("tag_groups.id"))
    name: Mapped[str] = mapped_column(sa.String(30))
    rule: Mapped[dict[str, Any] | None]  # a condition, see conditions.py
    lasts_days: Mapped[int | None]  # put on by a person, it comes off by itself after so many days
    mirrored: Mapped[bool] = mapped_column(default=False)  # shown to staff in WeCom as a corp tag
    corp_tag_id: Mapped[int | None] = mapped_column(sa.ForeignKey("corp_tags.id"), unique=True)
    created_at: Mapped[datetime]


class MemberTag(Base):
    """One spell of one member bearing one tag. Ended rows are the history and stay."""

    __tablename__ = "member_tags"
    __table_args__ = (
        sa.Index(  # by tag first: it is also how a segment finds its people
            "uq_member_tags_open",
            "tag_id",
            "member_id",
            unique=True,
            sqlite_where=sa.text("ended_at IS NULL"),
            postgresql_where=sa.text("ended_at IS NULL"),
        ),
        sa.Index(
            "uq_member_tags_exclusive",
            "member_id",
            "exclusive_group_id",
            unique=True,
            sqlite_where=sa.text("ended_at IS NULL AND exclusive_group_id IS NOT NULL"),
            postgresql_where=sa.text("ended_at IS NULL AND exclusive_group_id IS NOT NULL"),
        ),
        sa.Index(
            "ix_member_tags_expiring",
            "expires_at",
            sqlite_where=sa.text("ended_at IS NULL AND expires_at IS NOT NULL"),
            postgresql_where=sa.text("ended_at IS NULL AND expires_at IS NOT NULL"),
        ),
        sa.Index(None, "member_id"),
        sa.CheckConstraint("(ended_at IS NULL) = (ended_because IS NULL)", name="end_is_whole"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    tag_id: Mapped[int] = mapped_column(sa.ForeignKey("tags.id"))
    exclusive_group_id: Mapped[int | None]  # the tag's group if it is exclusive: the index above lets one through
    source: Mapped[TagSource]
    by: Mapped[str] = mapped_column(sa.String(64), default="")  # userid of who put it on, or the import's name
    tagged_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]  # exclusive: at this instant it is off
    ended_at: Mapped[datetime | None]
    ended_because: Mapped[TagEnd | None]


class Segment(Base):
    """A named condition. watched: who enters and who leaves is noticed and told as events."""

    __tablename__ = "segments"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(60), unique=True)
    condition: Mapped[dict[str, Any]]
    watched: Mapped[bool] = mapped_column(default=False)
    saved_at: Mapped[datetime]
    filled_at: Mapped[datetime | None]  # when all members were last compared; None: never, or the condition is new


class SegmentMember(Base):
    """A member a watched segment holds."""

    __tablename__ = "segment_members"
    __table_args__ = (sa.Index(None, "member_id"),)

    segment_id: Mapped[int] = mapped_column(sa.ForeignKey("segments.id"), primary_key=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"), primary_key=True)
    entered_at: Mapped[datetime]
