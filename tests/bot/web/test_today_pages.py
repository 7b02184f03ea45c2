"""Today: what fires, what waits for whom, the brake with its trace; the month as a page and as files."""

import io
from datetime import timedelta

import sqlalchemy as sa
from openpyxl import load_workbook

from bot.models.access import AuditEntry
from campaigns import brakes, engine, firing
from campaigns.models.campaign import Campaign, Run, RunStatus
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.sight import Role
from tests.bot.web.staffroom import Staffroom
from tests.campaigns.fixtures import Platform, people, scheduled
from tests.factories import Make


async def test_the_brake_is_pulled_and_released_by_who_may_and_leaves_a_trace(
    staffroom: Staffroom, sessions: Sessions
) -> None:
    auditor, manager = await staffroom.enter(Role.AUDITOR), await staffroom.enter(Role.MANAGER)
    assert "全部停止" not in await auditor.text("/console")
    assert (await auditor.post("/console/stop", {"reason": "x"})).status == 403
    assert "全部停止" in await manager.text("/console")
    assert (await manager.post("/console/stop", {"reason": "写错了价"})).status in (302, 303)
    page = await manager.text("/console")
    assert "写错了价" in page and "恢复发送" in page and "data-confirm" in page
    async with sessions.read() as session:
        assert await brakes.is_on(session)
    await manager.post("/console/resume")
    async with sessions.read() as session:
        assert not await brakes.is_on(session)
        done = set(await session.scalars(sa.select(AuditEntry.action)))
    assert {"sending.stopped", "sending.resumed"} <= done


async def test_today_says_what_fires_waits_and_stands_still_and_takes_an_answer(
    staffroom: Staffroom, sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    owner = await staffroom.enter()
    assert "没有要决定的" in await owner.text("/console")
    await people(make, 2)
    await scheduled(sessions, clock, "周末满减")
    later = await scheduled(sessions, clock, "今晚的", starts_at="2026-03-09T21:00:00+08:00")
    paused = await scheduled(sessions, clock, "先停着")
    async with sessions.begin() as session:
        await engine.pause(session, paused.id, because="等库存", by="amy", now=clock.now())
    clock.advance(minutes=1)
    platform = Platform(sessions, clock)
    await platform.tick()
    await platform.send()
    page = await owner.text("/console")
    assert "今晚的" in page and "等库存" in page and 'data-test="unconfirmed"' in page
    async with sessions.begin() as session:
        await session.execute(sa.update(Campaign).where(Campaign.id == later.id).values(next_fire_at=clock.now()))
        await firing.fire_due(session, now=clock.now() + timedelta(hours=5))
        run_id = await session.scalar(sa.select(Run.id).where(Run.status == RunStatus.ASKS))
    assert 'data-test="question"' in await owner.text("/console")
    await owner.post(f"/console/runs/{run_id}/skip")
    assert 'data-test="question"' not in await owner.text("/console")
    assert (await owner.post(f"/console/runs/{run_id}/fire")).status == 404  # it was answered


async def test_a_month_is_a_page_and_a_workbook_and_a_wrong_month_is_said(
    staffroom: Staffroom, sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    assert "这个月没有活动" in await manager.text("/console/month")
    await people(make, 2)
    await scheduled(sessions, clock)
    clock.advance(minutes=1)
    platform = Platform(sessions, clock)
    await platform.tick()
    await platform.send()
    platform.confirm()
    await platform.poll()
    page = await manager.text("/console/month?month=2026-03")
    assert "周末满减" in page and "2026-03" in page
    answer = await manager.get("/console/month?month=2026-03&as=xlsx")
    book = load_workbook(io.BytesIO(await answer.read()))
    assert [row[0].value for row in book["活动"].iter_rows()] == ["活动", "周末满减"]
    assert "# 2026 年 3 月活动总结" in await (await manager.get("/console/month?month=2026-03&as=md")).text()
    for wrong in ("2026-13", "x", "2099-01"):
        assert (await manager.get(f"/console/month?month={wrong}")).status == 422
