"""Events: in with the caller's transaction, out in order, none stepped over."""

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from crm.base import events
from crm.base.clock import FrozenClock
from crm.base.db import Sessions, current_xid
from crm.base.events import EventCursor, EventRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    n: int
    at: datetime | None = None


async def append(sessions: Sessions, clock: FrozenClock, *numbers: int) -> None:
    async with sessions.begin() as session:
        await events.append_all(session, [Happened(n=n) for n in numbers], now=clock.now())


async def take(sessions: Sessions, cursor: str = "reader", limit: int = 100) -> list[int]:
    async with sessions.begin() as session:
        return [one.load(Happened).n for one in await events.take(session, cursor, limit=limit)]


async def test_events_are_read_once_per_cursor_in_order(sessions: Sessions, clock: FrozenClock) -> None:
    await append(sessions, clock, 1, 2)
    await append(sessions, clock, 3)
    assert await take(sessions, limit=2) == [1, 2]
    assert await take(sessions) == [3]
    assert await take(sessions) == []
    assert await take(sessions, cursor="another") == [1, 2, 3]


async def test_an_event_comes_back_as_it_was(sessions: Sessions, clock: FrozenClock) -> None:
    happened = Happened(n=1, at=datetime(2026, 3, 9, 2, 0, tzinfo=UTC))
    async with sessions.begin() as session:
        await events.append(session, happened, now=clock.now())
    async with sessions.begin() as session:
        (recorded,) = await events.take(session, "reader")
    assert (recorded.name, recorded.load(Happened), recorded.at) == ("Happened", happened, clock.now())


async def test_a_rolled_back_reaction_gives_its_events_back(sessions: Sessions, clock: FrozenClock) -> None:
    await append(sessions, clock, 1)
    with pytest.raises(RuntimeError):
        async with sessions.begin() as session:
            assert await events.take(session, "reader")
            raise RuntimeError("the reaction failed")
    assert await take(sessions) == [1]


async def late_commit(sessions: Sessions, clock: FrozenClock, read: object) -> list[int]:
    """A takes its id first and commits last; the reader looks in between and after."""
    seen: list[int] = []
    async with sessions.begin() as a:
        await events.append(a, Happened(n=1), now=clock.now())
        await append(sessions, clock, 2)
        seen += await read(sessions)  # type: ignore[operator]
    seen += await read(sessions)  # type: ignore[operator]
    return seen


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_the_cursor_does_not_step_over_a_late_commit(sessions: Sessions, clock: FrozenClock) -> None:
    assert await late_commit(sessions, clock, take) == [1, 2]


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_the_race_is_real_without_the_horizon(sessions: Sessions, clock: FrozenClock) -> None:
    at = 0

    async def naive(sessions: Sessions) -> list[int]:
        nonlocal at
        async with sessions.read() as session:
            rows = (await session.scalars(sa.select(EventRow).where(EventRow.id > at).order_by(EventRow.id))).all()
        at = max([at, *(row.id for row in rows)])
        return [row.body["n"] for row in rows]

    assert await late_commit(sessions, clock, naive) == [2]


async def test_after_a_restore_unread_events_are_still_read(sessions: Sessions, clock: FrozenClock) -> None:
    await append(sessions, clock, 1, 2)
    assert await take(sessions, limit=1) == [1]
    async with sessions.begin() as session:  # what a dump from an older, busier cluster looks like
        if sessions.dialect == "postgresql":
            ahead = (await session.scalar(sa.select(current_xid(session))) or 0) + 1_000_000
            await session.execute(sa.update(EventRow).values(xid=ahead))
            await session.execute(sa.update(EventCursor).values(xid=ahead))
    await append(sessions, clock, 3)
    async with sessions.begin() as session:
        assert await events.after_restore(session) is (sessions.dialect == "postgresql")
    await append(sessions, clock, 4)
    assert await take(sessions) == [2, 3, 4]
    async with sessions.begin() as session:
        assert await events.after_restore(session) is False


async def test_what_comes_after_a_clearing_is_read_as_well(sessions: Sessions, clock: FrozenClock) -> None:
    """SQLite gives the number of a deleted newest row again: the newest one stays, so nothing lands behind a cursor."""
    await append(sessions, clock, 1, 2, 3)
    assert await take(sessions) == [1, 2, 3]
    async with sessions.begin() as session:
        await session.execute(sa.delete(EventRow).where(events.read_by_all()))
    await append(sessions, clock, 4)
    assert await take(sessions) == [4]
