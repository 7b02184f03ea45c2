"""Campaigns on the manager's screens: what one would do beside it, review by another, progress, an end."""

import re
from datetime import timedelta
from html import unescape
from typing import Any

import sqlalchemy as sa

from campaigns import engine, overlaps, playbooks
from campaigns.engine import Review
from campaigns.models.campaign import CampaignStatus
from crm import consents, rfm, segments
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.outbox import OutboxRow
from crm.models.member import Member
from crm.sight import Role
from tests.bot.web.staffroom import Staffroom
from tests.campaigns.fixtures import EVERYBODY, Platform, people, scheduled, told
from tests.campaigns.sequence_world import newcomers
from tests.factories import Make, make

__all__ = ["make"]

PATH = "/console/campaigns"
FORM = {
    "name": "周末满减", "when": "once", "starts_at": "2026-03-10T10:00", "way": "broadcast", "who": "all",
    "messages.0.text": "满 199 减 30", "messages.1.text": "满 199 送猫条", "holdout_percent": "0",
}  # fmt: skip


async def test_empty_pages_and_roles(staffroom: Staffroom) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    html = await manager.text(PATH)
    assert "还没有活动" in html and "新人七天" in html
    for path in (f"{PATH}/7", f"{PATH}/999999999999999999", f"{PATH}/7/edit", f"{PATH}/playbooks/没有的"):
        assert (await manager.get(path)).status == 404
    auditor = await staffroom.enter(Role.AUDITOR)
    assert (await auditor.get(f"{PATH}/new")).status == 403
    assert (await auditor.post(PATH, FORM)).status == 403
    agent = await staffroom.enter(Role.AGENT)
    assert (await agent.get(PATH)).status == 403


