"""A small town for tests: a simulated WeCom with one shop, and the service running against it over HTTP."""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import SecretStr

from bot.bootstrap import Service, running
from bot.settings import Settings, WecomApp
from bot.simulator.server import serve
from bot.simulator.simulator import Options, Simulator, Till
from crm.base.clock import MovableClock

CORP_ID = "ww0000000000000001"
AGENT_ID = 1000002
SECRET = "town-secret"
TOKEN = "TownToken2026"
AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
PAY_KEY = "town-pay-key-for-tests"
KF = "wk0000000000000001"
WORKING_TIME = datetime(2026, 3, 10, 2, 0, tzinfo=UTC)  # a Tuesday, 10:00 in Shanghai: somebody is there
SERVICER = "wangxiaomei"
FAQ = """id,question,similar,answer
ship,多久发货,什么时候发货|几天能发货,【发货】付款后 48 小时内发出。
free,满多少包邮,包邮吗|运费怎么算,【包邮】满 88 元包邮。
return,支持七天无理由退货吗,怎么退货|可以退货吗,【退货】签收 7 天内未拆封可退。
points,积分怎么用,积分有什么用|积分能抵钱吗,【积分】100 积分抵 1 元。
invoice,可以开发票吗,怎么开发票|能开票吗,【发票】支持电子发票。
"""
QUESTIONS = {
    "多久发货": "【发货】",
    "满多少包邮": "【包邮】",
    "怎么退货": "【退货】",
    "积分怎么用": "【积分】",
    "可以开发票吗": "【发票】",
}


def settings(database_url: str, simulator: str, faq: Path, **more: Any) -> Settings:
    """The town's shop; the FAQ file is written beside the database."""
    faq.write_text(FAQ, encoding="utf-8")
    app = WecomApp(agent_id=AGENT_ID, secret=SecretStr(SECRET), token=SecretStr(TOKEN), aes_key=SecretStr(AES_KEY))
    return Settings(
        _env_file=None,
        database_url=database_url,
        wecom_api_url=simulator,
        oauth_url=simulator,
        login_url=simulator,
        pay_url=f"{simulator}/pay",
        pay_key=SecretStr(PAY_KEY),
        corp_id=CORP_ID,
        apps={"main": app},
        port=0,
        shop_name="毛球小铺",
        faq_file=faq,
        **more,
    )


def new_simulator(clock: MovableClock | None = None, *, options: Options | None = None) -> Simulator:
    """One app, one kf account with one servicer, and employees who may have customers."""
    simulator = Simulator(clock or MovableClock(), random.Random(7), corpid=CORP_ID, options=options)
    world = simulator.world
    world.register_app(AGENT_ID, "私域助手", SECRET)
    for userid, name in ((SERVICER, "王小美"), ("liqiang", "李强")):
        world.add_staff(userid, name)
    world.add_kf_account("毛球小铺客服", KF, [SERVICER])
    return simulator


@dataclass
class Town:
    """What a test touches: the phone's side through `simulator`, the shop's through `service`."""

    simulator: Simulator
    origin: str
    service: Service
    clock: MovableClock

    def customer(self, name: str = "陈晓") -> str:
        return self.simulator.world.add_customer(name).external_userid

    def says(self, customer: str, content: str, menu_id: str | None = None) -> None:
        self.simulator.world.customer_says(customer, KF, content, menu_id)

    def phone(self, customer: str, chat: str = KF) -> list[dict[str, Any]]:
        """What the customer sees, oldest first."""
        return self.simulator.world.seen_by_customer(customer, chat)

    def heard(self, customer: str) -> list[str]:
        """What the bot said to the customer, as text."""
        return [words(message) for message in self.phone(customer) if message["from"]["kind"] == "bot"]

    def calls(self, path: str, errcode: int | None = None) -> int:
        """How many calls of this path the platform saw; with `errcode`, how many it answered with that."""
        return sum(call.path == path and errcode in (None, call.errcode) for call in self.simulator.log.calls)

    def answers(self, customer: str) -> list[str]:
        """Which of the FAQ's answers the customer has read, in that order; several may share a message."""
        return marks(self.heard(customer))

    async def until(self, condition: Callable[[], Any], *, seconds: float = 25.0) -> Any:
        """Wait until the condition holds; fails with the last thing it said."""
        end = asyncio.get_running_loop().time() + seconds
        while not (found := condition()):
            assert asyncio.get_running_loop().time() < end, f"not within {seconds} s: {found!r}"
            await asyncio.sleep(0.01)
        return found

    async def heard_times(self, customer: str, count: int) -> None:
        """Wait until the bot has said so many things to this customer."""
        await self.until(lambda: len(self.heard(customer)) >= count)
        assert len(self.heard(customer)) == count, self.heard(customer)

    async def quiet(self, seconds: float = 0.4) -> None:
        """Long enough for a wrong message to show."""
        await asyncio.sleep(seconds)


def marks(texts: Sequence[str]) -> list[str]:
    """The answers' marks in these texts, as often and in the order in which they are read."""
    return re.findall("|".join(map(re.escape, QUESTIONS.values())), "\n".join(texts))


def words(message: dict[str, Any]) -> str:
    body = message[message["msgtype"]]
    return str(body.get("content") or body.get("head_content") or body)


@asynccontextmanager
async def town(
    database_url: str, folder: Path, *, simulator: Simulator | None = None, works: bool = True, **more: Any
) -> AsyncIterator[Town]:
    """The town, open for business: the callback address is verified the way the vendor does it.

    works: whether somebody works off what comes in; without, the test does.
    """
    simulator = simulator or new_simulator(MovableClock(WORKING_TIME))
    assert isinstance(simulator.clock, MovableClock)
    async with listening(simulator) as origin:
        chosen = settings(database_url, origin, folder / "faq.csv", **more)
        async with running(chosen, clock=simulator.clock, chance=random.Random(7), works=works) as service:
            await connect(origin, service.port)
            simulator.till = Till(f"http://127.0.0.1:{service.port}/pay/notify", PAY_KEY.encode())
            yield Town(simulator, origin, service, simulator.clock)


@asynccontextmanager
async def listening(simulator: Simulator) -> AsyncIterator[str]:
    """The simulator on a port of its own; yields its address."""
    runner = await serve(simulator, port=0)
    simulator.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield simulator.origin
    finally:
        await runner.cleanup()


async def connect(simulator: str, port: int) -> None:
    """Save the service's address in the admin console, which asks it for a signed echo first.

    The echo has a second; on a machine that is busy with other tests the first one may be late, so one saves again.
    """
    callback = {"url": f"http://127.0.0.1:{port}/wecom/callback/main", "token": TOKEN, "aes_key": AES_KEY}
    async with aiohttp.ClientSession() as http:
        for _ in range(5):
            async with http.post(f"{simulator}/sim/apps/{AGENT_ID}/callback", json=callback) as answer:
                said = f"{answer.status} {await answer.text()}"
                if answer.status == 200:
                    return
    raise AssertionError(said)


def at(instant: float) -> datetime:
    return datetime.fromtimestamp(instant, UTC)
