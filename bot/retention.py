"""Thrown out by age, every night in small batches: what came in, what left, what happened, and who looked at what.

Nothing goes that is still to be done, that a reader of events has not read, or that a kept row points at. Each batch is
a transaction, so nobody waits long, and any number of workers may run this.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.models.access import SignIn, SignInTry
from bot.models.api import ApiReply
from bot.models.conversation import KfSend
from bot.models.desk import DeskSeat, LaterReply, TicketMark
from bot.models.gateway import CallbackRow, Handling, InboundMessage
from bot.models.handoff import Ticket, TicketStatus, TicketStep
from bot.models.sync import SyncRun
from bot.models.webhook import DeliveryState, WebhookAttempt, WebhookDelivery
from bot.privacy import EVERYTHING
from bot.settings import KeptSettings
from campaigns.models.gate import PassState, QuotaUse, Touch
from campaigns.models.review import ReviewPicture, TaskReview
from crm import privacy
from crm.base import events
from crm.base.clock import SHANGHAI, Clock, local_day
from crm.base.db import Base, Sessions
from crm.base.events import EventFailure, EventRow
from crm.base.outbox import OutboxRow, Status
from crm.base.peers import Peers
from crm.models.private import Reveal

log = logging.getLogger(__name__)

LOOK_EVERY = 60.0  # seconds
TOGETHER = 2_000  # rows looked at in one transaction
Condition = sa.ColumnElement[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Rows of one table that are kept for a while. Their ids grow with their age, give or take some."""

    kept: str  # name of the setting
    title: str
    model: Any
    age: Any  # column: since when it lies here
    over: Callable[[], Condition]  # whether nothing is still to be done with a row
    along: Sequence[Any] = ()  # columns that name a row, of tables whose rows go with it

    def old(self, before: datetime) -> Condition:
        """SQL for what may be thrown out."""
        return sa.and_(self.age < before, self.over(), *self._unreferenced())

    def _unreferenced(self) -> list[Condition]:
        """No kept row points at it. Foreign keys are read from the metadata: a table of tomorrow counts too."""
        id_, taken = self.model.__table__.c.id, [(column.table.name, column.name) for column in self.along]
        pointing = [
            key.parent
            for table in Base.metadata.tables.values()
            for key in table.foreign_keys
            if key.column is id_ and (table.name, key.parent.name) not in taken
        ]
        return [~sa.exists(sa.select(sa.literal(1)).where(column == id_)) for column in pointing]


def _settled() -> Condition:
    return OutboxRow.status.not_in((Status.WAITING, Status.CLAIMED))


def _is_decided() -> Condition:
    decided = sa.select(TaskReview.id).where(TaskReview.decided_at.is_not(None))
    return ReviewPicture.review_id.in_(decided)


SHELVES: Sequence[Shelf] = (
    Shelf(
        kept="callbacks",
        title="企业微信的回调",
        model=CallbackRow,
        age=CallbackRow.received_at,
        over=lambda: CallbackRow.status != Handling.OPEN,
    ),
    Shelf(
        kept="callbacks",
        title="同步的经过",
        model=SyncRun,
        age=SyncRun.started_at,
        over=lambda: SyncRun.finished_at.is_not(None),
    ),
    Shelf(
        kept="tickets",
        title="工单",
        model=Ticket,
        age=Ticket.opened_at,
        over=lambda: Ticket.status == TicketStatus.CLOSED,
        along=tuple(one.__table__.c.ticket_id for one in (TicketStep, TicketMark, DeskSeat, LaterReply)),
    ),
    Shelf(
        kept="messages",
        title="客户和同事的消息",
        model=InboundMessage,
        age=InboundMessage.received_at,
        over=lambda: InboundMessage.status != Handling.OPEN,
    ),
    Shelf(
        kept="outbox",
        title="发出的消息",
        model=OutboxRow,
        age=OutboxRow.created_at,
        over=_settled,
        along=(KfSend.__table__.c.outbox_id,),
    ),
    Shelf(
        kept="webhooks",
        title="发给别的系统的事件",
        model=WebhookDelivery,
        age=WebhookDelivery.created_at,
        over=lambda: WebhookDelivery.state != DeliveryState.WAITING,
        along=(WebhookAttempt.__table__.c.delivery_id,),
    ),
    Shelf(
        kept="events",
        title="发生过的事",
        model=EventRow,
        age=EventRow.at,
        over=events.read_by_all,
        along=(EventFailure.__table__.c.event_id,),
    ),
    Shelf(kept="callbacks", title="登录时试过的密码", model=SignInTry, age=SignInTry.at, over=sa.true),
    Shelf(kept="callbacks", title="结束了的登录", model=SignIn, age=SignIn.ends_at, over=sa.true),
    Shelf(kept="pictures", title="晒单的图片", model=ReviewPicture, age=ReviewPicture.sent_at, over=_is_decided),
    Shelf(
        kept="touches",
        title="营销触达的计数",
        model=Touch,
        age=Touch.at,
        over=lambda: Touch.state != PassState.PENDING,
    ),
    Shelf(
        kept="touches",
        title="群发次数的计数",
        model=QuotaUse,
        age=QuotaUse.at,
        over=lambda: QuotaUse.state != PassState.PENDING,
    ),
    Shelf(kept="reveals", title="谁看过手机号", model=Reveal, age=Reveal.revealed_at, over=sa.true),
)


