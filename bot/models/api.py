"""The table of answered API requests, so that a repeated one gets the same answer and does nothing twice."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class ApiReply(Base):
    """What a caller's idempotency key was answered. Written in the transaction of what it did."""

    __tablename__ = "api_replies"

    caller: Mapped[str] = mapped_column(sa.String(64), primary_key=True)  # the API key's name
    idempotency_key: Mapped[str] = mapped_column(sa.String(128), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(sa.String(64))  # of method, path and body: the same key means the same
    status: Mapped[int] = mapped_column(sa.SmallInteger)
    body: Mapped[dict[str, Any]]
    answered_at: Mapped[datetime] = mapped_column(index=True)
