"""The loop that works on running campaigns: any number of workers, each step a transaction of its own."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from campaigns import coupon_grants, firing, group_posts, group_sequences, group_tasks, sequence_news, sequences, ticks
from campaigns.draining import Kf
from campaigns.guard_rules import Gate
from crm.base.clock import Clock
from crm.base.db import Sessions
from crm.base.peers import Peers

log = logging.getLogger(__name__)

IDLE_SECONDS = 1.0
GRANTED_A_ROUND = 20  # windows of coupons; messages do not wait for all of them


class Worker:
    """Plans, puts on their way, settles. Who else does so takes other rows."""

    def __init__(self, sessions: Sessions, peers: Peers, clock: Clock, *, gate: Callable[[], Gate], kf: Kf) -> None:
        self._sessions, self._peers, self._clock = sessions, peers, clock
        self._gate, self._kf = gate, kf  # the gate as it is at each step: staff change it while we run

    async def run(self) -> None:
        """Forever: whatever is due, then wait a moment for more."""
        while True:
            await self.round()
            await self._peers.wait("campaigns", seconds=IDLE_SECONDS)

    async def round(self) -> int:
        """Do all that is due now; returns how many steps that took."""
        steps = 0
        for asks in await self._once(ticks.watch):
            log.warning("campaign.run_asks", extra={"run_id": asks})
        while await self._once(firing.listen):
            steps += 1
        while await self._once(sequence_news.listen):
            steps += 1
        for _ in range(GRANTED_A_ROUND):
            if not await self._once(coupon_grants.advance):
                break
            steps += 1
        while await self._once(group_sequences.advance):
            steps += 1
        while await self._once(ticks.plan):
            steps += 1
        while await self._once(sequences.advance):
            steps += 1
        while await self._once(ticks.drain, self._gate(), self._kf):
            steps += 1
        for ref in await self._once(group_posts.watch):
            log.warning("group_post.asks", extra={"ref": ref})
        while await self._once(group_tasks.assemble, self._gate()):
            steps += 1
        await self._once(group_posts.finish)
        async with self._sessions.read() as session:
            run_ids = await ticks.sending(session)
        for run_id in run_ids:
            while await self._once(ticks.settle, run_id, self._gate()):
                steps += 1
        return steps

    async def _once(self, step: Callable[..., Awaitable[Any]], *told: Any) -> Any:
        async with self._sessions.begin() as session:
            return await step(session, *told, now=self._clock.now())
