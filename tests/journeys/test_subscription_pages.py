"""Subscriptions on a member's phone, over HTTP: sign up, pay, every deed on its page, and nobody else's business."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from campaigns.models.subscription import Cycle, CycleStatus
from crm.base.clock import local_day
from tests.journeys.test_sale_pages import at, field, follower, page, phone
from tests.journeys.test_subscriptions import KEY, pay, plan
from tests.town import Town, town

HERE = "/h5/subscriptions"


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(database_url, tmp_path, line_gap=timedelta(0), data_key=SecretStr(KEY)) as opened:
        yield opened


def said(html: str) -> str:
    found = re.search(r'data-test="said">([^<]+)<', html)
    return found[1] if found else ""


async def send(http: aiohttp.ClientSession, url: str, html: str, **form: str) -> tuple[int, str, str]:
    """Send a form of this page; returns status, page and where it ended."""
    async with http.post(url, data={"token": field(html, "token"), **form}) as answer:
        return answer.status, await answer.text(), answer.url.path


async def test_from_the_plan_to_the_end(shop: Town) -> None:
    await plan(shop)
    customer = follower(shop, "陈晓")
    async with phone(shop, customer) as http:
        listed = await page(http, at(shop, HERE))
        assert "还没有订阅" in listed
        [to_plan] = re.findall(r'href="(/h5/subscriptions/plans/\d+)"', listed)
        form = await page(http, at(shop, to_plan))
        for wrong, words in (
            ({"quantity": "0"}, "份数要在 1 到 99 之间"),
            ({"first_on": "2026-02-30"}, "日期要在"),
            ({"first_on": "2020-01-01"}, "日期要在"),
            ({"address": "老地方"}, "地址请写全"),
        ):
            status, refused, _ = await send(http, at(shop, to_plan), form, **{"quantity": "1", **wrong})
            assert status == 422
            assert words in said(refused)
        told = {"quantity": "2", "mode": "default", "address": "上海市浦东新区世纪大道 100 号 8 楼"}
        status, mine, path = await send(http, at(shop, to_plan), form, **told)
        assert (status, path.rsplit("/", 1)[0]) == (200, HERE)
        assert "待付款 198 元" in mine and "上海市浦东新****" in mine and "世纪大道" not in mine
        assert re.search(r'href="[^"]+/pay\?no=[A-Z0-9]{8}-1&amp;fen=19800', mine)
        status, again, _ = await send(http, at(shop, to_plan), form, **told)
        assert status == 409
        assert "已经订阅了" in said(again)
        async with shop.service.app.sessions.read() as session:
            cycle = (await session.scalars(sa.select(Cycle))).one()
        assert await pay(shop, cycle) == "applied"
        here = at(shop, path)
        mine = await page(http, here)
        assert "再买 2 期送 1 期" in mine and "已付款" in mine
        for deed, told, words in (
            ("postpone", {"days": "14"}, "之后的也跟着顺延"),
            ("mode", {"mode": "asks"}, "您确认后才下单"),
            ("pause", {"months": "2"}, "暂停到"),
            ("resume", {}, "已经恢复"),
            ("address", {"address": "北京市朝阳区建国路 88 号 3 号楼"}, "北京市朝阳区****"),
            ("cancel", {}, "已经取消"),
        ):
            status, done, _ = await send(http, f"{here}/{deed}", mine, **told)
            assert (status, words in said(done)) == (200, True), (deed, said(done))
        status, refused, _ = await send(http, f"{here}/resume", mine)
        assert status == 409
        assert "办不了这件事" in said(refused)
        async with http.post(f"{here}/erase", data={"token": field(mine, "token")}) as answer:
            assert answer.status == 404
    async with phone(shop, follower(shop, "林立")) as http:
        stranger = await page(http, at(shop, to_plan))
        status, _, _ = await send(http, f"{here}/resume", stranger)
        assert status == 404
        async with http.get(here) as answer:
            assert answer.status == 404


async def test_confirm_and_skip_on_the_page(shop: Town) -> None:
    await plan(shop)
    async with phone(shop, follower(shop, "陈晓")) as http:
        [to_plan] = re.findall(r'href="(/h5/subscriptions/plans/\d+)"', await page(http, at(shop, HERE)))
        form = await page(http, at(shop, to_plan))
        first = local_day(shop.clock.now()) + timedelta(days=8)
        _, mine, path = await send(http, at(shop, to_plan), form, quantity="1", mode="asks", first_on=str(first))
        status, refused, _ = await send(http, f"{at(shop, path)}/confirm", mine)
        assert status == 409
        assert "现在没有等您决定的一期" in said(refused)
        shop.clock.advance(days=1, hours=1)
        shop.service.app.peers.tap("subscriptions")
        for _ in range(200):
            mine = await page(http, at(shop, path))
            if "确认这一期" in mine:
                break
            shop.service.app.peers.tap("subscriptions")
        status, done, _ = await send(http, f"{at(shop, path)}/confirm", mine)
        assert status == 200
        assert "应付 99 元" in said(done)
        status, done, _ = await send(http, f"{at(shop, path)}/skip", done)
        assert status == 200
        assert "这一期跳过了" in said(done)
    async with shop.service.app.sessions.read() as session:
        assert (await session.scalars(sa.select(Cycle.status))).all() == [CycleStatus.SKIPPED]
