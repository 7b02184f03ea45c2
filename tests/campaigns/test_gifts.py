"""A campaign that gives a coupon: in the wallet of whoever is written to, once a run, and of nobody else."""

from typing import Any

import pytest
import sqlalchemy as sa

from campaigns import coupons, engine
from campaigns.definition import CampaignWrong
from campaigns.models.campaign import CampaignStatus, DeliveryStatus
from campaigns.models.offer import Coupon, Offer
from crm import consents
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from tests.campaigns.conftest import Put
from tests.campaigns.fixtures import OPEN_GATE, Platform, minutes, people, reasons, scheduled, stands, told
from tests.factories import Make


async def sent(sessions: Sessions, clock: FrozenClock, **more: Any) -> Platform:
    await scheduled(sessions, clock, gives="满100减20", **more)
    platform = Platform(sessions, clock, gate=OPEN_GATE)
    clock.advance(minutes=2)
    await platform.tick()
    return platform


async def wallets(sessions: Sessions) -> list[int]:
    async with sessions.read() as session:
        return list(await session.scalars(sa.select(Coupon.member_id).order_by(Coupon.id)))


async def test_who_is_written_to_has_one_and_who_is_not_has_none(
    sessions: Sessions, make: Make, clock: FrozenClock, put_offer: Put
) -> None:
    first, *others = await people(make, 4)
    alone = (await make.member()).id
    async with sessions.begin() as session:
        await consents.opt_out(session, first, source="test", wording_version="1", now=clock.now())
    await put_offer()
    platform = await sent(sessions, clock)
    assert await wallets(sessions) == others
    assert (await reasons(sessions))[alone] == "not_a_contact"
    await platform.send()
    platform.confirm()
    assert len(platform.received()) == 3


async def test_the_holdout_is_given_nothing(sessions: Sessions, make: Make, clock: FrozenClock, put_offer: Put) -> None:
    await people(make, 30)
    await put_offer()
    await sent(sessions, clock, holdout_percent=50)
    found = await stands(sessions)
    outside = {one for one, status in found.items() if status is DeliveryStatus.HOLDOUT}
    assert outside and set(await wallets(sessions)) == found.keys() - outside


async def test_whom_there_is_none_for_is_not_told_that_they_have_one(
    sessions: Sessions, make: Make, clock: FrozenClock, put_offer: Put
) -> None:
    first, second, third, fourth = await people(make, 4)
    offer = await put_offer(stock=3)
    async with sessions.begin() as session:
        await coupons.issue(session, offer.id, first, because="chat", now=clock.now())
    await sent(sessions, clock)
    assert await wallets(sessions) == [first, second, third]
    found = await reasons(sessions)
    assert (found[first], found[second], found[third], found[fourth]) == ("no_coupon", None, None, "no_coupon")


async def test_a_step_killed_and_done_again_gives_no_second_one(
    sessions: Sessions, make: Make, clock: FrozenClock, put_offer: Put
) -> None:
    await people(make, 3)
    await put_offer(per_member=None)
    made = await scheduled(sessions, clock, gives="满100减20")
    platform = Platform(sessions, clock, gate=OPEN_GATE)
    clock.advance(minutes=2)
    await platform.tick()
    async with sessions.begin() as session:
        await engine.pause(session, made.id, because="", by="amy", now=clock.now())
        await engine.resume(session, made.id, now=clock.now())
    clock.advance(minutes(2))
    await platform.tick()
    await platform.send()
    assert len(await wallets(sessions)) == 3
    async with sessions.read() as session:
        assert await session.scalar(sa.select(Offer.issued)) == 3


async def test_every_week_another_one(sessions: Sessions, make: Make, clock: FrozenClock, put_offer: Put) -> None:
    (member,) = await people(make, 1)
    await put_offer(per_member=None)
    await scheduled(
        sessions, clock, kind="recurring", starts_at=None, every="5 10 * * *", gives="满100减20", grace="12h"
    )
    platform = Platform(sessions, clock, gate=OPEN_GATE)
    for _ in range(2):
        clock.advance(minutes=6)
        await platform.tick()
        clock.advance(days=1, minutes=-6)
    assert await wallets(sessions) == [member, member]


@pytest.mark.parametrize("more", [{"gives": "没有的"}, {"gives": "停发的"}], ids=["unknown", "closed"])
async def test_what_cannot_be_given_is_refused_before_anything_is_sent(
    sessions: Sessions, make: Make, clock: FrozenClock, put_offer: Put, more: dict[str, str]
) -> None:
    await people(make, 1)
    await put_offer("停发的", ends_at="2026-03-09T02:00:30Z")
    with pytest.raises(CampaignWrong) as refused:
        await scheduled(sessions, clock, **more)
    assert [one["field"] for one in refused.value.mistakes] == ["gives"]
    with pytest.raises(CampaignWrong):
        told(groups={"all": True}, audience=None, gives="满100减20")


async def test_what_it_gives_away_decides_whether_a_second_person_looks(
    sessions: Sessions, make: Make, clock: FrozenClock, put_offer: Put
) -> None:
    await people(make, 3)
    await put_offer()
    review = engine.Review(above_members=10, above_fen=5999)
    async with sessions.begin() as session:
        made = await engine.create(session, "礼", told(gives="满100减20"), by="amy", now=clock.now())
        made = await engine.submit(session, made.id, review=review, now=clock.now())
    assert (made.status, made.review_because) == (CampaignStatus.IN_REVIEW, "fen: 6000 > 5999")
