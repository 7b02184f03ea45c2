"""Answers that wait for their hour: sent then if they still may be, else the agent is told why not."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.app import App
from bot.handoff import desk, queue
from bot.models.desk import LaterReply
from bot.models.handoff import StepKind
from bot.wecom import lanes
from crm.base import outbox
from crm.base.errors import Invalid, ShopError

LOOK_EVERY = 5.0  # seconds
FURTHEST = timedelta(hours=47)  # the window is over after 48
TOGETHER = 50


@dataclass(eq=False)
class HourInvalid(Invalid):
    """The hour lies in the future, and before the window ends."""

    code: ClassVar[str] = "desk.hour_invalid"


async def put_off(
    session: AsyncSession, ticket_id: int, *, staff: str, text: str, due_at: datetime, now: datetime
) -> None:
    """Say `text` at `due_at`. Raises HourInvalid, NothingSaid, and what taking the ticket raises."""
    if not now < due_at <= now + FURTHEST:
        raise HourInvalid
    desk.check_words(text)
    session.add(LaterReply(ticket_id=ticket_id, staff=staff, text=text.strip(), due_at=due_at, made_at=now))


async def take_back(session: AsyncSession, reply_id: int, *, ticket_id: int, now: datetime) -> bool:
    """False when it was sent already."""
    mine = (LaterReply.id == reply_id, LaterReply.ticket_id == ticket_id, LaterReply.settled_at.is_(None))
    gone = await session.scalar(
        sa.update(LaterReply).where(*mine).values(settled_at=now, outcome="cancelled").returning(LaterReply.id)
    )
    return gone is not None


async def waiting(session: AsyncSession, ticket_id: int) -> Sequence[LaterReply]:
    mine = (LaterReply.ticket_id == ticket_id, LaterReply.settled_at.is_(None))
    return (await session.scalars(sa.select(LaterReply).where(*mine).order_by(LaterReply.due_at))).all()


class LaterReplies:
    """The loop that sends what is due. Two of them send nothing twice: the row is settled where the answer is put."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def run(self) -> None:
        while True:
            if not await self.tick():
                await self._app.peers.wait("later", seconds=LOOK_EVERY)

    async def tick(self) -> int:
        """Send what is due now; returns how many were looked at."""
        now = self._app.clock.now()
        due = (LaterReply.due_at <= now, LaterReply.settled_at.is_(None))
        async with self._app.sessions.read() as session:
            ids = (await session.scalars(sa.select(LaterReply.id).where(*due).limit(TOGETHER))).all()
        for reply_id in ids:
            await self._send(reply_id)
        if ids:
            self._app.peers.tap("send")
        return len(ids)

    async def _send(self, reply_id: int) -> None:
        now = self._app.clock.now()
        try:
            async with self._app.sessions.begin() as session:
                one = await _settle(session, reply_id, "sent", now=now)
                if one is not None:
                    await desk.reply(
                        session,
                        one.ticket_id,
                        staff=one.staff,
                        text=one.text,
                        key=f"later:{one.id}",
                        policy=self._app.handoff,
                        now=now,
                    )
        except ShopError as refusal:
            async with self._app.sessions.begin() as session:
                one = await _settle(session, reply_id, refusal.code[:40], now=now)
                if one is not None:
                    note = f"定时回复没有发出（{refusal.code}）：{one.text}"
                    await queue.step(session, one.ticket_id, StepKind.NOTED, now=now, by=one.staff, note=note)
                    told = {"msgtype": "text", "text": {"content": f"工单 {one.ticket_id}：{note}"}}
                    message = lanes.staff_message(told, because=("later", one.id), userids=(one.staff,))
                    await outbox.put(session, [message], now=now)


async def _settle(session: AsyncSession, reply_id: int, outcome: str, *, now: datetime) -> LaterReply | None:
    """The row is this sender's: the WHERE clause lets one through."""
    found: LaterReply | None = await session.scalar(
        sa.update(LaterReply)
        .where(LaterReply.id == reply_id, LaterReply.settled_at.is_(None))
        .values(settled_at=now, outcome=outcome)
        .returning(LaterReply)
    )
    return found
