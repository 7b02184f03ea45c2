"""Whatever order batches, pauses, crashes and a second worker fall in: nobody twice, no cap broken, nobody left out."""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import pairwise
from random import Random
from unittest import mock

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from campaigns import audience, broadcasts, engine, firing, ticks
from campaigns.draining import NoKf
from campaigns.guard_rules import FrequencyCap, Gate, PlatformQuota
from campaigns.models.campaign import (
    Batch,
    Broadcast,
    Campaign,
    CampaignStatus,
    Copy,
    Delivery,
    DeliveryStatus,
    Run,
    RunStatus,
)
from campaigns.models.gate import QuotaUse, Touch
from crm import consents
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.errors import ShopError
from crm.base.events import EventRow
from crm.base.outbox import OutboxRow
from crm.models.consent import Consent
from tests.campaigns.fixtures import Platform, people, scheduled
from tests.factories import Make

ONE_A_DAY = Gate(quiet=None, caps=(FrequencyCap(1, timedelta(days=1)),), quota=PlatformQuota(None, None, None))
ENDS = {DeliveryStatus.SENT, DeliveryStatus.SKIPPED, DeliveryStatus.FAILED, DeliveryStatus.HOLDOUT}
STEP = timedelta(hours=3)
TABLES = (Copy, Broadcast, Delivery, Batch, Run, Campaign, Touch, QuotaUse, OutboxRow, Consent, EventRow)


class Killed(Exception):
    """The process died before its commit."""


class World:
    """Two workers, a platform, staff who may tap, managers who pause; ruled by chance."""

    def __init__(self, sessions: Sessions, clock: FrozenClock, chance: Random, members: list[int]) -> None:
        self.sessions, self.clock, self.chance, self.members = sessions, clock, chance, members
        self.platform = Platform(sessions, clock, gate=ONE_A_DAY)
        self.campaigns: list[int] = []

    async def anything(self) -> None:
        deeds: list[Callable[[], Awaitable[object]]] = [
            self.platform.step_plan, self.platform.step_plan, self.platform.step_drain, self.platform.step_drain,
            self.settle, self.platform.send, self.lose_an_answer, self.platform.poll, self.tap, self.die,
            self.pause, self.resume, self.some_time, self.opt_out,
        ]  # fmt: skip
        await self.chance.choice(deeds)()

    async def settle(self) -> None:
        async with self.sessions.read() as session:
            runs = list(await ticks.sending(session))
        if runs:
            await self.platform.step_settle(self.chance.choice(runs))

    async def lose_an_answer(self) -> None:
        await self.platform.send(loses_answer=True)

    async def tap(self) -> None:
        if self.platform.tasks:
            self.platform.confirm(self.chance.choice(list(self.platform.tasks.values())).sender)

    async def die(self) -> None:
        """Killed right before the commit of any step."""
        step = self.chance.choice(
            [
                lambda session: ticks.plan(session, now=self.clock.now()),
                lambda session: ticks.drain(session, ONE_A_DAY, NoKf(), now=self.clock.now()),
                lambda session: firing.fire_due(session, now=self.clock.now()),
            ]
        )
        try:
            async with self.sessions.begin() as session:
                await step(session)
                raise Killed
        except Killed:
            pass

    async def pause(self) -> None:
        await self._try(engine.pause, because="等等", by="amy")

    async def resume(self) -> None:
        await self._try(engine.resume)

    async def _try(self, verb: Callable[..., Awaitable[object]], **told: str) -> None:
        try:
            async with self.sessions.begin() as session:
                await verb(session, self.chance.choice(self.campaigns), now=self.clock.now(), **told)
        except ShopError:
            pass

    async def some_time(self) -> None:
        self.clock.advance(minutes=self.chance.choice((1, 5, 30)))
        await self.platform.step_watch()

    async def opt_out(self) -> None:
        async with self.sessions.begin() as session:
            member_id = self.chance.choice(self.members)
            await consents.opt_out(session, member_id, source="test", wording_version="1", now=self.clock.now())

    async def come_to_an_end(self) -> None:
        """Everybody does their work from here on."""
        for campaign_id in self.campaigns:
            try:
                async with self.sessions.begin() as session:
                    await engine.resume(session, campaign_id, now=self.clock.now())
            except ShopError:
                pass
        for _ in range(40):
            await self.platform.tick()
            await self.platform.send()
            await self.platform.poll()
            self.platform.confirm()
            await self.platform.poll()
            await self.platform.tick()
            async with self.sessions.read() as session:
                open_runs = sa.select(sa.func.count()).select_from(Run).where(Run.finished_at.is_(None))
                if not await session.scalar(open_runs):
                    return
            self.clock.advance(hours=3)

    async def check(self) -> None:
        async with self.sessions.read() as session:
            runs = {run.id: run for run in await session.scalars(sa.select(Run))}
            found = (await session.scalars(sa.select(Delivery))).all()
            statuses = set(await session.scalars(sa.select(Campaign.status)))
            member_of = {one.external_userid: one.member_id for one in await session.scalars(sa.select(Copy))}
        assert {run.status for run in runs.values()} == {RunStatus.FINISHED}
        assert statuses == {CampaignStatus.FINISHED}
        for run_id in runs:
            mine = {one.member_id: one for one in found if one.run_id == run_id}
            assert set(mine) == set(self.members), "everybody of the audience is accounted for"
            assert {one.status for one in mine.values()} <= ENDS
            assert all(one.reason for one in mine.values() if one.status in ("skipped", "failed"))
        got: defaultdict[str, list[tuple[object, object]]] = defaultdict(list)
        for msgid, at in self.platform.confirmed.items():
            for external in self.platform.tasks[msgid].recipients:
                got[external].append((at, self.platform.tasks[msgid].campaign))
        for external, messages in got.items():
            names = [name for _, name in messages]
            assert len(names) == len(set(names)), f"{external} got one twice: {messages}"
            times = sorted(at for at, _ in messages)  # type: ignore[type-var]
            apart = [later - before for before, later in pairwise(times)]  # type: ignore[operator]
            assert all(gap >= timedelta(days=1) for gap in apart), f"the cap of one a day was broken: {messages}"
        sent = sorted(one.member_id for one in found if one.status is DeliveryStatus.SENT)
        assert sent == sorted(member_of[external] for external, messages in got.items() for _ in messages)


async def wipe(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        for table in TABLES:
            await session.execute(sa.delete(table))


@settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32))
async def test_nobody_twice_and_nobody_left_out(sessions: Sessions, make: Make, seed: int) -> None:
    chance, clock = Random(seed), FrozenClock()
    async with sessions.read() as session:
        known = sorted(set(await session.scalars(sa.select(audience.Contact.member_id))))
    members = known or await people(make, 7, staff=2)
    await wipe(sessions)
    world = World(sessions, clock, chance, members)
    with mock.patch.object(audience, "WINDOW", 3), mock.patch.object(broadcasts, "TOGETHER", 3):
        for name in ("周末满减", "新品预告"):
            made = await scheduled(sessions, clock, name=name, grace="6h", holdout_percent=10)
            world.campaigns.append(made.id)
        clock.advance(minutes=1)
        async with sessions.begin() as session:
            await firing.fire_due(session, now=clock.now())
        for _ in range(chance.randint(5, 60)):
            await world.anything()
        await world.come_to_an_end()
        await world.check()
