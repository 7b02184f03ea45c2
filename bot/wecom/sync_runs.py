"""Runs of the sync: where a reading stands, moved in the transaction that takes a page.

So a reading that is cut short goes on where it stood, and of two processes at one reading one stops.
"""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.models.sync import SyncKind, SyncRun
from bot.wecom.errors import Retry, WecomError
from crm.base.clock import Clock
from crm.base.db import Sessions, insert

log = logging.getLogger(__name__)

STALE = timedelta(hours=12)  # a run this old begins anew: WeCom forgets cursors


class Overtaken(Exception):
    """Another process took this page, or the run was given up: nothing of ours was written."""


@dataclass(slots=True)
class Run:
    """A run as this process sees it. place: where the next page begins, empty at the start."""

    id: int
    started_at: datetime
    step: int
    place: dict[str, Any]


class Runs:
    """Opens runs and moves them on. At most one of a kind is open, whatever the number of processes."""

    def __init__(self, sessions: Sessions, clock: Clock) -> None:
        self._sessions, self._clock = sessions, clock

    @asynccontextmanager
    async def open(self, kind: SyncKind) -> AsyncIterator[Run]:
        """The open run of this kind, or a new one. An error that will not pass gives it up; others leave it open."""
        run = await self._begin(kind)
        try:
            yield run
        except Overtaken:
            log.info("sync.overtaken", extra={"kind": kind})
        except WecomError as error:
            if error.retry is Retry.NEVER:
                async with self._sessions.begin() as session:
                    await _give_up(session, SyncRun.id == run.id, error=str(error), now=self._clock.now())
            raise

    async def _begin(self, kind: SyncKind) -> Run:
        now = self._clock.now()
        async with self._sessions.begin() as session:
            await _give_up(session, SyncRun.kind == kind, SyncRun.started_at < now - STALE, error="stale", now=now)
            fresh = insert(session, SyncRun).values(kind=kind, started_at=now, place={})
            await session.execute(fresh.on_conflict_do_nothing())
            is_open = sa.select(SyncRun).where(SyncRun.kind == kind, SyncRun.finished_at.is_(None))
            row = (await session.scalars(is_open)).one()
            return Run(row.id, row.started_at, row.step, dict(row.place))

    @asynccontextmanager
    async def page(
        self, run: Run, place: Mapping[str, Any] | None = None, *, taken: int = 0, is_last: bool = False
    ) -> AsyncIterator[AsyncSession]:
        """The transaction of one page: what is written in it counts if the run still stands where the page began.

        place: where the run stands after it; None leaves it. taken: how many things the page held.
        """
        further = dict(run.place if place is None else place)
        async with self._sessions.begin() as session:
            moved = await session.scalar(
                sa.update(SyncRun)
                .where(SyncRun.id == run.id, SyncRun.step == run.step, SyncRun.finished_at.is_(None))
                .values(
                    step=run.step + 1,
                    place=further,
                    taken=SyncRun.taken + taken,
                    finished_at=self._clock.now() if is_last else None,
                )
                .returning(SyncRun.id)
            )
            if moved is None:
                raise Overtaken
            yield session
        run.step, run.place = run.step + 1, further


async def _give_up(session: AsyncSession, *which: sa.ColumnElement[bool], error: str, now: datetime) -> None:
    await session.execute(
        sa.update(SyncRun).where(*which, SyncRun.finished_at.is_(None)).values(finished_at=now, error=error)
    )
