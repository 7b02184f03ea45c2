"""Handles stored callbacks: greets within the code's seconds, then brings crm up to what WeCom says now.

A callback is a hint, not the truth: what changed is read back from WeCom, so lost, repeated and reordered callbacks
end alike. Taking a row moves its `not_before` ahead, which is its lease: a crash gives it back after a minute.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from bot import texts
from bot.app import App
from bot.handoff.presses import CardPresses
from bot.metrics import ALERTS
from bot.models.gateway import CallbackRow, Handling
from bot.wecom import event_xml, events, lanes
from bot.wecom.errors import RateLimited, WecomError
from bot.wecom.sync import Sync
from bot.wecom.upkeep import Upkeep
from crm.base import outbox
from crm.staff import name_of

log = logging.getLogger(__name__)

TOGETHER = 20
LEASE = timedelta(seconds=60)
TRIES = 24  # with pauses that grow to five minutes: an outage of more than an hour loses nothing
Handle = Callable[[Any], Awaitable[None]]


class InboxWorker:
    """Works off stored callbacks, some side by side."""

    def __init__(self, app: App, sync: Sync, upkeep: Upkeep, presses: CardPresses) -> None:
        self._app = app
        self._in_hand: set[int] = set()
        self._handlers: Mapping[type[events.Event], Handle] = {
            events.ExternalContactEvent: sync.take_contact_event,
            events.GroupEvent: sync.take_group_event,
            events.TagChanged: sync.take_tag_event,
            events.KfAccountAuthChanged: upkeep.take_accounts_event,
            events.CardPressed: presses.take,
            events.MsgAuditNotify: self._read_archive,
        }

    async def run(self) -> None:
        """Forever: take what is due, handle it, wait for a tap."""
        async with asyncio.TaskGroup() as handling:
            while True:
                rows = await self._take(TOGETHER - len(self._in_hand))
                for row in rows:  # side by side: a slow one must not keep a greeting waiting
                    self._in_hand.add(row.id)
                    handling.create_task(self._handle_apart(row), name=f"callback:{row.id}")
                if not rows:
                    await self._app.peers.wait("inbox", seconds=1.0)

    async def _handle_apart(self, row: CallbackRow) -> None:
        try:
            await self._handle(row)
        finally:
            self._in_hand.discard(row.id)
            self._app.peers.tap("inbox")

    async def _take(self, limit: int) -> Sequence[CallbackRow]:
        """Lease some rows, and put the greetings they allow on their lane in the same transaction."""
        now = self._app.clock.now()
        due = (
            sa.select(CallbackRow.id)
            .where(CallbackRow.status == Handling.OPEN, CallbackRow.not_before <= now)
            .order_by(CallbackRow.not_before, CallbackRow.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("due")  # chosen once: PostgreSQL runs a plain subquery again for every row, past any limit
        )
        async with self._app.sessions.begin() as session:
            leased = await session.scalars(
                sa.update(CallbackRow)
                .where(CallbackRow.id.in_(sa.select(due.c.id)))
                .values(not_before=now + LEASE, attempts=CallbackRow.attempts + 1)
                .returning(CallbackRow)
                .execution_options(synchronize_session=False)
            )
            rows = sorted(leased.all(), key=lambda row: row.id)
            for row in rows:
                event = event_xml.parse_event(row.body.encode())
                if isinstance(event, events.ExternalContactAdded | events.MsgAuditApproved) and event.welcome_code:
                    name = await name_of(session, event.userid)
                    greeting = self._greeting(row.app, event, staff_name=name)
                    await outbox.put(session, [greeting], now=now)
        if rows:
            self._app.peers.tap("send")
        return rows

    def _greeting(
        self, app: str, event: events.ExternalContactAdded | events.MsgAuditApproved, *, staff_name: str
    ) -> outbox.Message:
        words = texts.WELCOME_CONTACT.format(shop=self._app.shop.name, staff=staff_name or "客服")
        return lanes.welcome(
            app, event.welcome_code, {"text": {"content": words}}, deadline=event.created_at + lanes.CODE_LIFE
        )

    async def _handle(self, row: CallbackRow) -> None:
        event = event_xml.parse_event(row.body.encode())
        try:
            for kind, handle in self._handlers.items():
                if isinstance(event, kind):
                    await handle(event)
        except RateLimited as error:
            later = self._app.clock.now() + timedelta(seconds=error.retry_after)
            await self._write(row, not_before=later, attempts=row.attempts - 1, error=str(error)[:500])
        except WecomError as error:
            await self._again(row, str(error))
        except Exception as bug:
            log.exception("inbox.failed", extra={"callback_id": row.id})
            await self._again(row, f"{type(bug).__name__}: {bug}")
        else:
            await self._close(row, Handling.DONE)

    async def _read_archive(self, _event: events.MsgAuditNotify) -> None:
        """It only says that there is something."""
        self._app.peers.tap("archive")

    async def _again(self, row: CallbackRow, why: str) -> None:
        now = self._app.clock.now()
        if row.attempts >= TRIES:
            ALERTS.labels("callback_dead").inc()
            await self._close(row, Handling.DEAD, why)
            return
        later = outbox.retry_at(row.attempts, now=now, chance=self._app.chance)
        await self._write(row, not_before=later, error=why[:500])

    async def _close(self, row: CallbackRow, status: Handling, why: str | None = None) -> None:
        await self._write(row, status=status, done_at=self._app.clock.now(), error=why and why[:500])

    async def _write(self, row: CallbackRow, **values: Any) -> None:
        async with self._app.sessions.begin() as session:
            await session.execute(sa.update(CallbackRow).where(CallbackRow.id == row.id).values(**values))
