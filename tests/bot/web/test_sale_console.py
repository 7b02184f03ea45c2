"""Flash sales in the browser: planned with mistakes named as one types, announced, watched, ended and settled."""

import random
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.async_api import async_playwright, expect

from bot.access import audit
from bot.flashsale import announcing, sales
from bot.flashsale.sales import ItemPlan, Plan
from bot.flashsale.terms import Request
from bot.models.sale import Channel, Claim, PaymentOutcome, Sale, SaleItem, SalePayment, SaleStatus
from bot.web.formats import form_instant
from bot.web.screens import COOKIE
from crm.base.clock import FrozenClock
from crm.models.group import Group
from crm.sight import Role
from tests.bot.web.staffroom import Staffroom
from tests.browser import CHROMIUM, FLAGS
from tests.factories import Make, make

__all__ = ["make"]

ITEM = {
    "item-code": "A1",
    "item-sku": "SN-FD",
    "item-name": "冻干鸡肉粒",
    "item-price": "19.9",
    "item-list_price": "39",
    "item-stock": "20",
    "item-limit_each": "2",
    "item-shares": "",
    "item-picture": "",
}


def form(room: Staffroom, **more: Any) -> dict[str, Any]:
    now = room.house.app.clock.now()
    usual = {
        "name": "周四秒杀", "opens_at": form_instant(now + timedelta(hours=3)),
        "closes_at": form_instant(now + timedelta(hours=5)), "pay_minutes": "15", "announce_hours": "2",
        "early_at": "", "early_levels": "", "early_tags": "", "groups_only": "1", "honours_late": "1", **ITEM,
    }  # fmt: skip
    return {**usual, **more}


async def planned(room: Staffroom, groups: list[Group], *, stock: int = 3) -> Sale:
    app = room.house.app
    now = app.clock.now()
    cake = ItemPlan(code="A1", sku="S", name="冻干鸡肉粒", price_fen=1990, list_price_fen=3900, stock=stock)
    plan = Plan(
        name="周四秒杀", opens_at=now, closes_at=now + timedelta(hours=2), items=[cake],
        group_ids=[one.id for one in groups], groups_only=False,
    )  # fmt: skip
    async with app.sessions.begin() as session:
        sale = await sales.plan(session, plan, now=now, chance=random.Random(4))
        await announcing.announce(session, sale, gate=app.gate, words=app.words, public_url="", now=now)
    return sale


async def the_sale(room: Staffroom) -> Sale:
    async with room.house.app.sessions.read() as session:
        return (await session.scalars(sa.select(Sale))).one()


async def test_a_sale_is_planned_changed_and_announced(staffroom: Staffroom, make: Make) -> None:
    group = await make.group(await make.staff("amy"))
    manager = await staffroom.enter(Role.MANAGER)
    assert "还没有秒杀" in await manager.text("/console/sales")
    assert "毛孩子福利群" in await manager.text("/console/sales/new")
    answer = await manager.post("/console/sales", form(staffroom, groups=group.chat_id, weekly="1"))
    assert answer.status == 303, await answer.text()
    sale = await the_sale(staffroom)
    assert (sale.status, sale.series, answer.headers["Location"]) == (
        SaleStatus.DRAFT, "周四秒杀", f"/console/sales/{sale.code}",
    )  # fmt: skip
    assert "1 个群" in await manager.text(f"/console/sales/{sale.code}"), "what announcing would do is said before"
    page = await manager.text(f"/console/sales/{sale.code}/edit")
    assert 'value="19.9"' in page and 'value="39"' in page and form_instant(sale.opens_at) in page
    changed = form(staffroom, **{"groups": group.chat_id, "item-price": "18", "name": "周四晚八点"})
    answer = await manager.post(f"/console/sales/{sale.code}/edit", changed)
    assert answer.status == 303, await answer.text()
    async with staffroom.house.app.sessions.read() as session:
        (item,) = await sales.items_of(session, sale.id)
    assert item.price_fen == 1800
    assert (await manager.post(f"/console/sales/{sale.code}/announce")).status == 303
    assert (await manager.post(f"/console/sales/{sale.code}/edit", changed)).status == 409, "members have seen it"
    assert (await the_sale(staffroom)).status is SaleStatus.ANNOUNCED
    assert "照着新建" in await manager.text(f"/console/sales/{sale.code}")
    assert "周四晚八点" in await manager.text(f"/console/sales/new?from={sale.code}")
    assert (await manager.post(f"/console/sales/{sale.code}/close")).status == 303
    assert (await manager.post(f"/console/sales/{sale.code}/close")).status == 409
    async with staffroom.house.app.sessions.read() as session:
        actions = [one.action for one in await audit.page(session)]
    assert {"sale.planned", "sale.changed", "sale.announced", "sale.closed"} <= set(actions)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"item-price": "十九块九"}, "第 1 样 · 秒杀价：要写数字"),
        ({"item-price": "50"}, "秒杀价要在 0 和原价之间"),
        ({"name": ""}, "名称：没有写"),
        ({"opens_at": ""}, "开抢时间：没有写"),
        ({"closes_at": "2020-01-01T10:00"}, "结束时间要晚于开始时间"),
        ({"item-shares": "没有的群=3"}, "没有群“没有的群”"),
        ({"item-shares": "没有的群"}, "各群份额"),
        ({"pay_minutes": "0"}, "付款时限：不能小于 1"),
        ({**dict.fromkeys(ITEM, "")}, "没有商品"),
    ],
    ids=["price", "above list", "name", "opens", "closes", "share", "share without =", "pay", "no item"],
)
async def test_what_cannot_be_meant_is_said_beside_the_form(
    staffroom: Staffroom, wrong: dict[str, str], told: str
) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    checked = await (await manager.post("/console/sales/check", form(staffroom, **wrong))).text()
    assert told in checked
    answer = await manager.post("/console/sales", form(staffroom, **wrong))
    assert answer.status == 422
    assert f'value="{wrong.get("name", "周四秒杀")}"' in await answer.text(), "nothing that was typed is lost"