async def test_what_it_would_do_is_said_while_one_writes(
    staffroom: Staffroom, sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    first, *_ = await people(make, 3)
    async with sessions.begin() as session:
        await consents.opt_out(session, first, source="test", wording_version="1", now=clock.now())
    await scheduled(sessions, clock, "周三秒杀", starts_at="2026-03-10T20:00:00")
    manager = await staffroom.enter(Role.MANAGER)
    html = await (await manager.post(f"{PATH}/check", {**FORM, "as_member": "1"})).text()
    assert "会员退订了" in html and "共 3 人" in html
    assert "与『周三秒杀』重叠 3 人" in html
    assert ("满 199 减 30" in html and "小林 会看到" in html) or "会看到" in html
    wrong = await (
        await manager.post(f"{PATH}/check", {**FORM, "messages.0.text": "全网最低价", "starts_at": "2026-03-01T10:00"})
    ).text()
    assert "已经过去" in wrong and 'id="e-messages-0-text"' in wrong and "绝对化用语" in wrong
    for odd in (
        {},
        {"when": "every", "every.days": "9", "every.at": "9:00"},
        {"as": "file", "text": "- 1"},
        {"as": "file", "text": "{"},
        {"when": "date", "on.date": "x", "on.days_before": "x"},
        {"who": "own", "own": "[" * 9000, "messages": "1", "messages.0.text": "x", "steps.0": "y", "tiers.9.x": "1"},
    ):
        assert (await manager.post(f"{PATH}/check", odd)).status == 200


async def test_saved_reviewed_by_another_paused_and_cancelled(
    staffroom: Staffroom, sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    await people(make, 3)
    staffroom.house.app.review = Review(above_members=1)
    manager, owner = await staffroom.enter(Role.MANAGER), await staffroom.enter(Role.OWNER)
    answer = await manager.post(PATH, FORM)
    assert answer.status == 303
    page = answer.headers["Location"]
    assert "草稿" in await manager.text(page)
    assert (await manager.post(f"{page}/submit")).status == 303
    html = await manager.text(page)
    assert "要另一个人来审" in html and "/approve" not in html
    assert (await manager.post(f"{page}/approve")).status == 409
    assert (await owner.post(f"{page}/approve")).status == 303
    assert "已排期" in await manager.text(page)
    for verb, status in (("pause", "已暂停"), ("resume", "已排期"), ("cancel", "已取消")):
        assert (await manager.post(f"{page}/{verb}")).status == 303
        assert status in await manager.text(page)
    assert (await manager.post(f"{page}/resume")).status == 409
    html = await (await manager.post(PATH, {**FORM, "name": "周末满减"})).text()
    assert "换个名字" in html and "满 199 送猫条" in html, "what was written stays"


async def test_the_form_shows_again_what_it_saved_and_details_stay_a_file(
    staffroom: Staffroom, sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    async with sessions.begin() as session:
        await segments.save(session, "老客", EVERYBODY, now=clock.now())
    manager = await staffroom.enter(Role.MANAGER)
    weekly = {
        **FORM,
        "name": "每周",
        "when": "every",
        "every.rhythm": "weekly",
        "every.days": ["1", "3"],
        "every.at": "20:30",
        "who": "segment",
        "segment": "老客",
        "way": "both",
        "starts_at": "",
    }
    pet = {"on.date": "pet_birthday", "on.days_before": "7", "on.at": "09:00", "starts_at": ""}
    birthday = {**FORM, "name": "生日", "when": "date", **pet}
    for form, signs in (
        (weekly, ('value="3" checked', "20:30", "selected>老客")),
        (birthday, ('value="7"', 'value="09:00"')),
    ):
        page = (await manager.post(PATH, form)).headers["Location"]
        html = await manager.text(f"{page}/edit")
        assert all(sign in html for sign in signs)
        assert 'name="text"' not in html
    campaign = await newcomers(sessions, clock)
    html = await manager.text(f"{PATH}/{campaign.id}/edit")
    assert 'name="text"' not in html and "破冰礼" in html and "steps.1.messages.0.text" in html
    await make.contact()
    await Platform(sessions, clock).tick()
    html = await manager.text(f"{PATH}/{campaign.id}")
    assert "序列里的人" in html and "走到 1，其中要发" in html


async def test_rows_come_and_go_and_every_mistake_has_a_place_on_the_page(staffroom: Staffroom, make: Make) -> None:
    await people(make, 1)
    manager = await staffroom.enter(Role.MANAGER)
    typed = typed_in(await manager.text(f"{PATH}/playbooks/新人七天"))
    for do in ("add steps", "add steps.0.tiers", "add steps.0.messages", "add goal.0.where", "add steps.1.tiers"):
        answer = await manager.post(f"{PATH}/form", {**typed, "do": do}, headers={"HX-Request": "true"})
        assert answer.headers["HX-Trigger-After-Settle"] == "recheck"
        html = await answer.text()
        typed = typed_in(f'<div id="fields">{html}</div>class="card-footer"')
    assert "第 5 步" in html and "第 1 档" in html and "谢谢添加" in html
    told = await (await manager.post(f"{PATH}/check", typed)).text()
    wanted = set(re.findall(r'id="(e-[^"]+)" hx-swap-oob', told))
    assert "e-steps-4-name" in wanted and wanted <= set(re.findall(r'id="(e-[^"]+)"', html))
    whole = await (await manager.post(PATH, typed)).text()
    assert re.search(r'id="e-steps-4-name">太短', whole) and re.search(
        r'id="e-steps-0-tiers-0-audience">选这一档', whole
    )
    plain = await (await manager.post(f"{PATH}/form", {**typed, "do": "drop steps.4"})).text()
    assert "第 5 步" not in plain and "<html" in plain, "without a script it is a page"


async def test_the_file_is_the_same_campaign(staffroom: Staffroom, make: Make) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    html = await (await manager.post(f"{PATH}/form", {**FORM, "do": "as_file"})).text()
    typed = typed_in(html)
    assert "满 199 送猫条" in typed["text"] and typed["name"] == "周末满减"
    html = await (await manager.post(f"{PATH}/form", {**typed, "do": "as_form"})).text()
    assert "满 199 送猫条" in html and 'name="text"' not in html
    odd = typed["text"].replace("- broadcast", "- broadcast\n- kf")
    html = await (await manager.post(f"{PATH}/form", {**typed, "text": odd, "do": "as_form"})).text()
    assert "什么都没有丢" in html and "- kf" in html
    html = await (await manager.post(f"{PATH}/form", {**FORM, "starts_at": "", "do": "as_file"})).text()
    assert "选一个时间" in html and "满 199 送猫条" in html


async def test_a_playbook_is_where_one_begins(staffroom: Staffroom, make: Make, sessions: Sessions) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    for book in playbooks.everything():
        if any(one.kind is None for one in book.files()):
            assert "员工" in await manager.text(f"{PATH}/playbooks/{book.name}")
    html = await manager.text(f"{PATH}/playbooks/新人七天")
    answer = await manager.post(PATH, {**typed_in(html), "name": "我的新人七天"})
    assert answer.status == 303
    async with sessions.read() as session:
        assert len((await engine.get(session, "我的新人七天")).definition["steps"]) == 4


async def test_progress_and_an_answer_to_a_late_run(
    staffroom: Staffroom, sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    await people(make, 3)
    campaign = await scheduled(sessions, clock)
    clock.advance(hours=5)
    platform = Platform(sessions, clock)
    await platform.tick()
    manager = await staffroom.enter(Role.MANAGER)
    html = await manager.text(f"{PATH}/{campaign.id}")
    run = re.search(r"/console/campaigns/runs/(\d+)", html)
    assert run is not None and "还发不发" in html
    assert (await manager.post(run[0], {"fires": "yes"})).status == 303
    await platform.tick()
    await platform.send()
    html = await manager.text(f"{PATH}/{campaign.id}/live")
    assert "等员工确认" in html and "每位员工" in html
    english = await staffroom.enter(Role.OWNER, language="en")
    assert "Waits for staff" in await english.text(f"{PATH}/{campaign.id}/live")
    platform.confirm()
    await platform.poll()
    assert "已送达" in await manager.text(f"{PATH}/{campaign.id}")


async def test_a_test_goes_to_oneself(staffroom: Staffroom, sessions: Sessions, make: Make) -> None:
    await people(make, 1)
    manager = await staffroom.enter(Role.MANAGER, userid="amy")
    assert "企业微信" in await (await manager.post(f"{PATH}/test", FORM)).text()
    async with sessions.read() as session:
        (row, *_) = await session.scalars(sa.select(OutboxRow))
    assert row.body["userids"] == ["amy"] and "满 199 减 30" in row.body["message"]["text"]["content"]
    owner = await staffroom.enter(Role.OWNER)
    assert "没有填企业微信账号" in await (await owner.post(f"{PATH}/test", FORM)).text()


async def test_overlaps_are_those_of_the_same_people_within_a_day(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    first, *_ = await people(make, 4)
    await make.order(await _member(sessions, first))
    async with sessions.begin() as session:
        await rfm.recount(session, [first], now=clock.now())
    bought = {"is": "lifetime", "orders": {"least": 1}}
    await scheduled(sessions, clock, "近", starts_at="2026-03-10T20:00:00", audience=bought)
    await scheduled(sessions, clock, "远", starts_at="2026-03-12T20:00:00")
    one = told(starts_at="2026-03-10T10:00:00")
    async with sessions.read() as session:
        found = await overlaps.find(session, one, now=clock.now())
        assert [(each.name, each.members) for each in found] == [("近", 1)]
        assert await overlaps.find(session, one, name="近", now=clock.now()) == []
        assert (await engine.get(session, "近")).status is CampaignStatus.SCHEDULED
    assert found[0].at - clock.now() < timedelta(days=2)


def typed_in(html: str) -> dict[str, Any]:
    """What a browser would post of the editor's form, without a button."""
    found: dict[str, Any] = {}
    body = html[html.index('id="fields"') : html.index('class="card-footer"')]
    for tag in re.finditer(r"<(input|select|textarea)\b([^>]*)>(.*?)(?=<(?:input|select|textarea)\b|$)", body, re.S):
        kind, rest, inner = tag[1], tag[2], tag[3]
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', rest))
        if (name := attributes.get("name")) is None or ('type="checkbox"' in rest and " checked" not in rest):
            continue
        value = unescape(attributes.get("value", ""))
        if kind == "textarea":
            value = unescape(inner.split("</textarea>")[0])
        if kind == "select":
            options = re.findall(r'<option(?: value="([^"]*)")?([^>]*)>([^<]*)', inner)
            chosen = next((one for one in options if "selected" in one[1]), options[0])
            value = unescape(chosen[0])
        if 'type="checkbox"' in rest:
            found[name] = [*found.get(name, []), value]
        else:
            found[name] = value
    return found


async def _member(sessions: Sessions, member_id: int) -> Member:
    async with sessions.read() as session:
        return await session.get_one(Member, member_id)
