"""The gate over a range says of every member what the gate says of them alone, and a drained batch stands as said."""

from datetime import timedelta
from random import Random

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from campaigns import audience, brakes, guards, sieve, ticks
from campaigns.draining import NoKf
from campaigns.guard_rules import Channel, Decision, FrequencyCap, Gate, PlatformQuota, Verdict
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
from campaigns.models.gate import MarketingHold, PassState, QuotaUse, SendingStop, Touch
from crm import consents, merges
from crm.base.clock import FrozenClock
from crm.base.db import Sessions, not_among
from crm.base.events import EventRow
from crm.base.outbox import OutboxRow, Purpose, Status
from crm.models.consent import Consent
from crm.models.member import Contact, Member
from tests.campaigns.fixtures import NIGHT, scheduled
from tests.factories import Make

PEOPLE = 24
TABLES = (
    *(Copy, Broadcast, Delivery, Batch, Run, Campaign, Touch, QuotaUse, MarketingHold, SendingStop),
    *(OutboxRow, Consent, EventRow),
)
TOPICS = (consents.MARKETING, "toys")
CHANNELS = (consents.ANY_CHANNEL, "kf", "broadcast")


async def everybody(sessions: Sessions, make: Make) -> list[int]:
    """The members of this test: contacts of one of two staff but for three of them; two pairs were merged."""
    async with sessions.read() as session:
        if known := list(await session.scalars(sa.select(Member.id).order_by(Member.id))):
            return known
    team = [await make.staff(), await make.staff()]
    ids = [(await make.contact(team[number % 2])).member_id for number in range(PEOPLE - 3)]
    ids += [(await make.member()).id for _ in range(3)]
    for kept, absorbed in ((ids[0], ids[1]), (ids[3], ids[2])):
        async with sessions.begin() as session:
            await merges.merge(session, kept, absorbed, because="test", now=FrozenClock().now())
    return sorted(ids)


