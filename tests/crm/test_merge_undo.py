"""A merge taken back within a day: everybody has what was theirs, and what came since stays where it came."""

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa

from campaigns.reactions import part_standings
from crm import identities, members, merges, orders
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.merges import MergeBuiltUpon, MergeNotFound, MergeTooOld, MergeUndone
from crm.models.member import IdentityKind, Member, MemberMerge
from crm.models.order import MemberOrders, Order
from tests.factories import Make


async def merge(sessions: Sessions, one: Member, other: Member, clock: FrozenClock) -> int:
    async with sessions.begin() as session:
        return await merges.merge(session, one.id, other.id, because="manual", now=clock.now())


async def undo(sessions: Sessions, absorbed: Member, clock: FrozenClock) -> int:
    async with sessions.begin() as session:
        return await merges.undo(session, absorbed.id, now=clock.now())


async def test_both_have_again_what_was_theirs(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    one = await make.member(external_userid="wm-1", name="")
    clock.advance(hours=1)
    other = await make.member(external_userid="wm-2", name="旺财爸")
    await make.order(one, total_fen=1000)
    await make.order(other, total_fen=2000)
    await merge(sessions, one, other, clock)
    clock.advance(hours=5)
    await make.order(other, total_fen=400)  # told under either number, it is the kept member's
    assert await undo(sessions, other, clock) == one.id
    async with sessions.begin() as session:
        paid = {row.member_id: row.paid_fen for row in await session.scalars(sa.select(MemberOrders))}
        assert paid == {one.id: 1400, other.id: 2000}
        assert [order.total_fen for order in await orders.latest_of(session, other.id)] == [2000]
        assert await identities.values_of(session, other.id, IdentityKind.EXTERNAL_USERID) == ["wm-2"]
        assert (await members.get(session, other.id)).id == other.id
        assert (await members.get(session, one.id)).name == ""
        told = MergeUndone(kept_id=one.id, absorbed_id=other.id)
        await part_standings(session, told, now=clock.now())
    assert await merge(sessions, one, other, clock) == one.id  # and can be merged again
    async with sessions.read() as session:
        assert set(await session.scalars(sa.select(Order.member_id))) == {one.id}
        assert len(list(await session.scalars(sa.select(MemberMerge)))) == 2


async def test_an_undo_leaves_alone_what_somebody_changed_since(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    one, other = await make.member(name=""), await make.member(name="旺财爸")
    await merge(sessions, one, other, clock)
    async with sessions.begin() as session:
        (await members.get(session, one.id)).name = "喵喵妈"
    await undo(sessions, other, clock)
    async with sessions.read() as session:
        assert (await members.get(session, one.id)).name == "喵喵妈"


async def test_after_a_day_a_merge_stands(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    one, other = await make.member(), await make.member()
    await merge(sessions, one, other, clock)
    clock.advance(timedelta(days=1, seconds=1))
    with pytest.raises(MergeTooOld):
        await undo(sessions, other, clock)
    with pytest.raises(MergeNotFound):
        await undo(sessions, one, clock)


async def test_merges_are_undone_from_the_last_one_backwards(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    first, second, third = await make.member(), await make.member(), await make.member()
    await merge(sessions, second, third, clock)
    await merge(sessions, first, second, clock)
    with pytest.raises(MergeBuiltUpon):
        await undo(sessions, third, clock)
    await undo(sessions, second, clock)
    async with sessions.read() as session:
        assert (await members.get(session, third.id)).id == second.id
    await undo(sessions, third, clock)
    async with sessions.read() as session:
        assert [(await members.get(session, one.id)).id for one in (first, second, third)] == [
            first.id,
            second.id,
            third.id,
        ]


async def test_of_undos_that_race_one_wins(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    one, other = await make.member(), await make.member()
    await merge(sessions, one, other, clock)
    ended = await asyncio.gather(*(undo(sessions, other, clock) for _ in range(4)), return_exceptions=True)
    assert [end for end in ended if not isinstance(end, MergeNotFound)] == [one.id]
