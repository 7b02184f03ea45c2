"""Carries calls to an AI bot's address: JSON in sealed envelopes without a receiveid, repeats, stream refreshes."""

import asyncio
import json
from collections import defaultdict
from typing import Any

import aiohttp

from bot.simulator.aibots import STREAM_SECONDS, AiBots, BotCall
from bot.simulator.callbacks import TIMEOUT, Callbacks, check_echo
from bot.simulator.corp import CallbackTarget, Corp
from bot.simulator.envelope import BadEnvelope, Crypto, Sealed
from bot.simulator.faults import Roads
from bot.simulator.refusals import NotPossible
from crm.base.clock import Clock

AT_ONCE = 3  # messages of one user that are processed at the same time
MAX_REPLY = 16 * 1024 * 1024  # ten images in base64
GREETINGS = ("text", "template_card")


class BotCalls:
    """One task a call. Trouble on the roads is the callbacks' own; `poll_seconds` are real ones."""

    def __init__(self, corp: Corp, bots: AiBots, roads: Roads, callbacks: Callbacks, envelope_clock: Clock) -> None:
        self._corp, self._bots, self._roads, self._callbacks = corp, bots, roads, callbacks
        self._envelope_clock = envelope_clock
        self.origin = ""  # where the simulator is reached: the start of every response_url
        self.poll_seconds = 0.5
        self.refreshes = 0
        self._turns: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))
        self._tasks: set[asyncio.Task[None]] = set()
        self._http: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._http = aiohttp.ClientSession(skip_auto_headers=["User-Agent"])

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._http is not None:
            await self._http.close()
            self._http = None

    def take(self, call: BotCall) -> None:
        if self._http is None or call.bot.callback is None:
            return
        if self._hit(self._roads.drop):
            self._callbacks.dropped += 1
            return
        self._employ(self._converse(call))
        if self._hit(self._roads.duplicate):
            self._employ(self._repeat(call))

    async def verify(self, target: CallbackTarget) -> None:
        """What saving the bot's settings does."""
        assert self._http is not None
        try:
            crypto = _crypto(target, self._corp)
        except (BadEnvelope, ValueError) as broken:
            raise NotPossible(f"EncodingAESKey 不对：{broken}") from broken
        await check_echo(self._http, crypto, target, self._corp, self._stamp())

    # working

    def _employ(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _hit(self, probability: float) -> bool:
        return probability > 0 and self._corp.chance.random() < probability

    def _stamp(self) -> int:
        return int(self._envelope_clock.now().timestamp())

    async def _converse(self, call: BotCall) -> None:
        """Tell the bot, show its reply, and ask for the rest of a stream for six minutes from the user's message."""
        async with self._turns[call.payload["from"]["userid"]]:
            if not await self._deliver(call):
                return
            while self._corp.now() < call.asked_at + STREAM_SECONDS:
                await asyncio.sleep(self.poll_seconds)
                if await self._refresh(call):
                    return
            self._bots.close(call)

    async def _deliver(self, call: BotCall) -> bool:
        """Whether there is a stream to follow."""
        for attempt in range(1 + self._roads.retries):
            if attempt:
                await asyncio.sleep(self._roads.retry_after)
            status, reply = await self._post(call, self._told(call))
            if status == 200:
                self._callbacks.delivered += 1
                return self._take(call, reply)
            if status and not self._roads.retry_on_status:
                break
        self._callbacks.failed += 1
        return False

    async def _repeat(self, call: BotCall) -> None:
        """The same message once more, whose answer nobody looks at."""
        await self._post(call, self._told(call))

    async def _refresh(self, call: BotCall) -> bool:
        """Whether the stream is at its end."""
        assert call.shown is not None
        self.refreshes += 1
        same = ("aibotid", "chatid", "chattype", "from")
        asks: dict[str, Any] = {name: call.payload[name] for name in same if name in call.payload}
        asks |= {"msgid": self._corp.new_id("CAIQ", 128), "msgtype": "stream"}
        asks["stream"] = {"id": call.shown.payload["stream"]}
        status, reply = await self._post(call, asks)
        return status == 200 and reply is not None and not self._take(call, reply)

    def _take(self, call: BotCall, reply: dict[str, Any] | None) -> bool:
        """Show what came back; whether a stream goes on."""
        if reply is None:
            return False
        try:
            return self._show(call, reply)
        except NotPossible as wrong:
            self._problem(call, str(wrong))
            return False

    def _show(self, call: BotCall, reply: dict[str, Any]) -> bool:
        msgtype = str(reply.get("msgtype"))
        payload = reply.get(msgtype)
        event = call.payload.get("event", {}).get("eventtype", "")
        if event == "enter_chat" and msgtype in GREETINGS and isinstance(payload, dict):
            self._bots.speak(call, msgtype, payload)
            return False
        if event or msgtype != "stream" or not isinstance(payload, dict):
            raise NotPossible(f"{event or 'message'} 不能用 {msgtype} 回复")
        return not self._bots.stream(call, payload)

    async def _post(self, call: BotCall, payload: dict[str, Any]) -> tuple[int, dict[str, Any] | None]:
        """(HTTP status, the opened reply); status 0 is a timeout or a broken connection."""
        target = call.bot.callback
        assert target is not None
        assert self._http is not None
        crypto, nonce = _crypto(target, self._corp), str(self._corp.chance.getrandbits(32))
        sealed = crypto.seal(_dump(payload), timestamp=self._stamp(), nonce=nonce)
        try:
            async with self._http.post(
                target.url, params=sealed.query, data=_dump({"encrypt": sealed.ciphertext}).encode(), timeout=TIMEOUT
            ) as response:
                body = await response.content.read(MAX_REPLY)
        except (TimeoutError, aiohttp.ClientError, OSError):
            return 0, None
        if response.status != 200:
            return response.status, None
        try:
            return 200, _open_reply(crypto, body, nonce)
        except BadEnvelope as wrong:
            self._problem(call, str(wrong))
            return 200, None

    def _told(self, call: BotCall) -> dict[str, Any]:
        """The call's payload, with the address for an active reply where it has one."""
        if not call.response_code:
            return call.payload
        url = f"{self.origin}/cgi-bin/aibot/response?response_code={call.response_code}"
        return {**call.payload, "response_url": url}

    def _problem(self, call: BotCall, why: str) -> None:
        self._callbacks.problems.append(f"智能机器人 {call.bot.name}: 被动回复无效，{why}")


def _crypto(target: CallbackTarget, corp: Corp) -> Crypto:
    return Crypto(target.token, target.aes_key, "", corp.chance.randbytes)


def _open_reply(crypto: Crypto, body: bytes, nonce: str) -> dict[str, Any] | None:
    """The inner JSON of a reply; None for an empty one."""
    if not body.strip():
        return None
    try:
        packet = json.loads(body)
        if packet["nonce"] != nonce or type(packet["timestamp"]) is not int:
            raise BadEnvelope("nonce must be the callback's, timestamp an integer")
        opened = crypto.open(Sealed(packet["encrypt"], packet["msgsignature"], str(packet["timestamp"]), nonce))
        reply = json.loads(opened)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as broken:
        raise BadEnvelope("not a JSON reply packet") from broken
    if not isinstance(reply, dict):
        raise BadEnvelope("reply is not an object")
    return reply


def _dump(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
