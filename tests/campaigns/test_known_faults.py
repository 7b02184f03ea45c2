"""A stop takes tasks back, a bounced letter is no touch, one broken row stops nobody else, old orders go in batches."""

from datetime import timedelta

import sqlalchemy as sa

from campaigns import attribution, brakes, deliveries, draining, engine, firing, staff_tasks
from campaigns.models.campaign import Campaign, CampaignStatus, Delivery, DeliveryStatus, Run, RunStatus
from campaigns.models.gate import PassState, Touch
from campaigns.models.job import JobMark
from crm.base.clock import FrozenClock, local_day
from crm.base.db import Sessions
from tests.campaigns.fixtures import Platform, minutes, people, reasons, scheduled, stands, told
from tests.factories import Make


async def pull_the_brake(sessions: Sessions, clock: FrozenClock) -> None:
    async with sessions.begin() as session:
        await brakes.stop(session, by="amy", reason="写错了价", now=clock.now())
        await staff_tasks.look_at_all(session, now=clock.now())


async def test_a_stop_takes_back_what_staff_hold_and_leaves_what_was_tapped(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    await people(make, 4, staff=2)
    await scheduled(sessions, clock)
    platform = Platform(sessions, clock)
    clock.advance(minutes=1)
    await platform.tick()
    await platform.send()
    assert set((await stands(sessions)).values()) == {DeliveryStatus.ASKED}
    tapped = platform.tasks["msg0"]
    platform.confirm(tapped.sender)
    await platform.poll()
    await pull_the_brake(sessions, clock)
    await platform.poll()
    assert platform.taken_back == {"msg1"}
    assert sorted((await stands(sessions)).values()) == sorted(["sent"] * 2 + ["failed"] * 2)
    assert {one for one in (await reasons(sessions)).values() if one} == {deliveries.STOPPED}
    async with sessions.begin() as session:
        await brakes.resume(session, by="amy", now=clock.now())
    clock.advance(minutes=30)
    await platform.tick()
    assert await platform.send() == 0  # a stop is final for those it took back: nobody can get it twice
    async with sessions.read() as session:
        run = (await session.scalars(sa.select(Run))).one()
    assert (run.failed, run.status) == (0, RunStatus.FINISHED)  # a stop is no error of the campaign's


async def test_a_letter_that_did_not_arrive_failed_and_counts_as_no_touch(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member = await make.member()
    campaign = await scheduled(sessions, clock)
    ref = draining.kf_ref(1, member.id, 0)
    async with sessions.begin() as session:
        run = Run(
            id=1, campaign_id=campaign.id, occurrence="1", status=RunStatus.SENDING, definition=campaign.definition,
            due_at=clock.now(), ticked_at=clock.now(), sent=1,
        )  # fmt: skip
        session.add(run)
        sent = {"status": DeliveryStatus.SENT, "sent_at": clock.now(), "variant": 0}
        session.add(Delivery(run_id=1, member_id=member.id, **sent))
        session.add(
            Touch(member_id=member.id, ref=ref, channel="kf", topic="marketing", state=PassState.SENT, at=clock.now())
        )
    for _ in range(2):  # the event may come twice
        async with sessions.begin() as session:
            await draining.bounced(session, ref)
            await draining.bounced(session, "broadcast:1")
    async with sessions.read() as session:
        counted = (await session.scalars(sa.select(Run))).one()
        assert await session.scalar(sa.select(Touch.state)) is PassState.RELEASED
    assert (counted.sent, counted.failed) == (0, 1)
    assert await reasons(sessions) == {member.id: deliveries.NOT_DELIVERED}


async def test_one_run_that_cannot_be_read_stands_still_and_the_others_go_on(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    members = await people(make, 3)
    broken = await scheduled(sessions, clock, "坏的")
    await scheduled(sessions, clock, "好的")
    clock.advance(minutes=1)
    async with sessions.begin() as session:
        await firing.fire_due(session, now=clock.now())
        await session.execute(
            sa.update(Run).where(Run.campaign_id == broken.id).values(definition={"kind": "of yesterday"})
        )
        await session.execute(sa.update(Campaign).where(Campaign.id == broken.id).values(definition={"kind": "?"}))
    platform = Platform(sessions, clock)
    clock.advance(minutes=5)
    await platform.tick()
    await platform.send()
    assert len(platform.tasks) == 1 and await stands(sessions) == dict.fromkeys(members, DeliveryStatus.ASKED)
    async with sessions.read() as session:
        assert (await engine.get(session, broken.id)).status is CampaignStatus.PAUSED
        assert await engine.calendar(session, since=clock.now(), until=clock.now() + minutes(60)) == []
        assert await attribution._windows(session, since=clock.now() - timedelta(days=9)) != {}


async def test_who_comes_after_a_triggered_day_was_left_out_is_left_out_too(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    first, second = await people(make, 2)
    campaign = await scheduled(
        sessions, clock, kind="triggered", starts_at=None, on={"event": "StageMoved", "delay": "1h"}
    )
    async with sessions.begin() as session:
        found = await engine.get(session, campaign.id)
        assert await firing.trigger(session, found, told(**found.definition), [first], now=clock.now()) == 1
        today = sa.update(Run).where(Run.occurrence == local_day(clock.now()).isoformat())
        await session.execute(today.values(status=RunStatus.ASKS))
        run_id = await session.scalar(sa.select(Run.id))
        await engine.answer(session, run_id or 0, fires=False, now=clock.now())
        await firing.trigger(session, found, told(**found.definition), [second], now=clock.now())
    assert await stands(sessions) == dict.fromkeys((first, second), DeliveryStatus.SKIPPED)
    assert await reasons(sessions) == dict.fromkeys((first, second), deliveries.CANCELLED)


async def test_old_orders_are_credited_in_batches_once_a_day_whatever_restarts(
    sessions: Sessions, make: Make, clock: FrozenClock, monkeypatch: object
) -> None:
    async def step() -> JobMark:
        async with sessions.begin() as session:
            await attribution.credit_all(session, now=clock.now())
        async with sessions.read() as session:
            return (await session.scalars(sa.select(JobMark))).one()

    begun = (await step()).begun_at
    assert begun == clock.now()
    clock.advance(hours=5)
    mark = await step()
    assert (mark.begun_at, mark.done_at is not None) == (begun, True)
    clock.advance(hours=20)
    again = await step()
    assert again.begun_at == clock.now()
