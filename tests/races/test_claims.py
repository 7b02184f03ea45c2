"""A sale raced for by two processes: stock, limit, payment, queue and share hold; without the guards each breaks.

Two processes are two allocators, each with connections of its own to one database. On SQLite they meet in the file.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable

import pytest
import sqlalchemy as sa

from bot.flashsale import allocator, board, payments, sales, waiting
from bot.flashsale.allocator import Allocator, Own
from bot.flashsale.merging import follow_merge
from bot.flashsale.terms import CannotCancel, Granted, LimitReached, Request, ShareSoldOut, SoldOut
from bot.models.sale import Claim, ClaimStatus, PaymentOutcome, SaleItem, SaleShare, Waiter, WaiterStatus
from crm import merges
from crm.base.db import Sessions, open_sessions
from crm.models.order import Order
from tests.bot.flashsale.stall import Stall, item

AT_ONCE = 6


@pytest.fixture
async def other(stall: Stall, database_url: str) -> AsyncIterator[Stall]:
    """The same sale as another process has it."""
    sessions = open_sessions(database_url)
    second = Allocator(sessions, stall.clock)
    await second.start()
    yield Stall(sessions, stall.make, stall.clock, second, keys=1000)
    await second.stop()
    await sessions.close()


async def race(acts: Iterable[Awaitable[object]]) -> list[object]:
    return await asyncio.gather(*acts, return_exceptions=True)


def names(ended: Iterable[object]) -> list[str]:
    return sorted(type(end).__name__ for end in ended)


async def without_checks(sessions: Sessions) -> None:
    """The tables' last word taken away, in this test's own database."""
    async with sessions.connect() as connection:
        if connection.dialect.name == "sqlite":
            await connection.exec_driver_sql("PRAGMA ignore_check_constraints=ON")  # of the one connection that writes
            return
        for table in ("sale_items", "sale_shares"):
            await connection.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_never_oversold")


async def unguarded(stall: Stall, request: Request, looked: asyncio.Barrier) -> bool:
    """A claim by the same rule, but the item's lock is let go between looking and writing."""
    now = stall.clock.now()
    async with stall.sessions.begin() as session:
        stand = (await allocator.lock_items(session, [request.item_id]))[request.item_id]
        mine = await allocator.identities_of(session, request.member_id)
        units = sa.select(sa.func.sum(Claim.quantity)).where(Claim.member_id.in_(mine))
        own = Own(units=await session.scalar(units) or 0)
    await looked.wait()
    if allocator.refusal(request, stand, own, now=now) is not None:
        return False
    granted = Granted(request.no, stand.item_id, request.quantity, stand.price_fen, now + sales.PAY_WINDOW)
    async with stall.sessions.begin() as session:
        await session.execute(sa.insert(Claim).values(allocator.row_of(request, granted, now=now)))
        await session.execute(sa.update(SaleItem).values(held=SaleItem.held + 1))
        share = sa.update(SaleShare).where(SaleShare.group_id == request.group_id)
        await session.execute(share.values(taken=SaleShare.taken + 1))
    return True


async def all_wait(stall: Stall, a1: SaleItem, members: Iterable[int]) -> None:
    for one in members:
        async with stall.sessions.begin() as session:
            await waiting.join(session, stall.request(a1, one), now=stall.clock.now())


async def merged(stall: Stall, one: int, two: int) -> tuple[int, int]:
    """(kept, absorbed) of two members who prove to be one, before any reaction has run."""
    async with stall.sessions.begin() as session:
        kept = await merges.merge(session, one, two, because="unionid", now=stall.clock.now())
    return kept, one + two - kept


# Stock


async def test_two_processes_sell_what_there_is(stall: Stall, other: Stall) -> None:
    people, a1 = await stall.members(60), await stall.item(stock=20)
    ended = await race((stall, other)[one % 2].claim(a1, one) for one in people)
    assert names(ended) == ["Granted"] * 20 + [SoldOut.__name__] * 40
    assert await stall.counters(a1) == (20, 0, 0)


async def test_two_processes_that_want_two_items_in_either_order_both_get_them(stall: Stall, other: Stall) -> None:
    people = await stall.members(20)
    a1, a2 = await stall.items(await stall.sale(item("A1", stock=20), item("A2", stock=20)))
    wishes = [
        where.claim(each, one)
        for where, order in ((stall, (a1, a2)), (other, (a2, a1)))
        for one in people[where is other :: 2]
        for each in order
    ]
    assert names(await race(wishes)) == ["Granted"] * 40
    assert [await stall.counters(each) for each in (a1, a2)] == [(20, 0, 0)] * 2


