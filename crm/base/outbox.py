"""Messages waiting to leave: written in the transaction that decided them, taken by a sender, settled once.

waiting -> claimed -> sent | waiting again (retry) | dead | unknown (a human or a read decides); waiting -> cancelled

Within one `key` (a conversation, say) messages leave in the order they were written.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Mapped, aliased, mapped_column

from crm.base.db import Base, UTCDateTime, insert_new

RETRY_FIRST = timedelta(seconds=1)
RETRY_MOST = timedelta(minutes=5)
LEASE = timedelta(minutes=2)  # longer than any one call may take; a dead sender's claims are freed sooner, by presence


class Purpose(StrEnum):
    """A service message answers a member; a marketing message passed the gate. One cannot borrow the other's rights."""

    SERVICE = "service"
    MARKETING = "marketing"


class Status(StrEnum):
    WAITING = "waiting"
    CLAIMED = "claimed"  # a sender has it in hand
    SENT = "sent"  # the platform accepted it
    DEAD = "dead"  # it will not leave; the reason is in `error`
    UNKNOWN = "unknown"  # it may have left and cannot be repeated safely
    CANCELLED = "cancelled"  # taken back before it left


class OutboxRow(Base):
    """One message on its way out."""

    __tablename__ = "outbox"
    __table_args__ = (
        sa.Index(
            "ix_outbox_waiting",
            "lane",
            "not_before",
            sqlite_where=sa.text("status = 'waiting'"),
            postgresql_where=sa.text("status = 'waiting'"),
        ),
        sa.Index(
            "ix_outbox_key_open",
            "key",
            "id",
            sqlite_where=sa.text("status IN ('waiting', 'claimed')"),
            postgresql_where=sa.text("status IN ('waiting', 'claimed')"),
        ),
        sa.Index(
            "ix_outbox_claimed",
            "claimed_by",
            sqlite_where=sa.text("status = 'claimed'"),
            postgresql_where=sa.text("status = 'claimed'"),
        ),
        sa.Index("ix_outbox_member", "member_id"),
        sa.Index(
            "ix_outbox_gate_ref",
            "gate_ref",
            sqlite_where=sa.text("gate_ref IS NOT NULL"),
            postgresql_where=sa.text("gate_ref IS NOT NULL"),
        ),
        sa.CheckConstraint("(status = 'claimed') = (claimed_by IS NOT NULL)", name="claimed_by_somebody"),
        sa.CheckConstraint("(purpose = 'marketing') = (gate_ref IS NOT NULL)", name="marketing_passed_the_gate"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    lane: Mapped[str] = mapped_column(sa.String(40))  # which sender takes it
    key: Mapped[str | None] = mapped_column(sa.String(120))  # messages of one key leave in order
    dedupe_key: Mapped[str] = mapped_column(sa.String(64), unique=True)
    purpose: Mapped[Purpose]
    gate_ref: Mapped[str | None] = mapped_column(sa.String(64))  # under which the gate let it through
    member_id: Mapped[int | None]
    body: Mapped[dict[str, Any]]
    repeatable: Mapped[bool]  # the platform refuses a second copy, so a call of unknown outcome may be repeated
    not_before: Mapped[datetime]
    deadline: Mapped[datetime | None]  # exclusive: at this instant it is too late
    status: Mapped[Status] = mapped_column(default=Status.WAITING)
    attempts: Mapped[int] = mapped_column(default=0)
    claimed_by: Mapped[int | None]  # the process's number, see peers.py
    claimed_until: Mapped[datetime | None]
    error: Mapped[str | None]
    result: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]


# Written into the SQL as they are: with a parameter in their place SQLite cannot know that the partial indexes apply,
# and read all 100,000 settled rows for every claim (1,080 ms instead of 16).
_WAITING, _CLAIMED = (
    sa.literal(one, OutboxRow.status.type, literal_execute=True) for one in (Status.WAITING, Status.CLAIMED)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A service message that should leave. `dedupe_key` (≤ 64 characters) makes writing it twice the same as once."""

    purpose: ClassVar[Purpose] = Purpose.SERVICE

    lane: str
    dedupe_key: str
    body: dict[str, Any]
    key: str | None = None
    member_id: int | None = None
    repeatable: bool = True
    not_before: datetime | None = None
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketingMessage(Message):
    """A marketing message that should leave. Without a reference at the gate there is none.

    gate_ref: what campaigns/guards.py was asked under; asked again when it leaves. Waiting, it holds up no service
    message of its key.
    """

    purpose: ClassVar[Purpose] = Purpose.MARKETING

    gate_ref: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message in a sender's hand."""

    id: int
    lane: str
    key: str | None
    dedupe_key: str
    gate_ref: str | None  # of a marketing message
    member_id: int | None
    body: dict[str, Any]
    repeatable: bool
    attempts: int  # this one included
    deadline: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """How a claimed message ended, or when to try it again."""

    id: int
    status: Status
    result: dict[str, Any] | None = None
    error: str | None = None
    not_before: datetime | None = None
    keep_attempt: bool = field(default=False)  # waiting for a limit is not a failed try


async def put(session: AsyncSession | AsyncConnection, messages: Sequence[Message], *, now: datetime) -> int:
    """Write messages into the caller's transaction, leaving out known dedupe keys. Returns how many are new."""
    if not messages:
        return 0
    rows = [
        {
            "lane": message.lane,
            "key": message.key,
            "dedupe_key": message.dedupe_key,
            "purpose": message.purpose,
            "gate_ref": message.gate_ref if isinstance(message, MarketingMessage) else None,
            "member_id": message.member_id,
            "body": message.body,
            "repeatable": message.repeatable,
            "not_before": message.not_before or now,
            "deadline": message.deadline,
            "status": Status.WAITING,
            "attempts": 0,
            "created_at": now,
        }
        for message in messages
    ]
    return len(await insert_new(session, rows, returning=OutboxRow.id))


async def claim(
    session: AsyncSession,
    lanes: Sequence[str],
    *where: sa.ColumnElement[bool],
    worker: int,
    now: datetime,
    limit: int = 100,
) -> list[Claimed]:
    """Take up to `limit` messages of these lanes that may leave now and match, the earliest first.

    Of each key only the first open message can be taken, but a marketing message that waits holds up nobody.
    PostgreSQL senders skip each other's rows; SQLite has one.
    """
    open_row = aliased(OutboxRow)
    holds_up = sa.or_(open_row.purpose == Purpose.SERVICE, open_row.status == _CLAIMED)
    first_of_key = (  # a subquery of its own: as an anti-join PostgreSQL compared each open row with every other
        sa.select(sa.func.min(open_row.id))
        .where(open_row.key == OutboxRow.key, open_row.status.in_((_WAITING, _CLAIMED)), holds_up)
        .correlate(OutboxRow)
        .scalar_subquery()
    )
    candidates = (
        sa.select(OutboxRow.id)
        .where(
            OutboxRow.status == _WAITING,
            OutboxRow.lane.in_(lanes),
            OutboxRow.not_before <= now,
            sa.or_(OutboxRow.key.is_(None), OutboxRow.id <= sa.func.coalesce(first_of_key, OutboxRow.id)),
            *where,
        )
        .order_by(OutboxRow.not_before, OutboxRow.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("candidates")  # chosen once: PostgreSQL runs a plain subquery again for every row, past any limit
    )
    rows = await session.scalars(
        sa.update(OutboxRow)
        .where(OutboxRow.id.in_(sa.select(candidates.c.id)), OutboxRow.status == _WAITING)
        .values(
            status=Status.CLAIMED,
            claimed_by=worker,
            claimed_until=now + LEASE,
            attempts=OutboxRow.attempts + 1,
        )
        .returning(OutboxRow)
        .execution_options(synchronize_session=False)
    )
    found = sorted(rows.all(), key=lambda row: row.id)
    return [_claimed(row) for row in found]


async def settle(connection: AsyncConnection, settlements: Sequence[Settlement], *, worker: int, now: datetime) -> None:
    """Write down how `worker`'s claimed messages ended. One that it no longer holds (lease lost) keeps its state."""
    if not settlements:
        return
    statement = (
        sa.update(OutboxRow)
        .where(OutboxRow.id == sa.bindparam("row_id"), OutboxRow.claimed_by == worker)
        .values(
            status=sa.bindparam("status_"),
            result=sa.bindparam("result_"),
            error=sa.bindparam("error_"),
            not_before=sa.func.coalesce(sa.bindparam("not_before_", type_=UTCDateTime()), OutboxRow.not_before),
            attempts=OutboxRow.attempts - sa.bindparam("attempts_back"),
            claimed_by=None,
            claimed_until=None,
            settled_at=sa.bindparam("settled_at_"),
        )
    )
    await connection.execute(statement, [_as_parameters(one, now) for one in settlements])


def _as_parameters(one: Settlement, now: datetime) -> dict[str, Any]:
    return {
        "row_id": one.id,
        "status_": one.status,
        "result_": one.result,
        "error_": one.error,
        "not_before_": one.not_before,
        "attempts_back": int(one.keep_attempt),
        "settled_at_": None if one.status is Status.WAITING else now,
    }


def retry_at(attempts: int, *, now: datetime, chance: random.Random) -> datetime:
    """When to try again after `attempts` failures: doubling from a second to five minutes, with jitter."""
    most = min(RETRY_FIRST.total_seconds() * 2 ** min(attempts, 10), RETRY_MOST.total_seconds())
    return now + timedelta(seconds=most * (0.5 + chance.random() / 2))


async def expire(session: AsyncSession, *, now: datetime) -> int:
    """Bury what waited past its deadline: refusing to send late is part of sending right."""
    return await _close(session, OutboxRow.deadline <= now, status=Status.DEAD, error="deadline passed", now=now)


async def cancel(session: AsyncSession, *where: sa.ColumnElement[bool], reason: str, now: datetime) -> int:
    """Take back waiting messages that match; returns how many. What a sender has in hand is not tried a second time."""
    in_hand = sa.update(OutboxRow).where(OutboxRow.status == _CLAIMED, *where).values(deadline=now)
    await session.execute(in_hand.execution_options(synchronize_session=False))
    return await _close(session, *where, status=Status.CANCELLED, error=reason, now=now)


async def _close(
    session: AsyncSession, *where: sa.ColumnElement[bool], status: Status, error: str, now: datetime
) -> int:
    closed = await session.scalars(
        sa.update(OutboxRow)
        .where(OutboxRow.status == _WAITING, *where)
        .values(status=status, error=error, settled_at=now)
        .returning(OutboxRow.id)
        .execution_options(synchronize_session=False)
    )
    return len(closed.all())


async def free(session: AsyncSession, *, alive: Sequence[int], now: datetime) -> int:
    """Give back what senders that are gone, or that overran their lease, had in hand. Returns how many.

    What may be repeated waits again; the outcome of the rest is unknown. `alive`: numbers of the living processes.
    """
    lost = sa.or_(OutboxRow.claimed_by.not_in(alive), OutboxRow.claimed_until <= now)
    freed = await session.scalars(
        sa.update(OutboxRow)
        .where(OutboxRow.status == _CLAIMED, lost)
        .values(
            status=sa.case((OutboxRow.repeatable, Status.WAITING.value), else_=Status.UNKNOWN.value),
            claimed_by=None,
            claimed_until=None,
            error="sender lost",
            settled_at=sa.case((OutboxRow.repeatable, None), else_=sa.literal(now, UTCDateTime())),
        )
        .returning(OutboxRow.id)
        .execution_options(synchronize_session=False)
    )
    return len(freed.all())


def _claimed(row: OutboxRow) -> Claimed:
    return Claimed(
        row.id, row.lane, row.key, row.dedupe_key, row.gate_ref, row.member_id, row.body, row.repeatable,
        row.attempts, row.deadline, row.created_at,
    )  # fmt: skip
