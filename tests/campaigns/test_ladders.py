"""Tiered offers: the best tier that fits, its reason, once for each cause, and the next one when it is given out."""

import asyncio
from typing import Any

import pytest

from campaigns import coupons, ladders
from campaigns.ladders import EVERYBODY, Given, LadderDraft, LadderNotFound, LadderWrong, NoTierFits
from crm import merges, points
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from tests.campaigns.conftest import Put
from tests.factories import Make

SPENT = {"is": "lifetime", "spent_fen": {"least": 50_000}}
BOUGHT = {"is": "lifetime", "orders": {"least": 1}}
TIERS: list[dict[str, Any]] = [
    {"name": "高价值", "audience": SPENT, "offer": "满100减20"},
    {"name": "老客", "audience": BOUGHT, "offer": "减5"},
    {"name": "新朋友", "points": 50},
]


async def put(sessions: Sessions, clock: FrozenClock, *tiers: dict[str, Any]) -> None:
    draft = LadderDraft.model_validate({"key": "会员礼", "title": "会员礼", "tiers": list(tiers or TIERS)})
    async with sessions.begin() as session:
        await ladders.put(session, draft, now=clock.now())


async def give(sessions: Sessions, clock: FrozenClock, member_id: int, because: str = "march") -> Given:
    async with sessions.begin() as session:
        return await ladders.give(session, "会员礼", member_id, because=because, now=clock.now())


@pytest.fixture
async def ladder(sessions: Sessions, clock: FrozenClock, put_offer: Put) -> None:
    await put_offer(stock=1)
    await put_offer("减5", amount_fen=500, threshold_fen=0)
    await put(sessions, clock)


@pytest.mark.usefixtures("ladder")
async def test_a_member_gets_the_best_tier_that_fits_and_the_reason(
    sessions: Sessions, clock: FrozenClock, make: Make
) -> None:
    rich, buyer, lead, late = [await make.member() for _ in range(4)]
    await make.order(rich, total_fen=60_000)
    await make.order(late, total_fen=60_000)
    await make.order(buyer, total_fen=5000)
    got = [await give(sessions, clock, one.id) for one in (rich, buyer, lead, late)]
    assert [one.tier for one in got] == ["高价值", "老客", "新朋友", "老客"]
    assert [one.reason for one in got][2] == EVERYBODY and "500" in got[0].reason
    assert (got[3].passed_over, got[0].passed_over) == (("高价值",), ())  # the stock of one is given
    async with sessions.read() as session:
        assert (await points.balance_of(session, lead.id, now=clock.now())).active == 50
        assert len(await coupons.wallet_of(session, buyer.id, now=clock.now())) == 1


@pytest.mark.usefixtures("ladder")
async def test_one_cause_gives_once_also_when_the_tier_has_changed_or_they_were_merged(
    sessions: Sessions, clock: FrozenClock, make: Make
) -> None:
    member, other = await make.member(), await make.member()
    assert (await give(sessions, clock, member.id)).points == 50
    await make.order(member, total_fen=60_000)
    again = await asyncio.gather(*(give(sessions, clock, member.id) for _ in range(4)))
    assert {one.tier for one in again} == {"新朋友"}
    async with sessions.begin() as session:
        kept = await merges.merge(session, member.id, other.id, because="manual", now=clock.now())
    assert (await give(sessions, clock, kept)).tier == "新朋友"
    assert (await give(sessions, clock, other.id, "april")).tier == "高价值"
    async with sessions.read() as session:
        assert (await points.balance_of(session, member.id, now=clock.now())).active == 50


@pytest.mark.usefixtures("ladder")
async def test_every_tier_can_say_why_not(sessions: Sessions, clock: FrozenClock, make: Make) -> None:
    member = await make.member()
    await make.order(member, total_fen=5000)
    async with sessions.read() as session:
        ladder = await ladders.get(session, "会员礼")
        rungs = await ladders.explain(session, ladder, member.id, now=clock.now())
        many = await ladders.fitting(session, ladder, [member.id, 10**9], now=clock.now())
    assert [one.fits for one in rungs] == [False, True, True]
    assert "50" in rungs[0].against[0].fact
    assert many == {member.id: [1, 2]}


async def test_what_cannot_be_meant_is_told_whole(sessions: Sessions, clock: FrozenClock, make: Make) -> None:
    with pytest.raises(LadderWrong) as refused:
        await put(
            sessions, clock,
            {"name": "a", "points": 1},
            {"name": "b", "audience": {"is": "nothing"}, "offer": "没有"},
        )  # fmt: skip
    fields = [one["field"] for one in refused.value.mistakes]
    assert fields[0] == "tiers.0.audience" and fields[-1] == "tiers.1.offer" and len(fields) == 3
    with pytest.raises(LadderNotFound):
        await give(sessions, clock, (await make.member()).id)
    await put(sessions, clock, {"name": "a", "audience": SPENT, "points": 1})
    with pytest.raises(NoTierFits):
        await give(sessions, clock, (await make.member()).id)
    async with sessions.begin() as session:
        await ladders.close(session, "会员礼", now=clock.now())
    with pytest.raises(LadderNotFound):
        await give(sessions, clock, (await make.member()).id)
