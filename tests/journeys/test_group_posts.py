"""A campaign into customer groups over the simulator: owners confirm, some do not, and the report says so."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot.settings import GateSettings
from bot.simulator.faults import Fault
from campaigns import engine, group_posts, group_runs, reports
from campaigns.group_posts import Progress
from campaigns.models.campaign import CampaignStatus, DeliveryStatus
from crm.models.group import Group
from tests.campaigns.fixtures import ANY_SIZE, told
from tests.town import SERVICER, Town, town, words

OTHER = "liqiang"
TEXT = "本周新品在群里先说一声"
CREATE = "/cgi-bin/externalcontact/add_msg_template"


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(database_url, tmp_path, gate=GateSettings(quiet_from=None)) as opened:
        yield opened


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


async def grouped(shop: Town, owner: str, name: str, *people: str) -> tuple[str, str]:
    """A customer group in the simulator that we know by now: its chat_id, and its first customer."""
    customers = [shop.customer(one) for one in people]
    chat_id = shop.simulator.world.groups.create(name, owner, customers).chat_id
    await until(shop, lambda session: session.scalar(sa.select(Group.id).where(Group.name == name)))
    return chat_id, customers[0]


async def launched(shop: Town, **more: Any) -> str:
    """A campaign into every group; returns the reference of its post."""
    app = shop.service.app
    now = app.clock.now()
    async with app.sessions.begin() as session:
        wanted = told(
            audience=None, groups={"all": True}, messages=[{"text": TEXT}], grace="6h",
            starts_at=(now + timedelta(seconds=1)).isoformat(), **more,
        )  # fmt: skip
        made = await engine.create(session, "新品", wanted, by="amy", now=now)
        await engine.submit(session, made.id, review=ANY_SIZE, now=now)
    shop.clock.advance(seconds=2)
    (ref,) = await until(shop, lambda session: group_runs.of_campaign(session, made.id))
    return str(ref)


async def stands(shop: Town, ref: str, status: DeliveryStatus, count: int) -> Progress:
    async def read(session: Any) -> Progress | None:
        found = await group_posts.progress(session, ref)
        return found if found and sum(one.status is status for one in found.groups) == count else None

    found: Progress = await until(shop, read)
    return found


def read_in(shop: Town, group: tuple[str, str]) -> int:
    """How often the group's first customer reads it there."""
    chat_id, customer = group
    return [words(one) for one in shop.phone(customer, chat_id)].count(TEXT)


async def test_owners_confirm_some_do_not_and_the_report_says_so(shop: Town) -> None:
    mine = [await grouped(shop, SERVICER, name, "陈晓") for name in ("猫咪 1 群", "猫咪 2 群")]
    theirs = await grouped(shop, OTHER, "狗狗群", "林夏")
    ref = await launched(shop, confirm_within="3h")
    await stands(shop, ref, DeliveryStatus.ASKED, 3)
    world = shop.simulator.world
    (task,) = world.tasks.of_member(SERVICER)
    assert not any(read_in(shop, one) for one in mine), "nothing is in a group before its owner taps"
    world.tasks.send(SERVICER, task.msgid)
    shop.clock.advance(minutes=90)
    known = await stands(shop, ref, DeliveryStatus.SENT, 2)
    assert [read_in(shop, one) for one in mine] == [1, 1]
    assert [one.userid for one in known.waiting] == [OTHER]
    await shop.until(lambda: world.tasks.of_member(OTHER)[0].reminded_at, seconds=40)
    shop.clock.advance(hours=2)
    await stands(shop, ref, DeliveryStatus.FAILED, 1)
    assert world.tasks.of_member(OTHER)[0].cancelled, "what was not confirmed in time is taken back"
    assert not read_in(shop, theirs)

    async def finished(session: Any) -> bool:
        return (await engine.get(session, "新品")).status is CampaignStatus.FINISHED

    await until(shop, finished)
    async with shop.service.app.sessions.read() as session:
        report = await reports.by_owner(session, (await engine.get(session, "新品")).id)
    assert [(one.userid, one.asked, one.sent, one.not_confirmed) for one in report] == [
        (OTHER, 1, 0, 1), (SERVICER, 2, 2, 0),
    ]  # fmt: skip


async def test_an_answer_lost_on_the_way_does_not_ask_an_owner_twice(shop: Town) -> None:
    group = await grouped(shop, SERVICER, "猫咪 1 群", "陈晓")
    shop.simulator.faults.add(Fault(CREATE, "drop_after"))
    ref = await launched(shop)
    await shop.until(lambda: shop.calls(CREATE), seconds=40)
    shop.clock.advance(minutes=1)
    await stands(shop, ref, DeliveryStatus.ASKED, 1)
    (task,) = shop.simulator.world.tasks.of_member(SERVICER)
    shop.simulator.world.tasks.send(SERVICER, task.msgid)
    shop.clock.advance(minutes=30)
    await stands(shop, ref, DeliveryStatus.SENT, 1)
    assert read_in(shop, group) == 1