async def test_the_check_shows_what_groups_will_read_and_which_words_may_not_be(
    staffroom: Staffroom, make: Make
) -> None:
    group = await make.group(await make.staff("amy"))
    manager = await staffroom.enter(Role.MANAGER)
    fields = form(staffroom, **{"groups": group.chat_id, "item-name": "全网最低价的冻干"})
    checked = await (await manager.post("/console/sales/check", fields)).text()
    assert "可以存了" in checked and "开抢" in checked and "全网最低价" in checked and "text-danger" in checked


async def test_the_board_counts_what_is_sold_and_who_has_not_sent(
    staffroom: Staffroom, make: Make, clock: FrozenClock
) -> None:
    group = await make.group(await make.staff("amy"), "wm-a")
    sale, who = await planned(staffroom, [group]), await make.member()
    (item,) = await _items(staffroom, sale)
    granted = await staffroom.house.allocator.claim(
        Request(item_id=item.id, member_id=who.id, quantity=1, key="k", channel=Channel.H5)
    )
    manager = await staffroom.enter(Role.MANAGER)
    page = await manager.text(f"/console/sales/{sale.code}/board")
    assert "0/1 个群已发" in page and "2 / 3" in page and "现在每秒" in page
    async with staffroom.house.app.sessions.begin() as session:
        claim = (await session.scalars(sa.select(Claim).where(Claim.no == granted.no))).one()
        session.add(
            SalePayment(
                transaction_id="t1", claim_id=claim.id, paid_fen=1990, paid_at=clock.now(), told_at=clock.now(),
                outcome=PaymentOutcome.REFUND_DUE, why="晚到",
            )
        )  # fmt: skip
    page = await manager.text(f"/console/sales/{sale.code}")
    assert "要退的款" in page and "晚到" in page
    async with staffroom.house.app.sessions.read() as session:
        (payment_id,) = (await session.scalars(sa.select(SalePayment.id))).all()
    assert "已经退回" in await (await manager.post(f"/console/sales/{sale.code}/refunds/{payment_id}")).text()
    assert (await manager.post(f"/console/sales/{sale.code}/refunds/{payment_id}")).status == 404
    assert "周四秒杀" in await manager.text("/console/sales")
    assert (await manager.get("/console/sales/NOPE")).status == 404


async def _items(room: Staffroom, sale: Sale) -> list[SaleItem]:
    async with room.house.app.sessions.read() as session:
        return await sales.items_of(session, sale.id)


async def test_an_agent_plans_nothing_and_an_auditor_looks_only(staffroom: Staffroom) -> None:
    auditor = await staffroom.enter(Role.AUDITOR)
    assert "新秒杀" not in await auditor.text("/console/sales")
    assert (await auditor.get("/console/sales/new")).status == 403
    assert (await auditor.post("/console/sales", form(staffroom))).status == 403
    agent = await staffroom.enter(Role.AGENT)
    assert (await agent.get("/console/sales")).status == 403


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")
async def test_the_planner_checks_as_one_types_and_the_board_moves_by_itself(staffroom: Staffroom, make: Make) -> None:
    group = await make.group(await make.staff("amy"), "wm-a")
    sale, who = await planned(staffroom, [group]), await make.member()
    (item,) = await _items(staffroom, sale)
    manager = await staffroom.enter(Role.MANAGER)
    here = str(staffroom.server.make_url("/")).rstrip("/")
    token = next(one.value for one in manager.client.session.cookie_jar if one.key == COOKIE)
    async with async_playwright() as driver:
        driver.selectors.set_test_id_attribute("data-test")
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = await browser.new_context(viewport={"width": 1280, "height": 900})
        await context.add_cookies([{"name": COOKIE, "value": token, "url": here}])
        page = await context.new_page()
        failures: list[str] = []
        page.on("pageerror", lambda error: failures.append(str(error)))
        await page.goto(f"{here}/console/sales/new?from={sale.code}")
        await expect(page.get_by_test_id("mistakes")).to_contain_text("开抢时间：没有写")
        now = staffroom.house.app.clock.now()
        await page.fill("[name=opens_at]", form_instant(now + timedelta(days=1)))
        await page.fill("[name=closes_at]", form_instant(now + timedelta(days=1, hours=2)))
        await expect(page.get_by_test_id("fine")).to_be_visible()
        await page.get_by_text("加一样商品").click()
        await page.fill("[name=item-code] >> nth=1", "b2")
        await expect(page.get_by_test_id("mistakes")).to_contain_text("第 2 样")
        await page.click("[data-drop-row] >> nth=1")
        await expect(page.get_by_test_id("fine")).to_be_visible()
        await page.get_by_test_id("save").click()
        await page.wait_for_url("**/console/sales/*")
        async with staffroom.house.app.sessions.begin() as session:
            await sales.follow_clock(session, now=staffroom.house.app.clock.now())
        await page.goto(f"{here}/console/sales/{sale.code}")
        await expect(page.get_by_test_id("board")).to_contain_text("3")
        await staffroom.house.allocator.claim(
            Request(item_id=item.id, member_id=who.id, quantity=1, key="k", channel=Channel.H5)
        )
        await expect(page.locator("#board")).to_contain_text("2 / 3", timeout=8_000)
        assert failures == []
        await browser.close()
