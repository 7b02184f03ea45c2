"""Coupons over HTTP: from the offer to the paid order, each call safe to repeat, each refusal with its code."""

import random
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pytest_aiohttp.plugin import AiohttpClient

from bot.app import App
from bot.web.api import Api
from bot.web.api_access import Access
from bot.web.api_calls import every_call
from bot.web.server import create_app
from campaigns.reactions import Reader, reactions
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.peers import Peers
from tests.bot.web.described import fits

Client = TestClient[web.Request, web.Application]
KEY = {"Authorization": "Bearer test-api-key"}
WHO = {"external_userid": "wm1"}
OFFER = {
    "key": "满100减20", "title": "新客券", "kind": "amount", "amount_fen": 2000, "threshold_fen": 10_000,
    "starts_at": "2026-03-09T00:00:00", "valid_days": 7, "stock": 2, "budget_fen": 2000,
}  # fmt: skip
BASKET = {"member": WHO, "lines": [{"sku": "F1", "price_fen": 12_000}], "shipping_fen": 800}
ORDER = {"external_no": "A1", "member": WHO, "placed_at": "2026-03-09T10:00:00", "total_fen": 12_800}


@pytest.fixture
async def client(sessions: Sessions, clock: FrozenClock, aiohttp_client: AiohttpClient) -> Client:
    chance = random.Random(7)
    app = App(clock=clock, chance=chance, sessions=sessions, peers=Peers(sessions, chance=chance))
    api = Api(every_call(None), sessions, clock, Access(sessions, clock, keys={"shop": "test-api-key"}))
    return await aiohttp_client(TestServer(create_app(app, api.routes())))


