"""Staff mention the AI bot in an internal group of the simulated WeCom, and read its answer as it streams in."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from bot import texts
from bot.bootstrap import Service, running
from bot.models.faq import FaqQuestion
from bot.models.group_bot import BotMention
from bot.settings import BotSettings, Settings
from bot.simulator.corp import CallbackTarget
from bot.simulator.simulator import Simulator
from crm.base.clock import MovableClock
from tests.journeys.processes import crew
from tests.journeys.test_meaning import model
from tests.town import AGENT_ID, QUESTIONS, SERVICER, WORKING_TIME, listening, marks, new_simulator, settings

__all__ = ["model"]
NAME, ROOM = "毛球助手", "in-test"
BOT_TOKEN, BOT_KEY = "BotToken2026", "BotKeyBotKeyBotKeyBotKeyBotKeyBotKeyBotKey1"
HELP = "https://work.weixin.qq.com/kfid/kfcTEST"


class Office:
    """The group as its members see it, and the service behind the bot, which may come and go."""

    def __init__(self, simulator: Simulator, chosen: Settings, origin: str) -> None:
        self.simulator, self.settings, self.origin = simulator, chosen, origin
        self.bot = simulator.world.aibots.add(NAME)
        simulator.world.aibots.add_room("员工内购群", [SERVICER, "liqiang"], [self.bot.id], ROOM)

    @property
    def messages(self) -> list[Any]:
        return self.simulator.world.chats.internal(ROOM).messages

    @property
    def answers(self) -> list[dict[str, Any]]:
        return [one.payload for one in self.messages if one.sender_kind == "bot"]

    def says(self, words: str, userid: str = SERVICER, **more: Any) -> None:
        self.simulator.world.aibots.say(userid, ROOM, "text", {"content": words}, **more)

    async def answered(self, count: int = 1) -> str:
        """The newest answer, once there are so many finished ones."""
        await until(lambda: sum(bool(one.get("finish", True)) for one in self.answers) >= count)
        content: str = self.answers[-1]["content"]
        return content

    @asynccontextmanager
    async def service(self, *, works: bool = True, connects: bool = True) -> AsyncIterator[Service]:
        clock = self.simulator.clock
        async with running(self.settings, clock=clock, chance=random.Random(7), works=works) as service:
            if connects:
                await self.connect(service.port)
            yield service

    async def connect(self, port: int) -> None:
        """Save the address in the bot's settings, which verifies it."""
        target = {"url": f"http://127.0.0.1:{port}/wecom/aibot/helper", "token": BOT_TOKEN, "aes_key": BOT_KEY}
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{self.origin}/sim/bots/{self.bot.id}/callback", json=target) as answer,
        ):
            assert answer.status == 200, await answer.text()


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < end, "not in time"
        await asyncio.sleep(0.01)


async def until_async(condition: Callable[[], Awaitable[Any]], seconds: float = 10.0) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while not await condition():
        assert asyncio.get_running_loop().time() < end, "not in time"
        await asyncio.sleep(0.02)


@pytest.fixture
async def office(database_url: str, tmp_path: Path) -> AsyncIterator[Office]:
    simulator = new_simulator(MovableClock(WORKING_TIME))
    simulator.bot_calls.poll_seconds = 0.05
    simulator.roads.retry_after = 0.05
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(listening(simulator))
        bot = BotSettings(token=SecretStr(BOT_TOKEN), aes_key=SecretStr(BOT_KEY), display_name=NAME, help_url=HELP)
        chosen = settings(database_url, origin, tmp_path / "faq.csv", bots={"helper": bot})
        yield Office(simulator, chosen, origin)


async def test_a_mention_is_answered_in_the_group_and_what_is_personal_is_not(office: Office) -> None:
    async with office.service():
        office.says(f"@{NAME} 满多少包邮")
        assert await office.answered() == "【包邮】满 88 元包邮。"
        office.says("今天吃什么")
        office.says(f"@{NAME} 我的订单", userid="liqiang")
        assert await office.answered(2) == texts.GROUP_PERSONAL.format(link=texts.GROUP_PERSONAL_LINK.format(url=HELP))
        await asyncio.sleep(0.3)
        assert len(office.answers) == 2, "what does not mention it, it does not hear"
        assert not office.simulator.callbacks.problems


async def test_a_quoted_message_is_the_question_and_a_rating_comes_back(office: Office) -> None:
    async with office.service() as service:
        office.says("怎么退货？", userid="liqiang")
        office.says(f"@{NAME}", quote=office.messages[-1].seq)
        assert "【退货】" in await office.answered()
        office.simulator.world.aibots.rate(SERVICER, ROOM, office.messages[-1].seq, 2)

        async def on_the_list() -> bool:
            async with service.app.sessions.read() as session:
                found = await session.get(FaqQuestion, 1)
                return found is not None and found.unanswered

        await until_async(on_the_list)


