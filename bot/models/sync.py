"""The table of syncs: what was read from WeCom when, and where a reading that was cut short goes on."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class SyncKind(StrEnum):
    CONTACTS = "contacts"
    GROUPS = "groups"
    TAGS = "tags"


class SyncRun(Base):
    """One full reading of one kind. At most one of a kind is open: the next sync goes on where it stands."""

    __tablename__ = "sync_runs"
    __table_args__ = (
        sa.Index(
            "uq_sync_runs_open",
            "kind",
            unique=True,
            sqlite_where=sa.text("finished_at IS NULL"),
            postgresql_where=sa.text("finished_at IS NULL"),
        ),
        sa.Index(None, "kind", "started_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[SyncKind]
    started_at: Mapped[datetime]
    step: Mapped[int] = mapped_column(default=0)  # pages taken; a page counts only if the run still stands before it
    place: Mapped[dict[str, Any]]  # where the next page begins
    taken: Mapped[int] = mapped_column(default=0)  # relations, groups or tags read so far
    finished_at: Mapped[datetime | None]
    error: Mapped[str | None]  # why it was given up
