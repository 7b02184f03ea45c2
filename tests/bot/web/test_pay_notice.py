"""Notices of payments: what is not signed, not fresh or not meant is refused, and nothing of it is stored."""

import json
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from bot.app import App
from bot.models.sale import ClaimStatus, SalePayment
from bot.web.pay_notice import PayNotices, signature
from bot.web.server import create_app
from crm.base.peers import Peers
from tests.bot.flashsale.stall import Stall, stall
from tests.factories import make

KEY = b"a-key-for-tests-only"
__all__ = ["make", "stall"]
Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client(stall: Stall) -> AsyncIterator[Client]:
    app = App(
        clock=stall.clock,
        chance=stall.make.chance,
        sessions=stall.sessions,
        peers=Peers(stall.sessions, chance=stall.make.chance),
    )
    async with TestClient(TestServer(create_app(app, PayNotices(app, KEY).routes()))) as found:
        yield found


async def tell(stall: Stall, client: Client, body: bytes, *, key: bytes = KEY, age: int = 0) -> int:
    stamp = str(int(stall.clock.now().timestamp()) - age)
    headers = {"X-Siyu-Timestamp": stamp, "X-Siyu-Signature": signature(key, stamp, body)}
    async with client.post("/pay/notify", data=body, headers=headers) as answer:
        return answer.status


def notice(no: str, **other: object) -> bytes:
    usual = {"transaction_id": "t1", "out_trade_no": no, "paid_fen": 1990, "paid_at": "2026-03-09T10:00:00+08:00"}
    return json.dumps({**usual, **other}).encode()


async def test_a_signed_notice_pays_once(stall: Stall, client: Client) -> None:
    (lin,) = await stall.members(1)
    a1 = await stall.item()
    granted = await stall.claim(a1, lin)
    for _ in range(2):
        assert await tell(stall, client, notice(granted.no)) == 200
    assert await stall.counters(a1) == (0, 1, 2)
    assert await stall.statuses(lin) == [ClaimStatus.PAID]


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"key": b"another"}, 401),
        ({"age": 301}, 401),
        ({"age": -301}, 401),
        ({"body": b"{"}, 422),
        ({"body": b"\xff\xfe"}, 422),
        ({"body": b"[]"}, 422),
        ({"body": notice("n", paid_fen=-1)}, 422),
        ({"body": notice("n", paid_fen=10**15)}, 422),
        ({"body": notice("n", paid_at="2026-03-09T10:00:00")}, 422),
        ({"body": notice("n", transaction_id="")}, 422),
        ({"body": notice("nothing of ours")}, 404),
        ({"body": b" " * (16 * 1024 + 1)}, 413),
    ],
)
async def test_what_is_wrong_is_refused_and_nothing_is_stored(
    stall: Stall, client: Client, wrong: dict[str, object], status: int
) -> None:
    usual = {"body": notice("n")}
    assert await tell(stall, client, **{**usual, **wrong}) == status  # type: ignore[arg-type]
    async with stall.sessions.read() as session:
        assert await session.scalar(sa.select(sa.func.count()).select_from(SalePayment)) == 0


async def test_a_notice_without_a_signature_is_refused(client: Client) -> None:
    async with client.post("/pay/notify", data=notice("n")) as answer:
        assert answer.status == 401
