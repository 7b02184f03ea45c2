"""The rules in force, and the words of a text."""

import pytest

from crm.sight import Role
from tests.bot.web.staffroom import Staffroom


async def test_the_rules_that_hold_are_shown_with_where_they_are_set(staffroom: Staffroom) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    page = await manager.text("/console/rules")
    assert "每天 9:00–21:00" in page and "22:00–08:00" in page and "SIYU_GATE__" in page and "2026-03-09 周一" in page


@pytest.mark.parametrize(("text", "said"), [("全网最低价", "全网最低价"), ("换季上新了", "没有要改的词")])
async def test_a_text_is_held_against_the_lists(staffroom: Staffroom, text: str, said: str) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    answer = await manager.post("/console/rules/preview", {"text": text}, headers={"HX-Request": "true"})
    assert said in await answer.text()
