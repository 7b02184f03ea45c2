"""Two workers on one campaign: each member once; without the guards of run and delivery they are sent to twice."""

import asyncio

import pytest
import sqlalchemy as sa

from campaigns import audience, firing, ticks
from campaigns.draining import NoKf
from campaigns.models.campaign import Batch, Campaign, CampaignStatus, Copy, Delivery, Run
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from tests.campaigns.fixtures import OPEN_GATE, people, scheduled
from tests.factories import Make

WORKERS = 2


async def worker(sessions: Sessions, clock: FrozenClock) -> int:
    """Plans and drains until there is nothing; returns how many steps it could take."""
    steps = 0
    while True:
        async with sessions.begin() as session:
            did = await ticks.plan(session, now=clock.now())
        async with sessions.begin() as session:
            did = await ticks.drain(session, OPEN_GATE, NoKf(), now=clock.now()) or did
        steps += did
        if not did:
            async with sessions.read() as session:
                if not await session.scalar(sa.select(Batch.id).where(Batch.due_at.is_not(None)).limit(1)):
                    return steps
            await asyncio.sleep(0.001)


async def test_two_leaders_fire_an_occurrence_once_and_two_workers_plan_each_member_once(
    sessions: Sessions, make: Make, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience, "WINDOW", 5)
    ids = await people(make, 40, staff=3)
    await scheduled(sessions, clock)
    clock.advance(minutes=2)

    async def lead() -> None:
        async with sessions.begin() as session:
            await firing.fire_due(session, now=clock.now())

    await asyncio.gather(*(lead() for _ in range(4)))
    await asyncio.gather(*(worker(sessions, clock) for _ in range(WORKERS)))
    async with sessions.read() as session:
        assert await session.scalar(sa.select(sa.func.count()).select_from(Run)) == 1
        assert sorted(await session.scalars(sa.select(Delivery.member_id))) == ids
        assert sorted(await session.scalars(sa.select(Copy.member_id))) == ids


async def test_the_race_is_real_without_the_unique_occurrence(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    """Look whether it is due, wait for the other to look as well, then write a run."""
    await people(make, 1)
    made = await scheduled(sessions, clock)
    clock.advance(minutes=2)
    looked = asyncio.Barrier(WORKERS)

    async def lead(number: int) -> None:
        async with sessions.read() as session:
            seen = await session.get_one(Campaign, made.id)
            is_due = seen.next_fire_at is not None and seen.next_fire_at <= clock.now()
        await looked.wait()
        if not is_due:
            return
        async with sessions.begin() as session:
            now = clock.now()
            session.add(
                Run(
                    campaign_id=made.id, occurrence=f"{number}", status="planning", definition=seen.definition,
                    due_at=now, ticked_at=now, last_id=1,
                )
            )  # fmt: skip
            done = {"next_fire_at": None, "status": CampaignStatus.RUNNING}
            await session.execute(sa.update(Campaign).where(Campaign.id == made.id).values(**done))

    await asyncio.gather(*(lead(number) for number in range(WORKERS)))
    async with sessions.read() as session:
        assert await session.scalar(sa.select(sa.func.count()).select_from(Run)) == WORKERS
