"""The loop that counts once a night what members buy again, and hands out the reminders of the day."""

import logging
from datetime import date

from bot.app import App
from campaigns import audience, replenishment
from crm.base.clock import SHANGHAI, local_day

log = logging.getLogger(__name__)

LOOK_EVERY = 60.0  # seconds


class HabitWatch:
    """Counting twice costs reading, so any number of workers may do it. night_hour: shop-local, from when on."""

    def __init__(self, app: App, *, night_hour: int) -> None:
        self._app, self._night_hour = app, night_hour
        self._counted_on: date | None = None

    async def run(self) -> None:
        """Forever: look once a minute."""
        while True:
            await self.round()
            await self._app.peers.wait("habits", seconds=LOOK_EVERY)

    async def round(self) -> int:
        """Do what is due now; returns how many reminders were looked at."""
        now = self._app.clock.now()
        if self._counted_on != local_day(now) and now.astimezone(SHANGHAI).hour >= self._night_hour:
            await self._count()
            self._counted_on = local_day(now)
        looked, done = 0, 1
        while done:
            async with self._app.sessions.begin() as session:
                done = await replenishment.remind(session, gate=self._app.gate, now=self._app.clock.now())
            looked += done
        if looked:
            self._app.peers.tap("campaigns")
        return looked

    async def _count(self) -> None:
        async with self._app.sessions.read() as session:
            last = await audience.newest_member(session)
        believed = 0
        for after in range(0, last, replenishment.WINDOW):
            upto = after + replenishment.WINDOW
            async with self._app.sessions.begin() as session:
                believed += await replenishment.refresh(session, after, upto, now=self._app.clock.now())
        log.info("replenishment.counted", extra={"believed": believed})