async def test_a_single_chat_greets_and_answers(office: Office) -> None:
    async with office.service():
        room = office.simulator.world.aibots.enter(SERVICER, office.bot.id)
        chat = office.simulator.world.chats.internal(room.chat_id)
        await until(lambda: chat.messages)
        assert chat.messages[0].payload["content"].startswith(texts.GROUP_HELLO.format(shop="毛球小铺"))
        office.simulator.world.aibots.say(SERVICER, room.chat_id, "text", {"content": "可以开发票吗"})
        await until(lambda: chat.messages[-1].payload.get("finish"))
        assert chat.messages[-1].payload["content"] == "【发票】支持电子发票。"


async def test_a_question_in_new_words_is_understood_by_its_meaning(office: Office, tmp_path: Path, model: str) -> None:
    more = {"faq_meaning": "server", "faq_embeddings_url": model, "faq_vectors": tmp_path / "vectors.npz"}
    office.settings = office.settings.model_copy(update=more)
    async with office.service() as service:
        await until(lambda: service.app.faq.matcher.meant)
        office.says(f"@{NAME} 东西哪天出仓")
        assert "多久发货" in await office.answered()
        office.says(f"@{NAME} 1")
        assert "【发货】" in await office.answered(2)


async def test_a_restart_in_mid_stream_costs_nothing(office: Office) -> None:
    async with office.service(works=False):  # it stores, and dies before it has answered
        office.says(f"@{NAME} 多久发货")
        await until(lambda: office.simulator.bot_calls.refreshes >= 2)
        assert [(one["content"], one["finish"]) for one in office.answers] == [(texts.GROUP_LOOKING, False)]
    asked = office.simulator.bot_calls.refreshes
    await until(lambda: office.simulator.bot_calls.refreshes > asked)  # nobody is there to answer
    async with office.service():
        assert "【发货】" in await office.answered()
        assert len(office.answers) == 1


async def test_a_message_delivered_twice_is_answered_once(office: Office) -> None:
    office.simulator.roads.duplicate = 1.0
    async with office.service() as service:
        office.says(f"@{NAME} 多久发货")
        assert "【发货】" in await office.answered()
        await asyncio.sleep(0.3)
        async with service.app.sessions.read() as session:
            assert await session.get(BotMention, 2) is None
        assert len(office.answers) == 1


async def test_what_the_stream_could_not_show_comes_by_the_active_reply_once(office: Office) -> None:
    async with office.service(works=False):
        office.says(f"@{NAME} 多久发货")
        await until(lambda: office.answers)
    office.simulator.advance(6 * 60)  # nobody was there while WeCom asked
    await until(lambda: office.answers[0].get("timed_out"))
    async with office.service() as service:
        office.simulator.advance(30)
        service.app.peers.tap("send")
        await until(lambda: len(office.answers) == 2)
        assert "【发货】" in office.answers[1]["content"]
        await asyncio.sleep(0.4)
        assert len(office.answers) == 2
        calls = [call for call in office.simulator.log.calls if call.path == "/cgi-bin/aibot/response"]
        assert [call.errcode for call in calls] == [0]


@pytest.mark.xdist_group("kills")
async def test_killed_at_any_instant_every_mention_has_one_answer(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chance: random.Random
) -> None:
    """Several processes on PostgreSQL, one on SQLite; which of them stores, answers and shows is nobody's business."""
    simulator = new_simulator()
    simulator.bot_calls.poll_seconds = simulator.roads.retry_after = 0.2
    simulator.roads.retries = 50  # the vendor gives up after three; here somebody is killed every half second
    for name, value in {"TOKEN": BOT_TOKEN, "AES_KEY": BOT_KEY, "DISPLAY_NAME": NAME}.items():
        monkeypatch.setenv(f"SIYU_BOTS__HELPER__{name}", value)
    commands = ["web", "worker", "worker"] if database_url.startswith("postgresql") else ["serve"]
    async with listening(simulator) as origin:
        office = Office(simulator, settings(database_url, origin, tmp_path / "faq.csv"), origin)
        async with crew(database_url, simulator, tmp_path, commands) as running_ones:
            app = simulator.world.corp.apps[AGENT_ID].callback
            assert app is not None
            url = app.url.replace("/callback/main", "/aibot/helper")
            office.simulator.world.aibots.get(office.bot.id).callback = CallbackTarget(url, BOT_TOKEN, BOT_KEY)
            asked = [*QUESTIONS] * 3
            for number, question in enumerate(asked):
                office.says(f"@{NAME} {question}", userid=(SERVICER, "liqiang")[number % 2])
                await asyncio.sleep(0.1)
                if number % 5 == 3:
                    running_ones.replace(chance)
            await until(lambda: sum(bool(one.get("finish")) for one in office.answers) == len(asked), seconds=60)
            assert running_ones.kills == 3
            assert Counter(marks([one["content"] for one in office.answers])) == Counter(list(QUESTIONS.values()) * 3)
