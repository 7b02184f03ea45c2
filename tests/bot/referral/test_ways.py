"""Contact ways of inviters: one each, looked for when an answer was lost, no more than wanted, deleted at last."""

import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
import sqlalchemy as sa

from bot.app import App
from bot.models.referral import InviterWay
from bot.referral import ways
from bot.referral.ways import InviterWays
from bot.wecom.api.call import Page
from bot.wecom.api.ways import ContactWay, NewWay, WaysApi
from bot.wecom.errors import OutcomeUnknown, WecomError
from campaigns import referral_links
from campaigns.models.referral import ReferralLink
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.peers import Peers
from tests.factories import Make, make

__all__ = ["make"]


class Platform:
    """WeCom's contact ways, with an answer that may get lost before or after the way was made."""

    def __init__(self) -> None:
        self.ways: dict[str, str] = {}  # config_id -> state
        self.asked = 0
        self.loses = ""  # "before", "after"
        self.refuses = False

    async def add_contact_way(self, userids: Any, *, state: str, remark: str) -> NewWay:
        assert len(state) <= 30 and len(remark) <= 30
        self.asked += 1
        if self.refuses:
            raise WecomError(errmsg="no", path="/add")
        if self.loses != "before":
            self.ways[f"cw{self.asked}"] = state
        if self.loses:
            raise OutcomeUnknown(errmsg="timeout", path="/add")
        return NewWay(f"cw{self.asked}", f"https://qr.example/cw{self.asked}")

    async def lists(self, *, start_at: datetime, end_at: datetime) -> AsyncIterator[Page[str]]:
        assert start_at < end_at
        yield Page(tuple(self.ways), "")

    async def get_contact_way(self, config_id: str) -> ContactWay:
        qr_code = f"https://qr.example/{config_id}"
        return ContactWay(config_id, 1, 2, ("amy",), self.ways[config_id], "", True, qr_code)

    async def del_contact_way(self, config_id: str) -> None:
        del self.ways[config_id]


class Place:
    def __init__(self, sessions: Sessions, clock: FrozenClock, make: Make) -> None:
        self.sessions, self.clock, self.make, self.platform = sessions, clock, make, Platform()
        chance = random.Random(7)
        app = App(clock=clock, chance=chance, sessions=sessions, peers=Peers(sessions, chance=chance))
        self.worker = InviterWays(app, cast(WaysApi, self.platform))

    async def wanted(self, *, most: int = 10) -> ReferralLink:
        member, now = await self.make.member(), self.clock.now()
        async with self.sessions.begin() as session:
            link = await referral_links.link_of(session, member.id, now=now)
            await ways.want(session, link, ["amy"], most=most, now=now)
            return link

    async def rows(self) -> list[InviterWay]:
        async with self.sessions.read() as session:
            return list(await session.scalars(sa.select(InviterWay).order_by(InviterWay.link_id)))


@pytest.fixture
def place(sessions: Sessions, clock: FrozenClock, make: Make) -> Place:
    return Place(sessions, clock, make)


async def test_one_link_gets_one_way(place: Place) -> None:
    link = await place.wanted()
    assert await place.worker.round() == 1
    assert await place.worker.round() == 0
    (row,) = await place.rows()
    assert place.platform.ways == {row.config_id: f"yq{link.code}"} and row.qr_code and row.asked_at is None


@pytest.mark.parametrize("loses", ["before", "after"])
async def test_a_lost_answer_never_makes_two(place: Place, loses: str) -> None:
    await place.wanted()
    place.platform.loses = loses
    await place.worker.round()
    place.platform.loses = ""
    for _ in range(6):
        place.clock.advance(minutes=3)
        await place.worker.round()
    (row,) = await place.rows()
    assert len(place.platform.ways) == 1 and row.config_id in place.platform.ways
    assert place.platform.asked == (2 if loses == "before" else 1)


async def test_a_refusal_is_kept_and_tried_again_later(place: Place) -> None:
    await place.wanted()
    place.platform.refuses = True
    await place.worker.round()
    (row,) = await place.rows()
    assert "no" in row.error and row.config_id is None
    assert await place.worker.round() == 0
    place.platform.refuses = False
    place.clock.advance(minutes=11)
    await place.worker.round()
    assert (await place.rows())[0].config_id is not None


async def test_no_more_are_made_than_the_shop_wants(place: Place) -> None:
    for _ in range(4):
        await place.wanted(most=2)
    while await place.worker.round():
        pass
    assert len(place.platform.ways) == len(await place.rows()) == 2


async def test_whose_link_is_closed_has_none_any_more(place: Place) -> None:
    link = await place.wanted()
    await place.worker.round()
    async with place.sessions.begin() as session:
        closed = sa.update(ReferralLink).where(ReferralLink.id == link.id).values(closed_at=place.clock.now())
        await session.execute(closed)
    place.clock.advance(timedelta(minutes=11))
    await place.worker.round()
    assert place.platform.ways == {}
    (row,) = await place.rows()
    assert row.ended_at is not None
    place.clock.advance(timedelta(minutes=11))
    assert await place.worker.round() == 0