async def post(client: Client, path: str, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    answer = await client.post(f"/api/v1{path}", json=body, headers={**KEY, **headers})
    fits("POST", path, answer.status, await answer.json())
    return answer.status, await answer.json()


async def look(client: Client, **query: str) -> list[dict[str, Any]]:
    answer = await client.get("/api/v1/coupons", params=query, headers=KEY)
    assert answer.status == 200
    found: list[dict[str, Any]] = (await answer.json())["coupons"]
    return found


async def react(sessions: Sessions, clock: FrozenClock) -> None:
    peers = Peers(sessions, chance=random.Random(7))
    while (await Reader(sessions, peers, clock, cursor="campaigns", table=reactions.table).round())[0]:
        pass


async def test_from_the_offer_to_the_paid_order_and_its_refund(
    client: Client, sessions: Sessions, clock: FrozenClock
) -> None:
    assert (await post(client, "/orders", {"orders": [ORDER]}))[0] == 200
    assert (await post(client, "/offers", OFFER))[1]["issued"] == 0
    issue = {"offer": OFFER["key"], "member": WHO, "because": "hello"}
    status, coupon = await post(client, "/coupons/issue", issue)
    assert (status, coupon["status"], (await post(client, "/coupons/issue", issue))[1]["code"]) == (
        200, "issued", coupon["code"],
    )  # fmt: skip
    assert (await post(client, "/coupons/quote", BASKET))[1]["to_pay_fen"] == 10_800
    use = {**BASKET, "codes": [coupon["code"].lower()], "order_no": "A1"}
    for _ in range(2):
        status, held = await post(client, "/coupons/hold", use, **{"Idempotency-Key": "h1"})
        assert (status, held["discount_fen"]) == (200, 2000)
    assert (await post(client, "/coupons/hold", {**use, "order_no": "A2"}))[1]["error"] == "coupon.in_use"
    paid = {**ORDER, "paid_at": "2026-03-09T10:05:00", "paid_fen": 10_800}
    await post(client, "/orders", {"orders": [paid]})
    await react(sessions, clock)
    assert [(one["status"], one["discount_fen"]) for one in await look(client, order_no="A1")] == [("redeemed", 2000)]
    assert await look(client, external_userid="wm1") == []
    refund = {"refund_no": "R1", "order_no": "A1", "amount_fen": 10_800, "refunded_at": "2026-03-09T11:00:00"}
    await post(client, "/refunds", {"refunds": [refund]})
    await react(sessions, clock)
    assert [one["status"] for one in await look(client, external_userid="wm1")] == ["issued"]


async def test_an_order_that_is_cancelled_or_released_gives_it_back(
    client: Client, sessions: Sessions, clock: FrozenClock
) -> None:
    await post(client, "/orders", {"orders": [ORDER]})
    await post(client, "/offers", OFFER)
    _, coupon = await post(client, "/coupons/issue", {"offer": OFFER["key"], "member": WHO, "because": "1"})
    use = {**BASKET, "codes": [coupon["code"]], "order_no": "A1"}
    await post(client, "/coupons/hold", use)
    assert (await post(client, "/coupons/release", {"order_no": "A1"}))[1] == {"released": 1}
    await post(client, "/coupons/hold", use)
    await post(client, "/orders", {"orders": [{**ORDER, "cancelled_at": "2026-03-09T10:10:00"}]})
    await react(sessions, clock)
    assert [one["status"] for one in await look(client, external_userid="wm1")] == ["issued"]
    assert (await post(client, "/coupons/redeem", {**use, "order_no": "A3"}))[0] == 200
    assert (await post(client, "/coupons/redeem", {**use, "order_no": "A4"}))[1]["error"] == "coupon.spent"


async def test_refusals_have_a_status_and_a_code(client: Client) -> None:
    await post(client, "/orders", {"orders": [ORDER, {**ORDER, "external_no": "B1", "member": {"unionid": "u2"}}]})
    await post(client, "/offers", OFFER)
    issue = {"offer": OFFER["key"], "member": WHO, "because": "1"}
    _, coupon = await post(client, "/coupons/issue", issue)
    use = {**BASKET, "codes": [coupon["code"]], "order_no": "A1"}
    small = [{"sku": "F1", "price_fen": 9999}]
    for path, body, status, error in (
        ("/offers", {**OFFER, "budget_fen": -1}, 422, "api.invalid"),
        ("/offers", {**OFFER, "amount_fen": 1}, 409, "offer.fixed"),
        ("/offers/close", {"key": "nothing"}, 404, "offer.not_found"),
        ("/coupons/issue", {**issue, "because": "2"}, 409, "offer.limit_reached"),
        ("/coupons/issue", {**issue, "member": {"external_userid": "wm9"}}, 404, "member.unknown"),
        ("/coupons/issue", {**issue, "member": {}}, 404, "member.not_named"),
        ("/coupons/hold", {**use, "codes": ["ABCDEFGH"]}, 404, "coupon.not_found"),
        ("/coupons/hold", {**use, "codes": []}, 422, "api.invalid"),
        ("/coupons/hold", {**use, "lines": small}, 409, "coupon.unfit"),
        ("/coupons/hold", {**use, "member": {"unionid": "u2"}}, 404, "coupon.not_found"),
    ):
        answered, answer = await post(client, path, body)
        assert (answered, answer["error"]) == (status, error), (path, body, answer)
    assert (await post(client, "/offers/close", {"key": OFFER["key"]}))[1]["is_closed"] is True


async def test_every_call_is_on_the_openapi_page(client: Client) -> None:
    page = await (await client.get("/api/openapi.json")).json()
    assert {f"/api/v1{call.path}" for call in every_call(None)} <= set(page["paths"])
    assert "HoldIn" in page["components"]["schemas"] and "Draft" in page["components"]["schemas"]


async def test_a_tiered_offer_over_http(client: Client) -> None:
    await post(client, "/orders", {"orders": [ORDER]})
    await post(client, "/offers", OFFER)
    regular = {"is": "lifetime", "orders": {"least": 1}}
    tiers = [{"name": "老客", "audience": regular, "points": 9}, {"name": "新客", "offer": OFFER["key"]}]
    ladder = {"key": "会员礼", "title": "会员礼", "tiers": tiers}
    assert (await post(client, "/ladders", ladder))[1]["tiers"] == ["老客", "新客"]
    assert (await post(client, "/ladders", {**ladder, "tiers": tiers[::-1]}))[1]["error"] == "ladder.wrong"
    query = {"key": "会员礼", "external_userid": "wm1"}
    stands = await (await client.get("/api/v1/ladders", params=query, headers=KEY)).json()
    assert [one["fits"] for one in stands["rungs"]] == [False, True] and stands["rungs"][0]["against"]
    give = {"key": "会员礼", "member": WHO, "because": "march"}
    first = (await post(client, "/ladders/give", give))[1]
    assert (first["tier"], first["reason"], first["coupon"]["status"]) == ("新客", "所有会员", "issued")
    assert (await post(client, "/ladders/give", give))[1] == first
