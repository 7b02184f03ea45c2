"""Suggestions: pairs counted exactly, and never what a member just bought or gave back."""

from collections import Counter
from datetime import timedelta
from itertools import combinations
from math import sqrt
from unittest import mock

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns import content, item_counts, suggestions
from campaigns.item_counts import PairCounter
from campaigns.models.suggestion import Item, ItemPair, ItemRun
from campaigns.suggestions import Suggestion, Why
from crm import merges, orders
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.models.member import Member
from crm.order_terms import Line, Told
from tests.factories import Make

NAMES = {"F": "猫粮", "L": "猫砂", "T": "逗猫棒", "C": "罐头", "N": "冻干", "D": "狗粮"}
CATEGORIES = {"F": "主粮", "C": "主粮", "N": "主粮", "L": "用品", "T": "玩具", "D": "狗"}
orders_of_shop = st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=6), max_size=30)


async def buys(
    sessions: Sessions, clock: FrozenClock, member: Member, skus: str, *, days_ago: int = 0, is_paid: bool = True
) -> str:
    at = clock.now() - timedelta(days=days_ago)
    lines = [Line(sku=one, name=NAMES[one], category=CATEGORIES[one], price_fen=1000) for one in skus]
    no = f"{member.id}-{skus}-{days_ago}"
    told = Told(
        source="shop", external_no=no, member_id=member.id, placed_at=at, total_fen=1000 * len(skus), lines=lines,
        paid_at=at if is_paid else None,
    )  # fmt: skip
    async with sessions.begin() as session:
        await orders.place(session, told, now=clock.now())
    return no


async def count(sessions: Sessions, clock: FrozenClock) -> ItemRun | None:
    return await item_counts.recount(sessions, now=clock.now())


async def found(sessions: Sessions, clock: FrozenClock, member: Member) -> list[Suggestion]:
    async with sessions.read() as session:
        return await suggestions.for_member(session, member.id, now=clock.now())


async def skus(sessions: Sessions, clock: FrozenClock, member: Member) -> str:
    return "".join(one.sku for one in await found(sessions, clock, member))


@settings(max_examples=60, deadline=None)
@given(shop=orders_of_shop, most_waiting=st.sampled_from((1, 10, 1000)))
def test_pairs_are_counted_as_their_definition_says(shop: list[list[int]], most_waiting: int) -> None:
    rows = np.array([(no, sku, 0) for no, lines in enumerate(shop) for sku in lines], np.int64).reshape(-1, 3)
    clean = item_counts.baskets(rows[np.random.default_rng(7).permutation(len(rows))])
    counter = PairCounter()
    with mock.patch.object(item_counts, "MOST_WAITING", most_waiting):
        for no in range(len(shop)):
            some = clean[clean[:, 0] == no]
            counter.add(item_counts.pairs_of(some[:, 0], some[:, 1], base=8))
    counter.settle()
    wanted = Counter(pair for lines in shop for pair in combinations(sorted(set(lines)), 2))
    assert {divmod(int(code), 8): int(n) for code, n in zip(counter.codes, counter.counts, strict=True)} == wanted
    sold = np.array([sum(sku in lines for lines in shop) for sku in range(8)])
    best = {(one, other): (n, score) for one, other, n, score in item_counts.best(counter, sold, base=8).rows}
    often = {pair: n for pair, n in wanted.items() if n >= item_counts.LEAST_TOGETHER}
    assert {pair for pair in best if pair[0] < pair[1]} == set(often)
    for (one, other), n in often.items():
        assert best[one, other] == best[other, one] == (n, pytest.approx(n / sqrt(sold[one] * sold[other])))


def test_past_its_bound_the_rarest_pairs_are_let_go() -> None:
    counter = PairCounter(most=3)
    counter.add(np.array([1, 1, 1, 2, 2, 3, 3, 4, 5], np.int64))
    counter.settle()
    assert (sorted(counter.codes.tolist()), counter.let_go) == ([1, 2, 3], 2)
    assert len(item_counts.baskets(np.array([(1, sku, 0) for sku in range(40)], np.int64))) == 0  # for resale


