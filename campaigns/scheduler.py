"""What happens by the clock: a handful of jobs that look for due work, run by APScheduler in one process.

On PostgreSQL that is whichever worker holds the advisory lock, on SQLite the single process. The lock saves work and is
not what keeps a campaign from firing twice: each occurrence is a unique row, whoever writes it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from campaigns import attribution, firing, group_sequences
from crm.base.clock import Clock
from crm.base.db import Sessions
from crm.base.peers import Peers

log = logging.getLogger(__name__)

LEADER = 7_001_201  # advisory lock of the process that runs the schedule
TRY_EVERY = 5.0  # seconds between tries to become the leader, and between looks whether we still are


@dataclass(frozen=True, slots=True)
class Job:
    """One look for due work, in a transaction of its own."""

    name: str
    every: float  # seconds
    run: Callable[..., Awaitable[Any]]  # (session, *, now)


JOBS = (
    Job("campaigns.fire", 2.0, firing.fire_due),
    Job("campaigns.groups_enter", 30.0, group_sequences.enter),
    Job("campaigns.credit", 600.0, attribution.credit_recent),
    Job("campaigns.credit_all", 2.0, attribution.credit_all),  # a batch; once through a day, by its own mark
)


class Scheduler:
    """Runs the jobs while this process leads. further: jobs of the layers above."""

    def __init__(self, sessions: Sessions, peers: Peers, clock: Clock, *, further: Sequence[Job] = ()) -> None:
        self._sessions, self._peers, self._clock = sessions, peers, clock
        self._jobs = (*JOBS, *further)

    async def run(self) -> None:
        """Forever: lead when nobody does."""
        if self._sessions.dialect == "sqlite":
            await self._lead(until_lost=None)
            return
        while True:
            url = self._sessions.writer.url.set(drivername="postgresql").render_as_string(hide_password=False)
            link = await asyncpg.connect(url)
            try:
                if await link.fetchval("SELECT pg_try_advisory_lock($1)", LEADER):
                    log.info("scheduler.leads")
                    await self._lead(until_lost=link)
            finally:
                await link.close()
            await asyncio.sleep(TRY_EVERY)

    async def _lead(self, *, until_lost: "asyncpg.Connection[Any] | None") -> None:
        """Run the jobs for as long as the connection that holds the lock lives."""
        schedule = AsyncIOScheduler(timezone="UTC")
        for job in self._jobs:
            schedule.add_job(
                self._run, "interval", [job], seconds=job.every, id=job.name, coalesce=True, max_instances=1,
                misfire_grace_time=None,
            )  # fmt: skip
        schedule.start()
        try:
            while until_lost is None or not until_lost.is_closed():  # noqa: ASYNC110  (a connection tells nobody)
                await asyncio.sleep(TRY_EVERY)
        finally:
            schedule.shutdown(wait=False)

    async def _run(self, job: Job) -> None:
        try:
            if await self.once(job):
                self._peers.tap("campaigns")
        except Exception:
            log.exception("job.failed", extra={"job": job.name})

    async def once(self, job: Job) -> Any:
        """Run a job now."""
        async with self._sessions.begin() as session:
            return await job.run(session, now=self._clock.now())
