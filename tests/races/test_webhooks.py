"""Workers side by side send each delivery once and read each event once; without the guards they all do."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

from bot.models.webhook import WebhookDelivery
from bot.webhooks import endpoints
from bot.webhooks.courier import Courier, courier
from bot.webhooks.relay import relay
from bot.webhooks.sender import WebhookSender
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.peers import Peers
from tests.bot.whole_person import VAULT
from tests.factories import Make

AT_ONCE, MEMBERS = 5, 12


@pytest.fixture
async def carrier(clock: FrozenClock) -> AsyncIterator[Courier]:
    async with courier(clock, private=True, seconds=1.0) as one:
        yield one


async def listened(sessions: Sessions, clock: FrozenClock, make: Make) -> None:
    async with sessions.begin() as session:
        url, chance = "http://127.0.0.1:1/hook", random.Random(7)
        await endpoints.add(
            session, VAULT, "erp", url, ["MemberEnrolled"], private=True, by="b", now=clock.now(), chance=chance
        )
    for _ in range(MEMBERS):
        await make.member()


async def test_five_workers_read_the_same_events_and_write_each_once(
    sessions: Sessions, clock: FrozenClock, make: Make
) -> None:
    await listened(sessions, clock, make)

    async def read(_: int) -> None:
        async with sessions.begin() as session:
            await relay(session, now=clock.now())

    await asyncio.gather(*map(read, range(AT_ONCE)))
    async with sessions.read() as session:
        assert await session.scalar(sa.select(sa.func.count()).select_from(WebhookDelivery)) == MEMBERS


async def test_five_workers_claim_the_same_deliveries_and_each_goes_to_one(
    sessions: Sessions, clock: FrozenClock, make: Make, carrier: Courier
) -> None:
    await listened(sessions, clock, make)
    async with sessions.begin() as session:
        await relay(session, now=clock.now())
    peers = Peers(sessions, chance=random.Random(7))
    workers = [WebhookSender(sessions, peers, clock, random.Random(7), carrier, VAULT) for _ in range(AT_ONCE)]
    taken: list[int] = []
    for _ in range(3):
        for letters in await asyncio.gather(*(worker._take() for worker in workers)):
            taken += [letter.delivery_id for letter, _, _ in letters]
    assert len(taken) == len(set(taken)) == MEMBERS


async def test_the_race_is_real_without_the_guard(sessions: Sessions, clock: FrozenClock, make: Make) -> None:
    """Look, wait until the others have looked as well, then claim."""
    await listened(sessions, clock, make)
    async with sessions.begin() as session:
        await relay(session, now=clock.now())
    looked, taken = asyncio.Barrier(AT_ONCE), list[int]()

    async def claim(_: int) -> None:
        async with sessions.read() as session:
            due = (
                sa.select(WebhookDelivery.id).where(WebhookDelivery.due_at <= clock.now()).order_by(WebhookDelivery.id)
            )
            ids = list(await session.scalars(due.limit(3)))
        await looked.wait()
        async with sessions.begin() as session:
            mine = sa.update(WebhookDelivery).where(WebhookDelivery.id.in_(ids))
            await session.execute(mine.values(attempts=WebhookDelivery.attempts + 1))
        taken.extend(ids)

    await asyncio.gather(*map(claim, range(AT_ONCE)))
    assert len(taken) == 3 * AT_ONCE and len(set(taken)) == 3
