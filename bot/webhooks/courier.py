"""One HTTP call to one webhook: signed, bounded in time and in what is read, never redirected."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from bot.webhooks import addresses, signing
from bot.webhooks.addresses import AddressRefused, PublicResolver
from crm.base.clock import Clock

READ_BYTES = 1_200
KEPT_CHARACTERS = 300
CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Letter:
    """What is sent, and where."""

    url: str
    secret: str
    event: str
    delivery_id: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. status None: nothing did, and `error` says why."""

    status: int | None
    took_ms: int
    answer: str = ""
    error: str = ""

    @property
    def is_taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Courier:
    """Carries letters. private: addresses inside our own networks are allowed."""

    def __init__(self, http: aiohttp.ClientSession, clock: Clock, *, private: bool, seconds: float) -> None:
        self._http, self._clock, self._private, self._seconds = http, clock, private, seconds

    async def carry(self, letter: Letter) -> Answer:
        """Once, and whatever happens is an answer."""
        began, at = self._clock.monotonic(), int(self._clock.now().timestamp())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Siyu-Webhooks/1",
            "Siyu-Event": letter.event,
            "Siyu-Delivery": str(letter.delivery_id),
            signing.HEADER: signing.sign(letter.secret, letter.body, at=at),
        }
        try:
            addresses.check(letter.url, private=self._private)
            async with asyncio.timeout(self._seconds):
                post = self._http.post(letter.url, data=letter.body, headers=headers, allow_redirects=False)
                async with post as answer:
                    told = await answer.content.read(READ_BYTES)
                    return Answer(answer.status, self._ms(began), _text(told))
        except AddressRefused as no:
            return Answer(None, self._ms(began), error=f"address refused: {no.why}")
        except TimeoutError:
            return Answer(None, self._ms(began), error=f"no answer within {self._seconds:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(None, self._ms(began), error=f"{type(error).__name__}: {error}"[:200])

    def _ms(self, began: float) -> int:
        return round((self._clock.monotonic() - began) * 1000)


@asynccontextmanager
async def courier(clock: Clock, *, private: bool, seconds: float) -> AsyncIterator[Courier]:
    """A courier with connections of its own: no cookies, no proxy of the environment, inner addresses left out."""
    connector = aiohttp.TCPConnector(resolver=PublicResolver(private=private), limit=CONNECTIONS, use_dns_cache=False)
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(connector=connector, trust_env=False, cookie_jar=jar) as http:
        yield Courier(http, clock, private=private, seconds=seconds)


def _text(told: bytes) -> str:
    """What a log and a database can hold."""
    return told.decode("utf-8", "replace").replace("\0", "�")[:KEPT_CHARACTERS]
