"""The HTTP API: who may call, what a repeated request gets, and what bad input is told."""

import io
import json
import random
from typing import Any

import pytest
import sqlalchemy as sa
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pytest_aiohttp.plugin import AiohttpClient

from bot.app import App
from bot.web.api import Api
from bot.web.api_access import Access
from bot.web.api_calls import every_call
from bot.web.api_orders import CALLS
from bot.web.server import create_app
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.peers import Peers
from crm.models.order import Order
from tests.bot.web.described import fits

Client = TestClient[web.Request, web.Application]
KEY = {"Authorization": "Bearer test-api-key"}
ORDER = {
    "external_no": "A1",
    "member": {"external_userid": "wm1"},
    "placed_at": "2026-03-08T12:00:00",
    "paid_at": "2026-03-08T12:01:00+08:00",
    "total_fen": 12800,
    "lines": [{"sku": "CF-2KG", "price_fen": 12800}],
}


@pytest.fixture
async def client(sessions: Sessions, clock: FrozenClock, aiohttp_client: AiohttpClient) -> Client:
    chance = random.Random(7)
    app = App(clock=clock, chance=chance, sessions=sessions, peers=Peers(sessions, chance=chance))
    api = Api(CALLS, sessions, clock, Access(sessions, clock, keys={"shop": "test-api-key"}))
    return await aiohttp_client(TestServer(create_app(app, api.routes())))


