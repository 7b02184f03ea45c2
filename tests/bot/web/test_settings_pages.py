"""The pages of settings: a key and a secret shown once, webhooks with their log, connections without a secret."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from bot import api_keys
from bot.access import audit
from bot.models.api import Scope
from bot.models.webhook import DeliveryState, Webhook, WebhookDelivery
from bot.outward import TOLD
from bot.settings import WebhookSettings
from bot.web.console.keys import SCOPES
from bot.web.console.webhooks import EVENTS
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.secrets import Vault
from crm.sight import Role
from tests.bot.web.staffroom import KEY, Browser, Staffroom, open_staffroom
from tests.bot.webhooks.ear import Ear, listening_ear


@pytest.fixture
async def room(sessions: Sessions, clock: FrozenClock, tmp_path: Path) -> AsyncIterator[Staffroom]:
    private = WebhookSettings(private=True)
    keys = {"till": SecretStr("test-api-key-of-the-till")}
    async with open_staffroom(sessions, clock, tmp_path, webhooks=private, api_keys=keys) as opened:
        yield opened


@pytest.fixture
async def ear() -> AsyncIterator[Ear]:
    async with listening_ear() as listening:
        yield listening


def secret_in(html: str) -> str:
    found = re.search(r'data-test="secret">([^<]+)<', html)
    assert found is not None
    return found[1]


async def said(browser: Browser, path: str, fields: dict[str, object], status: int = 200) -> str:
    answer = await browser.post(path, fields)
    html = await answer.text()
    assert answer.status == status, html
    return html


async def test_a_key_is_shown_once_and_taken_back(room: Staffroom, sessions: Sessions, clock: FrozenClock) -> None:
    owner = await room.enter(Role.OWNER)
    html = await owner.text("/console/keys")
    assert "还没有钥匙" in html and "till" in html and "test-api-key-of-the-till" not in html
    html = await said(
        owner, "/console/keys", {"name": "收银台", "days": "90", "scope": ["orders:write", "orders:read"]}
    )
    secret = secret_in(html)
    async with sessions.read() as session:
        caller = await api_keys.find(session, Vault(KEY), secret, now=clock.now())
    assert caller is not None and caller.scopes == {Scope.ORDERS_READ, Scope.ORDERS_WRITE}
    html = await owner.text("/console/keys")
    assert secret not in html and secret[:10] in html
    assert "换个名字" in await said(owner, "/console/keys", {"name": "收银台", "scope": "orders:read"}, 409)
    assert "至少勾一个权限" in await said(owner, "/console/keys", {"name": "别的"}, 422)
    assert "已收回" in await said(owner, "/console/keys/revoke", {"name": "收银台"})
    assert "没有这把钥匙" in await said(owner, "/console/keys/revoke", {"name": "nobody"}, 404)
    async with sessions.read() as session:
        done = await audit.page(session, action="api_key", size=9)
    assert [one.action for one in done] == ["api_key.revoked", "api_key.made"]
    assert secret not in str([one.facts for one in done])


def test_every_scope_and_every_event_has_words() -> None:
    assert set(SCOPES) == set(Scope)
    assert set(EVENTS) == set(TOLD)


async def test_who_may_do_what(room: Staffroom) -> None:
    manager, agent = await room.enter(Role.MANAGER), await room.enter(Role.AGENT)
    assert (await manager.get("/console/keys")).status == 403
    assert (await manager.get("/console/webhooks")).status == 200
    for path in ("/console/keys", "/console/webhooks", "/console/connections"):
        assert (await agent.get(path)).status == 403
    for path in ("/console/webhooks/7", "/console/webhooks/99999999999999999999"):
        assert (await manager.get(path)).status == 404


async def test_a_webhook_is_added_tried_looked_at_and_sent_again(room: Staffroom, sessions: Sessions, ear: Ear) -> None:
    manager = await room.enter(Role.MANAGER)
    assert "还没有 webhook" in await manager.text("/console/webhooks")
    fields = {"name": "ERP", "url": ear.url, "event": ["OrderPaid", "OrderRefunded"]}
    secret = secret_in(await said(manager, "/console/webhooks", fields))
    assert secret.startswith("whsec_") and secret not in await manager.text("/console/webhooks")
    assert "还没有发过" in await manager.text("/console/webhooks/1")
    ear.words = "<b>got it</b>"
    assert "收下了：200" in await said(manager, "/console/webhooks/1", {"do": "test"})
    html = await manager.text("/console/webhooks/1")
    assert "Ping" in html and "&lt;b&gt;got it" in html and "<b>got it" not in html
    ear.always = 500
    assert "没收下：500" in await said(manager, "/console/webhooks/1", {"do": "test"})
    assert "Ping" in await manager.text("/console/webhooks/1?state=given_up")
    assert "1 件马上重发" in await said(manager, "/console/webhooks/1", {"do": "replay", "delivery": "1"})
    assert "1 件马上重发" in await said(manager, "/console/webhooks/1", {"do": "replay_failed"})
    span = {"do": "replay_span", "since": "2026-03-09T09:00", "until": "2026-03-09T11:00"}
    assert "2 件马上重发" in await said(manager, "/console/webhooks/1", span)
    assert "先后不能反" in await said(manager, "/console/webhooks/1", {**span, "until": "2026-03-08T11:00"}, 422)
    assert "停用" in await said(manager, "/console/webhooks/1", {"do": "disable"})
    assert "disabled by manager" not in await manager.text("/console/webhooks/1")
    async with sessions.read() as session:
        assert (await session.scalars(sa.select(Webhook.disabled_at))).one() is not None
        assert set(await session.scalars(sa.select(WebhookDelivery.state))) == {DeliveryState.WAITING}
    await said(manager, "/console/webhooks/1", {"do": "enable"})
    assert (await manager.post("/console/webhooks/1", {"do": "burn"})).status == 404
    assert (await manager.post("/console/webhooks/1", {"do": "remove"})).status == 303
    assert (await manager.get("/console/webhooks/1")).status == 404


async def test_an_address_that_is_refused_is_kept_in_the_form(
    sessions: Sessions, clock: FrozenClock, tmp_path: Path
) -> None:
    async with open_staffroom(sessions, clock, tmp_path) as strict:
        manager = await strict.enter(Role.MANAGER)
        html = await said(manager, "/console/webhooks", {"name": "ERP", "url": "https://127.0.0.1/x"}, 422)
        assert "公网网址" in html and 'value="https://127.0.0.1/x"' in html


async def test_connections_show_no_secret_and_what_doctor_finds(
    room: Staffroom, sessions: Sessions, clock: FrozenClock
) -> None:
    manager = await room.enter(Role.MANAGER)
    html = await manager.text("/console/connections")
    assert "一切正常" in html and "ww0000000000000001" in html and "/wecom/callback/main" in html
    for secret in ("town-secret", "TownToken2026", "town-pay-key-for-tests", "abcdefghijklmnop"):
        assert secret not in html
    async with sessions.begin() as session:
        session.add(
            Webhook(
                name="ERP", url="https://x.example", events=[], secret="s", created_by="b", created_at=clock.now(),
                disabled_at=clock.now(), disabled_because="503",
            )
        )  # fmt: skip
    assert "webhook ERP 停用了：503" in await manager.text("/console/connections")