async def test_without_the_lock_more_is_sold_than_there_is(stall: Stall) -> None:
    people, a1, looked = await stall.members(AT_ONCE), await stall.item(stock=2), asyncio.Barrier(AT_ONCE)
    await without_checks(stall.sessions)
    assert await race(unguarded(stall, stall.request(a1, one), looked) for one in people) == [True] * AT_ONCE
    assert await stall.counters(a1) == (AT_ONCE, 0, 2 - AT_ONCE)


async def test_without_the_lock_the_table_still_refuses(stall: Stall) -> None:
    people, a1, looked = await stall.members(AT_ONCE), await stall.item(stock=2), asyncio.Barrier(AT_ONCE)
    ended = await race(unguarded(stall, stall.request(a1, one), looked) for one in people)
    assert names(ended) == ["IntegrityError"] * 4 + ["bool"] * 2
    assert await stall.counters(a1) == (2, 0, 0)


# What one person may have


async def test_a_person_who_asks_everywhere_by_each_identity_has_one_claim(stall: Stall, other: Stall) -> None:
    a1 = await stall.item(stock=9, limit_each=1)
    kept, absorbed = await merged(stall, *await stall.members(2))

    async def follow() -> None:
        async with other.sessions.begin() as session:
            await follow_merge(session, kept, absorbed, now=stall.clock.now())

    wishes = [where.claim(a1, one) for where in (stall, other) for one in (kept, absorbed) for _ in range(3)]
    ended = await race([*wishes[:6], follow(), *wishes[6:]])
    assert len({end.no for end in ended if isinstance(end, Granted)}) == 1
    assert names(ended) == ["Granted"] * 12 + ["NoneType"]
    assert await stall.statuses(kept) == [ClaimStatus.HELD]
    assert await stall.counters(a1) == (1, 0, 8)


async def test_a_merge_between_claims_leaves_one_unpaid(stall: Stall, other: Stall) -> None:
    """Before it they are two people and may have one each; it says so itself and the release takes the second."""
    a1 = await stall.item(stock=9, limit_each=1)
    lin, lin_too = await stall.members(2)

    async def become_one() -> None:
        kept, absorbed = await merged(other, lin, lin_too)
        async with other.sessions.begin() as session:
            await follow_merge(session, kept, absorbed, now=stall.clock.now())

    ended = await race([stall.claim(a1, lin), become_one(), other.claim(a1, lin_too), stall.claim(a1, lin_too)])
    assert names(ended) == ["Granted"] * 3 + ["NoneType"]
    await stall.release()
    statuses = await stall.statuses(lin) + await stall.statuses(lin_too)
    assert statuses.count(ClaimStatus.HELD) == 1
    assert await stall.counters(a1) == (1, 0, 8)


async def test_without_the_lock_a_person_has_one_by_each_identity(stall: Stall) -> None:
    a1, looked = await stall.item(stock=9, limit_each=1), asyncio.Barrier(2)
    pair = await merged(stall, *await stall.members(2))
    assert await race(unguarded(stall, stall.request(a1, one), looked) for one in pair) == [True, True]
    assert await stall.counters(a1) == (2, 0, 7)


async def test_a_place_in_the_queue_brings_nobody_more_before_the_reaction_to_a_merge(stall: Stall) -> None:
    a1, (chen, lin, lin_too, wang) = await stall.item(stock=2, limit_each=1), await stall.members(4)
    await stall.claim(a1, chen)
    await stall.pay((await stall.claim(a1, lin)).no, 1990)
    await all_wait(stall, a1, [lin_too, wang])
    await merged(stall, lin, lin_too)
    with pytest.raises(LimitReached):
        await all_wait(stall, a1, [lin_too])
    stall.clock.advance(sales.PAY_WINDOW)
    assert [one.member_id for one in await stall.release()] == [wang]


async def test_late_money_brings_nobody_more_after_a_merge(stall: Stall) -> None:
    """Both held one; the later one fell due by the merge, stays where it was, and is paid after its release."""
    a1, (lin, lin_too) = await stall.item(stock=9, limit_each=1), await stall.members(2)
    for one in (lin, lin_too):
        await stall.claim(a1, one)
    kept, absorbed = await merged(stall, lin, lin_too)
    async with stall.sessions.begin() as session:
        await follow_merge(session, kept, absorbed, now=stall.clock.now())
    await stall.release()
    async with stall.sessions.read() as session:
        no = await session.scalar(sa.select(Claim.no).where(Claim.member_id == absorbed))
    assert no is not None
    assert (await stall.pay(no, 1990)).outcome is PaymentOutcome.REFUND_DUE
    assert await stall.counters(a1) == (1, 0, 8)


