"""A newcomers' sequence for tests: four steps over a week, and a shop that lives through hours."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from campaigns.models.campaign import Batch, Campaign
from campaigns.models.sequence import Enrolment, Phase
from crm.base.clock import SHANGHAI, FrozenClock
from crm.base.db import Sessions
from tests.campaigns.fixtures import OPEN_GATE, Platform, scheduled

WEEK: list[dict[str, Any]] = [
    {"name": "破冰礼", "day": 0, "messages": [{"text": "欢迎"}]},
    {"name": "首单", "day": 1, "at": "10:00", "messages": [{"text": "首单礼"}]},
    {"name": "用法", "day": 3, "at": "20:00", "messages": [{"text": "怎么用"}]},
    {"name": "一周", "day": 7, "messages": [{"text": "一周了"}]},
]
PAID = {"event": "OrderPaid"}
AWAKE = timedelta(hours=11)  # a service that is silent for longer than the grace was asleep
LEAST = timedelta(hours=1)


async def newcomers(sessions: Sessions, clock: FrozenClock, name: str = "新人七天", **more: Any) -> Campaign:
    usual = {
        "kind": "steps", "starts_at": None, "messages": None, "on": {"event": "ContactAdded"}, "steps": WEEK,
        "goal": [PAID], "grace": "12h",
    }  # fmt: skip
    made = await scheduled(sessions, clock, name, **{**usual, **more})
    await Platform(sessions, clock).tick()  # it runs from here on
    return made


class Shop:
    """Hours of a shop whose staff tap whatever they are asked, and what its customers read when."""

    def __init__(self, sessions: Sessions, clock: FrozenClock, platform: Platform | None = None) -> None:
        self.sessions, self.clock = sessions, clock
        self.platform = platform or Platform(sessions, clock, gate=OPEN_GATE)

    async def settle(self, *, taps: bool = True) -> None:
        """Whatever is due now is done, and the staff tap."""
        did = 1
        while did:
            did = await self.platform.tick() + await self.platform.send()
            await self.platform.poll()
            untapped = len(self.platform.tasks) - len(self.platform.confirmed)
            if taps and untapped:
                self.platform.confirm()
                await self.platform.poll()
            if did:
                self.clock.advance(seconds=11)

    async def live(self, hours: float, *, taps: bool = True) -> None:
        """From one instant at which something is due to the next."""
        end = self.clock.now() + timedelta(hours=hours)
        while self.clock.now() < end:
            await self.settle(taps=taps)
            now = self.clock.now()
            to = max(min(end, await self._next_due(), now + AWAKE), min(now + LEAST, end))
            self.clock.advance(to - now)
        await self.settle(taps=taps)

    async def _next_due(self) -> datetime:
        later = self.clock.now() + AWAKE
        async with self.sessions.read() as session:
            times = [
                await session.scalar(sa.select(sa.func.min(column)).where(column > self.clock.now(), *where))
                for column, *where in (
                    (Enrolment.due_at, Enrolment.phase != Phase.UNDER_WAY),
                    (Batch.due_at,),
                    (Campaign.next_fire_at,),
                )
            ]
        return min([at for at in times if at is not None], default=later)

    def read(self) -> list[tuple[str, str]]:
        """What was read, with the shop-local day and hour."""
        texts = sorted((at, self.platform.tasks[msgid].message.text) for msgid, at in self.platform.confirmed.items())
        return [(f"{at.astimezone(SHANGHAI):%d %H}", text) for at, text in texts]

    def times(self) -> Counter[tuple[str, str]]:
        """How often each customer got each text."""
        return Counter(
            (one, self.platform.tasks[msgid].message.text)
            for msgid in self.platform.confirmed
            for one in self.platform.tasks[msgid].recipients
        )


async def ways(sessions: Sessions) -> list[Enrolment]:
    async with sessions.read() as session:
        return list(await session.scalars(sa.select(Enrolment).order_by(Enrolment.id)))
