"""Whatever order hours, pauses, deaths, orders, refusals, merges and versions fall in: no step twice, none after."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from random import Random

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from campaigns import engine, sequence_exits, sequence_news, sequences, ticks
from campaigns.draining import NoKf
from campaigns.models.campaign import Batch, Broadcast, Campaign, Copy, Delivery, Run
from campaigns.models.gate import QuotaUse, Touch
from campaigns.models.sequence import Enrolment, EnrolmentStatus, EnrolmentStep, SequenceVersion
from crm import consents, merges
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.errors import ShopError
from crm.base.events import EventCursor, EventRow
from crm.base.outbox import OutboxRow
from crm.models.consent import Consent
from crm.models.member import Contact, Member
from tests.campaigns.fixtures import ANY_SIZE, OPEN_GATE, Platform, told
from tests.campaigns.sequence_world import PAID, WEEK, Shop, newcomers
from tests.factories import Make

TABLES = (
    EnrolmentStep, Enrolment, SequenceVersion, Copy, Broadcast, Delivery, Batch, Run, Campaign, Touch, QuotaUse,
    OutboxRow, Consent, EventRow, EventCursor,
)  # fmt: skip


class Killed(Exception):
    """The process died before its commit."""


class World:
    """A newcomers' week, ruled by chance. `left`: when each customer's goal or refusal was known."""

    def __init__(self, sessions: Sessions, clock: FrozenClock, chance: Random, make: Make, campaign_id: int) -> None:
        self.sessions, self.clock, self.chance, self.make, self.campaign_id = sessions, clock, chance, make, campaign_id
        self.platform = Platform(sessions, clock, gate=OPEN_GATE)
        self.shop = Shop(sessions, clock, self.platform)
        self.people: list[Contact] = []
        self.left: dict[str, datetime] = {}
        self.versions = 0

    async def anything(self) -> None:
        deeds: list[Callable[[], Awaitable[object]]] = [
            self.joins, self.platform.tick, self.platform.step_advance, self.platform.step_advance,
            self.platform.step_hear, self.platform.step_drain, self.platform.send, self.platform.poll, self.tap,
            self.die, self.time, self.time, self.time, self.buys, self.refuses, self.pause, self.resume, self.merges,
            self.changes, self.answers,
        ]  # fmt: skip
        await self.chance.choice(deeds)()

    async def joins(self) -> None:
        self.people.append(await self.make.contact())

    async def tap(self) -> None:
        self.platform.confirm()

    async def time(self) -> None:
        self.clock.advance(hours=self.chance.choice((0.2, 1, 6, 20)))

    async def buys(self) -> None:
        """An order, heard of at once."""
        if self.people:
            one = self.chance.choice(self.people)
            await self.make.order(await self._member(one))
            await self.platform.step_hear()
            await self._note_left()

    async def refuses(self) -> None:
        if self.people:
            member = await self._member(self.chance.choice(self.people))
            async with self.sessions.begin() as session:
                now = self.clock.now()
                await consents.opt_out(session, member.id, source="test", wording_version="1", now=now)
            await self.platform.step_hear()
            await self._note_left()

    async def merges(self) -> None:
        if len(self.people) > 1:
            first, second = [await self._member(one) for one in self.chance.sample(self.people, 2)]
            if first.id != second.id:
                async with self.sessions.begin() as session:
                    now = self.clock.now()
                    await merges.merge(session, first.id, second.id, because="test", now=now)
                    await sequence_exits.follow_merge(session, first.id, second.id, now=now)

    async def changes(self) -> None:
        """Another version, whose texts are the same."""
        self.versions += 1
        usual = {"kind": "steps", "starts_at": None, "messages": None, "on": {"event": "ContactAdded"}, "steps": WEEK}
        other = told(**usual, goal=[PAID], grace="12h", cost_fen=self.versions)
        await self._try(lambda session: engine.change(session, self.campaign_id, other, by="amy", now=self.clock.now()))
        now = self.clock.now()
        await self._try(lambda session: engine.submit(session, self.campaign_id, review=ANY_SIZE, now=now))

    async def pause(self) -> None:
        now = self.clock.now()
        await self._try(lambda session: engine.pause(session, self.campaign_id, because="x", by="amy", now=now))

    async def resume(self) -> None:
        await self._try(lambda session: engine.resume(session, self.campaign_id, now=self.clock.now()))

    async def answers(self) -> None:
        async with self.sessions.read() as session:
            asking = list(await session.scalars(sa.select(Run.id).where(Run.status == "asks")))
        for run_id in asking:
            fires, now = self.chance.random() < 0.7, self.clock.now()
            await self._try(lambda session: engine.answer(session, run_id, fires=fires, now=now))  # noqa: B023

    async def die(self) -> None:
        step = self.chance.choice(
            [
                lambda session: sequences.advance(session, now=self.clock.now()),
                lambda session: sequence_news.listen(session, now=self.clock.now()),
                lambda session: ticks.drain(session, OPEN_GATE, NoKf(), now=self.clock.now()),
            ]
        )
        try:
            async with self.sessions.begin() as session:
                await step(session)
                raise Killed
        except Killed:
            pass

    async def _try(self, verb: Callable[..., Awaitable[object]]) -> None:
        try:
            async with self.sessions.begin() as session:
                await verb(session)
        except ShopError:
            pass

    async def _member(self, contact: Contact) -> Member:
        async with self.sessions.read() as session:
            member = await session.get_one(Member, contact.member_id)
            return member if member.merged_into_id is None else await session.get_one(Member, member.merged_into_id)

    async def _note_left(self) -> None:
        async with self.sessions.read() as session:
            rows = await session.scalars(
                sa.select(Contact.external_userid)
                .join(Enrolment, Enrolment.member_id == Contact.member_id)
                .where(Enrolment.status == EnrolmentStatus.LEFT)
            )
            for external in rows:
                self.left.setdefault(external, self.clock.now())

    async def come_to_an_end(self) -> None:
        for _ in range(9):
            await self.resume()
            await self.answers()
            await self.shop.live(24)

    async def check(self) -> None:
        twice = {what: count for what, count in self.shop.times().items() if count > 1}
        assert not twice, "nobody reads a step twice"
        asked = {}
        async with self.sessions.read() as session:
            for row in await session.execute(sa.select(Broadcast.msgid, Broadcast.asked_at)):
                asked[row.msgid] = row.asked_at
            ends = set(await session.scalars(sa.select(Enrolment.status)))
        for msgid, task in self.platform.tasks.items():
            for external in task.recipients:
                late = external in self.left and asked[msgid] is not None and asked[msgid] > self.left[external]
                assert not late, f"{external} was asked for after having left"
        assert EnrolmentStatus.ACTIVE not in ends, "everybody comes to an end"


@settings(
    max_examples=4,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32))
async def test_no_step_twice_and_none_after_the_end(sessions: Sessions, make: Make, seed: int) -> None:
    chance, clock = Random(seed), FrozenClock()
    make.clock = clock
    async with sessions.begin() as session:
        for table in TABLES:
            await session.execute(sa.delete(table))
    campaign = await newcomers(sessions, clock)
    world = World(sessions, clock, chance, make, campaign.id)
    for _ in range(chance.randint(10, 60)):
        await world.anything()
    await world.come_to_an_end()
    await world.check()
