"""Table of what was said to our AI bots (智能机器人) in internal groups and single chats, and what they answered."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bot.models.gateway import Handling
from crm.base.db import Base


class ChatType(StrEnum):
    SINGLE = "single"
    GROUP = "group"


class BotMention(Base):
    """One message to a bot and its answer. The row is the work queue, and all the state a stream has.

    WeCom asks again and again for a stream that is not finished; any process may answer, at any time after a restart.
    """

    __tablename__ = "bot_mentions"
    __table_args__ = (
        sa.Index(
            "ix_bot_mentions_open",
            "not_before",
            "id",
            sqlite_where=sa.text("status = 'open'"),
            postgresql_where=sa.text("status = 'open'"),
        ),
        sa.Index(None, "bot", "userid", "received_at"),
        sa.Index(None, "received_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    bot: Mapped[str] = mapped_column(sa.String(64))  # as in SIYU_BOTS__NAME
    msgid: Mapped[str] = mapped_column(sa.String(200), unique=True)  # WeCom may deliver a message twice
    envelope: Mapped[str] = mapped_column(sa.String(64), unique=True)  # signature: the same one twice is a replay
    stream_id: Mapped[str] = mapped_column(sa.String(64), unique=True)
    chat_type: Mapped[ChatType]
    chat_id: Mapped[str] = mapped_column(sa.String(200), default="")  # of a group
    userid: Mapped[str] = mapped_column(sa.String(64))  # who wrote; staff, never a customer
    text: Mapped[str]  # without the mention
    response_code: Mapped[str | None]  # one active reply within the hour, where WeCom gave us an address for it
    received_at: Mapped[datetime]
    status: Mapped[Handling] = mapped_column(default=Handling.OPEN)
    attempts: Mapped[int] = mapped_column(sa.SmallInteger, default=0)
    not_before: Mapped[datetime]
    answer: Mapped[str | None]
    offered: Mapped[list[Any] | None]  # keys of the articles offered by number
    done_at: Mapped[datetime | None]
    shown_at: Mapped[datetime | None]  # when WeCom first took the answer, by the stream or by an active reply
    feedback: Mapped[int | None] = mapped_column(sa.SmallInteger)  # wecom's: 1 accurate, 2 inaccurate, 3 taken back
    error: Mapped[str | None]
