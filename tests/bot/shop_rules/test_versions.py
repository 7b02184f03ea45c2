"""Versions of the rules: one wins of two who change the same one, anything can be put back, every process follows."""

import asyncio
import random
from datetime import timedelta
from pathlib import Path

import pytest

from bot.app import App
from bot.settings import Settings
from bot.shop_rules import store
from bot.shop_rules.live import LiveRules
from bot.shop_rules.store import RulesChanged, RulesNotFound
from campaigns.guard_rules import FrequencyCap
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.peers import Peers
from tests import town


@pytest.fixture
def shop(tmp_path: Path) -> Settings:
    return town.settings("sqlite+aiosqlite://", "http://127.0.0.1:9", tmp_path / "faq.csv")


async def changed(sessions: Sessions, shop: Settings, clock: FrozenClock, seen: int, **texts: str) -> int:
    async with sessions.begin() as session:
        made = await store.change(session, shop, texts, seen=seen, by="owner", now=clock.now())
    assert made is not None
    return made.version


async def test_a_change_makes_a_version_and_no_change_makes_none(
    sessions: Sessions, shop: Settings, clock: FrozenClock
) -> None:
    assert await changed(sessions, shop, clock, 0, per_day="2", capacity="20") == 1
    async with sessions.begin() as session:
        first = await store.newest(session)
        assert first is not None and first.texts == {"per_day": "2"} and first.changed == ["per_day"]
        again = await store.change(session, shop, {"per_day": "2"}, seen=1, by="owner", now=clock.now())
        assert again is None and await store.version_of(session) == 1
        assert (await store.in_force(session, shop)).gate.caps[0] == FrequencyCap(2, timedelta(days=1))


async def test_of_two_who_change_the_same_version_one_wins(
    sessions: Sessions, shop: Settings, clock: FrozenClock
) -> None:
    tries = (changed(sessions, shop, clock, 0, per_day=str(n)) for n in (2, 3))
    done = await asyncio.gather(*tries, return_exceptions=True)
    assert sorted(type(one).__name__ for one in done) == ["RulesChanged", "int"]
    async with sessions.read() as session:
        assert len(await store.history(session)) == 1


async def test_who_looked_at_an_older_version_is_told(sessions: Sessions, shop: Settings, clock: FrozenClock) -> None:
    await changed(sessions, shop, clock, 0, per_day="2")
    with pytest.raises(RulesChanged) as refused:
        await changed(sessions, shop, clock, 0, per_day="3")
    assert refused.value.version == 1


async def test_any_version_can_be_put_back_also_the_servers_settings(
    sessions: Sessions, shop: Settings, clock: FrozenClock
) -> None:
    await changed(sessions, shop, clock, 0, per_day="2")
    await changed(sessions, shop, clock, 1, per_day="3", capacity="5")
    async with sessions.begin() as session:
        back = await store.put_back(session, shop, 1, seen=2, by="owner", now=clock.now())
        assert back is not None and (back.version, back.texts, back.back_to) == (3, {"per_day": "2"}, 1)
        none = await store.put_back(session, shop, 0, seen=3, by="owner", now=clock.now())
        assert none is not None and none.texts == {} and none.changed == ["per_day"]
        with pytest.raises(RulesNotFound):
            await store.put_back(session, shop, 9, seen=4, by="owner", now=clock.now())


async def test_every_process_follows_without_a_restart(sessions: Sessions, shop: Settings, clock: FrozenClock) -> None:
    apps = [
        App(clock=clock, chance=random.Random(n), sessions=sessions, peers=Peers(sessions, chance=random.Random(n)))
        for n in range(2)
    ]
    followers = [LiveRules(app, shop) for app in apps]
    assert [await one.refresh() for one in followers] == [False, False]
    await changed(sessions, shop, clock, 0, per_day="2", service_hours="每天 8:00–20:00", banned="小样")
    assert [await one.refresh() for one in followers] == [True, True]
    for app in apps:
        assert app.gate.caps[0].touches == 2 and app.shop.service_hours == "每天 8:00–20:00"
        assert (
            app.handoff.hours.words == "每天 8:00–20:00" and app.words.check("小样") and app.review.words is app.words
        )
    assert [await one.refresh() for one in followers] == [False, False]
