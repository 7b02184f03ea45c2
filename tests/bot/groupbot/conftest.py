"""A service with one bot, in which nobody works unless the test does."""

import json
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from bot.bootstrap import Service, running
from bot.groupbot.answering import BotPlace, Mentions
from bot.models.group_bot import BotMention
from bot.settings import BotSettings
from bot.simulator.envelope import Crypto, Sealed
from crm.base.clock import FrozenClock
from tests.bot.wecom.test_callback import Packet
from tests.town import settings

BOT_TOKEN, BOT_KEY = "BotToken2026", "BotKeyBotKeyBotKeyBotKeyBotKeyBotKeyBotKey1"
HELP = "https://work.weixin.qq.com/kfid/kfcTEST"


def payload(words: str = "多久发货", msgid: str = "m1", *, userid: str = "adou", **more: Any) -> dict[str, Any]:
    return {
        "msgid": msgid,
        "aibotid": "B1",
        "chatid": "C1",
        "chattype": "group",
        "from": {"userid": userid},
        "response_url": "https://qyapi.weixin.qq.com/cgi-bin/aibot/response?response_code=CODE",
        "msgtype": "text",
        "text": {"content": f"@毛球助手 {words}"},
        **more,
    }


@dataclass
class Hall:
    """The bot's address and, in the test's hand, its worker."""

    service: Service
    clock: FrozenClock
    http: aiohttp.ClientSession
    worker: Mentions
    asks: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.service.port}/wecom/aibot/helper"

    async def post(self, content: dict[str, Any] | str | bytes, **packet: Any) -> tuple[int, dict[str, Any] | None]:
        """(status, the opened reply); None for an empty one."""
        said = content if isinstance(content, str | bytes) else json.dumps(content, ensure_ascii=False)
        made = Packet(**{"content": said, "receive_id": "", "token": BOT_TOKEN, "key": BOT_KEY, **packet})
        sealed = made.sealed()
        body = made.body if made.body is not None else json.dumps({"encrypt": sealed}).encode()
        query, _ = replace(made, encrypted=sealed).request(self.clock.now().timestamp())
        async with self.http.post(self.url, params=query, data=body) as answer:
            content_back = await answer.read()
            if answer.status != 200 or not content_back:
                return answer.status, None
        told = json.loads(content_back)
        assert told["nonce"] == made.nonce
        crypto = Crypto(BOT_TOKEN, BOT_KEY, "", random.Random(1).randbytes)
        parts = Sealed(told["encrypt"], told["msgsignature"], str(told["timestamp"]), told["nonce"])
        return 200, json.loads(crypto.open(parts))

    async def stream(self, content: dict[str, Any], **packet: Any) -> dict[str, Any]:
        status, reply = await self.post(content, **packet)
        assert status == 200
        assert reply is not None
        assert reply["msgtype"] == "stream"
        found: dict[str, Any] = reply["stream"]
        return found

    async def refresh(self, stream_id: str, nonce: str = "refresh") -> dict[str, Any]:
        asks = {**payload(msgid=f"r-{nonce}"), "msgtype": "stream", "stream": {"id": stream_id}}
        return await self.stream(asks, nonce=nonce)

    async def asked(self, words: str, **more: Any) -> str:
        """What a mention is answered with in the end."""
        self.asks += 1
        first = await self.stream(payload(words, f"m{self.asks}", **more), nonce=f"n{self.asks}")
        await self.worker.round()
        last = await self.refresh(first["id"])
        assert last["finish"]
        content: str = last["content"]
        return content

    async def rows(self) -> list[BotMention]:
        async with self.service.app.sessions.read() as session:
            return list(await session.scalars(sa.select(BotMention).order_by(BotMention.id)))


@pytest.fixture
async def hall(database_url: str, tmp_path: Path) -> AsyncIterator[Hall]:
    clock = FrozenClock()
    bot = BotSettings(token=SecretStr(BOT_TOKEN), aes_key=SecretStr(BOT_KEY), display_name="毛球助手", help_url=HELP)
    chosen = settings(database_url, "http://127.0.0.1:9", tmp_path / "faq.csv", bots={"helper": bot})
    async with aiohttp.ClientSession() as http, running(chosen, clock=clock, works=False) as service:
        worker = Mentions(service.app, {"helper": BotPlace(HELP)}, kept=chosen.faq_questions_kept)
        yield Hall(service, clock, http, worker)
