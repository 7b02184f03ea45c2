"""Tables of corp tags (企业标签) mirrored from WeCom, and which relation bears which."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class CorpTagGroup(Base):
    """A group of corp tags."""

    __tablename__ = "corp_tag_groups"

    id: Mapped[int] = mapped_column(primary_key=True)
    wecom_id: Mapped[str] = mapped_column(sa.String(64), unique=True)
    name: Mapped[str] = mapped_column(default="")
    rank: Mapped[int] = mapped_column(default=0)  # WeCom's `order`: larger stands earlier
    created_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]


class CorpTag(Base):
    """A corp tag. Without a group it was seen on a contact before the tag list was read."""

    __tablename__ = "corp_tags"

    id: Mapped[int] = mapped_column(primary_key=True)
    wecom_id: Mapped[str] = mapped_column(sa.String(64), unique=True)
    group_id: Mapped[int | None] = mapped_column(sa.ForeignKey("corp_tag_groups.id"), index=True)
    name: Mapped[str] = mapped_column(default="")
    rank: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]


class ContactTag(Base):
    """One relation bears one tag, from when to when as far as we saw."""

    __tablename__ = "contact_tags"
    __table_args__ = (
        sa.Index(
            "uq_contact_tags_open",
            "contact_id",
            "tag_id",
            unique=True,
            sqlite_where=sa.text("unmarked_at IS NULL"),
            postgresql_where=sa.text("unmarked_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    contact_id: Mapped[int] = mapped_column(sa.ForeignKey("contacts.id"))
    tag_id: Mapped[int] = mapped_column(sa.ForeignKey("corp_tags.id"), index=True)
    marked_at: Mapped[datetime]
    unmarked_at: Mapped[datetime | None]
