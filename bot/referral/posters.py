"""Posters asked for in the chat: drawn in a thread, uploaded, and sent after the words that answered."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import aiohttp
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot import texts
from bot.app import App
from bot.dialogue.turn import Picture, Say, Text, as_messages
from bot.handoff import queue
from bot.models.conversation import Conversation
from bot.models.referral import PosterWanted
from bot.referral import poster, sharing
from bot.referral.sharing import Shared
from bot.wecom import lanes
from bot.wecom.api.media import MediaApi
from bot.wecom.errors import WecomError
from campaigns import referral_programmes
from campaigns.models.referral import ReferralLink
from campaigns.referral_facts import NothingOpen
from crm.base import outbox
from crm.base.db import insert

log = logging.getLogger(__name__)

TOPIC = "posters"
LOOK_EVERY = 5.0  # seconds
TOGETHER = 10
TRIES = 3
GOOD_FOR = timedelta(minutes=30)  # who waited longer than this is somewhere else


async def write_down(session: AsyncSession, *, msgid: str, conversation_id: int, link_id: int, now: datetime) -> None:
    """Note in the turn's transaction that somebody wants their poster; the message's own id makes it once."""
    row = {"msgid": msgid, "conversation_id": conversation_id, "link_id": link_id}
    wanted = insert(session, PosterWanted).values(**row, wanted_at=now, tries=0)
    await session.execute(wanted.on_conflict_do_nothing())


class Posters:
    """Works off what was asked for. Killed anywhere, it draws again; the message leaves once."""

    def __init__(self, app: App, media: MediaApi, http: aiohttp.ClientSession) -> None:
        self._app, self._media, self._http = app, media, http

    async def run(self) -> None:
        """Forever: what is wanted, then wait a moment for more."""
        while True:
            if not await self.round():
                await self._app.peers.wait(TOPIC, seconds=LOOK_EVERY)

    async def round(self) -> int:
        """Make some; returns how many are done with."""
        found = await self._take()
        for one in found:
            await self._make(one)
        return len(found)

    async def _take(self) -> Sequence[PosterWanted]:
        async with self._app.sessions.begin() as session:
            some = sa.select(PosterWanted.msgid).where(PosterWanted.done_at.is_(None), PosterWanted.tries < TRIES)
            some = some.order_by(PosterWanted.wanted_at).limit(TOGETHER).with_for_update(skip_locked=True)
            taken = sa.update(PosterWanted).where(PosterWanted.msgid.in_(some))
            rows = await session.scalars(
                taken.values(tries=PosterWanted.tries + 1).returning(PosterWanted),
                execution_options={"synchronize_session": False},
            )
            return rows.all()

    async def _make(self, one: PosterWanted) -> None:
        now = self._app.clock.now()
        says: list[Say] = []
        if now <= one.wanted_at + GOOD_FOR:
            try:
                media_id = await self._upload(one, now=now)
                says = [Picture(media_id)] if media_id else []
            except (WecomError, OSError) as error:
                log.warning("referral.poster_failed", extra={"link_id": one.link_id, "error": str(error)})
                if one.tries < TRIES:
                    return
                says = [Text(texts.REFERRAL_NO_POSTER)]
        await self._done(one, says)

    async def _upload(self, one: PosterWanted, *, now: datetime) -> str | None:
        """The uploaded picture. None: there is nothing to invite to any more."""
        async with self._app.sessions.read() as session:
            link = await session.get_one(ReferralLink, one.link_id)
            try:
                programme = await referral_programmes.get_open(session, None, at=now)
            except NothingOpen:
                return None
            if link.closed_at is not None:
                return None
            url = sharing.url_of(self._app, link, programme)
            shared = Shared(link, programme, referral_programmes.terms_of(programme), url)
            told, avatar = await sharing.poster_of(session, self._app, shared, url)
        told = replace(told, avatar=await sharing.fetch_avatar(self._http, avatar))
        content = await asyncio.to_thread(poster.draw, told, self._app.poster_font)
        return (await self._media.upload(content, kind="image", filename="poster.png")).media_id

    async def _done(self, one: PosterWanted, says: Sequence[Say]) -> None:
        now = self._app.clock.now()
        async with self._app.sessions.begin() as session:
            mine = (PosterWanted.msgid == one.msgid, PosterWanted.done_at.is_(None))
            done = sa.update(PosterWanted).where(*mine).values(done_at=now).returning(PosterWanted.msgid)
            if await session.scalar(done, execution_options={"synchronize_session": False}) is None:
                return
            conversation = await session.get_one(Conversation, one.conversation_id)
            address, until = queue.address(conversation), now + self._app.reply_deadline
            await outbox.put(
                session,
                [
                    lanes.kf_message(address, payload, because=("poster", one.msgid, number), deadline=until)
                    for number, payload in enumerate(as_messages(says))
                ],
                now=now,
            )
        self._app.peers.tap("send")
