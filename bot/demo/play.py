"""The demo: the shop's service and a simulated WeCom side by side, seeded, talking over the real protocol."""

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path

from pydantic import SecretStr

from bot import schema
from bot.bootstrap import running
from bot.demo import archive, desk, loyalty, past, plans, referral, sale, sent, shop, sold, staff, subscribing, talked
from bot.settings import (
    ArchiveSettings,
    BotSettings,
    GateSettings,
    HandoffSettings,
    Settings,
    WebhookSettings,
    WecomApp,
    WrongSettings,
)
from bot.simulator.server import serve
from bot.simulator.simulator import Simulator, Till
from crm.base.clock import MovableClock
from crm.base.db import open_sessions

SEED = 2026
FAQ_FILE = Path(__file__).parent / "faq.csv"


async def run(
    *, port: int, simulator_port: int, database: Path, stop: asyncio.Event, say: Callable[[str], None]
) -> None:
    """Open the shop, print where to look, and serve until `stop`. The database file is made afresh."""
    clock, chance = MovableClock(), random.Random(SEED)
    simulator = Simulator(clock, random.Random(SEED), corpid=shop.CORP_ID)
    customers = shop.furnish(simulator, chance)
    async with AsyncExitStack() as stack:
        try:
            runner = await serve(simulator, port=simulator_port)  # first: a demo that runs already keeps its database
            stack.push_async_callback(runner.cleanup)
            url = _fresh(database)
            chat_archive = archive.set_up(simulator, database.parent, simulator_port)
            settings = _settings(port, simulator_port, url, chat_archive)
            await asyncio.to_thread(schema.upgrade, settings.database_url)
            members = await _record(settings.database_url, simulator, customers, chance, now=clock.now())
            service = await stack.enter_async_context(running(settings, clock=clock))
        except OSError as error:
            raise WrongSettings(
                f"端口 {port} 或 {simulator_port} 已被占用，请用 --port 和 --simulator-port 换一个（{error}）"
            ) from None
        await staff.hire(service.app.sessions, now=clock.now())
        here = f"http://127.0.0.1:{service.port}"
        shop.connect(simulator, here)
        simulator.world.customer_enters(shop.FIRST_CUSTOMER, shop.KF)
        say(_addresses(service.port, simulator_port))
        await _ask_first_question(simulator)
        simulator.world.aibots.say("yuanyuan", shop.STAFF_ROOM, "text", {"content": shop.FIRST_MENTION})
        archive.talk(simulator)
        simulator.till = Till(f"{here}/pay/notify", sale.PAY_KEY.encode())
        follows = sum(len(simulator.world.contacts.of_customer(one)) for one in customers)
        await sent.send(
            service.app.sessions, random.Random(SEED), contacts=follows, gate=service.app.gate, now=clock.now()
        )
        await talked.recall(
            service.app.sessions, service.app.faq, customers, members, random.Random(SEED), now=clock.now()
        )
        await sold.last_week(service.app.sessions, random.Random(SEED), now=clock.now())
        await referral.begin(simulator, service.app.sessions, members, now=clock.now())
        await loyalty.hand_out(service.app.sessions, members, now=clock.now())
        await subscribing.begin(service.app.sessions, members, now=clock.now())
        await desk.fill(simulator, service.app.sessions, customers, now=clock.now())
        await plans.put(service.app.sessions, members, random.Random(SEED), now=clock.now())
        app = service.app
        await sale.announce(simulator, app.sessions, here, chance, gate=app.gate, words=app.words, clock=clock)
        await stop.wait()
        say("正在停止……")
    say("已停止。")


async def _ask_first_question(simulator: Simulator) -> None:
    """So that a conversation is on the phone when it is first looked at; the greeting comes before the question."""
    await _until_shown(simulator, 1, seconds=15)
    simulator.world.customer_says(shop.FIRST_CUSTOMER, shop.KF, shop.FIRST_QUESTION)
    await _until_shown(simulator, 3, seconds=10)


