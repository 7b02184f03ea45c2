"""Tables of the chat archive (会话内容存档): how far it was read, lines of groups, who agreed, what was counted."""

from datetime import date, datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class ArchiveState(Base):
    """How far the archive was read: one row. Its number moves in the transaction that keeps what was read."""

    __tablename__ = "archive_state"
    __table_args__ = (sa.CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seq: Mapped[int]  # of the last record we are done with
    read_at: Mapped[datetime | None]


class Speaker(StrEnum):
    CUSTOMER = "customer"
    STAFF = "staff"


class ArchivedLine(Base):
    """One text somebody wrote in a customer group, for the days in which it may matter."""

    __tablename__ = "archived_lines"
    __table_args__ = (
        sa.Index(None, "group_id", "said_at"),
        sa.Index(
            "ix_archived_lines_open",
            "open_until",
            sqlite_where=sa.text("open_until IS NOT NULL"),
            postgresql_where=sa.text("open_until IS NOT NULL"),
        ),
        sa.Index(None, "sender"),
        sa.Index(None, "said_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    msgid: Mapped[str] = mapped_column(sa.String(128), unique=True)
    group_id: Mapped[int] = mapped_column(sa.ForeignKey("customer_groups.id"))
    speaker: Mapped[Speaker]
    sender: Mapped[str] = mapped_column(sa.String(64))  # external_userid or userid
    text: Mapped[str]
    said_at: Mapped[datetime]
    open_until: Mapped[datetime | None]  # a question: unless one of us speaks by then, nobody answered it


class ArchiveAgreement(Base):
    """Whether a customer lets their words in one group be archived, as WeCom last said."""

    __tablename__ = "archive_agreements"
    __table_args__ = (sa.UniqueConstraint("group_id", "person"), sa.Index(None, "person"))

    id: Mapped[int] = mapped_column(primary_key=True)
    group_id: Mapped[int] = mapped_column(sa.ForeignKey("customer_groups.id"))
    person: Mapped[str] = mapped_column(sa.String(64))  # external_userid
    agreed: Mapped[bool]
    asked_at: Mapped[datetime]  # when we asked WeCom


class ArchiveCount(Base):
    """How many records of a kind were read on a day, also of those that are not kept."""

    __tablename__ = "archive_counts"

    on_day: Mapped[date] = mapped_column(primary_key=True)  # shop-local, of the reading
    kind: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    records: Mapped[int]
