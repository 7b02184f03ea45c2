"""Tables of what stays of an erased person: a receipt, and keyed hashes so that nobody brings them back."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base
from crm.models.member import IdentityKind


class Erasure(Base):
    """The receipt of one erasure. It names nobody: whoever shows an identity can be matched against `proof`."""

    __tablename__ = "erasures"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(sa.String(8), unique=True)  # what the person is given
    erased_at: Mapped[datetime]
    by: Mapped[str] = mapped_column(sa.String(64))  # userid, or the tool
    reason: Mapped[str] = mapped_column(sa.String(40))  # one of privacy.Reason
    members: Mapped[int]  # rows that were this person: more than one after merges
    lines: Mapped[list[Any]]  # per table: what happened to how many rows, and why some stayed
    proof: Mapped[list[str]]  # fingerprints of the identities, sorted


class Tombstone(Base):
    """An identity that leads to nobody any more. Gone again when the person comes back by their own act."""

    __tablename__ = "tombstones"

    kind: Mapped[IdentityKind] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    erased_at: Mapped[datetime]


class TombstoneKey(Base):
    """The key of the fingerprints: one row, made by the migration, the same for as long as the database lives."""

    __tablename__ = "tombstone_key"
    __table_args__ = (sa.CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    secret: Mapped[str] = mapped_column(sa.String(64))  # 32 bytes as hex
