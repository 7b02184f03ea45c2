"""Killed hard while it plans, puts together and asks: every customer is asked for once, nobody is left over."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.simulator.simulator import Simulator
from campaigns import engine
from campaigns.models.campaign import Broadcast, Delivery, DeliveryStatus, Run, RunStatus
from crm import contacts
from crm.base.clock import SystemClock
from crm.base.db import Sessions
from crm.base.outbox import OutboxRow, Status
from crm.contacts import Relation
from crm.identities import wechat_person
from tests.campaigns.fixtures import ANY_SIZE, told
from tests.journeys.processes import Crew, Tripwire, crew
from tests.town import SERVICER, listening, new_simulator

CREATE = "/cgi-bin/externalcontact/add_msg_template"
STAFF = (SERVICER, "liqiang", "staff-a", "staff-b", "staff-c", "staff-d")
MEMBERS = 600
KILLS = 6


async def befriended(sessions: Sessions, simulator: Simulator) -> set[str]:
    """Customers of six members of staff, at the platform and in our book."""
    now, world = SystemClock().now(), simulator.world
    for userid in STAFF[2:]:
        world.add_staff(userid, userid)
    relations = []
    for number in range(MEMBERS):
        customer = world.add_customer(f"顾客{number}").external_userid
        world.contacts.add(STAFF[number % len(STAFF)], customer, silent=True)
        person = wechat_person(customer)
        relations.append(Relation(userid=STAFF[number % len(STAFF)], person=person, added_at=now))
    async with sessions.begin() as session:
        await contacts.take_batch(session, relations, read_at=now, now=now)
    return {one.external_userid for one in relations}


async def until(sessions: Sessions, crew: Crew, holds: Callable[[Sessions], Awaitable[bool]], what: str) -> None:
    """Wait; open broadcasts are looked at all the while, and nobody waits minutes for a list to be complete."""
    end = asyncio.get_running_loop().time() + 60
    while not await holds(sessions):
        assert asyncio.get_running_loop().time() < end, f"{what}: {await statuses(sessions)}\n{crew.said()}"
        if not crew.running:  # the wire was tripped after the last kill
            crew.start("serve")
        async with sessions.begin() as session:
            now = SystemClock().now()
            idle = sa.select(Broadcast.id).where(Broadcast.poll_at.is_not(None)).with_for_update(skip_locked=True)
            soon = sa.update(Broadcast).where(Broadcast.id.in_((await session.scalars(idle)).all()))
            await session.execute(soon.values(poll_at=now))
            unknown = sa.update(OutboxRow).where(OutboxRow.status == Status.UNKNOWN)
            await session.execute(unknown.values(settled_at=now - timedelta(minutes=3)))
        await asyncio.sleep(0.3)


async def statuses(sessions: Sessions) -> Counter[DeliveryStatus]:
    async with sessions.read() as session:
        return Counter(await session.scalars(sa.select(Delivery.status)))


async def all_asked(sessions: Sessions) -> bool:
    return (await statuses(sessions)) == {DeliveryStatus.ASKED: MEMBERS}


async def is_finished(sessions: Sessions) -> bool:
    async with sessions.read() as session:
        return set(await session.scalars(sa.select(Run.status))) == {RunStatus.FINISHED}


async def test_kills_at_any_moment_neither_double_nor_lose_a_customer(
    database_url: str, sessions: Sessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIYU_GATE__QUIET_FROM", "null")
    simulator, chance = new_simulator(), random.Random(11)
    simulator.log = wire = Tripwire()
    customers = await befriended(sessions, simulator)
    now = SystemClock().now()
    async with sessions.begin() as session:
        soon = (now + timedelta(seconds=1)).isoformat()
        made = await engine.create(session, "周末满减", told(starts_at=soon, grace="6h"), by="amy", now=now)
        await engine.submit(session, made.id, review=ANY_SIZE, now=now)
    processes = ["web", "worker", "worker"] if sessions.dialect == "postgresql" else ["serve"]
    async with listening(simulator), crew(database_url, simulator, tmp_path, processes) as opened:
        for number in range(KILLS):
            if number == KILLS // 2:  # accepted by the platform, and never heard of by us
                wire.set(CREATE, 1, opened.kill_first if len(processes) == 1 else lambda: None)
            await asyncio.sleep(chance.random() * 0.8)
            if opened.running:
                opened.replace(chance)
            else:
                opened.start(processes[0])
        await until(sessions, opened, all_asked, "not everybody is asked for")
        tasks = simulator.world.tasks
        asked = [one for task in tasks.all.values() for share in task.shares.values() for one in share.targets]
        assert Counter(asked) == Counter(customers)
        for task in list(tasks.all.values()):
            for userid in task.shares:
                tasks.send(userid, task.msgid)
        await until(sessions, opened, is_finished, "the run does not end")
    assert await statuses(sessions) == {DeliveryStatus.SENT: MEMBERS}
