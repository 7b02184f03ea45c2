"""Items shared out to groups: who may have what is left, who waits for what, and whose group a claim counts for."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from bot.flashsale import groups, waiting
from bot.flashsale.terms import ShareSoldOut, StockIsBack, TooFewLeft
from bot.models.sale import PaymentOutcome, Sale, SaleGroup, SaleItem
from crm.models.group import GroupMember
from tests.bot.flashsale.stall import Stall, item

QUARTER = timedelta(minutes=15)


async def shared(stall: Stall, *, stock: int, cats: int, dogs: int) -> tuple[Sale, SaleItem, int, int]:
    """A sale whose one item is shared out to two groups."""
    one, two = (await stall.make.group()).id, (await stall.make.group()).id
    sale = await stall.sale(item(stock=stock, limit_each=2, shares={one: cats, two: dogs}), group_ids=[one, two])
    return sale, (await stall.items(sale))[0], one, two


async def wait(stall: Stall, a1: SaleItem, member_id: int, **more: object) -> int:
    async with stall.sessions.begin() as session:
        request = stall.request(a1, member_id, **more)
        return (await waiting.join(session, request, now=stall.clock.now())).number


async def test_whose_share_is_gone_waits_while_another_group_has_some_and_gets_their_own_groups(stall: Stall) -> None:
    lin, chen, wang = await stall.members(3)
    _, a1, cats, dogs = await shared(stall, stock=3, cats=1, dogs=2)
    await stall.claim(a1, lin, group_id=cats)
    taken = await stall.claim(a1, wang, group_id=dogs)
    with pytest.raises(ShareSoldOut):
        await stall.claim(a1, chen, group_id=cats)
    assert await wait(stall, a1, chen, group_id=cats) == 1
    with pytest.raises(StockIsBack) as refused:
        await wait(stall, a1, chen, group_id=dogs)
    assert refused.value.left == 1
    stall.clock.advance(minutes=1)
    await stall.pay(taken.no, 1990)
    assert await stall.statuses(chen) == []  # a unit of the other group is not theirs
    stall.clock.advance(QUARTER)
    (offer,) = await stall.release()
    assert offer.member_id == chen
    assert await stall.counters(a1) == (1, 1, 1)


async def test_what_is_shared_out_to_none_is_for_who_is_in_no_group_with_a_share(stall: Stall) -> None:
    people = await stall.members(5)
    _, a1, cats, _ = await shared(stall, stock=4, cats=1, dogs=1)
    elsewhere = (await stall.make.group()).id
    await stall.claim(a1, people[0], group_id=cats)
    with pytest.raises(ShareSoldOut):
        await stall.claim(a1, people[1], group_id=cats)
    await stall.claim(a1, people[2], group_id=elsewhere)
    with pytest.raises(TooFewLeft) as refused:
        await stall.claim(a1, people[3], 2)
    assert refused.value.left == 1
    await stall.claim(a1, people[3])
    with pytest.raises(ShareSoldOut):
        await stall.claim(a1, people[4])
    assert await wait(stall, a1, people[4]) == 1
    assert await stall.counters(a1) == (3, 0, 1)
    stall.clock.advance(QUARTER)
    assert [one.member_id for one in await stall.release()] == [people[4]]


async def test_late_money_takes_no_unit_of_another_group(stall: Stall) -> None:
    lin, chen = await stall.members(2)
    _, a1, cats, _ = await shared(stall, stock=3, cats=1, dogs=1)
    late = [await stall.claim(a1, lin, group_id=cats), await stall.claim(a1, chen)]
    stall.clock.advance(QUARTER)
    await stall.release()
    people = await stall.members(2)
    await stall.claim(a1, people[0], group_id=cats)
    assert (await stall.pay(late[0].no, 1990)).outcome is PaymentOutcome.REFUND_DUE
    assert (await stall.pay(late[1].no, 1990)).outcome is PaymentOutcome.HONOURED
    with pytest.raises(ShareSoldOut):
        await stall.claim(a1, people[1])
    assert await stall.counters(a1) == (1, 1, 1)


async def test_without_a_link_a_claim_counts_for_the_members_group_with_most_left(stall: Stall) -> None:
    lin, chen, wang = await stall.members(3)
    sale, a1, cats, dogs = await shared(stall, stock=6, cats=2, dogs=3)
    now = stall.clock.now()
    async with stall.sessions.begin() as session:
        for group_id, member_id, left in ((cats, lin, None), (dogs, lin, None), (cats, chen, None), (dogs, chen, now)):
            session.add(GroupMember(group_id=group_id, member_id=member_id, person=f"wm{member_id}",
                                    joined_at=now, left_at=left))  # fmt: skip
    async with stall.sessions.read() as session:
        code = await session.scalar(sa.select(SaleGroup.code).where(SaleGroup.group_id == cats))
        assert code is not None
        found = [await groups.of_claim(session, sale, a1.id, one) for one in (lin, chen, wang)]
        by_link = [await groups.of_claim(session, sale, a1.id, one, link=code) for one in (lin, chen, wang)]
    assert found == [dogs, cats, None]
    assert by_link == [cats, cats, None]


async def test_an_item_that_is_not_shared_out_counts_for_the_link_alone(stall: Stall) -> None:
    (lin,) = await stall.members(1)
    sale = await stall.sale(item(), group_ids=[(await stall.make.group()).id])
    async with stall.sessions.read() as session:
        assert await groups.of_claim(session, sale, (await stall.items(sale))[0].id, lin) is None
