"""A campaign from draft to finished: review, pause, cancel, lateness, and everybody accounted for."""

from datetime import timedelta

import pytest

from campaigns import engine, firing
from campaigns.engine import NobodySelected, Review, SecondPersonNeeded, WrongStatus
from campaigns.guard_rules import Gate
from campaigns.models.campaign import CampaignStatus, DeliveryStatus, RunStatus
from crm import consents, segments
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from tests.campaigns.fixtures import (
    EVERYBODY,
    NIGHT,
    OPEN_GATE,
    Platform,
    minutes,
    people,
    reasons,
    scheduled,
    stands,
    the_run,
    told,
)
from tests.factories import Make


async def status(sessions: Sessions, campaign_id: int) -> CampaignStatus:
    async with sessions.read() as session:
        return (await engine.get(session, campaign_id)).status


async def test_a_one_off_reaches_everybody_and_is_finished(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    ids = await people(make, 6, staff=2)
    lonely = (await make.member()).id  # nobody's contact
    campaign, platform = await scheduled(sessions, clock), Platform(sessions, clock)
    assert await platform.tick() == 0  # not yet
    clock.advance(minutes=2)
    await platform.tick()
    assert await platform.send() == 2  # one task a sender
    await platform.poll()
    assert set((await stands(sessions)).values()) == {DeliveryStatus.ASKED, DeliveryStatus.SKIPPED}
    platform.confirm()
    await platform.poll()
    assert await stands(sessions) == {**dict.fromkeys(ids, DeliveryStatus.SENT), lonely: DeliveryStatus.SKIPPED}
    await platform.tick()
    assert await status(sessions, campaign.id) is CampaignStatus.FINISHED
    run = await the_run(sessions)
    assert run.figures == {"total": 7, "by_status": {"sent": 6, "skipped": 1}, "reasons": {"not_a_contact": 1}}
    assert sorted(platform.received()) == sorted(set(platform.received()))


async def test_sent_is_what_the_platform_says(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    await people(make, 4, staff=2)
    await scheduled(sessions, clock, confirm_within="2h")
    platform = Platform(sessions, clock)
    clock.advance(minutes=2)
    await platform.tick()
    await platform.send()
    first, second = platform.tasks.values()
    platform.refuses = {first.recipients[0]}
    platform.confirm(first.sender)
    for _ in range(3):
        clock.advance(minutes=50)
        await platform.tick()
        await platform.poll()
    await platform.tick()
    found = sorted(str(one) for one in (await reasons(sessions)).values())
    assert found == ["None", "no_longer_a_contact", "not_confirmed", "not_confirmed"]
    assert len(platform.taken_back) == 1, f"what {second.sender} did not confirm is taken back"
    assert (await the_run(sessions)).status is RunStatus.FINISHED


async def test_a_large_one_waits_for_a_second_person(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    await people(make, 3)
    async with sessions.begin() as session:
        made = await engine.create(session, "大促", told(worth_fen=1000), by="amy", now=clock.now())
        await engine.submit(session, made.id, review=Review(above_members=100, above_fen=2999), now=clock.now())
    assert await status(sessions, made.id) is CampaignStatus.IN_REVIEW
    with pytest.raises(SecondPersonNeeded):
        async with sessions.begin() as session:
            await engine.approve(session, made.id, by="amy", now=clock.now())
    async with sessions.begin() as session:
        await engine.approve(session, made.id, by="bob", now=clock.now())
    assert await status(sessions, made.id) is CampaignStatus.SCHEDULED


async def test_nobody_to_reach_is_said_before_anything_is_planned(sessions: Sessions, clock: FrozenClock) -> None:
    with pytest.raises(NobodySelected):
        await scheduled(sessions, clock)


async def test_a_pause_lets_nothing_leave_and_a_resume_goes_on(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    ids = await people(make, 3)
    campaign, platform = await scheduled(sessions, clock), Platform(sessions, clock)
    clock.advance(minutes=2)
    await platform.tick()
    async with sessions.begin() as session:
        await engine.pause(session, campaign.id, because="错别字", by="amy", now=clock.now())
    assert await platform.send() == 0
    await platform.poll()
    await platform.tick()
    assert set((await stands(sessions)).values()) == {DeliveryStatus.PLANNED}
    clock.advance(days=1)
    async with sessions.begin() as session:
        await engine.resume(session, campaign.id, now=clock.now())
    await platform.tick()
    assert await platform.send() == 1
    platform.confirm()
    await platform.poll()
    await platform.tick()
    assert await stands(sessions) == dict.fromkeys(ids, DeliveryStatus.SENT)
    assert len(platform.received()) == 3
    assert await status(sessions, campaign.id) is CampaignStatus.FINISHED


async def test_a_cancel_takes_back_what_staff_have_not_confirmed(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    await people(make, 2)
    campaign, platform = await scheduled(sessions, clock), Platform(sessions, clock)
    clock.advance(minutes=2)
    await platform.tick()
    await platform.send()
    async with sessions.begin() as session:
        await engine.cancel(session, campaign.id, now=clock.now())
    await platform.poll()
    platform.confirm()
    assert platform.taken_back == {"msg0"}
    assert platform.received() == []
    assert set((await reasons(sessions)).values()) == {"cancelled"}
    with pytest.raises(WrongStatus):
        async with sessions.begin() as session:
            await engine.resume(session, campaign.id, now=clock.now())


async def test_a_copy_of_yesterday_fires_nothing_stale(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    """Planned and waiting to leave when the copy was taken; a day later nothing of it leaves by itself."""
    await people(make, 3)
    campaign, platform = await scheduled(sessions, clock), Platform(sessions, clock)
    other = await scheduled(sessions, clock, name="明天的", starts_at="2026-03-09T20:00:00")
    clock.advance(minutes=2)
    await platform.tick()
    clock.advance(days=1)
    assert await platform.send() == 0, "its deadline is over"
    await platform.tick()
    await platform.poll()
    await platform.tick()
    assert await platform.send() == 0
    async with sessions.read() as session:
        asks = [run for one in (campaign, other) for run in await engine.runs_of(session, one.id)]
    assert [(run.status, run.asks_because) for run in asks] == [(RunStatus.ASKS, "stale"), (RunStatus.ASKS, "late")]
    async with sessions.begin() as session:
        await engine.answer(session, asks[1].id, fires=True, now=clock.now())
        await engine.answer(session, asks[0].id, fires=False, now=clock.now())
    await platform.tick()
    assert await platform.send() == 1
    assert await status(sessions, campaign.id) is CampaignStatus.FINISHED


async def test_missed_occurrences_are_one_late_run(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    await people(make, 1)
    weekly = await scheduled(
        sessions, clock, kind="recurring", starts_at=None, every="0 10 * * *", late="skip", name="每天"
    )
    platform = Platform(sessions, clock)
    clock.advance(days=3, hours=5)
    await platform.tick()
    async with sessions.read() as session:
        runs = await engine.runs_of(session, weekly.id)
        coming = await engine.calendar(session, since=clock.now(), until=clock.now() + timedelta(days=2))
    assert [(run.status, run.asks_because) for run in runs] == [(RunStatus.CANCELLED, "late")]
    assert [one.at.day for one in coming] == [13, 14]
    clock.advance(hours=19)
    await platform.tick()
    assert await platform.send() == 1


async def test_too_many_failures_pause_it(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    await people(make, 30, staff=2)
    campaign, platform = await scheduled(sessions, clock), Platform(sessions, clock)
    clock.advance(minutes=2)
    await platform.tick()
    await platform.send()
    first, _ = platform.tasks.values()
    platform.refuses = set(first.recipients[:12])
    platform.confirm()
    await platform.poll()
    await platform.tick()
    async with sessions.read() as session:
        found = await engine.get(session, campaign.id)
    assert (found.status, found.paused_because) == (CampaignStatus.PAUSED, engine.ERRORS)


async def test_the_gate_decides_and_says_why(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    first, second, third = await people(make, 3)
    async with sessions.begin() as session:
        await consents.opt_out(session, first, source="test", wording_version="1", now=clock.now())
    await scheduled(sessions, clock, starts_at="2026-03-09T22:30:00", grace="20h", holdout_percent=0)
    platform = Platform(sessions, clock, gate=Gate(quiet=NIGHT, caps=OPEN_GATE.caps, quota=OPEN_GATE.quota))
    clock.advance(hours=12, minutes=31)
    await platform.tick()
    assert await reasons(sessions) == {
        first: "gate.opted_out", second: "gate.quiet_hours", third: "gate.quiet_hours"
    }  # fmt: skip
    clock.advance(hours=9, minutes=30)  # past 08:00, awake all the while
    async with sessions.begin() as session:
        run = await the_run(sessions)
        (await session.merge(run)).ticked_at = clock.now()
    await platform.tick()
    assert await platform.send() == 1
    platform.confirm()
    await platform.poll()
    found = await stands(sessions)
    assert (found[first], found[second], found[third]) == ("skipped", "sent", "sent")


async def test_who_opts_out_between_plan_and_send_gets_nothing(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    first, second = await people(make, 2)
    await scheduled(sessions, clock)
    platform = Platform(sessions, clock)
    clock.advance(minutes=2)
    await platform.tick()
    async with sessions.begin() as session:
        await consents.opt_out(session, first, source="test", wording_version="1", now=clock.now())
    await platform.send()
    platform.confirm()
    await platform.poll()
    await platform.tick()
    assert (await reasons(sessions))[first] == "gate.opted_out"
    assert (await stands(sessions))[second] is DeliveryStatus.SENT
    assert (await the_run(sessions)).status is RunStatus.FINISHED


async def test_an_answer_that_was_lost_is_looked_for_and_not_asked_twice(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    await people(make, 2)
    await scheduled(sessions, clock)
    platform = Platform(sessions, clock)
    clock.advance(minutes=2)
    await platform.tick()
    assert await platform.send(loses_answer=True) == 1
    await platform.poll()
    assert await platform.send() == 0
    platform.confirm()
    await platform.poll()
    await platform.tick()
    assert len(platform.received()) == 2
    assert (await the_run(sessions)).status is RunStatus.FINISHED


async def test_a_campaign_whose_segment_is_gone_is_paused_and_stops_no_other(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    await people(make, 1)
    async with sessions.begin() as session:
        segment = await segments.save(session, "老客", EVERYBODY, now=clock.now())
    of_segment = {"audience": None, "segment": "老客"}
    lost = await scheduled(sessions, clock, "老客活动", **of_segment)
    on = {"event": "MemberEnrolled"}
    listens = await scheduled(
        sessions, clock, "升级有礼", kind="triggered", on=on, starts_at=None, channels=["broadcast"], **of_segment
    )
    also = await scheduled(sessions, clock)
    clock.advance(minutes=2)
    async with sessions.begin() as session:
        await firing.fire_due(session, now=clock.now() - minutes(1.5))  # the one that listens is open
        await segments.save(session, "常客", EVERYBODY, segment_id=segment.id, now=clock.now())
    await people(make, 1)
    async with sessions.begin() as session:
        await firing.listen(session, now=clock.now())
    await Platform(sessions, clock).tick()
    assert [await status(sessions, one.id) for one in (lost, listens, also)] == [
        *(CampaignStatus.PAUSED, CampaignStatus.PAUSED),
        CampaignStatus.RUNNING,
    ]
