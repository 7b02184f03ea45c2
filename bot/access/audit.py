"""The log of what staff did: it only grows, and a chain of hashes shows whether anybody changed it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.models.access import AuditEntry
from crm.base.db import hold, to_json

START = "0" * 64  # what the first entry follows
BATCH = 2000
COMMAND_LINE = "siyu"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a walk along the chain found. broken_at: the first entry that does not fit what is before it."""

    entries: int
    head: str
    broken_at: int | None


async def append(
    session: AsyncSession,
    action: str,
    *,
    by: str,
    about: str = "",
    facts: Mapping[str, Any] | None = None,
    now: datetime,
) -> None:
    """Note that `by` did `action`, in the transaction that did it. Last in it: appending waits for other appenders."""
    await hold(session, "audit_log")
    told: dict[str, Any] = {"at": now, "by": by, "action": action, "about": about, "facts": dict(facts or {})}
    previous = await session.scalar(sa.select(AuditEntry.hash).order_by(AuditEntry.id.desc()).limit(1)) or START
    session.add(AuditEntry(**told, previous=previous, hash=_hash(previous, **told)))
    await session.flush()


async def verify(session: AsyncSession) -> Verdict:
    """Walk the whole chain. A tail cut off is seen by comparing `head` with one noted down elsewhere."""
    previous, entries, last_id = START, 0, 0
    while True:
        rows = (
            await session.scalars(
                sa.select(AuditEntry).where(AuditEntry.id > last_id).order_by(AuditEntry.id).limit(BATCH)
            )
        ).all()
        for row in rows:
            is_next = row.previous == previous
            if not is_next or row.hash != _hash(
                previous, at=row.at, by=row.by, action=row.action, about=row.about, facts=row.facts
            ):
                return Verdict(entries, previous, row.id)
            previous, entries, last_id = row.hash, entries + 1, row.id
        if len(rows) < BATCH:
            return Verdict(entries, previous, None)
        session.expunge_all()


async def page(
    session: AsyncSession,
    *,
    before_id: int | None = None,
    by: str = "",
    action: str = "",
    about: str = "",
    size: int = 50,
) -> Sequence[AuditEntry]:
    """The newest first; `action` is a beginning: "campaign" finds campaign.paused."""
    wanted = sa.select(AuditEntry).order_by(AuditEntry.id.desc()).limit(size)
    if before_id is not None:
        wanted = wanted.where(AuditEntry.id < before_id)
    if by:
        wanted = wanted.where(AuditEntry.by == by)
    if action:
        wanted = wanted.where(AuditEntry.action.startswith(action, autoescape=True))
    if about:
        wanted = wanted.where(AuditEntry.about == about)
    return (await session.scalars(wanted)).all()


def _hash(previous: str, *, at: datetime, **told: Any) -> str:
    instant = at.astimezone(UTC).isoformat(timespec="microseconds")
    ordered = to_json([previous, instant, told["by"], told["action"], told["about"], sorted(told["facts"].items())])
    return hashlib.sha256(ordered.encode()).hexdigest()
