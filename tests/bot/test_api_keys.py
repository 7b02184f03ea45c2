"""Keys to the API: seen once, good for their scopes until they end, kept at a pace, their last use noted."""

import random
from datetime import timedelta

import pytest
import sqlalchemy as sa
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pytest_aiohttp.plugin import AiohttpClient

from bot import api_keys
from bot.api_keys import KeyNameTaken, KeyNotFound, KeyWrong, Made
from bot.app import App
from bot.models.api import ApiKey, Scope
from bot.web.api import Api
from bot.web.api_access import Access
from bot.web.api_calls import every_call
from bot.web.server import create_app
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.peers import Peers
from crm.base.secrets import Vault
from tests.bot.whole_person import VAULT

Client = TestClient[web.Request, web.Application]
WHO = {"external_userid": "wm1"}


@pytest.fixture
def access(sessions: Sessions, clock: FrozenClock) -> Access:
    return Access(sessions, clock, keys={"shop": "test-api-key"}, vault=VAULT, calls_per_minute=5)


@pytest.fixture
async def client(sessions: Sessions, clock: FrozenClock, access: Access, aiohttp_client: AiohttpClient) -> Client:
    chance = random.Random(7)
    app = App(clock=clock, chance=chance, sessions=sessions, peers=Peers(sessions, chance=chance))
    api = Api(every_call(VAULT), sessions, clock, access)
    return await aiohttp_client(TestServer(create_app(app, api.routes())))


async def made(sessions: Sessions, clock: FrozenClock, *scopes: Scope, name: str = "收银台", days: int = 30) -> Made:
    until = clock.now() + timedelta(days=days)
    chance = random.Random(name)
    async with sessions.begin() as session:
        return await api_keys.create(
            session, VAULT, name, scopes, by="boss", expires_at=until, now=clock.now(), chance=chance
        )


async def ask(client: Client, secret: str, path: str = "/members") -> tuple[int, dict[str, object]]:
    headers = {"Authorization": f"Bearer {secret}"}
    answer = await client.get(f"/api/v1{path}", params=WHO, headers=headers)
    return answer.status, await answer.json()


async def test_a_key_opens_what_its_scopes_say_and_nothing_else(
    client: Client, sessions: Sessions, clock: FrozenClock
) -> None:
    one = await made(sessions, clock, Scope.MEMBERS_READ)
    assert (await ask(client, one.secret))[1]["error"] == "member.unknown"
    status, told = await ask(client, one.secret, "/coupons")
    assert (status, told["error"], told["facts"]) == (403, "api.scope_missing", {"scope": "coupons:read"})


async def test_the_secret_is_nowhere_in_the_database(sessions: Sessions, clock: FrozenClock) -> None:
    one = await made(sessions, clock, Scope.MEMBERS_READ)
    async with sessions.read() as session:
        row = (await session.execute(sa.select(*ApiKey.__table__.columns))).one()
        assert one.secret not in str(row)
        assert await api_keys.find(session, VAULT, one.secret, now=clock.now()) is not None
        other = Vault("b" * 43 + "=")
        assert await api_keys.find(session, other, one.secret, now=clock.now()) is None


async def test_a_key_that_ended_says_so_to_whoever_has_it(
    client: Client, sessions: Sessions, clock: FrozenClock
) -> None:
    keys = [await made(sessions, clock, Scope.MEMBERS_READ, name=name, days=2) for name in ("c", "d")]
    async with sessions.begin() as session:
        assert await api_keys.revoke(session, "c", by="boss", now=clock.now())
        assert not await api_keys.revoke(session, "c", by="boss", now=clock.now())
        with pytest.raises(KeyNotFound):
            await api_keys.revoke(session, "nobody", by="boss", now=clock.now())
    status, told = await ask(client, keys[0].secret)
    assert (status, told["error"], told["message"]) == (401, "api.unauthorized", "this key is revoked")
    assert (await ask(client, keys[1].secret))[0] == 404
    clock.advance(days=2)
    assert (await ask(client, keys[1].secret))[1]["message"] == "this key is expired"


async def test_a_name_is_given_once_and_mistakes_are_told(sessions: Sessions, clock: FrozenClock) -> None:
    await made(sessions, clock, Scope.MEMBERS_READ)
    with pytest.raises(KeyNameTaken):
        await made(sessions, clock, Scope.MEMBERS_READ)
    for wrong in (
        made(sessions, clock),
        made(sessions, clock, Scope.MEMBERS_READ, name=" "),
        made(sessions, clock, Scope.MEMBERS_READ, name="x", days=-1),
    ):
        with pytest.raises(KeyWrong):
            await wrong


async def test_too_many_calls_are_told_when_to_go_on(client: Client, sessions: Sessions, clock: FrozenClock) -> None:
    one, two = (
        await made(sessions, clock, Scope.MEMBERS_READ, name="a"),
        await made(sessions, clock, Scope.MEMBERS_READ, name="b"),
    )
    for _ in range(5):
        assert (await ask(client, one.secret))[0] == 404
    clock.advance(seconds=20)
    answer = await client.get("/api/v1/members", params=WHO, headers={"Authorization": f"Bearer {one.secret}"})
    assert (answer.status, answer.headers["Retry-After"], (await answer.json())["error"]) == (429, "40", "api.too_many")
    assert (await ask(client, two.secret))[0] == 404
    clock.advance(seconds=40)
    assert (await ask(client, one.secret))[0] == 404


async def test_the_last_use_is_written_once_for_many_calls(
    client: Client, sessions: Sessions, clock: FrozenClock, access: Access
) -> None:
    one = await made(sessions, clock, Scope.MEMBERS_READ)

    async def last() -> object:
        async with sessions.read() as session:
            return await session.scalar(sa.select(ApiKey.last_used_at))

    for _ in range(3):
        clock.advance(seconds=1)
        await ask(client, one.secret)
    assert await last() is None
    await access.note()
    assert await last() == clock.now()
    await access.note()
    async with sessions.begin() as session:  # another process saw an older use
        await api_keys.note_use(session, {one.key.id: clock.now() - timedelta(hours=1)})
    assert await last() == clock.now()


async def test_the_same_idempotency_key_of_two_callers_is_two(
    client: Client, sessions: Sessions, clock: FrozenClock
) -> None:
    """A key in the database may have the name of one in the settings."""
    one = await made(sessions, clock, Scope.ORDERS_WRITE, name="shop")
    order = {"external_no": "A1", "member": WHO, "placed_at": "2026-03-08T12:00:00", "total_fen": 100}
    for secret, number in ((one.secret, "A1"), ("test-api-key", "A2")):
        headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": "k1"}
        answer = await client.post(
            "/api/v1/orders", json={"orders": [{**order, "external_no": number}]}, headers=headers
        )
        assert (await answer.json())["results"][0]["number"] == number
