"""Tables of conversations: who holds the talk, where it stands, what of the window is used."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class Conversation(Base):
    """One customer with one kf account. The row is also the work queue: `due_at` says when there is something to do."""

    __tablename__ = "conversations"
    __table_args__ = (
        sa.UniqueConstraint("open_kfid", "external_userid"),
        sa.Index(
            "ix_conversations_due",
            "due_at",
            sqlite_where=sa.text("due_at IS NOT NULL"),
            postgresql_where=sa.text("due_at IS NOT NULL"),
        ),
        sa.Index(None, "member_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    open_kfid: Mapped[str] = mapped_column(sa.String(64))
    external_userid: Mapped[str] = mapped_column(sa.String(64))
    member_id: Mapped[int | None] = mapped_column(sa.ForeignKey("members.id"))
    due_at: Mapped[datetime | None]  # its oldest open message may be handled from here on
    service_state: Mapped[int | None] = mapped_column(sa.SmallInteger)  # wecom's ServiceState; None: ask WeCom first
    servicer_userid: Mapped[str | None] = mapped_column(sa.String(64))
    human_wanted_at: Mapped[datetime | None]  # a person was called: the bot is silent until they come, or close
    last_customer_at: Mapped[datetime | None]  # WeCom's send_time of the customer's newest message
    topic: Mapped[str | None] = mapped_column(sa.String(40))  # what the dialogue is about
    topic_data: Mapped[dict[str, Any] | None]
    topic_expires_at: Mapped[datetime | None]
    misses: Mapped[int] = mapped_column(sa.SmallInteger, default=0, server_default="0")  # questions in a row
    missed_at: Mapped[datetime | None]  # the newest of them; a row of misses ends by time too
    flood_count: Mapped[int] = mapped_column(sa.SmallInteger, default=0, server_default="0")
    flood_since: Mapped[datetime | None]  # when the minute began in which `flood_count` messages came
    created_at: Mapped[datetime]


class KfSend(Base):
    """One slot of the 5-in-48-hours window, taken before the send and given back only when WeCom surely refused."""

    __tablename__ = "kf_sends"
    __table_args__ = (sa.Index(None, "conversation_id", "taken_at"),)

    outbox_id: Mapped[int] = mapped_column(sa.ForeignKey("outbox.id"), primary_key=True)
    conversation_id: Mapped[int] = mapped_column(sa.ForeignKey("conversations.id"))
    msgid: Mapped[str] = mapped_column(sa.String(32), unique=True)
    taken_at: Mapped[datetime]
    failed_type: Mapped[int | None] = mapped_column(sa.SmallInteger)  # msg_send_fail's fail_type, when it came
