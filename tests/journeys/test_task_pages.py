"""Community tasks on a member's phone, over HTTP: a quiz, a vote that moves, a check-in, points for a coupon."""

import asyncio
import io
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from campaigns import offers
from campaigns.models.review import ReviewStatus
from campaigns.tasks import reviews
from crm import loyalty_rules, orders
from crm.order_terms import Told
from crm.point_rules import PointRules
from tests.campaigns.test_reviews import LINES, PNG, REVIEW
from tests.campaigns.test_tasks import QUIZ, VOTE
from tests.journeys.test_points import member_of
from tests.journeys.test_sale_pages import at, field, follower, page, phone
from tests.journeys.test_tasks import STREAK, put
from tests.town import Town, town

COUPON = {"key": "八元", "title": "八元券", "kind": "amount", "amount_fen": 800, "valid_days": 9, "points_price": 20}


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(database_url, tmp_path) as opened:
        now = opened.clock.now()
        async with opened.service.app.sessions.begin() as session:
            await loyalty_rules.set_points(session, PointRules(), now=now)
            await offers.put(session, offers.Draft.model_validate({**COUPON, "starts_at": now}), now=now)
        yield opened


async def post(http: aiohttp.ClientSession, url: str, **form: str) -> tuple[int, str]:
    async with http.post(url, data=form) as answer:
        return answer.status, await answer.text()


def linked(html: str, title: str) -> str:
    found = re.search(rf'href="(/h5/tasks/\d+)"[^>]*>\s*<strong>{title}', html)
    assert found is not None, html
    return found[1]


async def test_a_quiz_brings_points_that_buy_a_coupon(shop: Town) -> None:
    await put(shop, "小测", **QUIZ)
    async with phone(shop, follower(shop, "陈晓")) as http:
        url = at(shop, linked(await page(http, at(shop, "/h5/tasks")), "养猫小测"))
        html = await page(http, url)
        form = {name: field(html, name) for name in ("token", "version")}
        status, html = await post(http, url, **form, q0="2")
        assert status == 422 and "每一题选一个" in html and 'value="2" required checked' in html
        assert (await post(http, url, **form, q0="2", q1="9"))[0] == 422
        assert (await post(http, url, **{**form, "version": "7"}, q0="2", q1="3"))[0] == 409
        status, html = await post(http, url, **form, q0="2", q1="3")
        assert status == 200 and "2 题答对 2 题，通过。\n获得 20 积分" in html and "可可碱对猫有毒" in html
        status, html = await post(http, url, **form, q0="2", q1="3")
        assert status == 200 and "每人一次" in html
        html = await page(http, at(shop, "/h5/points"))
        assert "20 积分兑换" in html
        bought = {name: field(html, name) for name in ("token", "key", "offer")}
        assert "用 20 积分换到了" in (await post(http, at(shop, "/h5/points"), **bought))[1]
        await post(http, at(shop, "/h5/points"), **bought)  # sent twice: one exchange
        again = {**bought, "key": "another"}
        status, html = await post(http, at(shop, "/h5/points"), **again)
        assert status == 409 and "还差 20 积分" in html


async def test_a_vote_moves_on_every_screen(shop: Town) -> None:
    await put(shop, "口味", **VOTE)
    async with phone(shop, follower(shop, "陈晓")) as chen, phone(shop, follower(shop, "林立")) as lin:
        path = linked(await page(chen, at(shop, "/h5/tasks")), "新口味")
        url = at(shop, path)
        html = await page(chen, url)
        assert "三文鱼" in html and "tally" not in html  # who has not voted does not see the result
        async with chen.get(f"{url}/live") as answer:
            assert answer.status == 404
        form = {name: field(html, name) for name in ("token", "version")}
        html = (await post(chen, url, **form, choice="1"))[1]
        assert "1 票，100%" in html and "您的选择" in html
        other = await page(lin, url)
        theirs = {name: field(other, name) for name in ("token", "version")}
        assert (await post(lin, url, **{**theirs, "token": form["token"]}, choice="2"))[0] == 403
        async with chen.get(f"{url}/live") as stream, asyncio.timeout(15):
            async for line in stream.content:
                if line.startswith(b"data:") and b"[1,0,0]" in line:
                    assert (await post(lin, url, **theirs, choice="2"))[0] == 200
                if line.startswith(b"data:") and b"[1,1,0]" in line:
                    break
        late = phone(shop, follower(shop, "晚来"))
        async with late as http:
            mine = {name: field(await page(http, url), name) for name in ("token", "version")}
            shop.clock.advance(days=5)
            shop.clock.advance(days=5)
            status, html = await post(http, url, **mine, choice="3")
            assert status in (403, 409)  # the sign-in is over as well
    async with phone(shop, follower(shop, "更晚")) as http:
        html = await page(http, url)
        assert "已经结束了" in html and "1 票，50%" in html
        assert (await post(http, at(shop, "/h5/tasks/999"), token="x"))[0] == 403