# Release against payment


@pytest.mark.parametrize("somebody_waits", [True, False])
async def test_money_and_the_end_of_its_time_at_once(stall: Stall, other: Stall, somebody_waits: bool) -> None:
    people = await stall.members(AT_ONCE + 1)
    sold = await stall.items(await stall.sale(*(item(f"A{number}", stock=1) for number in range(AT_ONCE))))
    granted = [await stall.claim(each, one) for each, one in zip(sold, people, strict=False)]
    if somebody_waits:
        for each in sold:
            await all_wait(stall, each, people[-1:])
    stall.clock.advance(sales.PAY_WINDOW)

    async def give_back(number: int) -> None:
        async with stall.sessions.begin() as session:
            no, one = granted[number].no, people[number]
            await payments.give_back(session, no, member_id=one, now=stall.clock.now())

    pays = [(stall, other)[number % 2].pay(one.no, 1990) for number, one in enumerate(granted)]
    again = [other.pay(one.no, 1990) for one in granted]  # the same payment told twice
    ended = await race([*pays[:3], stall.release(), give_back(5), *again[:3], other.release(), *pays[3:], *again[3:]])
    assert [end for end in ended if isinstance(end, BaseException) and not isinstance(end, CannotCancel)] == []
    for number, (each, claim) in enumerate(zip(sold, granted, strict=True)):
        (status,) = await stall.statuses(people[number])
        told = await stall.pay(claim.no, 1990)
        async with stall.sessions.read() as session:
            orders = await session.scalar(sa.select(sa.func.count()).where(Order.external_no == claim.no))
        if status is ClaimStatus.PAID:
            assert told.outcome in {PaymentOutcome.APPLIED, PaymentOutcome.HONOURED}
            assert (orders, await stall.counters(each)) == (1, (0, 1, 0))
        else:  # whoever waited has it now
            assert somebody_waits and (status, told.outcome) == (ClaimStatus.RELEASED, PaymentOutcome.REFUND_DUE)
            assert (orders, await stall.counters(each)) == (0, (1, 0, 0))


async def test_without_the_lock_a_paid_unit_is_on_the_shelf_again(stall: Stall) -> None:
    (lin,) = await stall.members(1)
    a1, looked = await stall.item(stock=1), asyncio.Barrier(2)
    await stall.claim(a1, lin)
    await without_checks(stall.sessions)

    async def end(**values: object) -> None:
        async with stall.sessions.read() as session:
            assert await session.scalar(sa.select(Claim.status)) is ClaimStatus.HELD
        await looked.wait()
        async with stall.sessions.begin() as session:
            sold = int(values["paid_at"] is not None)
            await session.execute(sa.update(Claim).values(**values))
            await session.execute(sa.update(SaleItem).values(held=SaleItem.held - 1, sold=SaleItem.sold + sold))

    now = stall.clock.now()
    both = [end(status=ClaimStatus.PAID, paid_at=now), end(status=ClaimStatus.RELEASED, paid_at=None)]
    assert await race(both) == [None, None]
    async with stall.sessions.read() as session:
        (found,) = await board.mismatches(session)
    assert (found.held, found.held_by_claims) == (-1, 0)


# The waiting list


async def test_two_releases_at_once_offer_each_unit_once_and_in_order(stall: Stall, other: Stall) -> None:
    people, a1 = await stall.members(12), await stall.item(stock=4)
    held = [await stall.claim(a1, one) for one in people[:4]]
    await all_wait(stall, a1, people[4:])
    stall.clock.advance(sales.PAY_WINDOW)

    async def give_back() -> list[waiting.SaleOffered]:
        async with other.sessions.begin() as session:
            return await payments.give_back(session, held[2].no, member_id=people[2], now=stall.clock.now())

    ended = await race([stall.release(), give_back(), other.release(), stall.release(), other.release()])
    offered = [one.member_id for end in ended if isinstance(end, list) for one in end]
    assert sorted(offered) == people[4:8]
    assert [end for end in ended if not isinstance(end, list | CannotCancel)] == []
    assert await stall.counters(a1) == (4, 0, 0)
    async with stall.sessions.read() as session:
        assert await waiting.place_of(session, a1.id, people[8]) == waiting.Place(1, 1)


