"""A campaign over the simulator: staff confirm, some refuse, a member opts out, and the report says so."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot.models.conversation import Conversation
from bot.settings import GateSettings
from bot.simulator.faults import Fault
from campaigns import engine, reports
from campaigns.models.campaign import Broadcast, BroadcastStatus, CampaignStatus, Delivery, DeliveryStatus, Run
from crm.models.member import Contact
from tests.campaigns.fixtures import ANY_SIZE, told
from tests.town import SERVICER, Town, town, words

OTHER = "liqiang"
TEXT = "周末满 199 减 30，点链接领券"
CREATE = "/cgi-bin/externalcontact/add_msg_template"


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(database_url, tmp_path, gate=GateSettings(quiet_from=None, per_day=None, per_week=None)) as opened:
        yield opened


async def befriended(shop: Town, userid: str, name: str) -> str:
    """A customer whom this member of staff has in their contacts, and whom we know."""
    customer = shop.customer(name)
    shop.simulator.world.contacts.add(userid, customer)
    await until(shop, lambda session: session.scalar(sa.select(Contact.id).where(Contact.external_userid == customer)))
    return customer


async def until(shop: Town, read: Any, *, seconds: float = 40.0) -> Any:
    """Wait until the database says so."""
    end = asyncio.get_running_loop().time() + seconds
    while True:
        async with shop.service.app.sessions.read() as session:
            found = await read(session)
        if found:
            return found
        assert asyncio.get_running_loop().time() < end, "not in time"
        await asyncio.sleep(0.02)


async def launched(shop: Town, **more: Any) -> int:
    app = shop.service.app
    now = app.clock.now()
    async with app.sessions.begin() as session:
        soon = (now + timedelta(seconds=1)).isoformat()
        made = await engine.create(
            session, "周末满减", told(messages=[{"text": TEXT}], starts_at=soon, **more), by="amy", now=now
        )
        await engine.submit(session, made.id, review=ANY_SIZE, now=now)
    return made.id


async def moved(session: Any, status: BroadcastStatus, count: int) -> bool:
    found = await session.scalar(sa.select(sa.func.count()).select_from(Broadcast).where(Broadcast.status == status))
    return bool(found == count)


def got(shop: Town, customer: str, staff: str) -> int:
    return [words(one) for one in shop.phone(customer, staff)].count(TEXT)


async def test_staff_confirm_some_refuse_and_the_report_says_so(shop: Town) -> None:
    mine = [await befriended(shop, SERVICER, name) for name in ("陈晓", "林夏", "周周")]
    theirs = [await befriended(shop, OTHER, name) for name in ("赵一", "钱二")]
    campaign_id = await launched(shop, confirm_within="3h", grace="6h")
    await until(shop, lambda session: moved(session, BroadcastStatus.ASKED, 2))
    assert not any(got(shop, one, SERVICER) for one in mine), "nothing arrives before a person taps"
    world = shop.simulator.world
    for task in world.tasks.of_member(SERVICER):
        world.tasks.send(SERVICER, task.msgid)
    shop.clock.advance(minutes=90)
    await until(shop, lambda session: moved(session, BroadcastStatus.DONE, 1))
    assert [got(shop, one, SERVICER) for one in mine[:2]] == [1, 1]
    await shop.until(lambda: world.tasks.of_member(OTHER)[0].reminded_at, seconds=40)
    shop.clock.advance(hours=2)
    await until(shop, lambda session: moved(session, BroadcastStatus.DONE, 2))
    await until(shop, lambda session: session.scalar(sa.select(Run.id).where(Run.finished_at.is_not(None))))
    assert world.tasks.of_member(OTHER)[0].cancelled, "what was not confirmed in time is taken back"
    assert world.tasks.of_member(OTHER)[0].reminded_at, "and its sender was reminded before"
    assert not any(got(shop, one, OTHER) for one in theirs)
    async with shop.service.app.sessions.read() as session:
        report = {one.userid: one for one in await reports.by_staff(session, campaign_id)}
        assert (await engine.get(session, campaign_id)).status is CampaignStatus.FINISHED
    assert (report[SERVICER].asked, report[SERVICER].sent) == (3, 3)
    assert (report[OTHER].asked, report[OTHER].sent, report[OTHER].not_confirmed) == (2, 0, 2)
    assert report[OTHER].confirmed_at is None


async def test_an_answer_lost_on_the_way_does_not_send_it_twice(shop: Town) -> None:
    customer = await befriended(shop, SERVICER, "陈晓")
    shop.simulator.faults.add(Fault(CREATE, "drop_after"))
    await launched(shop)
    await shop.until(lambda: shop.calls(CREATE), seconds=40)
    shop.clock.advance(minutes=1)
    await until(shop, lambda session: moved(session, BroadcastStatus.ASKED, 1))
    tasks = shop.simulator.world.tasks.of_member(SERVICER)
    assert len(tasks) == 1
    shop.simulator.world.tasks.send(SERVICER, tasks[0].msgid)
    shop.clock.advance(minutes=30)
    await until(shop, lambda session: moved(session, BroadcastStatus.DONE, 1))
    assert got(shop, customer, SERVICER) == 1


async def test_who_talks_to_the_bot_gets_it_there_and_who_opted_out_does_not(shop: Town) -> None:
    talker, silent, gone = shop.customer("陈晓"), shop.customer("林夏"), shop.customer("周周")
    shop.says(talker, "多久发货")
    shop.says(gone, "退订")
    await shop.heard_times(talker, 1)
    await shop.heard_times(gone, 1)
    await launched(shop, channels=["kf", "broadcast"])
    await shop.until(lambda: TEXT in shop.heard(talker), seconds=40)
    shop.clock.advance(seconds=10)

    async def all_ended(session: Any) -> bool:
        rows = (await session.scalars(sa.select(Delivery.status))).all()
        return sorted(rows) == [DeliveryStatus.SENT, DeliveryStatus.SKIPPED]

    await until(shop, all_ended)
    assert TEXT not in shop.heard(gone)
    assert not shop.heard(silent)
    async with shop.service.app.sessions.read() as session:
        assert await session.scalar(sa.select(sa.func.count()).select_from(Conversation)) == 2