async def test_a_count_is_once_a_day_and_says_what_the_orders_say(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    assert await count(sessions, clock) is not None  # a shop without orders
    clock.advance(days=1)
    people = [await make.member() for _ in range(3)]
    for member, lines in zip(people, ("FL", "FLT", "FF"), strict=True):
        await buys(sessions, clock, member, lines)
    refunded = await buys(sessions, clock, people[0], "FT")
    await buys(sessions, clock, people[1], "LT", is_paid=False)
    await buys(sessions, clock, people[2], "FT", days_ago=500)
    async with sessions.begin() as session:
        at = {"refunded_at": clock.now(), "now": clock.now()}
        await orders.refund(session, "shop", "R", order_no=refunded, amount_fen=2000, **at)
    with mock.patch.object(item_counts, "RANGE", 2):
        run = await count(sessions, clock)
    assert run is not None
    assert await count(sessions, clock) is None
    async with sessions.read() as session:
        items = {row.sku: row for row in await session.scalars(sa.select(Item))}
        (pair,) = await session.scalars(sa.select(ItemPair).where(ItemPair.item_id < ItemPair.other_id))
        assert [one.sku for one in await suggestions.mates_of(session, "L")] == ["F"]
        assert [one.sku for one in await suggestions.find_items(session, "猫")] == ["F", "L", "T"]
    assert {sku: row.orders for sku, row in items.items()} == {"F": 3, "L": 2, "T": 1}
    assert {pair.item_id, pair.other_id} == {items["F"].id, items["L"].id}
    assert (pair.together, round(pair.score, 4)) == (2, round(2 / sqrt(6), 4))
    clock.advance(days=1)
    await buys(sessions, clock, people[0], "FLTC")
    await count(sessions, clock)
    async with sessions.read() as session:
        first = await session.scalar(sa.select(Item.first_on).where(Item.sku == "F"))
        assert len([one.sku for one in await suggestions.mates_of(session, "F")]) == 2
    assert first == items["F"].first_on


async def test_a_member_sees_what_goes_with_it_but_nothing_they_just_had(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member, other = await make.member(), await make.member()
    for days_ago in (200, 160, 120):
        await buys(sessions, clock, other, "FLTCD", days_ago=days_ago)
    for days_ago in (3, 2):
        await buys(sessions, clock, other, "FLTC", days_ago=days_ago)
    await buys(sessions, clock, other, "N", days_ago=1)
    await buys(sessions, clock, member, "F", days_ago=90)
    await count(sessions, clock)
    assert await skus(sessions, clock, member) == "CNLT"
    told = await found(sessions, clock, member)
    assert [(one.why, one.because) for one in told[:2]] == [(Why.TOGETHER, "猫粮"), (Why.NEW, "主粮")]
    await buys(sessions, clock, member, "L", days_ago=1)
    returned = await buys(sessions, clock, member, "T", days_ago=100)
    await buys(sessions, clock, member, "C", is_paid=False)
    async with sessions.begin() as session:
        at = {"refunded_at": clock.now(), "now": clock.now()}
        await orders.refund(session, "shop", "R", order_no=returned, amount_fen=1000, **at)
    assert await skus(sessions, clock, member) == "N"  # not yesterday's, the one sent back, the one unpaid
    assert await skus(sessions, clock, await make.member()) == ""
    newcomer, twin = await make.member(), await make.member()
    template = content.compile_("{{ 会员名 }}，试试{{ 推荐商品 | 没有就写('新品') }}")
    async with sessions.begin() as session:
        texts = [await content.preview(session, template, one.id, now=clock.now()) for one in (member, newcomer)]
        await merges.merge(session, twin.id, member.id, because="manual", now=clock.now())
    assert texts == ["小林，试试冻干", "小林，试试新品"]
    await buys(sessions, clock, twin, "N")  # told under either number it is theirs
    assert await skus(sessions, clock, member) == ""


async def test_an_article_is_called_what_its_newest_line_says(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member = await make.member()
    for name in ("猫粮", "猫粮（新包装）", "旧名"):
        with mock.patch.dict(NAMES, {"F": name}):
            await buys(sessions, clock, member, "F", days_ago=len(name))
    with mock.patch.object(item_counts, "RANGE", 1):
        await count(sessions, clock)
    async with sessions.read() as session:
        assert [one.name for one in await suggestions.find_items(session, "F")] == ["旧名"]
    clock.advance(days=1)
    for name in ("甲", "乙"):
        with mock.patch.dict(NAMES, {"F": name}):
            await buys(sessions, clock, member, "F", days_ago=9 + (name == "甲"))
    with mock.patch.object(item_counts, "RANGE", 1):
        await count(sessions, clock)
    async with sessions.read() as session:
        assert [one.name for one in await suggestions.find_items(session, "F")] == ["乙"]


async def test_in_a_young_shop_nothing_is_called_new(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member, other = await make.member(), await make.member()
    await buys(sessions, clock, member, "F", days_ago=40)
    await buys(sessions, clock, other, "N", days_ago=1)
    await count(sessions, clock)
    assert await found(sessions, clock, member) == []
