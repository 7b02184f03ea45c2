"""Members, segments, RFM and lifecycle in the browser."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from bot.access import audit
from crm import identities, orders, phones, rfm
from crm.base.clock import FrozenClock, local_day
from crm.members import Profile
from crm.models.audience import Segment
from crm.models.member import Member, MemberSource
from crm.order_terms import Line, Told
from crm.rfm_rules import Rule
from crm.sight import Role
from tests.bot.web.staffroom import Staffroom

PHONE = "+8613800138000"  # a number from the examples of the numbering plan
HTMX = {"HX-Request": "true"}


async def member(room: Staffroom, name: str = "橘座", *, spent: tuple[int, ...] = ()) -> int:
    """A member who paid these amounts in fen, a day apart."""
    app = room.house.app
    now = app.clock.now()
    async with app.sessions.begin() as session:
        vault = room.house.vault
        assert vault is not None
        known = identities.wechat_person(f"wm-{name}", profile=Profile(name=name))
        keys = (*known.keys, phones.key(vault, PHONE)) if name == "橘座" else known.keys
        found = await identities.enrol(
            session, replace(known, keys=keys), source=MemberSource.KF, now=now, chance=app.chance
        )
        await phones.keep(session, vault, {PHONE: found.id} if name == "橘座" else {}, now=now)
        for number, fen in enumerate(spent, start=1):
            at = now - timedelta(days=number)
            line = Line(sku="A", name="猫粮", category="猫粮", quantity=1, price_fen=fen)
            no = f"T{found.id}-{number}"
            told = Told(
                source="t",
                external_no=no,
                member_id=found.id,
                placed_at=at,
                total_fen=fen,
                lines=(line,),
                paid_at=at,
                cancelled_at=None,
            )
            await orders.place(session, told, now=now)
        return found.id


async def test_a_member_is_found_by_name_code_and_phone(staffroom: Staffroom) -> None:
    member_id = await member(staffroom)
    await member(staffroom, "布偶")
    agent = await staffroom.enter(Role.AGENT)
    async with staffroom.house.app.sessions.read() as session:
        code = (await session.get_one(Member, member_id)).code
    for typed in ("橘", code, "138 0013 8000"):
        page = await (await agent.get("/console/members", params={"q": typed})).text()
        assert "橘座" in page and "布偶" not in page, typed
    assert "没有找到会员" in await (await agent.get("/console/members", params={"q": "%"})).text()


async def test_the_card_masks_what_a_role_may_not_see_and_a_look_is_kept(staffroom: Staffroom) -> None:
    member_id = await member(staffroom, spent=(12800,))
    auditor = await staffroom.enter(Role.AUDITOR)
    page = await auditor.text(f"/console/members/{member_id}")
    assert "橘座" not in page and "138****" not in page
    assert (await auditor.post(f"/console/members/{member_id}/reveal", {"because": "x"})).status == 409
    agent = await staffroom.enter(Role.AGENT)
    assert "138****8000" in await agent.text(f"/console/members/{member_id}")
    assert (await agent.post(f"/console/members/{member_id}/reveal", {"because": " "})).status == 422
    shown = await agent.post(f"/console/members/{member_id}/reveal", {"because": "客户要求核对"})
    assert "13800138000" in await shown.text()
    async with staffroom.house.app.sessions.read() as session:
        entries = await audit.page(session, action="member.revealed")
    assert [(one.by, one.facts["because"]) for one in entries] == [("agent", "客户要求核对")]


async def test_two_are_made_one_and_it_is_undone(staffroom: Staffroom) -> None:
    first = await member(staffroom, spent=(100,))
    second = await member(staffroom, "布偶", spent=(200, 300))
    manager = await staffroom.enter(Role.MANAGER)
    async with staffroom.house.app.sessions.read() as session:
        code = (await session.get_one(Member, second)).code
    merged = await manager.post(f"/console/members/{first}/merge", {"other": code})
    assert merged.headers["Location"] == f"/console/members/{first}"
    assert "¥6" in await manager.text(f"/console/members/{first}")
    nobody = await manager.post(f"/console/members/{first}/merge", {"other": "ZZZZZZZZ"})
    assert nobody.status == 404
    undone = await manager.post(f"/console/members/{first}/unmerge", {"absorbed": str(second)})
    assert "合并已撤销" in await undone.text() and "¥1" in await manager.text(f"/console/members/{first}")


async def test_a_segment_is_counted_as_it_is_written_and_says_why(staffroom: Staffroom) -> None:
    await member(staffroom, spent=(12800, 100))
    await member(staffroom, "布偶", spent=(500,))
    manager = await staffroom.enter(Role.MANAGER)
    two = json.dumps({"is": "all", "of": [{"is": "ordered", "count": {"least": 2}}]})
    page = await (
        await manager.post("/console/segments/preview", {"definition": two, "why": "wm-布偶"}, headers=HTMX)
    ).text()
    assert ">1 <" in page and "橘座" in page and "<li>" in page
    for broken in ('{"is": "all"', '{"is": "ordered", "count": {}}', "[]", '{"is": "no such thing"}'):
        answer = await manager.post("/console/segments/preview", {"definition": broken}, headers=HTMX)
        assert answer.status == 200 and "条件还没写完" in await answer.text(), broken
    saved = await manager.post("/console/segments", {"name": "老客", "definition": two, "watched": "1"})
    assert saved.status == 303
    again = await manager.post("/console/segments", {"name": "老客", "definition": two})
    assert again.status == 409 and "同名" in await again.text()
    assert "老客" in await manager.text("/console/segments")
    async with staffroom.house.app.sessions.read() as session:
        assert (await session.scalars(sa.select(Segment))).one().watched


async def test_rfm_shows_the_grid_the_moves_and_the_back_test(staffroom: Staffroom, clock: FrozenClock) -> None:
    app = staffroom.house.app
    manager = await staffroom.enter(Role.MANAGER)
    assert "还没有分" in await manager.text("/console/rfm")
    for number in range(6):
        await member(staffroom, f"猫{number}", spent=(100 * (number + 1),) * (number + 1))
    today = local_day(app.clock.now())
    for day in (today - timedelta(days=1), today):
        async with app.sessions.begin() as session:
            await rfm.refresh(session, as_of=day, rule=Rule(), now=app.clock.now(), from_scratch=True)
    clock.advance(minutes=1)  # figures over everybody are kept that long
    page = await manager.text("/console/rfm?test=1")
    assert "heat-5" in page and "重要价值" in page and "那时还没有可打分的订单" in page
    assert "猫5" in await (await manager.get("/console/members", params={"f": "5"})).text()


async def test_the_lifecycle_counts_everybody_where_they_stand(staffroom: Staffroom) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    assert "这段时间没有人换阶段" in await manager.text("/console/lifecycle?days=7")


@pytest.mark.parametrize("path", ["/console/members/999999", "/console/segments/999999"])
async def test_what_is_not_there_is_said_in_words(staffroom: Staffroom, path: str) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    answer = await manager.get(path)
    assert answer.status == 404 and "没有" in await answer.text()
