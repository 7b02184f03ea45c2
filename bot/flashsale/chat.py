"""Claims and places asked for in the kf chat: written down by the turn that heard them, then done like on the page.

A turn holds a transaction that answers many conversations; a claim inside it would keep an item locked until all of
them are done. So the line waits here, in the order it was said, and the answer leaves with its done mark.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.app import App
from bot.dialogue.turn import Text, as_messages
from bot.flashsale import groups, sales, waiting, words
from bot.flashsale.allocator import Allocator
from bot.flashsale.newcomers import Newcomers
from bot.flashsale.terms import Outcome, Request
from bot.flashsale.waiting import Place
from bot.handoff import queue
from bot.models.conversation import Conversation
from bot.models.sale import Channel, ClaimLine, Sale, SaleItem
from bot.wecom import lanes
from crm.base import outbox
from crm.base.db import insert
from crm.base.errors import Busy, ShopError
from crm.models.member import Member

log = logging.getLogger(__name__)

TOPIC = "claim-lines"
TOGETHER = 200
IDLE_SECONDS = 0.5
MINE = (20, 10.0)  # lines of one member in so many seconds


async def write_down(
    session: AsyncSession,
    *,
    msgid: str,
    conversation: Conversation,
    member_id: int,
    item_id: int,
    quantity: int,
    waits: bool = False,
    now: datetime,
) -> None:
    """Note the line in the turn's transaction; the message's own id makes it once.

    Raises Busy for the lines of one member that come faster than anybody means: as on the page, whichever worker hears.
    """
    lately = (ClaimLine.member_id == member_id, ClaimLine.said_at > now - timedelta(seconds=MINE[1]))
    if (await session.scalar(sa.select(sa.func.count()).where(*lately)) or 0) >= MINE[0]:
        raise Busy(retry_after=MINE[1])
    values = {
        "msgid": msgid,
        "conversation_id": conversation.id,
        "member_id": member_id,
        "item_id": item_id,
        "quantity": quantity,
        "waits": waits,
        "said_at": now,
    }
    await session.execute(insert(session, ClaimLine).values(values).on_conflict_do_nothing())


@dataclass(frozen=True, slots=True)
class Wish:
    """A line understood: a claim, or a place in the queue."""

    request: Request
    sale: Sale
    joined_at: datetime
    waits: bool


class ClaimLines:
    """Works off the lines. Killed anywhere, it asks again under the same key, which is the same claim."""

    def __init__(self, app: App, allocator: Allocator, newcomers: Newcomers) -> None:
        self._app, self._allocator, self._newcomers = app, allocator, newcomers
        self._places = asyncio.Lock()  # one item is locked at a time, and briefly

    async def run(self) -> None:
        """Forever: rounds while there is work, then wait for a tap."""
        while True:
            if not await self.round():
                await self._app.peers.wait(TOPIC, seconds=IDLE_SECONDS)

    async def round(self) -> int:
        """Do what some lines ask for, side by side, and answer them; returns how many."""
        now = self._app.clock.now()
        async with self._app.sessions.read() as session:
            lines = (
                await session.scalars(
                    sa.select(ClaimLine).where(ClaimLine.done_at.is_(None)).order_by(ClaimLine.id).limit(TOGETHER)
                )
            ).all()
            wishes = [await self._wish(session, line, now=now) for line in lines]
        outcomes = await asyncio.gather(*(self._fulfil(one) for one in wishes))
        settled = [(line, one) for line, one in zip(lines, outcomes, strict=True) if not isinstance(one, Busy)]
        await self._answer(settled)
        return len(settled)

    async def _wish(self, session: AsyncSession, line: ClaimLine, *, now: datetime) -> Wish:
        sale = await session.scalar(
            sa.select(Sale).join(SaleItem, SaleItem.sale_id == Sale.id).where(SaleItem.id == line.item_id)
        )
        member = await session.get(Member, line.member_id)
        assert sale is not None and member is not None  # foreign keys say so
        standing = await sales.standing(session, sale, line.member_id, now=now)
        request = Request(
            item_id=line.item_id,
            member_id=line.member_id,
            quantity=line.quantity,
            key=line.msgid,
            channel=Channel.CHAT,
            group_id=await groups.of_claim(session, sale, line.item_id, line.member_id),
            is_early=standing.is_early,
            is_invited=standing.is_invited,
        )
        return Wish(request, sale, member.joined_at, line.waits)

    async def _fulfil(self, wish: Wish) -> Outcome | Place:
        try:
            await self._newcomers.check(wish.sale, wish.request.member_id, wish.joined_at)
            if not wish.waits:
                return await self._allocator.claim(wish.request)
            async with self._places, self._app.sessions.begin() as session:
                return await waiting.join(session, wish.request, now=self._app.clock.now())
        except ShopError as refusal:
            return refusal

    async def _answer(self, settled: Sequence[tuple[ClaimLine, Outcome | Place]]) -> None:
        if not settled:
            return
        now = self._app.clock.now()
        async with self._app.sessions.begin() as session:
            ids = [line.id for line, _ in settled]
            mine = sa.update(ClaimLine).where(ClaimLine.id.in_(ids), ClaimLine.done_at.is_(None))
            done = set(await session.scalars(mine.values(done_at=now).returning(ClaimLine.id)))
            items = await self._items(session, {line.item_id for line, _ in settled})
            for line, outcome in settled:
                if line.id in done:  # else another worker has said it
                    conversation = await session.get_one(Conversation, line.conversation_id)
                    item = items[line.item_id]
                    said = words.answer(outcome, item, self._app.public_url)
                    await outbox.put(session, self._messages(conversation, line, said, now=now), now=now)
        self._app.peers.tap("send")

    async def _items(self, session: AsyncSession, ids: set[int]) -> dict[int, SaleItem]:
        rows = await session.scalars(sa.select(SaleItem).where(SaleItem.id.in_(ids)))
        return {item.id: item for item in rows}

    def _messages(
        self, conversation: Conversation, line: ClaimLine, said: str, *, now: datetime
    ) -> list[outbox.Message]:
        deadline = now + self._app.reply_deadline
        return [
            lanes.kf_message(
                queue.address(conversation), payload, because=("claim", line.msgid, number), deadline=deadline
            )
            for number, payload in enumerate(as_messages([Text(said)]))
        ]
