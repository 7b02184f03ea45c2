"""A crowd that claims through an allocator in a process of its own, which a test may kill at any instant."""

import asyncio
import os
import random
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

import crm.models.group
import crm.models.member  # noqa: F401  (a foreign key takes its type from the table it names)
from bot.flashsale.allocator import Allocator
from bot.flashsale.terms import Granted, Outcome, Request
from bot.models.sale import Channel
from crm.base.clock import SystemClock
from crm.base.db import open_sessions
from crm.base.errors import ShopError

CLIENTS = 200
TOGETHER = 25  # claims of one commit: many commits to be killed in
HURRY_SECONDS = 0.05


class Book:
    """What was said to whom, a line at a time: what is written outlives the process, as what was said does."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def yes(self, member_id: int, no: str) -> None:
        os.write(self._file, f"{member_id} {no}\n".encode())


class Hasty(Allocator):
    """The twin without the guard: says yes when the rows are written, and commits a moment later."""

    book: Book

    async def _write(self, connection: AsyncConnection, requests: Sequence[Request]) -> list[Outcome]:
        outcomes = await super()._write(connection, requests)
        for request, outcome in zip(requests, outcomes, strict=True):
            if isinstance(outcome, Granted):
                self.book.yes(request.member_id, outcome.no)
        await asyncio.sleep(HURRY_SECONDS)
        return outcomes


def claim(url: str, book: Path, item_id: int, members: Sequence[int], seed: int, is_hasty: bool) -> None:
    """Everybody taps twice, in any order, as they would after a lost connection; returns when all have an answer."""
    asyncio.run(_claim(url, Book(book), item_id, members, random.Random(seed), is_hasty))


async def _claim(
    url: str, book: Book, item_id: int, members: Sequence[int], chance: random.Random, is_hasty: bool
) -> None:
    sessions = open_sessions(url)
    allocator = (Hasty if is_hasty else Allocator)(sessions, SystemClock(), max_batch=TOGETHER)
    if isinstance(allocator, Hasty):
        allocator.book = book
    taps = [(one, key) for one in members for key in ("tap", chance.choice(("tap", "tap again")))]
    chance.shuffle(taps)
    waiting = iter(taps)

    async def client() -> None:
        for member_id, key in waiting:
            wanted = Request(item_id=item_id, member_id=member_id, quantity=1, key=key, channel=Channel.H5)
            try:
                granted = await allocator.claim(wanted)
            except ShopError:
                continue
            if not is_hasty:
                book.yes(member_id, granted.no)

    await allocator.start()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    await allocator.stop()
    await sessions.close()
