"""The API calls about one member: the card masked by role, and an erasure that asks twice."""

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
from bot.web.api_members import member_calls
from bot.web.server import create_app
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.peers import Peers
from crm.models.member import Member
from tests.bot.web.described import fits
from tests.bot.whole_person import MARKS, VAULT, told_of, whole_person

Client = TestClient[web.Request, web.Application]
KEY = {"Authorization": "Bearer test-api-key"}


@pytest.fixture
async def client(sessions: Sessions, clock: FrozenClock, aiohttp_client: AiohttpClient) -> Client:
    chance = random.Random(7)
    app = App(clock=clock, chance=chance, sessions=sessions, peers=Peers(sessions, chance=chance))
    api = Api(member_calls(VAULT), sessions, clock, Access(sessions, clock, keys={"shop": "test-api-key"}))
    return await aiohttp_client(TestServer(create_app(app, api.routes())))


async def code_of(sessions: Sessions, member_id: int) -> str:
    async with sessions.read() as session:
        return str(await session.scalar(sa.select(Member.code).where(Member.id == member_id)))


async def ask(client: Client, method: str, path: str, **more: Any) -> tuple[int, dict[str, Any]]:
    answer = await client.request(method, f"/api/v1/members/{path}", headers=KEY, **more)
    fits(method, f"/members/{path}", answer.status, await answer.json())
    return answer.status, await answer.json()


async def test_a_card_comes_masked_by_role(client: Client, sessions: Sessions, clock: FrozenClock) -> None:
    code = await code_of(sessions, await whole_person(sessions, clock))
    status, card = await ask(client, "GET", f"{code.lower()}/card", params={"role": "manager"})
    assert (status, card["code"], card["name"], card["phones"]) == (200, code, "印记姓名", ["138****8000"])
    assert card["stage"]["stage"] == "new"
    status, card = await ask(client, "GET", f"{code}/card", params={"role": "auditor"})
    assert (card["name"], card["phones"], card["may_reveal"]) == ("印**", ["***"], False)
    status, card = await ask(client, "GET", f"{code}/card")
    assert card["role"] == "agent"


@pytest.mark.parametrize(
    ("path", "params", "expected"),
    [("ABCD2345/card", {}, 404), ("ABCD2345/card", {"role": "king"}, 422), ("ABCD2345/card", {"rôle": "x"}, 422)],
)
async def test_bad_questions_get_an_answer(client: Client, path: str, params: dict[str, str], expected: int) -> None:
    assert (await ask(client, "GET", path, params=params))[0] == expected


async def test_an_erasure_says_first_what_it_would_do(client: Client, sessions: Sessions, clock: FrozenClock) -> None:
    code = await code_of(sessions, await whole_person(sessions, clock))
    before = await told_of(sessions)
    status, plan = await ask(client, "POST", f"{code}/erasure", json={})
    assert (status, plan["receipt"]) == (200, None)
    assert await told_of(sessions) == before
    status, done = await ask(client, "POST", f"{code}/erasure", json={"confirm": True})
    assert status == 200
    assert len(done["receipt"]) == 8
    assert done["lines"] == plan["lines"]
    assert [mark for mark in MARKS if mark in str(done)] == []
    assert (await ask(client, "POST", f"{code}/erasure", json={"confirm": True}))[0] == 404


async def test_both_are_described(client: Client) -> None:
    page = await (await client.get("/api/openapi.json")).json()
    assert set(page["paths"]) == {"/api/v1/members/{code}/card", "/api/v1/members/{code}/erasure"}
    assert "timeline" in str(page["components"]["schemas"]["Card"]["properties"].keys())
