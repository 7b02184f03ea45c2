"""A campaign into customer groups: which groups it means, what it cannot have, and a run from its start to its end."""

from typing import Any

import pytest

from campaigns import audience, definition, engine, firing, group_audience, group_runs, reports, ticks
from campaigns.definition import CampaignWrong, Groups
from campaigns.models.campaign import CampaignStatus, RunStatus
from crm import groups
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from tests.campaigns.fixtures import ANY_SIZE, OPEN_GATE, told
from tests.campaigns.test_group_posts import Wecom
from tests.factories import Make


def into(**wanted: Any) -> dict[str, Any]:
    return {"audience": None, "groups": wanted}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (into(), "all: true"),
        (into(all=True, tags=["宝妈"]), "all: true"),
        ({"groups": {"all": True}}, "只写一个"),
        ({**into(all=True), "holdout_percent": 10}, "holdout_percent"),
        ({**into(all=True), "channels": ["kf", "broadcast"]}, "channels"),
        ({**into(all=True), "kind": "triggered", "starts_at": None, "on": {"event": "StageMoved"}}, "触发"),
        ({**into(names=["某群"]), "groups": {"nams": ["某群"]}}, "groups.nams"),
    ],
    ids=["no group", "all and some", "members too", "holdout", "kf", "triggered", "misspelt"],
)
def test_what_a_post_into_groups_cannot_have(more: dict[str, Any], reason: str) -> None:
    with pytest.raises(CampaignWrong, match=reason):
        told(**more)


def test_a_definition_of_groups_reads_what_it_wrote() -> None:
    made = told(**into(names=["猫咪*"], owners=["amy"]))
    assert definition.read(definition.write(made)) == made


async def test_groups_are_meant_by_name_tag_and_owner(sessions: Sessions, make: Make) -> None:
    amy, bob = await make.staff("amy"), await make.staff("bob")
    cats, dogs, mums = [await make.group(one) for one in (amy, bob, bob)]
    async with sessions.begin() as session:
        for one, name in ((cats, "猫咪福利 1 群"), (dogs, "狗狗群[老客]"), (mums, "宝妈群")):
            (await session.get_one(type(one), one.id)).name = name
        assert await groups.tag(session, mums.id, "宝妈")
        assert not await groups.tag(session, mums.id, "宝妈")
        await groups.tag(session, cats.id, "宝妈")

    async def meant(**wanted: Any) -> list[int]:
        async with sessions.read() as session:
            return [one.group_id for one in await group_audience.select(session, Groups.model_validate(wanted))]

    assert await meant(all=True) == [cats.id, dogs.id, mums.id]
    assert await meant(names=["猫咪*", "狗狗群[老客]"]) == [cats.id, dogs.id]
    assert await meant(names=[mums.chat_id]) == [mums.id]
    assert await meant(tags=["宝妈"]) == [cats.id, mums.id]
    assert await meant(tags=["宝妈"], owners=["BOB"]) == [mums.id]
    assert await meant(names=["没有这个群"]) == []


async def test_a_run_into_groups_from_its_start_to_its_end(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    amy, bob = await make.staff("amy"), await make.staff("bob")
    await make.group(amy, "wm-1", "wm-2")
    await make.group(bob, "wm-2", "wm-3")
    wecom, wanted = Wecom(sessions, clock), told(**into(all=True), confirm_within="1h")
    async with sessions.begin() as session:
        assert await audience.size(session, wanted, now=clock.now()) == 3, "who is in two groups counts once"
        reach = await audience.preview(session, wanted, gate=OPEN_GATE, now=clock.now())
        made = await engine.create(session, "群里说一声", wanted, by="amy", now=clock.now())
        await engine.submit(session, made.id, review=ANY_SIZE, now=clock.now())
    assert (reach.are_groups, reach.selected, reach.reached, reach.oddity) == (True, 2, 2, "everybody")

    async def work() -> None:
        async with sessions.begin() as session:
            await firing.fire_due(session, now=clock.now())
            while await ticks.plan(session, now=clock.now()):
                pass
        await wecom.round()
        async with sessions.read() as session:
            run_ids = await ticks.sending(session)
        for run_id in run_ids:
            async with sessions.begin() as session:
                await ticks.settle(session, run_id, OPEN_GATE, now=clock.now())

    clock.advance(minutes=2)
    await work()
    assert sorted(task.sender for task in wecom.tasks.values()) == ["amy", "bob"]
    wecom.tap(*(msgid for msgid, task in wecom.tasks.items() if task.sender == "amy"))
    for _ in range(10):
        clock.advance(minutes=8)
        await work()
    async with sessions.read() as session:
        (run,) = await engine.runs_of(session, made.id)
        assert (run.status, run.figures) == (
            RunStatus.FINISHED,
            {"total": 2, "by_status": {"sent": 1, "failed": 1}, "reasons": {"not_confirmed": 1}},
        )
        assert (await engine.get(session, made.id)).status is CampaignStatus.FINISHED
        report = {one.userid: one for one in await reports.by_owner(session, made.id)}
        assert await reports.figures(session, made.id) == run.figures
    assert (report["amy"].asked, report["amy"].sent, report["bob"].not_confirmed) == (1, 1, 1)
    assert report["amy"].confirmed_at is not None


async def test_a_cancelled_campaign_takes_its_post_with_it(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    await make.group(await make.staff("amy"))
    wecom = Wecom(sessions, clock)
    async with sessions.begin() as session:
        made = await engine.create(session, "群里说一声", told(**into(all=True)), by="amy", now=clock.now())
        await engine.submit(session, made.id, review=ANY_SIZE, now=clock.now())
    clock.advance(minutes=2)
    async with sessions.begin() as session:
        await firing.fire_due(session, now=clock.now())
        await ticks.plan(session, now=clock.now())
    await wecom.round()
    async with sessions.begin() as session:
        await engine.pause(session, made.id, because="价格错了", by="amy", now=clock.now())
        await engine.resume(session, made.id, now=clock.now())
        await engine.cancel(session, made.id, now=clock.now())
        (run,) = await engine.runs_of(session, made.id)
    await wecom.round(minutes=1)
    assert wecom.taken_back == set(wecom.tasks)
    assert [reason for _, reason in (await wecom.statuses(group_runs.ref(run.id))).values()] == ["cancelled"]