async def throw_out(
    session: AsyncSession, shelf: Shelf, *, before: datetime, after: int = 0, limit: int = TOGETHER
) -> tuple[int, int | None]:
    """Look at the next `limit` rows behind `after` and delete the old ones.

    Returns how many went, and where to go on; None when the end is reached, or rows that are all too young.
    """
    id_ = shelf.model.id
    seen = (await session.execute(sa.select(id_, shelf.age).where(id_ > after).order_by(id_).limit(limit))).all()
    if not seen or all(row[1] >= before for row in seen):
        return 0, None
    last = seen[-1][0]
    old = sa.select(id_).where(id_ > after, id_ <= last, shelf.old(before)).with_for_update(skip_locked=True)
    ids = list(await session.scalars(old))
    for column in shelf.along:
        await session.execute(sa.delete(column.table).where(column.in_(ids)))
    await session.execute(sa.delete(shelf.model.__table__).where(id_.in_(ids)))
    return len(ids), last if len(seen) == limit else None


async def throw_out_replies(session: AsyncSession, *, before: datetime, limit: int = TOGETHER) -> int:
    """Answers of the API: after this long nobody asks again with the same key."""
    key = sa.tuple_(ApiReply.caller, ApiReply.idempotency_key)
    old = sa.select(ApiReply.caller, ApiReply.idempotency_key).where(ApiReply.answered_at < before).limit(limit)
    gone = await session.execute(sa.delete(ApiReply).where(key.in_(old)))
    return int(gone.rowcount)  # type: ignore[attr-defined]


async def count(session: AsyncSession, kept: KeptSettings, *, now: datetime) -> Mapping[str, tuple[timedelta, int]]:
    """What would go now: how long it is kept and how many rows are older, by title."""
    found = {}
    for shelf in SHELVES:
        duration: timedelta = getattr(kept, shelf.kept)
        old = sa.select(sa.func.count()).select_from(shelf.model).where(shelf.old(now - duration))
        found[shelf.title] = duration, await session.scalar(old) or 0
    return found


class Retention:
    """The loop. night_hour: shop-local, from when on it throws out, once a day."""

    def __init__(self, sessions: Sessions, peers: Peers, clock: Clock, *, kept: KeptSettings, night_hour: int) -> None:
        self._sessions, self._peers, self._clock = sessions, peers, clock
        self._kept, self._night_hour = kept, night_hour
        self._done_on: date | None = None

    async def run(self) -> None:
        """Forever: look once a minute whether it is time."""
        while True:
            now = self._clock.now()
            if self._done_on != local_day(now) and now.astimezone(SHANGHAI).hour >= self._night_hour:
                await clear(self._sessions, self._kept, now=now)
                self._done_on = local_day(now)
            await self._peers.wait("retention", seconds=LOOK_EVERY)


async def clear(sessions: Sessions, kept: KeptSettings, *, now: datetime) -> Mapping[str, int]:
    """Throw out everything that is too old, and what came to erased members since; how many rows, by title."""
    gone: dict[str, int] = {}
    for shelf in SHELVES:
        gone[shelf.title] = await _clear(sessions, shelf, before=now - getattr(kept, shelf.kept))
    some = TOGETHER
    while some == TOGETHER:
        async with sessions.begin() as session:
            some = await throw_out_replies(session, before=now - kept.callbacks)
    place: int | None = 0
    while place is not None:
        async with sessions.begin() as session:
            place = await privacy.sweep(session, EVERYTHING, now=now, after=place)
    log.info("retention.done", extra={"rows": sum(gone.values())})
    return gone


async def _clear(sessions: Sessions, shelf: Shelf, *, before: datetime) -> int:
    gone, place = 0, 0
    while True:
        async with sessions.begin() as session:
            some, further = await throw_out(session, shelf, before=before, after=place)
        gone += some
        if further is None:
            return gone
        place = further
        await asyncio.sleep(0)  # whoever waits for the database goes first
