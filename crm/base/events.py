"""Domain events: appended in the caller's transaction, read forward by named cursors.

A cursor must not step over an event that commits late. On SQLite there is one writer, so ids commit in order. On
PostgreSQL they do not: transaction A may take id 1, B take and commit id 2, and a reader at 2 would never see 1. So
each event carries the id of its transaction, cursors move along (xid, id), and a reader looks only below the oldest
transaction still running.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base, current_xid, insert, insert_rows, is_sqlite, json_object, oldest_running_xid

Event = TypeVar("Event")


class EventRow(Base):
    """Something that happened, in the words of the package that knows it."""

    __tablename__ = "events"
    __table_args__ = (
        sa.Index(None, "xid", "id"),
        sa.Index(
            None,
            "member_id",
            "name",
            "at",
            sqlite_where=sa.text("member_id IS NOT NULL"),
            postgresql_where=sa.text("member_id IS NOT NULL"),
        ),
        {
            "sqlite_autoincrement": True
        },  # else the newest one's number, once deleted, is given again: behind the cursors
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    xid: Mapped[int]  # transaction that appended it; 0 on SQLite
    name: Mapped[str] = mapped_column(sa.String(80))  # the event class's name
    member_id: Mapped[int | None]  # whom it is about, if it says so: the event's own field of that name
    body: Mapped[dict[str, Any]]
    at: Mapped[datetime]


class EventCursor(Base):
    """How far one reader has come."""

    __tablename__ = "event_cursors"

    name: Mapped[str] = mapped_column(sa.String(80), primary_key=True)
    xid: Mapped[int] = mapped_column(default=0)
    event_id: Mapped[int] = mapped_column(default=0)


class EventFailure(Base):
    """A reaction that failed on an event: tried again some times, then left out and kept here."""

    __tablename__ = "event_failures"

    cursor: Mapped[str] = mapped_column(sa.String(80), primary_key=True)
    event_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tries: Mapped[int] = mapped_column(default=0)
    error: Mapped[str]
    failed_at: Mapped[datetime]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One event as it lies in the table."""

    id: int
    xid: int
    name: str  # the event class's name
    body: dict[str, Any]
    at: datetime

    def load(self, kind: type[Event]) -> Event:
        """The event itself, typed; fields that were added since take their defaults."""
        event: Event = _adapter(kind).validate_python(self.body)
        return event


async def append(session: AsyncSession, event: Any, *, now: datetime) -> None:
    """Record that `event` (a frozen dataclass) happened; readers see it once the caller's transaction commits."""
    await append_all(session, [event], now=now)


async def append_all(session: AsyncSession, events: Sequence[Any], *, now: datetime) -> None:
    """Like `append`, one statement for all of them."""
    if not events:
        return
    rows = [
        (
            type(event).__name__,
            getattr(event, "member_id", None),
            _adapter(type(event)).dump_python(event, mode="json"),
            now,
        )
        for event in events
    ]
    if is_sqlite(session):
        await insert_rows(session, EventRow.__table__, (*_COLUMNS, "xid"), [(*row, 0) for row in rows])
        return
    told = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
    connection = await session.connection()
    await connection.execute(sa.insert(EventRow).values(xid=current_xid(session)), told)


async def append_each(
    session: AsyncSession, kind: type[Any], rows: sa.Subquery, fields: Mapping[str, Any], *, now: datetime
) -> None:
    """An event of this kind for each of many rows in the database. fields: of the event, as columns or values."""
    if (wanted := {one.name for one in dataclass_fields(kind)}) != fields.keys():
        raise TypeError(f"{kind.__name__} has {sorted(wanted)}, told were {sorted(fields)}")
    about = fields.get("member_id", sa.null())
    body = json_object(session, fields)
    told = sa.select(current_xid(session), sa.literal(kind.__name__, sa.Text()), about, body, sa.literal(now, _AT))
    columns = ["xid", *_COLUMNS]
    await session.execute(sa.insert(EventRow).from_select(columns, told.select_from(rows)))


async def append_named(
    session: AsyncSession, name: str, body: dict[str, Any], *, member_id: int | None, at: datetime
) -> None:
    """Record an event that no class of ours describes: somebody else's, under a name that is none of ours."""
    row = {"name": name, "member_id": member_id, "body": body, "at": at}
    await session.execute(sa.insert(EventRow).values(xid=current_xid(session), **row))


_AT = EventRow.__table__.c.at.type
_COLUMNS = ("name", "member_id", "body", "at")


async def take(session: AsyncSession, cursor: str, *, limit: int = 100) -> list[Recorded]:
    """The next events for `cursor`, oldest first; the cursor moves behind them when the caller's transaction commits.

    Rolling back gives the events back, so what a reader does in this transaction is done exactly once.
    """
    found = await peek(session, cursor, limit=limit)
    if found:
        await move(session, cursor, to=found[-1])
    return found


