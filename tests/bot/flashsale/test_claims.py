"""Claims: granted once, refused with the reason, and never more than there is."""

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa

from bot.flashsale import merging, sales
from bot.flashsale.terms import (
    ClaimReleased,
    Granted,
    ItemNotFound,
    LimitReached,
    NotInvited,
    NotOpenYet,
    QuantityInvalid,
    SaleInvalid,
    SaleOver,
    ShareSoldOut,
    SoldOut,
    TooFewLeft,
    UnpaidClaim,
)
from bot.models.sale import ClaimStatus
from crm.base.errors import ShopError
from crm.models.member import Member
from tests.bot.flashsale.stall import Stall, item


async def test_a_claim_is_held_until_it_has_to_be_paid(stall: Stall) -> None:
    (lin,) = await stall.members(1)
    a1 = await stall.item()
    granted = await stall.claim(a1, lin)
    assert granted.is_new
    assert (granted.total_fen, granted.pay_due_at) == (1990, stall.clock.now() + sales.PAY_WINDOW)
    assert await stall.counters(a1) == (1, 0, 2)


async def test_the_same_request_is_the_same_claim(stall: Stall) -> None:
    (lin,) = await stall.members(1)
    a1 = await stall.item(limit_each=3)
    first, second = await asyncio.gather(*(stall.claim(a1, lin, key="tap") for _ in range(2)))
    assert first.no == second.no
    assert [first.is_new, second.is_new].count(True) == 1
    assert (await stall.claim(a1, lin)).no == first.no  # another way to the same wish, while it is unpaid
    assert await stall.counters(a1) == (1, 0, 2)


async def test_two_hundred_want_thirty(stall: Stall) -> None:
    people = await stall.members(200)
    a1 = await stall.item(stock=30)
    outcomes = await asyncio.gather(*(stall.claim(a1, one) for one in people), return_exceptions=True)
    assert sum(isinstance(one, Granted) for one in outcomes) == 30
    assert {type(one) for one in outcomes if not isinstance(one, Granted)} == {SoldOut}
    assert await stall.counters(a1) == (30, 0, 0)


async def test_sold_out_is_told_from_memory_and_who_has_some_still_hears_of_it(stall: Stall) -> None:
    lin, chen, wang = await stall.members(3)
    a1 = await stall.item(stock=1)
    granted = await stall.claim(a1, lin, key="tap")
    with pytest.raises(SoldOut):
        await stall.claim(a1, chen)
    await stall.allocator.stop()  # the database cannot be asked any more
    with pytest.raises(SoldOut):
        await stall.claim(a1, wang)
    await stall.allocator.start()
    assert (await stall.claim(a1, lin, key="tap")).no == granted.no
    stall.clock.advance(seconds=sales.PAY_WINDOW.total_seconds())
    await stall.release()
    assert (await stall.claim(a1, wang)).is_new  # memory does not outlive a second


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        ({"quantity": 0}, QuantityInvalid),
        ({"quantity": 100}, QuantityInvalid),
        ({"quantity": 3}, LimitReached),
        ({"is_invited": False}, NotInvited),
    ],
)
async def test_what_cannot_be_granted_is_refused_with_its_reason(
    stall: Stall, wrong: dict[str, int], refusal: type[ShopError]
) -> None:
    (lin,) = await stall.members(1)
    a1 = await stall.item(limit_each=2)
    with pytest.raises(refusal):
        await stall.claim(a1, lin, **wrong)
    assert await stall.counters(a1) == (0, 0, 3)


async def test_the_limit_counts_what_is_paid_and_an_unpaid_claim_comes_first(stall: Stall) -> None:
    (lin,) = await stall.members(1)
    a1 = await stall.item(limit_each=2)
    first = await stall.claim(a1, lin)
    with pytest.raises(UnpaidClaim):
        await stall.claim(a1, lin, 2)
    await stall.pay(first.no, 1990)
    with pytest.raises(LimitReached):
        await stall.claim(a1, lin, 2)
    await stall.claim(a1, lin)
    assert await stall.counters(a1) == (1, 1, 1)


async def merge(stall: Stall, absorbed: int, kept: int) -> None:
    """As identities.py marks it, before any reaction has run."""
    async with stall.sessions.begin() as session:
        await session.execute(sa.update(Member).where(Member.id == absorbed).values(merged_into_id=kept))


async def test_the_limit_is_a_persons_before_the_reaction_to_a_merge_has_run(stall: Stall) -> None:
    lin, lin_too = await stall.members(2)
    a1 = await stall.item()
    granted = await stall.claim(a1, lin_too)
    await stall.pay(granted.no, 1990)
    await merge(stall, lin_too, lin)
    with pytest.raises(LimitReached):
        await stall.claim(a1, lin)
    with pytest.raises(LimitReached):
        await stall.claim(a1, lin_too)  # asked for before the merge, written after it
    assert await stall.counters(a1) == (0, 1, 2)


async def test_who_asked_before_a_merge_claims_as_the_person_they_are(stall: Stall) -> None:
    lin, lin_too = await stall.members(2)
    a1 = await stall.item()
    await merge(stall, lin_too, lin)
    first, second = await asyncio.gather(stall.claim(a1, lin_too), stall.claim(a1, lin))
    assert first.no == second.no
    assert await stall.statuses(lin) == [ClaimStatus.HELD]
    assert await stall.counters(a1) == (1, 0, 2)


