"""What a new day brings to members: stages that silence changes, levels whose period ends, points that become active
or expire, birthdays, tags and coupons that expire, invitations that count from now on, and once a day everybody's RFM
score, rule tags and segments.

Each step is a transaction that says itself whether its work was done, so any number of workers may run this.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import date

from campaigns import coupon_days, coupons, follow_ups, item_counts, referral_rewards, referrals
from crm import levels, lifecycle, member_dates, member_tags, point_nights, rfm, rule_tags, segments
from crm.base.clock import SHANGHAI, Clock, local_day
from crm.base.db import Sessions
from crm.base.peers import Peers
from crm.rfm_rules import Rule

log = logging.getLogger(__name__)

LOOK_EVERY = 60.0  # seconds
Step = Callable[..., Awaitable[int]]  # (session, *, now) -> how many it did; 0 when there are no more
STEPS: tuple[Step, ...] = (
    *(lifecycle.review, levels.review, point_nights.settle_due, point_nights.warn),
    *(member_dates.come, member_tags.expire),
    *(coupons.release_due, coupon_days.expire_due, coupon_days.warn),
    *(referrals.ripen, referrals.lapse, referral_rewards.ripen),
    follow_ups.hand_out,
)


class Nightly:
    """The loop over members whose day has come. night_hour: shop-local, when scoring may begin."""

    def __init__(self, sessions: Sessions, peers: Peers, clock: Clock, *, rule: Rule, night_hour: int) -> None:
        self._sessions, self._peers, self._clock = sessions, peers, clock
        self._rule, self._night_hour = rule, night_hour
        self._begun_on: date | None = None
        self._judged_on: date | None = None
        self._counted_on: date | None = None

    async def run(self) -> None:
        """Forever: look once a minute."""
        while True:
            await self.round()
            await self._peers.wait("nightly", seconds=LOOK_EVERY)

    async def round(self) -> None:
        """Do what is due now."""
        today = local_day(self._clock.now())
        if self._begun_on != today:  # looks at everybody; who joins during the day is begun by a reaction
            await self._until_done(lifecycle.begin)
            await self._until_done(levels.begin)
            self._begun_on = today
        for step in STEPS:
            await self._until_done(step)
        if self._clock.now().astimezone(SHANGHAI).hour >= self._night_hour:
            await self._score()
            await self._count_items()
            await self._judge_all()

    async def _until_done(self, step: Step) -> None:
        done = 1
        while done:
            async with self._sessions.begin() as session:
                done = await step(session, now=self._clock.now())

    async def _score(self) -> None:
        now = self._clock.now()
        async with self._sessions.read() as session:  # most looks end here, without waiting for anybody
            if await rfm.is_scored(session, local_day(now)):
                return
        async with self._sessions.begin() as session:
            snapshot = await rfm.refresh_once(session, rule=self._rule, now=now)
        if snapshot is not None:
            log.info("rfm.refreshed", extra={"members": snapshot.members, "moved": snapshot.moved})

    async def _count_items(self) -> None:
        """What is bought together: looked for once a day and worker, counted once a day."""
        now = self._clock.now()
        if self._counted_on == local_day(now):
            return
        run = await item_counts.recount(self._sessions, now=now)
        self._counted_on = local_day(now)
        if run is not None:
            log.info("items.counted", extra={"lines": run.lines, "pairs": run.pairs})

    async def _judge_all(self) -> None:
        """Rules and watched segments that ask for days change without an event: everybody is looked at once a day.

        Only what changed is written, so a look by another worker or after a restart costs reading.
        """
        now = self._clock.now()
        if self._judged_on == local_day(now):
            return
        async with self._sessions.begin() as session:
            retagged = await rule_tags.refresh(session, now=now)
        async with self._sessions.begin() as session:
            moved = await segments.refresh_all(session, now=now)
        self._judged_on = local_day(now)
        log.info("audience.refreshed", extra={**asdict(retagged), **asdict(moved)})