async def peek(session: AsyncSession, cursor: str, *, limit: int = 100) -> list[Recorded]:
    """Like `take`, but the cursor stays: for a reader that calls `move` behind what it could do.

    While another reader of this cursor is at it there is nothing to be had.
    """
    await session.execute(insert(session, EventCursor).values(name=cursor).on_conflict_do_nothing())
    own = sa.select(EventCursor).where(EventCursor.name == cursor).with_for_update(skip_locked=True)
    place = (await session.scalars(own)).one_or_none()
    if place is None:
        return []
    rows = await session.scalars(
        sa.select(EventRow)
        .where(
            sa.tuple_(EventRow.xid, EventRow.id) > sa.tuple_(sa.literal(place.xid), sa.literal(place.event_id)),
            EventRow.xid < oldest_running_xid(session),
        )
        .order_by(EventRow.xid, EventRow.id)
        .limit(limit)
    )
    return [Recorded(row.id, row.xid, row.name, row.body, row.at) for row in rows]


async def newest(session: AsyncSession) -> tuple[int, int]:
    """The place (xid, id) of the newest event that a reader may see now; (0, 0) while there are none."""
    row = (
        await session.execute(
            sa.select(EventRow.xid, EventRow.id)
            .where(EventRow.xid < oldest_running_xid(session))
            .order_by(EventRow.xid.desc(), EventRow.id.desc())
            .limit(1)
        )
    ).first()
    return (row.xid, row.id) if row is not None else (0, 0)


async def between(
    session: AsyncSession,
    after: tuple[int, int],
    upto: tuple[int, int],
    *where: sa.ColumnElement[bool],
    limit: int,
) -> list[Recorded]:
    """Events behind `after` up to `upto`, a place that newest() gave: for a reader that keeps its own cursor."""
    place = sa.tuple_(EventRow.xid, EventRow.id)
    rows = await session.scalars(
        sa.select(EventRow)
        .where(
            place > sa.tuple_(*map(sa.literal, after)),
            place <= sa.tuple_(*map(sa.literal, upto)),
            *where,
        )
        .order_by(EventRow.xid, EventRow.id)
        .limit(limit)
    )
    return [Recorded(row.id, row.xid, row.name, row.body, row.at) for row in rows]


async def move(session: AsyncSession, cursor: str, *, to: Recorded) -> None:
    """Put `cursor` right behind `to`."""
    await session.execute(sa.update(EventCursor).where(EventCursor.name == cursor).values(xid=to.xid, event_id=to.id))


def read_by_all() -> sa.ColumnElement[bool]:
    """SQL: every reader there is has gone past this event. False while there are none."""
    behind = sa.tuple_(EventCursor.xid, EventCursor.event_id) < sa.tuple_(EventRow.xid, EventRow.id)
    waits = sa.exists(sa.select(EventCursor.name).where(behind).correlate(EventRow))
    return sa.and_(sa.exists(sa.select(EventCursor.name)), ~waits)


async def note_failure(session: AsyncSession, cursor: str, event: Recorded, error: str, *, now: datetime) -> int:
    """Write down that a reaction failed on `event`; returns how often it has by now."""
    row = insert(session, EventFailure).values(
        cursor=cursor, event_id=event.id, tries=1, error=error[:500], failed_at=now
    )
    again = row.on_conflict_do_update(
        index_elements=["cursor", "event_id"],
        set_={"tries": EventFailure.tries + 1, "error": error[:500], "failed_at": now},
    )
    return (await session.scalars(again.returning(EventFailure.tries))).one()


async def after_restore(session: AsyncSession) -> bool:
    """Make cursors fit a database restored into a new PostgreSQL cluster, whose transaction ids begin again.

    Without it events of the new cluster would lie below every cursor and never be read. Unread events stay unread;
    some that were read may be read again, which reactions allow. Returns whether anything had to be done.
    """
    if is_sqlite(session):
        return False
    newest = await session.scalar(sa.select(sa.func.max(EventCursor.xid)))
    if newest is None or newest < (await session.scalar(sa.select(current_xid(session))) or 0):
        return False
    for place in (await session.scalars(sa.select(EventCursor).with_for_update())).all():
        unread = sa.tuple_(EventRow.xid, EventRow.id) > sa.tuple_(sa.literal(place.xid), sa.literal(place.event_id))
        first = await session.scalar(sa.select(sa.func.min(EventRow.id)).where(unread))
        last = await session.scalar(sa.select(sa.func.max(EventRow.id)))
        place.xid, place.event_id = 0, (first - 1) if first is not None else (last or 0)
    await session.execute(sa.update(EventRow).values(xid=0))
    return True


_adapters: dict[Any, TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]
