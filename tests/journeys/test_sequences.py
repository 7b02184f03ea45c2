"""A newcomer's week over the simulator: a friend is added, staff tap, days go by, the first order ends it."""

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot.settings import GateSettings
from bot.simulator.refusals import NotPossible
from campaigns import engine
from campaigns.models.campaign import Broadcast, BroadcastStatus, Campaign, CampaignStatus
from campaigns.models.sequence import Enrolment, EnrolmentStatus
from crm import orders
from crm.models.member import Contact
from crm.order_terms import Told
from tests.campaigns.fixtures import ANY_SIZE, told
from tests.campaigns.sequence_world import PAID, WEEK
from tests.journeys.test_campaigns import befriended, until
from tests.town import SERVICER, Town, town, words

TEXTS = [step["messages"][0]["text"] for step in WEEK]


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(database_url, tmp_path, gate=GateSettings(quiet_from=None, per_day=None, per_week=None)) as opened:
        yield opened


async def opened(shop: Town) -> int:
    app = shop.service.app
    now = app.clock.now()
    week = told(
        kind="steps", starts_at=None, messages=None, on={"event": "ContactAdded"}, steps=WEEK, goal=[PAID], grace="5d"
    )
    async with app.sessions.begin() as session:
        made = await engine.create(session, "新人七天", week, by="amy", now=now)
        await engine.submit(session, made.id, review=ANY_SIZE, now=now)
    running = sa.select(Campaign.id).where(Campaign.status == CampaignStatus.RUNNING)
    await until(shop, lambda session: session.scalar(running))
    return made.id


def read(shop: Town, customer: str) -> list[str]:
    return [words(one) for one in shop.phone(customer, SERVICER) if words(one) in TEXTS]


async def taps(shop: Town, done: int) -> None:
    """The colleague sends what they were asked to, and the platform tells us so."""
    asked = sa.select(Broadcast.id).where(Broadcast.status == BroadcastStatus.ASKED)
    await until(shop, lambda session: session.scalar(asked))
    tasks = shop.simulator.world.tasks
    for task in tasks.of_member(SERVICER):
        with contextlib.suppress(NotPossible):  # those of the days before
            tasks.send(SERVICER, task.msgid)
    shop.clock.advance(minutes=5)

    async def all_done(session: Any) -> bool:
        count = sa.select(sa.func.count()).select_from(Broadcast).where(Broadcast.status == BroadcastStatus.DONE)
        return bool(await session.scalar(count) == done)

    await until(shop, all_done)
    shop.clock.advance(minutes=11)  # the next look at who was under way


async def on_to(shop: Town, step: int) -> None:
    """When the next step is known, the clock goes there."""
    there = sa.select(Enrolment.due_at).where(Enrolment.step == step, Enrolment.run_id.is_(None))
    due_at = await until(shop, lambda session: session.scalar(there))
    shop.clock.advance(max(due_at - shop.clock.now(), timedelta()) + timedelta(seconds=1))


async def test_a_newcomers_week_until_the_first_order(shop: Town) -> None:
    await opened(shop)
    customer = await befriended(shop, SERVICER, "陈晓")
    for number in range(3):
        await taps(shop, number + 1)
        assert read(shop, customer) == TEXTS[: number + 1]
        if number < 2:
            await on_to(shop, number + 1)
    app = shop.service.app
    async with app.sessions.begin() as session:
        member_id = await session.scalar(sa.select(Contact.member_id).where(Contact.external_userid == customer))
        now = app.clock.now()
        bought = Told(
            source="test", external_no="T1", member_id=int(member_id or 0), placed_at=now, total_fen=8800, paid_at=now
        )
        await orders.place(session, bought, now=now)
    left = sa.select(Enrolment.because).where(Enrolment.status == EnrolmentStatus.LEFT)
    assert await until(shop, lambda session: session.scalar(left)) == "goal_reached"
    shop.clock.advance(days=7)
    assert read(shop, customer) == TEXTS[:3], "nothing after the goal"
