"""Tables of people: members, the identities that lead to them, merges, staff, and who has added whom."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class Gender(StrEnum):
    UNKNOWN = "unknown"
    MALE = "male"
    FEMALE = "female"


class MemberSource(StrEnum):
    """Where we first met a member."""

    CONTACT = "contact"  # added one of our staff
    GROUP = "group"  # sits in one of our groups, maybe nobody's contact
    KF = "kf"  # wrote to a kf account
    H5 = "h5"  # opened one of our pages
    IMPORT = "import"


class IdentityKind(StrEnum):
    EXTERNAL_USERID = "external_userid"
    UNIONID = "unionid"
    OPENID = "openid"
    PHONE_HASH = "phone_hash"
    SHOP_ACCOUNT = "shop_account"


class ContactEnd(StrEnum):
    """Who ended a relation."""

    STAFF = "staff"  # our side deleted the customer
    CUSTOMER = "customer"  # the customer deleted our side
    TRANSFER = "transfer"  # handed over to a colleague
    SYNC = "sync"  # gone from a full listing; nobody told us how


class Member(Base):
    """One person in our programme. Rows stay for good: a merged one points to the member it became part of."""

    __tablename__ = "members"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(sa.String(8), unique=True)  # public: no 0/O/1/I
    name: Mapped[str] = mapped_column(default="")
    avatar: Mapped[str] = mapped_column(default="")
    gender: Mapped[Gender] = mapped_column(default=Gender.UNKNOWN)
    source: Mapped[MemberSource]
    joined_at: Mapped[datetime]
    merged_into_id: Mapped[int | None] = mapped_column(sa.ForeignKey("members.id"), index=True)
    erased_at: Mapped[datetime | None]  # asked to be forgotten: tombstones instead of identities, see privacy.py


class Identity(Base):
    """One name under which somebody outside knows a member. Whoever writes about a person locks these rows first."""

    __tablename__ = "identities"
    __table_args__ = (sa.UniqueConstraint("kind", "value"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"), index=True)
    kind: Mapped[IdentityKind]
    value: Mapped[str] = mapped_column(sa.String(255))  # as WeCom or the shop spells it: case counts
    added_at: Mapped[datetime]


class MemberMerge(Base):
    """Two members turned out to be one person. A member is absorbed once, until that is undone."""

    __tablename__ = "member_merges"
    __table_args__ = (
        sa.Index(
            "uq_member_merges_standing",
            "absorbed_id",
            unique=True,
            sqlite_where=sa.text("undone_at IS NULL"),
            postgresql_where=sa.text("undone_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    kept_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"), index=True)
    absorbed_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    because: Mapped[str] = mapped_column(sa.String(40))  # kind of the identity both had, or "manual"
    merged_at: Mapped[datetime]
    carried: Mapped[dict[str, Any]]  # table -> ids of the rows that went over: what an undo takes back
    profile: Mapped[dict[str, Any]]  # the kept member's fields that the merge completed: [before, after]
    undone_at: Mapped[datetime | None]


class Staff(Base):
    """One of our people in WeCom. Their `userid` compares without case, so `key` is what we look up."""

    __tablename__ = "staff"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(sa.String(64), unique=True)  # userid in lower case
    userid: Mapped[str] = mapped_column(sa.String(64))  # as WeCom spells it
    name: Mapped[str] = mapped_column(default="")
    active: Mapped[bool] = mapped_column(default=True)
    follows: Mapped[bool] = mapped_column(default=False)  # may have external contacts: is in get_follow_user_list


class Contact(Base):
    """One spell of one customer being in one staff member's contacts. Adding again after an end is a new row."""

    __tablename__ = "contacts"
    __table_args__ = (
        sa.Index(
            "uq_contacts_open",
            "staff_id",
            "external_userid",
            unique=True,
            sqlite_where=sa.text("ended_at IS NULL"),
            postgresql_where=sa.text("ended_at IS NULL"),
        ),
        sa.Index(None, "external_userid"),
        sa.Index(None, "member_id", "ended_at"),  # whether somebody is a contact now is read from the index alone
        sa.CheckConstraint("(ended_at IS NULL) = (ended_by IS NULL)", name="end_is_whole"),
        sa.CheckConstraint("ended_at IS NULL OR ended_at >= added_at", name="ends_after_it_began"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    staff_id: Mapped[int] = mapped_column(sa.ForeignKey("staff.id"))
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    external_userid: Mapped[str] = mapped_column(sa.String(64))  # a merged member may have several
    added_at: Mapped[datetime]
    told_at: Mapped[datetime]  # newest instant at which WeCom says it was added: tells a late "lost" of an older spell
    seen_at: Mapped[datetime]  # when a callback or a listing last showed it
    state: Mapped[str] = mapped_column(sa.String(64), default="")  # of the contact way it came through
    add_way: Mapped[int | None]  # WeCom's number
    remark: Mapped[str] = mapped_column(default="")
    description: Mapped[str] = mapped_column(default="")
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[ContactEnd | None]
