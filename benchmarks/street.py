"""The simulated WeCom in a process of its own, with customers who ask and look at their phones."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from bot.simulator.__main__ import AES_KEY, AGENTID, CORPID, SECRET, TOKEN, small_world
from bot.simulator.corp import CallbackTarget
from bot.simulator.feed import News
from bot.simulator.server import serve
from bot.simulator.simulator import Simulator
from crm.base.clock import SystemClock

KF = "wk0000000000000001"  # small_world's account
QUESTIONS = ("多久发货", "怎么退货", "满多少包邮", "积分怎么用", "可以开发票吗")
REPLY_SECONDS = 120.0
__all__ = ["AES_KEY", "AGENTID", "CORPID", "KF", "SECRET", "TOKEN", "Street", "street"]


class Street:
    """Customers of the shop. Times are from the word to the first reply on the phone, in seconds."""

    def __init__(self, simulator: Simulator, port: int) -> None:
        self._simulator, self._world, self._clock = simulator, simulator.world, SystemClock()
        self._phones: dict[str, asyncio.Queue[News | None]] = {}
        self._asked = 0
        self.origin = f"http://127.0.0.1:{port}"

    def address(self) -> str:
        return self.origin

    def deliver_to(self, url: str) -> None:
        """Where callbacks go from here on; nowhere when it is empty."""
        app = self._world.corp.apps[AGENTID]
        app.callback = CallbackTarget(url, TOKEN, AES_KEY) if url else None

    def arrive(self, count: int) -> list[str]:
        """So many new customers, each with a phone in hand."""
        newcomers = [self._world.add_customer(f"客户{number}").external_userid for number in range(count)]
        for customer in newcomers:
            self._phones[customer] = self._world.corp.feed.subscribe(f"phone:{customer}")
        return newcomers

    def leave(self) -> None:
        """All customers put their phones away."""
        for customer, phone in self._phones.items():
            self._world.corp.feed.unsubscribe(f"phone:{customer}", phone)
        self._phones.clear()

    async def ask_in_turn(self, customers: Sequence[str]) -> list[float]:
        """One after the other: the next asks when the last was answered."""
        return [await self._ask(customer) for customer in customers]

    async def ask_steadily(self, customers: Sequence[str], per_second: float) -> list[float]:
        """At a steady rate, whether the others were answered or not."""
        began, asking = self._clock.monotonic(), []
        for number, customer in enumerate(customers):
            await self._clock.sleep(began + number / per_second - self._clock.monotonic())
            asking.append(asyncio.create_task(self._ask(customer)))
        return list(await asyncio.gather(*asking))

    async def ask_behind_closed_doors(self, customers: Sequence[str], url: str) -> float:
        """All ask while nobody is told; then one callback tells. Seconds from there to the last reply."""
        self.deliver_to("")
        waiting = [self._say(customer) for customer in customers[:-1]]
        self.deliver_to(url)
        began = self._clock.monotonic()
        await asyncio.gather(*waiting, self._say(customers[-1]))
        return self._clock.monotonic() - began

    async def _ask(self, customer: str) -> float:
        began = self._clock.monotonic()
        await self._say(customer)
        return self._clock.monotonic() - began

    def _say(self, customer: str) -> "asyncio.Future[None]":
        self._asked += 1
        phone = self._phones[customer]
        while not phone.empty():  # what was said before answers nothing new
            phone.get_nowait()
        self._world.customer_says(customer, KF, QUESTIONS[self._asked % len(QUESTIONS)])
        return asyncio.ensure_future(self._reply(phone))

    async def _reply(self, phone: "asyncio.Queue[News | None]") -> None:
        async with asyncio.timeout(REPLY_SECONDS):
            while True:
                news = await phone.get()
                if _is_reply(news):
                    return


def _is_reply(news: News | None) -> bool:
    if news is None:
        raise RuntimeError("the phone's stream ended")
    message: Any = news[1].get("from", {})
    return news[0] == "message" and message["kind"] == "bot"


@asynccontextmanager
async def street() -> AsyncIterator[Street]:
    simulator = Simulator(corpid=CORPID)
    small_world(simulator)
    runner = await serve(simulator, port=0)
    try:
        yield Street(simulator, runner.addresses[0][1])
    finally:
        await runner.cleanup()


def spread(customers: Sequence[str], count: int) -> list[str]:
    """`count` words, said by the customers in turn."""
    return [customers[number % len(customers)] for number in range(count)]


def flat(rounds: Iterable[Sequence[float]]) -> list[float]:
    return [one for each in rounds for one in each]
