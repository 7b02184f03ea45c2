"""Tables of 老带新 at the edge: inviters' contact ways in WeCom, and posters that were asked for in the chat."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class InviterWay(Base):
    """The contact way (渠道活码) of one invite link. A corp has 500,000, so each is made once and kept by its id."""

    __tablename__ = "inviter_ways"
    __table_args__ = (
        sa.Index(
            "ix_inviter_ways_wanted",
            "try_at",
            sqlite_where=sa.text("config_id IS NULL AND ended_at IS NULL"),
            postgresql_where=sa.text("config_id IS NULL AND ended_at IS NULL"),
        ),
    )

    link_id: Mapped[int] = mapped_column(sa.ForeignKey("referral_links.id"), primary_key=True, autoincrement=False)
    userids: Mapped[list[str]]  # whom it leads to
    try_at: Mapped[datetime]
    asked_at: Mapped[datetime | None]  # WeCom was asked, and what it answered is not known yet
    config_id: Mapped[str | None] = mapped_column(sa.String(64))
    qr_code: Mapped[str] = mapped_column(default="")  # the picture's address
    error: Mapped[str] = mapped_column(default="")
    ended_at: Mapped[datetime | None]  # deleted at WeCom, or given up


class PosterWanted(Base):
    """Somebody asked for their poster in the chat: drawn, uploaded and sent by posters.Posters."""

    __tablename__ = "posters_wanted"
    __table_args__ = (
        sa.Index(
            "ix_posters_wanted_open",
            "wanted_at",
            sqlite_where=sa.text("done_at IS NULL"),
            postgresql_where=sa.text("done_at IS NULL"),
        ),
    )

    msgid: Mapped[str] = mapped_column(sa.String(128), primary_key=True)  # of the line that asked: once for each
    conversation_id: Mapped[int] = mapped_column(sa.ForeignKey("conversations.id"))
    link_id: Mapped[int] = mapped_column(sa.ForeignKey("referral_links.id"))
    wanted_at: Mapped[datetime]
    tries: Mapped[int] = mapped_column(default=0)
    done_at: Mapped[datetime | None]
