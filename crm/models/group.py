"""Tables of customer groups (客户群) and of who is and was in them."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class Group(Base):
    """One customer group. `member_version` is WeCom's: equal versions have equal people."""

    __tablename__ = "customer_groups"  # plain "groups" is a keyword of SQL

    id: Mapped[int] = mapped_column(primary_key=True)
    chat_id: Mapped[str] = mapped_column(sa.String(64), unique=True)
    name: Mapped[str] = mapped_column(default="")
    owner_id: Mapped[int | None] = mapped_column(sa.ForeignKey("staff.id"), index=True)
    notice: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime | None]  # unknown until first read
    member_version: Mapped[str] = mapped_column(sa.String(64), default="")
    read_at: Mapped[datetime | None]  # when the newest list of people we know was asked for
    dismissed_at: Mapped[datetime | None]


class GroupMember(Base):
    """One stay of one person in one group: a member of ours or one of the staff."""

    __tablename__ = "group_members"
    __table_args__ = (
        sa.Index(
            "uq_group_members_open",
            "group_id",
            "person",
            unique=True,
            sqlite_where=sa.text("left_at IS NULL"),
            postgresql_where=sa.text("left_at IS NULL"),
        ),
        sa.CheckConstraint("(member_id IS NULL) <> (staff_id IS NULL)", name="member_or_staff"),
        sa.CheckConstraint("left_at IS NULL OR left_at >= joined_at", name="leaves_after_joining"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    group_id: Mapped[int] = mapped_column(sa.ForeignKey("customer_groups.id"))
    person: Mapped[str] = mapped_column(sa.String(64))  # external_userid, or a staff key
    member_id: Mapped[int | None] = mapped_column(sa.ForeignKey("members.id"), index=True)
    staff_id: Mapped[int | None] = mapped_column(sa.ForeignKey("staff.id"), index=True)
    joined_at: Mapped[datetime]
    join_scene: Mapped[int | None]  # WeCom's number: 1 invited, 2 invite link, 3 group QR
    invited_by: Mapped[str] = mapped_column(sa.String(64), default="")  # userid of the inviter
    state: Mapped[str] = mapped_column(sa.String(64), default="")  # of the join way
    nickname: Mapped[str] = mapped_column(default="")  # the person's name in this group
    left_at: Mapped[datetime | None]
    quit_scene: Mapped[int | None]  # WeCom's number: 0 left, 1 removed; None when nobody told us


class GroupTag(Base):
    """A word of ours on a group, such as 宝妈: WeCom has no tags for groups."""

    __tablename__ = "group_tags"

    group_id: Mapped[int] = mapped_column(sa.ForeignKey("customer_groups.id"), primary_key=True, autoincrement=False)
    tag: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
