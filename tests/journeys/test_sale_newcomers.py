"""A crowd of new faces behind one address: told in words, looked at by a person, and served when admitted."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from bot.flashsale import newcomers, notices
from bot.models.sale import Sale
from bot.settings import NewcomersSettings
from tests.journeys.test_sale_chat import reads
from tests.journeys.test_sale_pages import JSON, at, field, follower, open_sale, page, phone
from tests.town import Town, town

SAME = {"X-Forwarded-For": "203.0.113.9"}


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(database_url, tmp_path, newcomers=NewcomersSettings(same_address=3, together=4)) as opened:
        yield opened


async def claims(http: aiohttp.ClientSession, shop: Town, sale: Sale) -> tuple[int, dict]:
    url = at(shop, f"/h5/sales/{sale.code}")
    html = await page(http, url)
    form = {name: field(html, name) for name in ("token", "key", "item")}
    async with http.post(f"{url}/claim", data=form, headers={**JSON, **SAME}) as answer:
        return answer.status, await answer.json()


async def test_the_third_new_face_of_an_address_waits_for_a_person(shop: Town) -> None:
    sale = await open_sale(shop, stock=9)
    names = ("陈晓", "林立", "王芳")
    people = [follower(shop, name) for name in names]
    told = []
    for one in people:
        async with phone(shop, one) as http:
            told.append(await claims(http, shop, sale))
    assert [status for status, _ in told] == [200, 200, 409]
    assert told[2][1]["code"] == "sale.under_review" and "核对" in told[2][1]["said"]
    async with phone(shop, people[0]) as http:  # who came before is held up too: no way to pay yet
        html = await page(http, at(shop, told[0][1]["to"]))
        assert "放行后才能付款" in html and 'data-test="pay"' not in html
    late = shop.customer("小周")  # asks in the chat: the fourth new face in all
    shop.says(late, "抢 A1")
    await reads(shop, late, "核对")
    app, now = shop.service.app, shop.clock.now()
    async with app.sessions.begin() as session:
        admitted = await newcomers.admit(session, sale.id, by="zhou", now=now)
        await notices.looked_at(session, sale, admitted, admitted=True, now=now)
    assert len(admitted) == 4
    await reads(shop, late, "已经为您放行")
    shop.says(late, "抢 A1")
    await reads(shop, late, "抢到了")
    async with phone(shop, people[2]) as http:
        assert (await claims(http, shop, sale))[0] == 200


async def test_who_sends_lines_faster_than_anybody_means_is_slowed_down_in_the_chat_too(shop: Town) -> None:
    await open_sale(shop, stock=9)
    chen = shop.customer("陈晓")
    for _ in range(22):
        shop.says(chen, "抢 A1")
    await reads(shop, chen, "现在有点忙")