async def post(client: Client, path: str, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    answer = await client.post(f"/api/v1{path}", json=body, headers={**KEY, **headers})
    fits("POST", path, answer.status, await answer.json())
    return answer.status, await answer.json()


async def count(sessions: Sessions) -> int:
    async with sessions.read() as session:
        return await session.scalar(sa.select(sa.func.count()).select_from(Order)) or 0


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic test-api-key"])
async def test_nobody_calls_without_a_key(client: Client, given: str) -> None:
    headers = {"Authorization": given}
    answer = await client.post("/api/v1/orders", json={"orders": [ORDER]}, headers=headers)
    assert (answer.status, (await answer.json())["error"]) == (401, "api.unauthorized")


async def test_an_order_is_told_and_its_member_can_be_looked_up(client: Client) -> None:
    status, answer = await post(client, "/orders", {"orders": [ORDER]})
    assert (status, answer["results"]) == (200, [{"number": "A1", "result": "taken", "status": "paid", "error": None}])
    found = await client.get("/api/v1/members", params={"external_userid": "wm1"}, headers=KEY)
    assert (await found.json())["external_userids"] == ["wm1"]
    nobody = await client.get("/api/v1/members", params={"external_userid": "wm2"}, headers=KEY)
    assert (nobody.status, (await nobody.json())["error"]) == (404, "member.unknown")


async def test_one_refused_order_takes_no_other_with_it(client: Client, sessions: Sessions) -> None:
    stranger = {**ORDER, "external_no": "A2", "member": {}}
    _, answer = await post(client, "/orders", {"orders": [ORDER, stranger]})
    assert [one["result"] for one in answer["results"]] == ["taken", "refused"]
    assert answer["results"][1]["error"] == "member.not_named"
    assert await count(sessions) == 1


async def test_a_refund_before_its_order_waits_for_it(client: Client) -> None:
    refund = {"refund_no": "R1", "order_no": "A1", "amount_fen": 12800, "refunded_at": "2026-03-09T10:00:00"}
    _, early = await post(client, "/refunds", {"refunds": [refund]})
    assert early["results"][0]["result"] == "waiting"
    _, answer = await post(client, "/orders", {"orders": [ORDER]})
    assert answer["results"][0]["status"] == "refunded"


async def test_a_repeated_request_gets_the_same_answer_and_does_nothing(client: Client, sessions: Sessions) -> None:
    first = await post(client, "/orders", {"orders": [ORDER]}, **{"Idempotency-Key": "k1"})
    assert await post(client, "/orders", {"orders": [ORDER]}, **{"Idempotency-Key": "k1"}) == first
    other = await post(client, "/orders", {"orders": [{**ORDER, "external_no": "A9"}]}, **{"Idempotency-Key": "k1"})
    assert (other[0], other[1]["error"]) == (409, "api.key_reused")
    assert await count(sessions) == 1


@pytest.mark.parametrize(
    ("raw", "status", "error"),
    [
        (b"{", 400, "api.bad_json"),
        (b"\xff\xfe", 400, "api.bad_json"),
        (b"[" * 100_000, 400, "api.bad_json"),
        (b"[]", 422, "api.invalid"),
        (b'{"orders": []}', 422, "api.invalid"),
        (b'{"orders": [{"external_no": "A1", "total_fen": 1.5}]}', 422, "api.invalid"),
        (b'{"orders": [], "order": 1}', 422, "api.invalid"),
        (b'{"orders": [], "source": "\\u0000"}', 422, "api.invalid"),
        (b'{"orders": NaN}', 400, "api.bad_json"),
        (b'{"orders": "\\ud800"}', 400, "api.bad_json"),
        (b" " * (2 * 1024 * 1024 + 1), 413, "api.too_large"),
    ],
    ids=[
        "broken",
        "not utf-8",
        "deep",
        "a list",
        "none",
        "half a fen",
        "unknown field",
        "nul",
        "nan",
        "half a pair",
        "too large",
    ],
)
async def test_bad_bodies_are_told_what_is_wrong(client: Client, raw: bytes, status: int, error: str) -> None:
    answer = await client.post("/api/v1/orders", data=io.BytesIO(raw), headers=KEY)
    assert (answer.status, (await answer.json())["error"]) == (status, error)


async def test_a_misspelt_field_or_parameter_is_told_what_there_is(client: Client) -> None:
    status, answer = await post(client, "/orders", {"orders": [ORDER], "order": []})
    assert (status, answer["fields"]) == (422, {"order": "there is no such field; this call takes orders"})
    found = await client.get("/api/v1/members", params={"externalid": "wm1"}, headers=KEY)
    words = (await found.json())["fields"]["externalid"]
    assert words.startswith("there is no such field; this call takes external_userid, unionid, shop_account")
    twice = await client.get("/api/v1/members?code=ABCDEFGH&code=ABCDEFG2", headers=KEY)
    assert (await twice.json())["fields"] == {"code": "given more than once"}
    both = await client.post("/api/v1/orders?dry=true", json={"orders": [ORDER]}, headers=KEY)
    assert (await both.json())["fields"] == {"dry": "this call takes no query"}


async def test_a_number_is_a_number_whatever_its_spelling(client: Client, sessions: Sessions) -> None:
    whole = {**ORDER, "total_fen": 12800.0}
    assert (await post(client, "/orders", {"orders": [whole]}))[0] == 200
    status, answer = await post(client, "/orders", {"orders": [{**ORDER, "total_fen": "12800"}]})
    assert (status, list(answer["fields"])) == (422, ["orders.0.total_fen"])
    assert await count(sessions) == 1


async def test_a_path_without_a_call_says_so(client: Client) -> None:
    nothing = await client.get("/api/v1/nothing", headers=KEY)
    assert (nothing.status, (await nothing.json())["error"]) == (404, "api.no_such_call")
    wrong = await client.delete("/api/v1/orders", headers=KEY)
    assert (wrong.status, (await wrong.json())["error"], wrong.headers["Allow"]) == (405, "api.wrong_method", "POST")


async def test_a_refusal_carries_its_facts(client: Client) -> None:
    refund = {"refund_no": "R1", "amount_fen": 1, "refunded_at": "2026-03-09T10:00:00"}
    _, answer = await post(client, "/refunds", {"refunds": [refund]})
    assert answer["results"][0]["error"] == "order.refund_of_nobody"
    nobody = await client.get("/api/v1/members", headers=KEY)
    told = {"error": "member.not_named", "message": "The request names no identity.", "fields": {}, "facts": {}}
    assert (nobody.status, await nobody.json()) == (404, told)


def test_every_example_of_the_description_can_be_meant() -> None:
    for call in every_call(None):
        assert call.example or not call.takes.model_fields, call.path
        call.takes.model_validate_json(json.dumps(call.example), strict=True)


async def test_the_openapi_page_describes_every_call(client: Client) -> None:
    page = await (await client.get("/api/openapi.json")).json()
    assert {f"/api/v1{call.path}" for call in CALLS} == set(page["paths"])
    assert "OrderIn" in page["components"]["schemas"]
