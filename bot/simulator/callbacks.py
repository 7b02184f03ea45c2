"""Callback delivery: who gets an event, the sealed envelope, retries, and the trouble that Roads asks for."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from bot.simulator.corp import App, CallbackTarget, Corp, Event
from bot.simulator.envelope import BadEnvelope, Crypto, Sealed, packet_xml, xml
from bot.simulator.faults import Roads
from bot.simulator.refusals import NotPossible
from bot.simulator.replies import reply_parts
from crm.base.clock import Clock

TIMEOUT = aiohttp.ClientTimeout(total=5.0)
VERIFY_TIMEOUT = aiohttp.ClientTimeout(total=1.0)
PARALLEL = 32
REORDERED_BY = 0.2  # seconds that a reordered callback stays behind the ones after it
KEPT_PROBLEMS = 50


@dataclass(slots=True)
class Delivery:
    """One event on its way to one app; a retry keeps the plaintext and, if asked, the envelope."""

    app: App
    target: CallbackTarget
    event: Event
    plaintext: str
    attempts: int = 0
    sealed: Sealed | None = None


class Callbacks:
    """Queues events for every app that should get them; at most PARALLEL requests are open at a time.

    `on_reply(app, event, inner_xml)` receives a passive reply that was verified and opened.
    """

    def __init__(
        self, corp: Corp, roads: Roads, on_reply: Callable[[App, Event, str], None], envelope_clock: Clock
    ) -> None:
        self._corp = corp
        self._envelope_clock = envelope_clock
        self._on_reply = on_reply
        self.roads = roads
        self.delivered = self.failed = self.dropped = 0
        self.problems: deque[str] = deque(maxlen=KEPT_PROBLEMS)
        self._ready: deque[Delivery] = deque()
        self._delayed = 0
        self._working = 0
        self._workers: set[asyncio.Task[None]] = set()
        self._coalescing: set[tuple[int, str]] = set()
        self._crypto: dict[tuple[str, str], Crypto] = {}
        self._http: aiohttp.ClientSession | None = None

    @property
    def pending(self) -> int:
        return len(self._ready) + self._delayed + self._working

    async def start(self) -> None:
        connector = aiohttp.TCPConnector(limit=PARALLEL)
        self._http = aiohttp.ClientSession(connector=connector, skip_auto_headers=["User-Agent"])
        for _ in range(min(PARALLEL, len(self._ready))):  # what was emitted before the start
            self._employ()

    async def stop(self) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        if self._http is not None:
            await self._http.close()
            self._http = None

    def take(self, event: Event) -> None:
        """Send an event to the apps it concerns; those without a callback URL get nothing."""
        for app in self._receivers(event):
            if app.callback is None or self._joins_a_waiting_one(app, event):
                continue
            if self._hit(self.roads.drop):
                self.dropped += 1
                continue
            delivery = Delivery(app, app.callback, event, xml(event.fields))
            self._queue(delivery, self._wait_for(app, event))
            if self._hit(self.roads.duplicate):
                self._queue(Delivery(app, app.callback, event, delivery.plaintext, sealed=self._kept(delivery)), 0.0)

    async def verify(self, app: App, target: CallbackTarget) -> None:
        """What saving the settings page does: a signed echostr that must come back decrypted within a second."""
        assert self._http is not None
        try:
            crypto = self._crypto_of(target)
        except (BadEnvelope, ValueError) as broken:
            raise NotPossible(f"EncodingAESKey 不对：{broken}") from broken
        await check_echo(self._http, crypto, target, self._corp, int(self._envelope_clock.now().timestamp()))

    # choosing

    def _receivers(self, event: Event) -> list[App]:
        if event.topic == "app":
            app = self._corp.apps.get(event.agentid or 0)
            return [app] if app else []
        return [app for app in self._corp.apps.values() if (app.kf if event.topic == "kf" else app.contacts)]

    def _hit(self, probability: float) -> bool:
        return probability > 0 and self._corp.chance.random() < probability

    def _wait_for(self, app: App, event: Event) -> float:
        wait = self.roads.delay
        if event.topic == "kf" and self.roads.coalesce > 0:
            self._coalescing.add((app.agentid, str(event.fields["OpenKfId"])))
            wait += self.roads.coalesce
        return wait + REORDERED_BY if self._hit(self.roads.reorder) else wait

    def _joins_a_waiting_one(self, app: App, event: Event) -> bool:
        """Several kf messages may share one callback: it says only that there is something to pull."""
        return bool(self._coalescing) and (app.agentid, str(event.fields.get("OpenKfId"))) in self._coalescing

    def _kept(self, delivery: Delivery) -> Sealed | None:
        """The envelope a repeat uses again, or None for a fresh one."""
        if not self._hit(self.roads.same_envelope):
            return None
        delivery.sealed = delivery.sealed or self._seal(delivery.target, delivery.plaintext)
        return delivery.sealed

    # working

    def _queue(self, delivery: Delivery, wait: float) -> None:
        if wait <= 0:
            self._ready.append(delivery)
            self._employ()
            return
        self._delayed += 1
        asyncio.get_running_loop().call_later(wait, self._due, delivery)

    def _due(self, delivery: Delivery) -> None:
        self._delayed -= 1
        if delivery.event.topic == "kf":
            self._coalescing.discard((delivery.app.agentid, str(delivery.event.fields["OpenKfId"])))
        self._ready.append(delivery)
        self._employ()

    def _employ(self) -> None:
        if self._http is None or not self._ready or len(self._workers) >= PARALLEL:
            return
        worker = asyncio.get_running_loop().create_task(self._work())
        self._workers.add(worker)
        worker.add_done_callback(self._workers.discard)

    async def _work(self) -> None:
        while self._ready:
            delivery = self._ready.popleft()
            self._working += 1
            try:
                await self._deliver(delivery)
            finally:
                self._working -= 1

    async def _deliver(self, delivery: Delivery) -> None:
        delivery.attempts += 1
        status, body = await self._post(delivery)
        if status == 200:
            self.delivered += 1
            self._accept_reply(delivery, body)
            return
        retry = delivery.attempts <= self.roads.retries and (status == 0 or self.roads.retry_on_status)
        if retry:
            delivery.sealed = self._kept(delivery)
            self._queue(delivery, self.roads.retry_after)
        else:
            self.failed += 1
            self.problems.append(f"{delivery.app.agentid} {delivery.event.fields.get('Event')}: 放弃，HTTP {status}")

    async def _post(self, delivery: Delivery) -> tuple[int, bytes]:
        """(HTTP status, body); status 0 is a timeout or a broken connection."""
        sealed = delivery.sealed or self._seal(delivery.target, delivery.plaintext)
        delivery.sealed = sealed
        agentid = "" if delivery.event.topic != "app" else str(delivery.app.agentid)
        packet = packet_xml(self._corp.corpid, agentid, sealed.ciphertext)
        assert self._http is not None
        try:
            async with self._http.post(
                delivery.target.url,
                params=sealed.query,
                data=packet,
                headers={"Content-Type": "text/xml"},
                timeout=TIMEOUT,
            ) as response:
                return response.status, await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError):
            return 0, b""

    def _accept_reply(self, delivery: Delivery, body: bytes) -> None:
        """An empty body or `success` is a plain ack; anything else must be an encrypted reply."""
        if body.strip() in (b"", b"success"):
            return
        try:
            inner = self._open_reply(delivery.target, body)
            self._on_reply(delivery.app, delivery.event, inner)
        except (BadEnvelope, NotPossible) as wrong:
            self.problems.append(f"{delivery.app.agentid} {delivery.event.fields.get('Event')}: 被动回复无效，{wrong}")

    def _open_reply(self, target: CallbackTarget, body: bytes) -> str:
        return self._crypto_of(target).open(reply_parts(body))

    def _seal(self, target: CallbackTarget, plaintext: str) -> Sealed:
        nonce = str(self._corp.chance.getrandbits(32))
        stamp = int(self._envelope_clock.now().timestamp())
        return self._crypto_of(target).seal(plaintext, timestamp=stamp, nonce=nonce)

    def _crypto_of(self, target: CallbackTarget) -> Crypto:
        key = (target.token, target.aes_key)
        if key not in self._crypto:
            self._crypto[key] = Crypto(target.token, target.aes_key, self._corp.corpid, self._corp.chance.randbytes)
        return self._crypto[key]


async def check_echo(http: aiohttp.ClientSession, crypto: Crypto, target: CallbackTarget, corp: Corp, at: int) -> None:
    """Ask an address for the decrypted echostr. Raises NotPossible with what is wrong."""
    echo = str(corp.chance.getrandbits(62))
    sealed = crypto.seal(echo, timestamp=at, nonce=str(corp.chance.getrandbits(32)))
    query = {**sealed.query, "echostr": sealed.ciphertext}
    try:
        async with http.get(target.url, params=query, timeout=VERIFY_TIMEOUT) as response:
            status, body = response.status, await response.content.read(4096)
    except (TimeoutError, aiohttp.ClientError, ValueError) as broken:
        raise NotPossible(f"回调地址没有在 1 秒内回应：{type(broken).__name__}") from broken
    if status != 200 or body != echo.encode():
        raise NotPossible(f"回调地址没有原样返回解密后的 echostr（HTTP {status}）")


def counters(callbacks: Callbacks) -> dict[str, Any]:
    """What GET /sim/callbacks shows."""
    return {
        "delivered": callbacks.delivered,
        "failed": callbacks.failed,
        "dropped": callbacks.dropped,
        "pending": callbacks.pending,
        "problems": list(callbacks.problems),
    }