async def test_a_number_that_is_somebody_elses_by_now_is_no_yes(stall: Stall) -> None:
    lin, lin_too, chen = await stall.members(3)
    a1 = await stall.item()
    await stall.claim(a1, lin_too, key="tap")
    await merge(stall, lin_too, lin)
    async with stall.sessions.begin() as session:
        await merging.follow_merge(session, lin, lin_too, now=stall.clock.now())
        await session.execute(sa.update(Member).where(Member.id == lin_too).values(merged_into_id=None))
    again, other = await asyncio.gather(  # the merge was undone, and the reaction to that is still to run
        stall.claim(a1, lin_too, key="tap"), stall.claim(a1, chen), return_exceptions=True
    )
    assert isinstance(again, ClaimReleased)
    assert isinstance(other, Granted)
    assert await stall.counters(a1) == (2, 0, 1)


async def test_more_than_is_left_is_refused_whole(stall: Stall) -> None:
    lin, chen = await stall.members(2)
    a1 = await stall.item(limit_each=3)
    await stall.claim(a1, lin, 2)
    with pytest.raises(TooFewLeft) as refused:
        await stall.claim(a1, chen, 2)
    assert refused.value.left == 1


async def test_the_clock_decides_and_not_the_word_in_the_row(stall: Stall) -> None:
    lin, chen = await stall.members(2)
    a1 = await stall.item(opens_in=timedelta(seconds=10))
    stall.clock.advance(seconds=9.9)
    with pytest.raises(NotOpenYet):
        await stall.claim(a1, lin)
    stall.clock.advance(seconds=0.1)
    assert (await stall.claim(a1, lin)).is_new  # nobody has marked the sale as open
    stall.clock.advance(seconds=3600)
    with pytest.raises(SaleOver):
        await stall.claim(a1, chen)


async def test_some_may_come_early(stall: Stall) -> None:
    lin, chen = await stall.members(2)
    early = {"early_at": stall.clock.now(), "early_levels": ["金卡"]}
    a1 = await stall.item(opens_in=timedelta(minutes=10), **early)
    with pytest.raises(NotOpenYet):
        await stall.claim(a1, lin)
    assert (await stall.claim(a1, chen, is_early=True)).is_new


async def test_a_group_cannot_take_more_than_its_share(stall: Stall) -> None:
    people = await stall.members(4)
    cats, dogs = (await stall.make.group()).id, (await stall.make.group()).id
    made = await stall.sale(item(stock=3, shares={cats: 1, dogs: 2}), group_ids=[cats, dogs])
    (a1,) = await stall.items(made)
    await stall.claim(a1, people[0], group_id=cats)
    with pytest.raises(ShareSoldOut):
        await stall.claim(a1, people[1], group_id=cats)
    with pytest.raises(ShareSoldOut):
        await stall.claim(a1, people[1])  # by no group's link
    await stall.claim(a1, people[2], group_id=dogs)
    assert await stall.counters(a1) == (2, 0, 1)


async def test_a_released_request_is_over_and_a_new_one_is_new(stall: Stall) -> None:
    (lin,) = await stall.members(1)
    a1 = await stall.item()
    await stall.claim(a1, lin, key="tap")
    stall.clock.advance(minutes=15)
    assert await stall.release() == []
    with pytest.raises(ClaimReleased):
        await stall.claim(a1, lin, key="tap")
    assert (await stall.claim(a1, lin, key="tap again")).is_new
    assert await stall.statuses(lin) == [ClaimStatus.RELEASED, ClaimStatus.HELD]


async def test_a_draft_and_a_closed_sale_grant_nothing(stall: Stall) -> None:
    (lin,) = await stall.members(1)
    made = await stall.sale()
    (a1,) = await stall.items(made)
    async with stall.sessions.begin() as session:
        assert await sales.close(session, made.id, now=stall.clock.now())
    with pytest.raises(SaleOver):
        await stall.claim(a1, lin)
    with pytest.raises(ItemNotFound):
        await stall.allocator.claim(stall.request(a1, lin)._replace(item_id=9))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"items": []}, "没有商品"),
        ({"items": [item(), item()]}, "代号重复"),
        ({"items": [item(stock=0)]}, "库存要大于 0"),
        ({"items": [item("A-1")]}, "代号"),
        ({"name": " "}, "没有名称"),
        ({"pay_window": timedelta(seconds=5)}, "付款时限"),
        ({"items": [item(stock=2, shares={1: 3})], "group_ids": [1]}, "超过了总库存"),
        ({"items": [item(stock=2, shares={1: 2})]}, "不在这场秒杀里"),
    ],
)
async def test_a_plan_that_cannot_be_meant_is_refused_with_its_problem(
    stall: Stall, wrong: dict[str, object], says: str
) -> None:
    now = stall.clock.now()
    usual = {"name": "秒杀", "opens_at": now, "closes_at": now + timedelta(hours=1), "items": [item()]}
    async with stall.sessions.begin() as session:
        with pytest.raises(SaleInvalid) as refused:
            await sales.plan(session, sales.Plan(**{**usual, **wrong}), now=now, chance=stall.make.chance)
    assert says in refused.value.problem


async def test_one_looks_again_while_the_others_are_still_told_from_memory(stall: Stall) -> None:
    lin, chen, wang = await stall.members(3)
    a1 = await stall.item(stock=1)
    await stall.claim(a1, lin)
    with pytest.raises(SoldOut):
        await stall.claim(a1, chen)
    gone = stall.allocator.is_gone
    assert (gone(a1.id, lin), gone(a1.id, chen), gone(a1.id, wang)) == (False, True, True)
    stall.clock.advance(seconds=1)
    assert (gone(a1.id, chen), gone(a1.id, wang), gone(a1.id, chen)) == (False, True, False)
    stall.clock.advance(seconds=2)  # whoever was to look never did
    assert (gone(a1.id, wang), gone(a1.id, wang)) == (False, False)
