"""The rules: read by everybody, changed by who may after a look at before and after, put back; words of a text."""

import re

import pytest

from bot.access import audit
from crm.base.db import Sessions
from crm.sight import Role
from tests.bot.web.staffroom import Browser, Staffroom

PATH = "/console/rules"


async def confirmed(browser: Browser, fields: dict[str, str]) -> int:
    """Look at what would change, and press the button there."""
    page = await browser.post(PATH + "/changes", fields)
    html = await page.text()
    assert page.status == 200, html
    sent = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', html))
    sent |= dict(re.findall(r'<textarea hidden name="(\w+)" aria-hidden="true">([^<]*)</textarea>', html))
    sent.pop("csrf"), sent.pop("triggers", None), sent.pop("with_triggers", None)
    return (await browser.post(PATH, sent)).status


async def test_the_rules_that_hold_are_shown_with_what_they_come_to(staffroom: Staffroom) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    page = await manager.text(PATH)
    assert "每天 9:00–21:00" in page and 'value="22:00"' in page and "2026-03-09 周一" in page
    assert "22:00 到点的营销消息，等到 08:00 再发。" in page and "还没有改过" in page


@pytest.mark.parametrize("role", [Role.AGENT, Role.AUDITOR])
async def test_others_read_and_change_nothing(staffroom: Staffroom, role: Role) -> None:
    browser = await staffroom.enter(role)
    html = await browser.text(PATH)
    assert "您的角色只能看" in html and "看看会变成什么" not in html
    for path in ("/changes", ""):
        assert (await browser.post(PATH + path, {"per_day": "9"})).status == 403
    assert (await browser.get(PATH + "/0/back")).status == 403


async def test_changed_after_a_look_kept_in_the_log_and_put_back(staffroom: Staffroom, sessions: Sessions) -> None:
    manager, app = await staffroom.enter(Role.MANAGER), staffroom.house.app
    fields = {"seen": "0", "per_day": "2", "own_days": "2026-03-10 放假", "service_hours": "工作日 8:00–20:00"}
    look = await (await manager.post(PATH + "/changes", fields)).text()
    assert look.count('data-test="change"') == 3 and "每天 9:00–21:00" in look and app.gate.caps[0].touches == 1
    assert await confirmed(manager, fields) == 303
    assert app.gate.caps[0].touches == 2 and app.shop.service_hours == "工作日 8:00–20:00"
    html = await manager.text(PATH)
    assert "店里定的" in html and "服务器的设置是：每天 9:00–21:00" in html.replace("\n", "")
    assert html.count('data-test="version"') == 1
    back = await (await manager.get(PATH + "/0/back")).text()
    assert back.count('data-test="change"') == 3
    assert (await manager.post(PATH, {"seen": "1", "back_to": "0"})).status == 303
    assert app.gate.caps[0].touches == 1 and "放回第 0 版" in await manager.text(PATH)
    async with sessions.read() as session:
        done = await audit.page(session, action="rules", size=9)
    assert [(one.action, one.about) for one in done] == [("rules.put_back", "rules:2"), ("rules.changed", "rules:1")]
    assert done[1].facts["per_day"] == "1 → 2"


async def test_every_mistake_stands_beside_its_field_and_nothing_is_lost(staffroom: Staffroom) -> None:
    owner = await staffroom.enter(Role.OWNER)
    wrong = {"seen": "0", "first_response": "soon", "own_days": "明天放假", "quiet_to": "22:00", "banned": "小样"}
    for path in ("/changes", ""):
        answer = await owner.post(PATH + path, wrong)
        html = await answer.text()
        assert answer.status == 422 and html.count('data-test="wrong"') == 3
        assert 'value="soon"' in html and ">明天放假</textarea>" in html and ">小样</textarea>" in html
        assert "写一个数。" in html and "「明天放假」" in html
    assert "还没有改过" in await owner.text(PATH)


async def test_who_looked_before_a_colleague_changed_is_told(staffroom: Staffroom) -> None:
    owner, manager = await staffroom.enter(Role.OWNER), await staffroom.enter(Role.MANAGER)
    assert await confirmed(owner, {"seen": "0", "per_day": "2"}) == 303
    answer = await manager.post(PATH, {"seen": "0", "per_day": "3"})
    assert answer.status == 409 and "同事刚改过规则（第 1 版）" in await answer.text()
    assert staffroom.house.app.gate.caps[0].touches == 2


async def test_triggers_are_ticked_and_the_same_again_changes_nothing(staffroom: Staffroom) -> None:
    owner = await staffroom.enter(Role.OWNER)
    answer = await owner.post(PATH, {"seen": "0", "with_triggers": "1", "triggers": "complaint"})
    assert answer.status == 303 and {one.value for one in staffroom.house.app.handoff.enabled} == {"complaint"}
    same = await owner.post(PATH + "/changes", {"seen": "1", "with_triggers": "1", "triggers": "complaint"})
    assert "没有要变的" in await same.text()


async def test_odd_numbers_of_versions_are_answered(staffroom: Staffroom) -> None:
    owner = await staffroom.enter(Role.OWNER)
    assert (await owner.get(PATH + "/7/back")).status == 404
    assert (await owner.post(PATH, {"seen": "x", "back_to": "7"})).status == 404
    assert (await owner.post(PATH, {"seen": "9" * 30, "back_to": "x"})).status == 303


@pytest.mark.parametrize(("text", "said"), [("全网最低价", "全网最低价"), ("换季上新了", "没有要改的词")])
async def test_a_text_is_held_against_the_lists(staffroom: Staffroom, text: str, said: str) -> None:
    agent = await staffroom.enter(Role.AGENT)
    answer = await agent.post(PATH + "/preview", {"text": text}, headers={"HX-Request": "true"})
    assert said in await answer.text()
