"""A load generator: keep-alive connections that each send their next request when the last one was answered."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlencode

from bot.simulator.__main__ import AES_KEY, CORPID, TOKEN
from bot.wecom.crypto import Envelope
from crm.base.clock import SystemClock

HEAD_END = b"\r\n\r\n"
ROUND_SECONDS = 60.0


@dataclass(slots=True)
class Answers:
    """What a round of requests brought."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds


class Line(asyncio.Protocol):
    """One connection, one request at a time; lighter than an HTTP client, which would be the bottleneck."""

    def __init__(self, requests: deque[bytes], answers: Answers, clock: SystemClock) -> None:
        self._requests, self._answers, self._clock = requests, answers, clock
        self._received = b""
        self._sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without saying so

    def next(self) -> None:
        if not self._requests:
            self._transport.close()
            return
        self._sent_at = self._clock.monotonic()
        self._transport.write(self._requests.popleft())

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(HEAD_END)
        if not end or len(body) < _length(head):
            return
        self._received = b""
        self._answers.latencies.append(self._clock.monotonic() - self._sent_at)
        self._answers.statuses[int(head[9:12])] += 1
        self.next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def _length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.split(b"\r\n", 1)[0] or 0)


class Generator:
    """Seals callbacks and delivers them."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._envelope = Envelope(TOKEN, AES_KEY, CORPID)
        self._serial = 0
        self._packets: list[tuple[str, bytes]] = []

    def seal(self, count: int) -> None:
        """Prepare distinct callbacks: every other one has news of a kf account, the rest of a contact."""
        now = int(self._clock.now().timestamp())
        self._packets = [self._packet(self._serial + number, now) for number in range(count)]
        self._serial += count

    def _packet(self, number: int, now: int) -> tuple[str, bytes]:
        encrypted = self._envelope.encrypt(_news(number, now) if number % 2 else _edited(number, now))
        stamp, nonce = str(now), str(number)
        signature = self._envelope.sign(stamp, nonce, encrypted)
        query = urlencode({"msg_signature": signature, "timestamp": stamp, "nonce": nonce})
        body = f"<xml><ToUserName><![CDATA[{CORPID}]]></ToUserName><Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>"
        return query, body.encode()

    async def deliver(self, port: int, path: str, connections: int) -> Answers:
        """Send what was sealed, to be sealed anew before the next round that stores."""
        requests = deque(_request(port, path, query, body) for query, body in self._packets)
        return await storm(port, requests, connections, self._clock)


async def storm(port: int, requests: Sequence[bytes], connections: int, clock: SystemClock) -> Answers:
    """All requests over so many connections, as fast as they are answered."""
    answers, waiting = Answers(), deque(requests)
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Line(waiting, answers, clock), "127.0.0.1", port)
        for _ in range(connections)
    ]
    lines = [line for _, line in made]
    began = clock.monotonic()
    for line in lines:
        line.next()
    await asyncio.wait_for(asyncio.gather(*(line.done for line in lines)), ROUND_SECONDS)
    answers.seconds = clock.monotonic() - began
    return answers


def _request(port: int, path: str, query: str, body: bytes) -> bytes:
    head = f"POST {path}?{query} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: text/xml\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _news(number: int, now: int) -> str:
    return (
        f"<xml><ToUserName><![CDATA[{CORPID}]]></ToUserName><CreateTime>{now}</CreateTime>"
        "<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[kf_msg_or_event]]></Event>"
        f"<Token><![CDATA[ENC{number:032x}]]></Token><OpenKfId><![CDATA[wk{number % 8:016}]]></OpenKfId></xml>"
    )


def _edited(number: int, now: int) -> str:
    return (
        f"<xml><ToUserName><![CDATA[{CORPID}]]></ToUserName><FromUserName><![CDATA[sys]]></FromUserName>"
        f"<CreateTime>{now}</CreateTime><MsgType><![CDATA[event]]></MsgType>"
        "<Event><![CDATA[change_external_contact]]></Event>"
        "<ChangeType><![CDATA[edit_external_contact]]></ChangeType><UserID><![CDATA[wangxiaomei]]></UserID>"
        f"<ExternalUserID><![CDATA[wm{number:030}]]></ExternalUserID><State><![CDATA[shop]]></State></xml>"
    )


@asynccontextmanager
async def generator() -> AsyncIterator[Generator]:
    yield Generator()