async def test_checked_in_on_the_page_counts_in_the_row(shop: Town) -> None:
    await put(shop, "打卡", **STREAK)
    async with phone(shop, follower(shop, "陈晓")) as http:
        for day in range(2):
            token = field(await page(http, at(shop, "/h5/tasks")), "token")
            status, html = await post(http, at(shop, "/h5/check-in"), token=token)
            assert status == 200 and f"连续 {day + 1} 天" in html
            assert ("连续打卡 2 天达成！获得 8 积分" in html) == (day == 1)
            assert "今天已经签到过啦" in (await post(http, at(shop, "/h5/check-in"), token=token))[1]
            shop.clock.advance(timedelta(days=1))
        async with http.get(at(shop, "/h5/tasks/abc")) as answer:
            assert answer.status == 404 and "没有找到这个任务" in await answer.text()


async def test_a_review_with_a_picture_and_nobody_else_sees_it(shop: Town) -> None:
    await put(shop, "晒", **REVIEW)
    customer = follower(shop, "陈晓")
    async with phone(shop, customer) as http, phone(shop, follower(shop, "林立")) as lin:
        path = linked(await page(http, at(shop, "/h5/tasks")), "晒单返积分")
        url, now = at(shop, path), shop.clock.now()
        member = await member_of(shop, customer)
        told = Told(
            source="shop", external_no="A1", member_id=member.id, placed_at=now, total_fen=12_700, paid_at=now,
            lines=LINES,
        )  # fmt: skip
        async with shop.service.app.sessions.begin() as session:
            await orders.place(session, told, now=now)
        html = await page(http, url)
        token, article = field(html, "token"), field(html, "article")

        async def sends(content: bytes, of: str = article) -> tuple[int, str]:
            form = aiohttp.FormData({"token": token, "article": of, "words": "猫很喜欢"})
            form.add_field("pictures", io.BytesIO(content), filename="a.png", content_type="image/png")
            async with http.post(f"{url}/review", data=form) as answer:
                return answer.status, await answer.text()

        assert (await sends(b"<svg/>"))[0] == 422
        assert (await sends(b"", of="1:X"))[0] == 422
        assert (await sends(PNG.content, of="x:X"))[0] == 409
        assert (await sends(PNG.content + bytes(9 * 1024 * 1024)))[0] == 422
        status, html = await sends(PNG.content)
        assert status == 200 and "收到您的晒单" in html and "等同事看" in html and "猫很喜欢" in html
        shot = re.search(r'src="(/h5/pictures/\d+)"', html)
        assert shot is not None
        async with http.get(at(shop, shot[1])) as answer:
            assert (answer.status, answer.content_type, await answer.read()) == (200, "image/png", PNG.content)
            assert "sandbox" in answer.headers["Content-Security-Policy"]
        await page(lin, url)
        async with lin.get(at(shop, shot[1])) as answer:
            assert answer.status == 404
        async with shop.service.app.sessions.begin() as session:
            (review,) = await reviews.listed(session, ReviewStatus.WAITING)
            await reviews.refuse(session, review.id, reason="照片里没有商品", by="amy", now=now)
        assert "照片里没有商品" in await page(http, url)
