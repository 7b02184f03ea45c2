"""What stops marketing from the outside: the emergency brake over all of it, and holds on single members."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.models.gate import MarketingHold, SendingStop
from crm.base import events
from crm.base.db import insert
from crm.base.outbox import OutboxRow, Purpose

COMPLAINT = "complaint"
MANUAL = "manual"
OPEN = SendingStop.resumed_at.is_(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingStopped:
    """Somebody pulled the brake: from now on no marketing message leaves. Appended by stop()."""

    stop_id: int
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingResumed:
    """Marketing messages may leave again. Appended by resume()."""

    stop_id: int
    by: str


async def standing(session: AsyncSession) -> SendingStop | None:
    """The brake that is pulled, if one is."""
    found: SendingStop | None = await session.scalar(sa.select(SendingStop).where(OPEN))
    return found


async def is_on(session: AsyncSession) -> bool:
    return await session.scalar(sa.select(SendingStop.id).where(OPEN)) is not None


def may_leave() -> sa.ColumnElement[bool]:
    """SQL about a row of the outbox: a service message, or the brake is not pulled."""
    return sa.or_(OutboxRow.purpose == Purpose.SERVICE, ~sa.exists().where(OPEN))


async def stop(session: AsyncSession, *, by: str, reason: str, now: datetime) -> bool:
    """Pull the brake. Returns False when it was pulled already; the unique index decides who was first."""
    row = insert(session, SendingStop).values(scope="marketing", reason=reason, stopped_by=by, stopped_at=now)
    stop_id = await session.scalar(row.on_conflict_do_nothing().returning(SendingStop.id))
    if stop_id is None:
        return False
    await events.append(session, SendingStopped(stop_id=stop_id, by=by, reason=reason), now=now)
    return True


async def resume(session: AsyncSession, *, by: str, now: datetime) -> bool:
    """Let marketing go on. Returns False when nothing was stopped."""
    ended = sa.update(SendingStop).where(OPEN).values(resumed_by=by, resumed_at=now).returning(SendingStop.id)
    stop_id = await session.scalar(ended.execution_options(synchronize_session=False))
    if stop_id is None:
        return False
    await events.append(session, SendingResumed(stop_id=stop_id, by=by), now=now)
    return True


async def hold_member(
    session: AsyncSession, member_id: int, *, ref: str, reason: str, until: datetime | None = None, now: datetime
) -> None:
    """Leave this member in peace until then, or until lift() with the same ref; saying it again changes `until`."""
    row = insert(session, MarketingHold).values(member_id=member_id, ref=ref, reason=reason, since=now, until=until)
    await session.execute(
        row.on_conflict_do_update(
            index_elements=["ref"], set_={"member_id": member_id, "reason": reason, "until": until, "lifted_at": None}
        )
    )


async def lift(session: AsyncSession, ref: str, *, now: datetime) -> None:
    """What was held under this ref is over. Nothing is held under it: nothing happens."""
    standing = sa.update(MarketingHold).where(MarketingHold.ref == ref, MarketingHold.lifted_at.is_(None))
    await session.execute(standing.values(lifted_at=now).execution_options(synchronize_session=False))
