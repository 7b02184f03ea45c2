"""Members who prove to be one, and to be two after all: claims and places are whose they should be."""

import sqlalchemy as sa

from bot.flashsale import waiting
from bot.flashsale.merging import follow_merge, settle_stray
from bot.models.sale import Claim, ClaimStatus, SaleItem, Waiter
from crm import merges
from tests.bot.flashsale.stall import Stall, item


async def merge(stall: Stall, one: int, two: int, *, reacts: bool = True) -> tuple[int, int]:
    now = stall.clock.now()
    async with stall.sessions.begin() as session:
        kept = await merges.merge(session, one, two, because="unionid", now=now)
    if reacts:
        async with stall.sessions.begin() as session:
            await follow_merge(session, kept, one + two - kept, now=now)
    return kept, one + two - kept


async def undo(stall: Stall, kept: int, absorbed: int) -> None:
    now = stall.clock.now()
    async with stall.sessions.begin() as session:
        await merges.undo(session, absorbed, now=now)
    async with stall.sessions.begin() as session:
        await follow_merge(session, kept, absorbed, now=now)


async def settle(stall: Stall) -> int:
    async with stall.sessions.begin() as session:
        return await settle_stray(session, now=stall.clock.now())


async def wait(stall: Stall, a1: SaleItem, member_id: int) -> None:
    async with stall.sessions.begin() as session:
        await waiting.join(session, stall.request(a1, member_id), now=stall.clock.now())


async def places(stall: Stall, a1: SaleItem) -> list[int]:
    async with stall.sessions.read() as session:
        waits = sa.select(Waiter.member_id).where(Waiter.item_id == a1.id, Waiter.status == "waiting")
        return list(await session.scalars(waits.order_by(Waiter.id)))


async def test_a_merge_undone_gives_back_claims_and_places_and_what_came_since_stays(stall: Stall) -> None:
    lin, lin_too, wang = await stall.members(3)
    a1, a2, a3 = await stall.items(await stall.sale(item("A1"), item("A2", stock=1), item("A3")))
    paid = await stall.claim(a1, lin_too)
    await stall.claim(a2, wang)
    await wait(stall, a2, lin_too)
    kept, absorbed = await merge(stall, lin, lin_too)
    await stall.pay(paid.no, 1990)
    await stall.claim(a3, absorbed)  # asked by the old identity, and the person's
    assert (await stall.statuses(kept), await stall.statuses(absorbed)) == ([ClaimStatus.PAID, ClaimStatus.HELD], [])
    assert await places(stall, a2) == [kept]
    await undo(stall, kept, absorbed)
    assert (await stall.statuses(kept), await stall.statuses(absorbed)) == ([ClaimStatus.HELD], [ClaimStatus.PAID])
    assert await places(stall, a2) == [absorbed]
    async with stall.sessions.read() as session:
        assert list(await session.scalars(sa.select(Claim.came_from).where(Claim.came_from.is_not(None)))) == []


async def test_of_merges_upon_merges_each_undoing_gives_back_its_own(stall: Stall) -> None:
    a, b, c = await stall.members(3)
    items = await stall.items(await stall.sale(*(item(f"A{number}") for number in range(3))))
    for member_id, each in zip((a, b, c), items, strict=True):
        await stall.claim(each, member_id)
    await merge(stall, a, b)
    await merge(stall, a, c)
    assert len(await stall.statuses(a)) == 3
    await undo(stall, a, c)
    assert [len(await stall.statuses(one)) for one in (a, b, c)] == [2, 0, 1]
    await undo(stall, a, b)
    assert [len(await stall.statuses(one)) for one in (a, b, c)] == [1, 1, 1]


async def test_what_was_written_while_the_merge_committed_is_brought_home(stall: Stall) -> None:
    lin, lin_too = await stall.members(2)
    a1 = await stall.item()
    kept, absorbed = await merge(stall, lin, lin_too)
    await stall.claim(a1, kept)
    async with stall.sessions.begin() as session:  # as if the request had read the members before the merge
        await session.execute(sa.update(Claim).values(member_id=absorbed))
    assert await settle(stall) == 1
    assert await settle(stall) == 0
    assert await stall.statuses(kept) == [ClaimStatus.HELD]


async def test_the_second_unpaid_claim_of_a_person_follows_when_it_is_released(stall: Stall) -> None:
    lin, lin_too = await stall.members(2)
    a1 = await stall.item()
    for one in (lin, lin_too):
        await stall.claim(a1, one)
    kept, absorbed = await merge(stall, lin, lin_too)
    assert await settle(stall) == 0
    assert await stall.statuses(absorbed) == [ClaimStatus.HELD]
    await stall.release()
    assert await settle(stall) == 1
    assert (await stall.statuses(kept), await stall.statuses(absorbed)) == (
        [ClaimStatus.HELD, ClaimStatus.RELEASED],
        [],
    )
    assert await stall.counters(a1) == (1, 0, 2)
