"""Works off mentions: the answer, the question's record and the done mark commit together.

A worker locks the rows it answers, and PostgreSQL's others skip them; a death gives them back.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot import texts
from bot.app import App
from bot.groupbot import store, subjects
from bot.groupbot.subjects import Answer, Heard
from bot.metrics import ALERTS, MENTIONS
from bot.models.gateway import Handling
from bot.models.group_bot import BotMention
from bot.wecom.api.aibot import AibotApi
from bot.wecom.errors import OAuthCodeSpent
from bot.wecom.lanes import Send, Sent
from crm.base import outbox
from crm.base.clock import Clock
from crm.base.db import Sessions
from crm.base.outbox import Claimed

log = logging.getLogger(__name__)

TOGETHER = 20  # mentions a transaction answers
TRIES = 3
AGAIN = (timedelta(seconds=1), timedelta(seconds=5))
LONGEST = 200  # characters; what is longer is a story, whose vector says little
FORGET_EVERY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class BotPlace:
    """What differs from bot to bot."""

    help_url: str = ""


class Mentions:
    """The loop behind the bots. kept: how long what was said to them stays."""

    def __init__(self, app: App, places: Mapping[str, BotPlace], *, kept: timedelta) -> None:
        self._app, self._places, self._kept = app, places, kept
        self._forgot_at: datetime | None = None

    async def run(self) -> None:
        """Forever: rounds while there is work, then wait for a tap."""
        while True:
            if not await self.round():
                await self._forget()
                await self._app.peers.wait(store.TOPIC, seconds=0.5)

    async def round(self) -> int:
        """Answer some mentions in one transaction; returns how many were tried."""
        await self._think(now=self._app.clock.now())
        now = self._app.clock.now()
        async with self._app.sessions.begin() as session:
            rows = await session.scalars(
                sa.select(BotMention)
                .where(BotMention.status == Handling.OPEN, BotMention.not_before <= now)
                .order_by(BotMention.not_before, BotMention.id)
                .limit(TOGETHER)
                .with_for_update(skip_locked=True)
            )
            taken = list(rows)
            for row in taken:
                await self._answer(session, row, now=now)
                if row.answer is not None:
                    await outbox.put(session, store.late(row, now=now), now=now)
        return len(taken)

    async def _think(self, *, now: datetime) -> None:
        """What the open questions mean, worked out before the transaction that answers them."""
        matcher = self._app.faq.matcher
        if self._app.semantics is None or matcher.meant is None:
            return
        async with self._app.sessions.read() as session:
            waiting = await session.scalars(
                sa.select(BotMention.text)
                .where(BotMention.status == Handling.OPEN, BotMention.not_before <= now)
                .order_by(BotMention.not_before, BotMention.id)
                .limit(TOGETHER)
            )
            words = [text for text in waiting if 0 < len(text) <= LONGEST and not matcher.is_certain(text)]
        await self._app.semantics.think_of(words)

    async def _answer(self, session: AsyncSession, row: BotMention, *, now: datetime) -> None:
        """One mention; a bug rolls back its own effects only, is tried again, and then is admitted."""
        place = self._places.get(row.bot, BotPlace())
        try:
            async with session.begin_nested():
                found = await subjects.answer(Heard(self._app, session, row, now, place.help_url))
        except Exception as bug:
            log.exception("mention.failed", extra={"mention_id": row.id})
            await session.refresh(row)
            self._note(row, bug, now=now)
            return
        MENTIONS.labels("answered").inc()
        _settle(row, found, Handling.DONE, now=now)

    def _note(self, row: BotMention, bug: Exception, *, now: datetime) -> None:
        row.attempts += 1
        row.error = f"{type(bug).__name__}: {bug}"[:500]
        if row.attempts < TRIES:
            row.not_before = now + AGAIN[row.attempts - 1]
            return
        ALERTS.labels("mention_bug").inc()
        MENTIONS.labels("failed").inc()
        _settle(row, Answer(texts.GROUP_LOST), Handling.DEAD, now=now)

    async def _forget(self) -> None:
        now = self._app.clock.now()
        if self._forgot_at is not None and now - self._forgot_at < FORGET_EVERY:
            return
        self._forgot_at = now
        async with self._app.sessions.begin() as session:
            await store.forget(session, before=now - self._kept)


def _settle(row: BotMention, found: Answer, status: Handling, *, now: datetime) -> None:
    row.answer, row.offered = found.text, list(found.offered) or None
    row.status, row.done_at = status, now


def late_answers(api: AibotApi, sessions: Sessions, clock: Clock) -> Send:
    """The sender of answers that no refresh has taken by the end of their stream."""

    async def send(one: Claimed) -> Sent:
        async with sessions.read() as session:
            row = await session.get(BotMention, one.body["mention_id"])
        if row is None or row.answer is None or row.response_code is None or row.shown_at is not None:
            return Sent({"by": "stream"})
        try:
            await api.respond(row.response_code, row.answer)
        except OAuthCodeSpent:
            if one.attempts == 1:
                raise
            # an earlier try went through: the code was good for one
        return Sent({"by": "response_url"}, learnt=(store.shown(row.id, now=clock.now()),))

    return send
