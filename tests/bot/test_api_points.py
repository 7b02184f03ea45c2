"""Points over HTTP, as a shop's checkout uses them: each call safe to repeat, each refusal with its code."""

import random
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pytest_aiohttp.plugin import AiohttpClient

from bot.app import App
from bot.web.api import Api
from bot.web.api_access import Access
from bot.web.api_orders import CALLS
from bot.web.api_points import CALLS as POINT_CALLS
from bot.web.server import create_app
from crm import level_programme, loyalty_rules
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.peers import Peers
from crm.level_programme import LevelTold, ProgrammeTold
from crm.point_rules import PointRules
from tests.bot.web.described import fits

Client = TestClient[web.Request, web.Application]
KEY = {"Authorization": "Bearer test-api-key"}
WHO = {"external_userid": "wm1"}
LEVELS = ProgrammeTold(levels=[LevelTold(name="普通", threshold_fen=0), LevelTold(name="银卡", threshold_fen=10_000)])
ORDER = {
    "external_no": "A1", "member": WHO, "placed_at": "2026-03-09T09:00:00", "total_fen": 12_800,
    "paid_at": "2026-03-09T09:00:00",
}  # fmt: skip
BY_HAND = {"member": WHO, "points": 9, "because": "T", "reason": "补偿", "by": "a"}


@pytest.fixture
async def client(sessions: Sessions, clock: FrozenClock, aiohttp_client: AiohttpClient) -> Client:
    chance = random.Random(7)
    async with sessions.begin() as session:
        await loyalty_rules.set_points(session, PointRules(), now=clock.now())
        await level_programme.define(session, LEVELS, now=clock.now())
    app = App(clock=clock, chance=chance, sessions=sessions, peers=Peers(sessions, chance=chance))
    api = Api([*CALLS, *POINT_CALLS], sessions, clock, Access(sessions, clock, keys={"shop": "test-api-key"}))
    found: Client = await aiohttp_client(TestServer(create_app(app, api.routes())))
    assert (await post(found, "/orders", {"orders": [ORDER]}))[0] == 200
    return found


async def post(client: Client, path: str, body: Any) -> tuple[int, dict[str, Any]]:
    answer = await client.post(f"/api/v1{path}", json=body, headers=KEY)
    fits("POST", path, answer.status, await answer.json())
    return answer.status, await answer.json()


async def look(client: Client, path: str = "/points") -> dict[str, Any]:
    answer = await client.get(f"/api/v1{path}", params=WHO, headers=KEY)
    assert answer.status == 200
    found: dict[str, Any] = await answer.json()
    fits("GET", path, answer.status, found)
    return found


async def test_a_checkout_spends_and_a_refund_gives_back(client: Client) -> None:
    hand = {"member": WHO, "points": 300, "because": "T1", "reason": "迟发补偿", "by": "adou"}
    for _ in range(2):
        assert await post(client, "/points/grant", hand) == (200, {"points": 300, "active": 300})
    spend = {"member": WHO, "order_no": "B1", "points": 200}
    for _ in range(2):
        assert await post(client, "/points/spend", spend) == (200, {"points": -200, "active": 100})
    status, refused = await post(client, "/points/spend", spend | {"order_no": "B2"})
    assert (status, refused["error"]) == (409, "points.not_enough")
    half = {"order_no": "B1", "refund_no": "R1", "points": 50}
    for _ in range(2):
        assert await post(client, "/points/give_back", half) == (200, {"points": 50, "active": 150})
    assert await post(client, "/points/give_back", {"order_no": "B1"}) == (200, {"points": 150, "active": 300})
    assert await post(client, "/points/give_back", {"order_no": "B1", "refund_no": "R2"}) == (
        200,
        {"points": 0, "active": 300},
    )
    assert (await post(client, "/points/deduct", hand | {"reason": "刷分", "points": 100}))[1]["active"] == 200
    movements = (await look(client, "/points/statement"))["movements"]
    assert [one["points"] for one in movements] == [-100, 150, 50, -200, 300]
    assert movements[0]["reason"] == "刷分"


async def test_where_a_member_stands(client: Client) -> None:
    assert await post(client, "/check_ins", {"member": WHO}) == (
        200,
        {"streak": 1, "points": 2, "reward_in": 6, "reward": 10},
    )
    assert (await post(client, "/check_ins", {"member": WHO}))[1]["error"] == "check_in.already"
    found = await look(client)
    assert (found["active"], found["pending"], found["owed"]) == (2, 0, 0)
    assert (found["level"]["name"], found["level"]["growth_fen"]) == ("银卡", 12_800)


@pytest.mark.parametrize(
    ("path", "body", "ends"),
    [
        ("/points/spend", {"member": {"unionid": "nobody"}, "order_no": "B", "points": 1}, (404, "member.unknown")),
        ("/points/spend", {"member": WHO, "order_no": "B", "points": 0}, (422, "api.invalid")),
        ("/points/give_back", {"order_no": "never"}, (404, "points.not_found")),
        (
            "/points/grant",
            {"member": WHO, "points": 1, "because": "T", "reason": " ", "by": "a"},
            (422, "points.reason_missing"),
        ),
    ],
    ids=["a stranger", "nothing", "never spent", "no reason"],
)
async def test_refusals_say_why(client: Client, path: str, body: Any, ends: tuple[int, str]) -> None:
    status, answer = await post(client, path, body)
    assert (status, answer["error"]) == ends


async def test_long_numbers_are_taken(client: Client) -> None:
    await post(client, "/points/grant", BY_HAND)
    spend = {"source": "s" * 40, "member": WHO, "order_no": "N" * 64, "points": 9}
    assert (await post(client, "/points/spend", spend))[1] == {"points": -9, "active": 0}
    assert (await post(client, "/points/give_back", {"source": "s" * 40, "order_no": "N" * 64}))[1]["active"] == 9