async def _until_shown(simulator: Simulator, messages: int, *, seconds: int) -> None:
    for _ in range(20 * seconds):
        if len(simulator.world.seen_by_customer(shop.FIRST_CUSTOMER, shop.KF)) >= messages:
            break
        await asyncio.sleep(0.05)


def _settings(port: int, simulator_port: int, database_url: str, chat_archive: ArchiveSettings) -> Settings:
    app = WecomApp(
        agent_id=shop.AGENT_ID,
        secret=SecretStr(shop.SECRET),
        token=SecretStr(shop.TOKEN),
        aes_key=SecretStr(shop.AES_KEY),
    )
    bot = BotSettings(
        token=SecretStr(shop.BOT_TOKEN),
        aes_key=SecretStr(shop.BOT_AES_KEY),
        display_name=shop.BOT_NAME,
        help_url=f"http://127.0.0.1:{simulator_port}/kf/{shop.KF}",
    )
    return Settings(
        _env_file=None,
        database_url=database_url,
        port=port,
        wecom_api_url=f"http://127.0.0.1:{simulator_port}",
        public_url=f"http://127.0.0.1:{port}",
        oauth_url=f"http://127.0.0.1:{simulator_port}",
        login_url=f"http://127.0.0.1:{simulator_port}",
        pay_url=f"http://127.0.0.1:{simulator_port}/pay",
        pay_key=SecretStr(sale.PAY_KEY),
        corp_id=shop.CORP_ID,
        apps={"main": app},
        bots={"helper": bot},
        archive=chat_archive,
        handoff=HandoffSettings(desk_accounts=frozenset({shop.KF_DESK})),
        data_key=SecretStr(staff.DATA_KEY),
        webhooks=WebhookSettings(private=True),  # so that one can be tried on the same machine
        gate=GateSettings(quiet_from=None),  # people look at the demo at any hour
        shop_name=shop.NAME,
        faq_file=FAQ_FILE,
    )


def _fresh(database: Path) -> str:
    database.parent.mkdir(parents=True, exist_ok=True)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{database}{suffix}").unlink(missing_ok=True)
    return f"sqlite+aiosqlite:///{database}"


async def _record(
    database_url: str, simulator: Simulator, customers: list[str], chance: random.Random, *, now: datetime
) -> list[int]:
    """The year before, in the database and in the simulated WeCom; returns the customers as members."""
    sold = shop.past_orders(customers, chance, now=now)
    joined = past.joined(customers, sold, chance, now=now)
    past.backdate(simulator, joined)
    sessions = open_sessions(database_url)
    try:
        return await past.live_through(sessions, joined, sold, now=now)
    finally:
        await sessions.close()


def _addresses(port: int, simulator_port: int) -> str:
    wecom = f"http://127.0.0.1:{simulator_port}"
    return f"""
[bold green]毛球小铺开门了[/]（演示数据，企业微信由本机模拟）

  客户的手机   [link]{wecom}/phone?as={shop.FIRST_CUSTOMER}&chat={shop.KF}[/link]
  员工的企微   [link]{wecom}/staff?as={shop.SERVICERS[0]}[/link]
  待发的公告   [link]{wecom}/staff?as=yuanyuan&in=tasks[/link]（点“发送”，秒杀公告才到群里）
  员工内购群   [link]{wecom}/staff?as={shop.SERVICERS[0]}&open={shop.STAFF_ROOM}[/link]
  群主的提醒   [link]{wecom}/staff?as={archive.OWNER}&in=apps&open={shop.AGENT_ID}[/link]
  管理台       [link]http://127.0.0.1:{port}/console[/link]（{staff.OWNER} {staff.PASSWORD}，或扫码）
  客服工作台   [link]http://127.0.0.1:{port}/desk[/link]
  秒杀页       [link]http://127.0.0.1:{port}/h5[/link]
  模拟器控制台 [link]{wecom}/[/link]
  服务状态     [link]http://127.0.0.1:{port}/[/link]

在手机页面用中文问一句，例如“满多少包邮”“猫咪换粮怎么换”“转人工”。按 Ctrl-C 停止。
"""
