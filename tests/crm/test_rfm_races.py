"""Orders that come while the night's refresh moves the window: the lock keeps totals right, its twin loses one."""

import asyncio
from datetime import timedelta

import sqlalchemy as sa

from crm import orders, rfm, rfm_history
from crm.base.clock import FrozenClock, local_day
from crm.base.db import Sessions
from crm.models.member import Member
from crm.models.rfm import MemberRfm
from crm.order_terms import Told
from crm.rfm_rules import Rule
from tests.factories import Make

RULE = Rule(window_days=14)


async def refresh(sessions: Sessions, clock: FrozenClock, *, from_scratch: bool = False) -> None:
    now = clock.now()
    async with sessions.begin() as session:
        await rfm.refresh(session, as_of=local_day(now), rule=RULE, now=now, from_scratch=from_scratch)


async def buy(sessions: Sessions, clock: FrozenClock, member: Member, days_ago: int, number: int) -> None:
    at = clock.now() - timedelta(days=days_ago)
    told = Told(source="race", external_no=f"N{number}", member_id=member.id, placed_at=at, total_fen=700, paid_at=at)
    async with sessions.begin() as session:
        await orders.place(session, told, now=clock.now())


async def totals(sessions: Sessions) -> dict[int, tuple[int, int]]:
    async with sessions.read() as session:
        rows = await session.scalars(sa.select(MemberRfm).where(MemberRfm.frequency > 0))
        return {row.member_id: (row.frequency, row.monetary_fen) for row in rows}


async def test_orders_and_the_nights_refresh_meet_and_every_total_is_right(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    members = [await make.member() for _ in range(6)]
    for place, member in enumerate(members):
        await buy(sessions, clock, member, 14, place)
    await refresh(sessions, clock)
    for night in range(3):
        clock.advance(days=1)
        late = [
            buy(sessions, clock, member, days_ago, 1_000 * (night + 1) + 10 * place + days_ago)
            for place, member in enumerate(members)
            for days_ago in (0, 15)  # of today, and of a day that is just leaving the window
        ]
        await asyncio.gather(*late[:6], refresh(sessions, clock), *late[6:])
        moved = await totals(sessions)
        await refresh(sessions, clock, from_scratch=True)
        assert moved == await totals(sessions)


async def test_the_race_is_real_without_the_lock(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    """Read where the window begins, let the night move it, add the order by what was read: it never leaves again."""
    if sessions.dialect == "sqlite":
        return  # one writer: nobody else is there
    member = await make.member()
    await buy(sessions, clock, member, 3, 1)
    await refresh(sessions, clock)
    clock.advance(days=1)
    leaving = local_day(clock.now()) - timedelta(days=15)
    async with sessions.begin() as session:
        last = await rfm_history.newest(session)
        assert last is not None and leaving >= last.taken_on - timedelta(days=last.window_days)
        await refresh(sessions, clock)
        await session.execute(
            sa.update(MemberRfm).values(frequency=MemberRfm.frequency + 1, monetary_fen=MemberRfm.monetary_fen + 700)
        )
    moved = await totals(sessions)
    await refresh(sessions, clock, from_scratch=True)
    assert (moved[member.id], (await totals(sessions))[member.id]) == ((2, 1400), (1, 700))
