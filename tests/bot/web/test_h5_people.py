"""Who a visitor is by now, and who hears of what they give back."""

import re
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import sqlalchemy as sa
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from bot import privacy
from bot.app import App
from bot.flashsale import waiting
from bot.flashsale.newcomers import Newcomers
from bot.models.conversation import Conversation
from bot.web import h5_site
from bot.web.h5 import PayPage, SalePages
from bot.web.h5_site import MemberSite
from bot.web.server import create_app
from bot.web.visitors import COOKIE, STAY, Visitors
from crm import merges
from crm.base.outbox import OutboxRow
from crm.base.peers import Peers
from tests.bot.flashsale.stall import Stall, item, stall
from tests.factories import make

__all__ = ["make", "stall"]


class Phone:
    """The pages as a member with a cookie sees them."""

    def __init__(self, client: TestClient[web.Request, web.Application], visitors: Visitors) -> None:
        self.client, self.visitors = client, visitors

    def cookies(self, member_id: int) -> dict[str, str]:
        return {COOKIE: self.visitors._seals.seal({"member": member_id}, STAY)}

    def until(self, member_id: int) -> int:
        """When the sign-in of a cookie ends; part of what a form's token stands for."""
        return int((self.visitors._seals.open(self.cookies(member_id)[COOKIE]) or {})["until"])

    async def get(self, path: str, member_id: int) -> tuple[int, str]:
        async with self.client.get(path, cookies=self.cookies(member_id), allow_redirects=False) as answer:
            return answer.status, await answer.text()

    async def post(self, path: str, member_id: int, token: str, **headers: str) -> int:
        cookies = self.cookies(member_id)
        async with self.client.post(
            path, data={"token": token}, cookies=cookies, headers=headers, allow_redirects=False
        ) as answer:
            return answer.status


@pytest.fixture
async def phone(stall: Stall, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Phone]:
    peers = Peers(stall.sessions, chance=stall.make.chance)
    app = App(clock=stall.clock, chance=stall.make.chance, sessions=stall.sessions, peers=peers)
    visitors = Visitors(
        app, cast(Any, None), secret=b"for tests only", authorize_url="https://wecom.test", corp_id="ww", agent_id=1
    )
    monkeypatch.setattr(h5_site, "ADDRESS", (2, 10.0))
    site = MemberSite(app, visitors)
    newcomers = Newcomers(stall.sessions, stall.clock, None, key=b"for tests only")
    pages = SalePages(site, stall.allocator, newcomers, PayPage(None))
    async with TestClient(TestServer(create_app(app, [*site.routes(), *pages.routes()]))) as client:
        yield Phone(client, visitors)


async def test_who_was_merged_sees_what_is_theirs_and_who_was_erased_signs_in_anew(stall: Stall, phone: Phone) -> None:
    lin, lin_too = await stall.members(2)
    granted = await stall.claim(await stall.item(), lin)
    async with stall.sessions.begin() as session:
        assert await merges.merge(session, lin, lin_too, because="test", now=stall.clock.now()) == lin
    assert (await phone.get(f"/h5/claims/{granted.no}", lin_too))[0] == 200
    await privacy.erase(stall.sessions, lin, by="zhou", reason=privacy.Reason.ASKED, now=stall.clock.now())
    assert [(await phone.get("/h5/claims", one))[0] for one in (lin, lin_too)] == [302, 302]


async def test_who_waits_hears_of_what_a_page_gives_back(stall: Stall, phone: Phone) -> None:
    lin, chen = await stall.members(2)
    a1 = await stall.item(stock=1)
    granted = await stall.claim(a1, lin)
    now = stall.clock.now()
    async with stall.sessions.begin() as session:
        talk = Conversation(open_kfid="wkTEST", external_userid="wm-chen", member_id=chen, created_at=now)
        talk.last_customer_at = now
        session.add(talk)
        await waiting.join(session, stall.request(a1, chen), now=now)
    status, html = await phone.get(f"/h5/claims/{granted.no}", lin)
    token = re.search(r'name="token" value="([^"]+)"', html)
    assert status == 200 and token is not None
    assert await phone.post(f"/h5/claims/{granted.no}/give-back", lin, token[1]) == 303
    async with stall.sessions.read() as session:
        (said,) = await session.scalars(sa.select(OutboxRow))
    assert said.member_id == chen


@pytest.mark.parametrize("proxy_says", [True, False])
async def test_behind_a_proxy_an_address_is_a_phones_and_not_everybodys(
    stall: Stall, phone: Phone, proxy_says: bool
) -> None:
    people = await stall.members(4)
    sale = await stall.sale()
    told = []
    for number, one in enumerate([*people, people[0], people[0]]):
        _, html = await phone.get(f"/h5/sales/{sale.code}", one)
        token = re.search(r'name="token" value="([^"]+)"', html)
        assert token is not None
        headers = {"X-Forwarded-For": f"9.9.9.9, 1.2.3.{one}"} if proxy_says else {}
        told.append(await phone.post("/h5/claims/none/give-back", one, token[1], **headers))
        assert number < 5 or proxy_says is (told[-1] == 429)
    assert told[:5] == [404] * 5


async def test_what_is_sold_out_is_told_from_memory_and_who_has_some_hears_of_it(
    stall: Stall, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    lin, lin_too, chen, wang = await stall.members(4)
    sale = await stall.sale(item(stock=1))
    (a1,) = await stall.items(sale)
    url = f"/h5/sales/{sale.code}/claim"

    async def taps(member_id: int, key: str = "tap", code: str = "A1") -> tuple[int, str]:
        token = phone.visitors._seals.mac(f"form:{member_id}:{phone.until(member_id)}")
        form, accept = {"token": token, "item": code, "key": key}, {"Accept": "application/json"}
        async with phone.client.post(url, data=form, cookies=phone.cookies(member_id), headers=accept) as answer:
            told = await answer.json()
            return answer.status, told.get("code") or told["claim"]

    status, no = await taps(lin)
    assert status == 200
    assert await taps(chen) == (409, "sale.sold_out")
    asked: list[object] = []
    read = stall.sessions.read

    def counted() -> object:
        asked.append(1)
        return read()

    monkeypatch.setattr(stall.sessions, "read", counted)
    assert await taps(wang) == (409, "sale.sold_out")
    assert await taps(wang, code="B2") == (404, "sale.item_not_found") and asked  # what is unknown is looked for
    asked.clear()
    assert await taps(wang) == (409, "sale.sold_out") and asked == []
    assert await taps(lin) == (200, no)  # the same tap once more, after a lost connection
    async with stall.sessions.begin() as session:
        await merges.merge(session, lin, lin_too, because="test", now=stall.clock.now())
    stall.clock.advance(seconds=2)
    assert await taps(chen) == (409, "sale.sold_out")  # looked up anew
    assert await taps(lin_too, key="by the other name") == (200, no)
    stall.allocator.forget([a1.id])
