"""The clock of flash sales: tells of them, opens, closes and settles them, releases what was not paid, checks sums."""

import logging

from bot.app import App
from bot.flashsale import announcing, board, merging, notices, payments, sales
from bot.flashsale.allocator import Allocator
from bot.metrics import ALERTS

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds
CHECK_EVERY = 60.0
TOPIC = "sale"  # tapped when stock or a sale moved; browsers are told


class SaleWatch:
    """Two loops of a worker. Any number of workers may run them: each step is guarded where it writes."""

    def __init__(self, app: App, allocator: Allocator) -> None:
        self._app, self._allocator = app, allocator

    async def run(self) -> None:
        """Forever: what the clock asks for."""
        while True:
            if not await self.round():
                await self._app.peers.wait("sale-clock", seconds=LOOK_EVERY)

    async def round(self) -> int:
        """What is due now; returns how much was done."""
        now = self._app.clock.now()
        async with self._app.sessions.begin() as session:
            freed, offers = await payments.release_due(session, now=now)
            await notices.offered(session, offers, public_url=self._app.public_url, now=now)
        if freed:
            self._allocator.forget(freed)
        async with self._app.sessions.begin() as session:
            moved = await sales.follow_clock(session, now=now)
            moved += await sales.next_sessions(session, now=now, chance=self._app.chance)
        async with self._app.sessions.begin() as session:
            app = self._app
            told = await announcing.follow(session, gate=app.gate, public_url=app.public_url, now=now)
            await notices.unsent(session, await announcing.unsent(session, now=now), app=app, now=now)
        if told:
            self._app.peers.tap("campaigns")
        if freed or moved:
            self._app.peers.tap(TOPIC)
        return len(freed) + moved + told

    async def check(self) -> None:
        """Forever: bring home what merges left behind; look whether held, sold and left add up, and alarm if not."""
        while True:
            async with self._app.sessions.begin() as session:
                await merging.settle_stray(session, now=self._app.clock.now())
            async with self._app.sessions.read() as session:
                found = await board.mismatches(session)
            for line in board.in_words(found):
                ALERTS.labels("sale_mismatch").inc()
                log.error("sale.mismatch", extra={"line": line})
            await self._app.peers.wait("sale-check", seconds=CHECK_EVERY)