async def test_without_the_lock_one_is_offered_what_two_wait_for(stall: Stall) -> None:
    people, a1, looked = await stall.members(4), await stall.item(stock=2), asyncio.Barrier(2)
    held = [await stall.claim(a1, one) for one in people[:2]]
    await all_wait(stall, a1, people[2:])
    async with stall.sessions.begin() as session:  # the index that allows a person one unpaid claim
        await session.execute(sa.text("DROP INDEX uq_claims_unpaid"))

    async def hand_on(number: int) -> int:
        next_one = sa.select(Waiter).where(Waiter.status == WaiterStatus.WAITING).order_by(Waiter.id).limit(1)
        async with stall.sessions.read() as session:
            found = (await session.scalars(next_one)).one()
        await looked.wait()
        now = stall.clock.now()
        async with stall.sessions.begin() as session:
            gone = sa.update(Claim).where(Claim.no == held[number].no)
            await session.execute(gone.values(status=ClaimStatus.RELEASED, released_at=now))
            ours = sa.update(Waiter).where(Waiter.id == found.id).values(status=WaiterStatus.OFFERED)
            await session.execute(ours)
            request = stall.request(a1, found.member_id)
            granted = Granted(request.no, a1.id, 1, 1990, now)
            await session.execute(sa.insert(Claim).values(allocator.row_of(request, granted, now=now)))
        return found.member_id

    assert await race(hand_on(number) for number in range(2)) == [people[2]] * 2
    assert await stall.statuses(people[2]) == [ClaimStatus.HELD] * 2
    assert await stall.statuses(people[3]) == []


async def test_the_queue_follows_a_merge_while_units_of_two_items_come_back(stall: Stall, other: Stall) -> None:
    """They joined the queue of A2 first: who moves places before holding the items meets the release crosswise."""
    holder, *people = await stall.members(4)
    a1, a2 = await stall.items(await stall.sale(item("A1", stock=1), item("A2", stock=1)))
    for each in (a1, a2):
        await stall.claim(each, holder)
    await all_wait(stall, a2, people)
    await all_wait(stall, a1, people)
    kept, absorbed = await merged(stall, people[0], people[1])
    stall.clock.advance(sales.PAY_WINDOW)

    async def follow() -> None:
        async with other.sessions.begin() as session:
            await follow_merge(session, kept, absorbed, now=stall.clock.now())

    ended = await race([stall.release(), follow(), other.release()])
    assert [end for end in ended if isinstance(end, BaseException)] == []
    assert await stall.statuses(kept) + await stall.statuses(absorbed) == [ClaimStatus.HELD] * 2
    assert [await stall.counters(each) for each in (a1, a2)] == [(1, 0, 0)] * 2


# A group's share


async def test_a_group_gets_its_share_by_both_processes(stall: Stall, other: Stall) -> None:
    people = await stall.members(24)
    cats, dogs = (await stall.make.group()).id, (await stall.make.group()).id
    (a1,) = await stall.items(await stall.sale(item(stock=9, shares={cats: 2, dogs: 7}), group_ids=[cats, dogs]))
    ended = await race(
        (stall, other)[number // 2 % 2].claim(a1, one, group_id=(cats, dogs)[number % 2])
        for number, one in enumerate(people)
    )
    assert sum(isinstance(end, Granted) for end in ended[::2]) == 2
    assert sum(isinstance(end, Granted) for end in ended[1::2]) == 7
    assert set(names(ended)) <= {"Granted", ShareSoldOut.__name__, SoldOut.__name__}
    assert await stall.counters(a1) == (9, 0, 0)


async def test_without_the_lock_a_group_takes_more_than_its_share(stall: Stall) -> None:
    people, looked = await stall.members(AT_ONCE), asyncio.Barrier(AT_ONCE)
    cats, dogs = (await stall.make.group()).id, (await stall.make.group()).id
    (a1,) = await stall.items(await stall.sale(item(stock=9, shares={cats: 2, dogs: 7}), group_ids=[cats, dogs]))
    await without_checks(stall.sessions)
    ended = await race(unguarded(stall, stall.request(a1, one, group_id=cats), looked) for one in people)
    assert ended == [True] * AT_ONCE
    async with stall.sessions.read() as session:
        assert await session.scalar(sa.select(SaleShare.taken).where(SaleShare.group_id == cats)) == AT_ONCE > 2