async def rumours(sessions: Sessions, chance: Random, clock: FrozenClock, ids: list[int]) -> None:
    """What happened to these members before, by chance; the erased one of last time lives again."""
    now = clock.now()

    def some() -> list[int]:
        return chance.sample(ids, chance.randint(0, len(ids) // 2))

    def passed(number: int, whose: int) -> dict[str, object]:
        at = now - timedelta(hours=chance.randint(0, 24 * 40))
        return {"member_id": whose, "ref": f"r{number % 4}", "state": chance.choice(list(PassState)), "at": at}

    async with sessions.begin() as session:
        for table in TABLES:
            await session.execute(sa.delete(table))
        await session.execute(sa.update(Member).values(erased_at=None))
        await session.execute(sa.update(Member).where(Member.id.in_(some()[:2])).values(erased_at=now))
        for number in range(2):
            session.add_all(Touch(**passed(number, one), channel="kf", topic="marketing") for one in some())
            session.add_all(QuotaUse(**passed(number, one)) for one in some())
        for number, one in enumerate(some()):
            until = chance.choice((None, now + timedelta(hours=chance.randint(-5, 50))))
            lifted = chance.choice((None, None, now))
            reason = chance.choice((brakes.COMPLAINT, brakes.MANUAL))
            session.add(
                MarketingHold(ref=f"h{number}", member_id=one, reason=reason, since=now, until=until, lifted_at=lifted)
            )
        for one in (*some(), *some(), *some()):
            topic, granted = chance.choice(TOPICS), chance.choice((True, False))
            said = {"topic": topic, "channel": chance.choice(CHANNELS), "granted": granted}
            at = now - timedelta(minutes=chance.randint(0, 5))
            session.add(Consent(member_id=one, **said, source="test", wording_version="1", said_at=at))
        for number in range(2):
            gone = chance.choice((Status.DEAD, Status.CANCELLED, Status.WAITING))
            session.add(
                OutboxRow(
                    lane="kf", dedupe_key=f"k{number}", body={}, purpose=Purpose.MARKETING, gate_ref=f"r{number}",
                    status=gone, not_before=now, created_at=now, repeatable=True, attempts=0, member_id=ids[0],
                )
            )  # fmt: skip
        if chance.random() < 0.2:
            await brakes.stop(session, by="amy", reason="test", now=now)


def a_gate(chance: Random) -> Gate:
    caps = chance.choice(((), (FrequencyCap(1, timedelta(days=1)), FrequencyCap(2, timedelta(days=30)))))
    quota = chance.choice((PlatformQuota(None, None, None), PlatformQuota(1, 2, 4)))
    return Gate(quiet=NIGHT, caps=caps, quota=quota, needs_opt_in=chance.random() < 0.3)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(seed=st.integers(0, 2**32))
async def test_a_range_is_judged_as_its_members_are(sessions: Sessions, make: Make, seed: int) -> None:
    chance, clock = Random(seed), FrozenClock()
    ids, gate = await everybody(sessions, make), a_gate(chance)
    clock.advance(hours=chance.choice((0, 0, 5, 13)))
    await rumours(sessions, chance, clock, ids)
    after, upto = chance.choice(((0, ids[-1]), (ids[4], ids[15])))
    here = [one for one in ids if after < one <= upto]
    asked = sa.select(Member.id).where(Member.id > after, Member.id <= upto)
    for channel in (Channel.KF, Channel.BROADCAST):
        async with sessions.read() as session:
            about = {"channel": channel, "topic": chance.choice(TOPICS), "now": clock.now()}
            said = await sieve.sift(session, gate, asked, after, upto, **about)  # type: ignore[arg-type]
            alone = await guards.judge(session, gate, here, **about)  # type: ignore[arg-type]
        assert {one: said.of(one) for one in here} == alone


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(seed=st.integers(0, 2**32))
async def test_a_drained_batch_stands_as_the_gate_says_of_each(sessions: Sessions, make: Make, seed: int) -> None:
    chance, clock = Random(seed), FrozenClock()
    ids, gate = await everybody(sessions, make), a_gate(chance)
    await rumours(sessions, chance, clock, ids)
    clock.advance(hours=chance.choice((1, 13)))
    run_id = await _planned(sessions, clock, chance, ids)
    async with sessions.begin() as session:
        said = await guards.judge(session, gate, ids, channel=Channel.BROADCAST, now=clock.now())
        contacts = set(await session.scalars(sa.select(Contact.member_id)))
        assert await ticks.drain(session, gate, NoKf(), now=clock.now())
    async with sessions.read() as session:
        found = {one.member_id: one for one in await session.scalars(sa.select(Delivery))}
        copies = set(await session.scalars(sa.select(Copy.member_id).where(Copy.run_id == run_id)))
        (batch,) = (await session.scalars(sa.select(Batch))).all()
    for one in ids:
        assert (found[one].status, found[one].reason) == _should_stand(said[one], one in contacts)
    assert copies == {one for one in ids if found[one].status is DeliveryStatus.QUEUED}
    assert (batch.due_at is not None) == any(one.verdict is Verdict.HELD for one in said.values())


def _should_stand(said: Decision, is_contact: bool) -> tuple[DeliveryStatus, str | None]:
    if said.is_allowed:
        return (DeliveryStatus.QUEUED, None) if is_contact else (DeliveryStatus.SKIPPED, "not_a_contact")
    return DeliveryStatus.HELD if said.verdict is Verdict.HELD else DeliveryStatus.SKIPPED, said.code


async def _planned(sessions: Sessions, clock: FrozenClock, chance: Random, ids: list[int]) -> int:
    """A run with one batch of all of them, some of whom were held before, whatever the segment thinks of them."""
    campaign = await scheduled(sessions, FrozenClock())
    async with sessions.begin() as session:
        await session.execute(sa.update(Campaign).values(status=CampaignStatus.RUNNING))
        run = Run(
            campaign_id=campaign.id, occurrence="1", status=RunStatus.SENDING, definition=campaign.definition,
            due_at=clock.now(), ticked_at=clock.now(), cursor=ids[-1], last_id=ids[-1],
        )  # fmt: skip
        session.add(run)
        await session.flush()
        for one in ids:
            held = chance.random() < 0.3
            status, reason = (DeliveryStatus.HELD, "gate.frequency") if held else (DeliveryStatus.PLANNED, None)
            session.add(Delivery(run_id=run.id, member_id=one, status=status, variant=0, reason=reason))
        session.add(Batch(run_id=run.id, after_id=0, upto_id=ids[-1], due_at=clock.now()))
        return run.id


async def test_nobody_is_among_no_ids_and_the_newest_of_two_staff_sends(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    first, second = await make.staff(), await make.staff()
    member = (await make.contact(first)).member_id
    later = await make.contact(second)
    async with sessions.begin() as session:
        await session.execute(
            sa.update(Contact)
            .where(Contact.id == later.id)
            .values(member_id=member, added_at=clock.now() + timedelta(days=1))
        )
        assert await session.scalar(sa.select(sa.func.count()).where(not_among(session, Member.id, []))) == 2
        session.add(Delivery(run_id=1, member_id=member, status=DeliveryStatus.PLANNED, variant=0))
        await session.flush()
        await audience.copy_out(session, 1, 0, member)
        (copy,) = (await session.scalars(sa.select(Copy))).all()
    assert (copy.staff_id, copy.external_userid) == (second.id, later.external_userid)
