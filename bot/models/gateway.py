"""Tables at the gate: callbacks as they arrived, kf accounts with their cursors, and messages pulled from them."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class Handling(StrEnum):
    OPEN = "open"
    DONE = "done"
    DEAD = "dead"  # tried often enough; a person looks at `error`


def _open(name: str, *columns: str) -> sa.Index:
    """An index over what is still to do, which stays small however long the history grows."""
    where = sa.text("status = 'open'")
    return sa.Index(name, *columns, sqlite_where=where, postgresql_where=where)


class CallbackRow(Base):
    """One callback of WeCom, decrypted and not yet interpreted further than to know it again."""

    __tablename__ = "callbacks"
    __table_args__ = (_open("ix_callbacks_open", "not_before", "id"), sa.Index(None, "received_at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    app: Mapped[str] = mapped_column(sa.String(64))
    envelope: Mapped[str] = mapped_column(sa.String(64), unique=True)  # signature: the same one twice is a replay
    dedupe_key: Mapped[str | None] = mapped_column(sa.String(64), unique=True)  # a retry has a new envelope
    event: Mapped[str] = mapped_column(sa.String(80))  # our event class, for people and counters
    body: Mapped[str]  # inner XML
    received_at: Mapped[datetime]
    status: Mapped[Handling] = mapped_column(default=Handling.OPEN)
    attempts: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[datetime]
    done_at: Mapped[datetime | None]
    error: Mapped[str | None]


class KfAccount(Base):
    """One 微信客服 account and how far its messages have been pulled."""

    __tablename__ = "kf_accounts"

    open_kfid: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(64), default="")
    app: Mapped[str] = mapped_column(sa.String(64))  # whose token may pull it
    cursor: Mapped[str | None] = mapped_column(sa.String(128))  # None: from three days ago
    token: Mapped[str | None] = mapped_column(sa.String(256))  # from the newest callback, good for ten minutes
    token_at: Mapped[datetime | None]
    wanted_at: Mapped[datetime | None]  # newest sign that there is something to pull
    pulled_at: Mapped[datetime | None]  # when a pull last came to the end
    pulled_by: Mapped[int | None]  # the process that pulls now, see peers.py
    pulled_until: Mapped[datetime | None]
    removed_at: Mapped[datetime | None]


class InboundMessage(Base):
    """One item of kf/sync_msg: a customer's message, a servicer's, or an event of the session."""

    __tablename__ = "inbound_messages"
    __table_args__ = (
        _open("ix_inbound_messages_open", "conversation_id", "id"),
        sa.Index(None, "conversation_id", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    msgid: Mapped[str] = mapped_column(sa.String(128), unique=True)
    conversation_id: Mapped[int] = mapped_column(sa.ForeignKey("conversations.id"))
    origin: Mapped[int]  # 3 customer, 4 system, 5 servicer
    kind: Mapped[str] = mapped_column(sa.String(64))  # msgtype, or the event's type
    body: Mapped[dict[str, Any]]  # as pulled
    sent_at: Mapped[datetime]
    received_at: Mapped[datetime]
    status: Mapped[Handling] = mapped_column(default=Handling.OPEN)
    attempts: Mapped[int] = mapped_column(default=0)
    done_at: Mapped[datetime | None]
    error: Mapped[str | None]
