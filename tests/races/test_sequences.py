"""Two workers on one sequence: each step once; without the lock and the unique step it is sent twice."""

import asyncio

import sqlalchemy as sa

from campaigns import definition, firing, sequences
from campaigns.models.campaign import Campaign, Delivery, DeliveryStatus, RunStatus
from campaigns.models.sequence import Enrolment, EnrolmentStep, Phase
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from tests.campaigns.fixtures import Platform
from tests.campaigns.sequence_world import newcomers
from tests.factories import Make

WORKERS = 4


async def entered(sessions: Sessions, make: Make, clock: FrozenClock, count: int) -> Campaign:
    campaign = await newcomers(sessions, clock)
    for _ in range(count):
        await make.contact()
    await Platform(sessions, clock).step_hear()
    return campaign


async def test_each_step_is_planned_once(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    await entered(sessions, make, clock, 6)

    async def worker() -> None:
        for _ in range(3):
            async with sessions.begin() as session:
                await sequences.advance(session, now=clock.now())

    await asyncio.gather(*(worker() for _ in range(WORKERS)))
    async with sessions.read() as session:
        assert len((await session.scalars(sa.select(EnrolmentStep.enrolment_id))).all()) == 6
        assert len((await session.scalars(sa.select(Delivery.member_id))).all()) == 6


async def test_the_race_is_real_without_the_lock_and_the_unique_step(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    """Look who is due, wait until the other has looked as well, then plan a delivery in a run of one's own."""
    campaign = await entered(sessions, make, clock, 1)
    looked = asyncio.Barrier(2)

    async def worker(number: int) -> None:
        async with sessions.read() as session:
            due = list(await session.scalars(sa.select(Enrolment).where(Enrolment.phase == Phase.DUE)))
        await looked.wait()
        async with sessions.begin() as session:
            mine = await session.get_one(Campaign, campaign.id)
            told = definition.of_step(definition.read(mine.definition), 0)
            run_id = await firing.begin(
                session, mine, told, occurrence=f"{number}", due_at=clock.now(), status=RunStatus.SENDING, last_id=0,
                now=clock.now(),
            )  # fmt: skip
            for one in due:
                row = {"run_id": run_id, "member_id": one.member_id, "status": DeliveryStatus.PLANNED, "variant": 0}
                await session.execute(sa.insert(Delivery).values(**row))

    await asyncio.gather(worker(1), worker(2))
    async with sessions.read() as session:
        assert len((await session.scalars(sa.select(Delivery.member_id))).all()) == 2
