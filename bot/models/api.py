"""Tables of the HTTP API: who may call, and what was answered, so that a repeated request does nothing twice."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class Scope(StrEnum):
    """What a key may do. Reading and writing are apart, and so is seeing who somebody is."""

    ORDERS_READ = "orders:read"
    ORDERS_WRITE = "orders:write"
    MEMBERS_READ = "members:read"
    MEMBERS_PERSONAL = "members:personal"  # names and ids unmasked; phones, each look with a reason that is kept
    MEMBERS_ERASE = "members:erase"
    COUPONS_READ = "coupons:read"
    COUPONS_WRITE = "coupons:write"
    POINTS_READ = "points:read"
    POINTS_WRITE = "points:write"
    SEGMENTS_READ = "segments:read"
    SALES_READ = "sales:read"
    SALES_WRITE = "sales:write"
    CAMPAIGNS_READ = "campaigns:read"
    CAMPAIGNS_WRITE = "campaigns:write"
    EVENTS_READ = "events:read"
    EVENTS_WRITE = "events:write"


class ApiKey(Base):
    """One key to the API. The key itself is nowhere: only what the shop's own key makes of it."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(40), unique=True)  # for good: a revoked key's name is not given again
    hint: Mapped[str] = mapped_column(sa.String(12))  # how the key begins, to tell two apart
    fingerprint: Mapped[str] = mapped_column(sa.String(64), unique=True)
    scopes: Mapped[list[str]]
    created_by: Mapped[str] = mapped_column(sa.String(64))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]  # exclusive
    revoked_at: Mapped[datetime | None]
    revoked_by: Mapped[str] = mapped_column(sa.String(64), default="")
    last_used_at: Mapped[datetime | None]  # to the minute, give or take one


class ApiReply(Base):
    """What a caller's idempotency key was answered. Written in the transaction of what it did."""

    __tablename__ = "api_replies"

    caller: Mapped[str] = mapped_column(sa.String(64), primary_key=True)  # see Caller.ref
    idempotency_key: Mapped[str] = mapped_column(sa.String(128), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(sa.String(64))  # of method, path and body: the same key means the same
    status: Mapped[int] = mapped_column(sa.SmallInteger)
    body: Mapped[dict[str, Any]]
    answered_at: Mapped[datetime] = mapped_column(index=True)
