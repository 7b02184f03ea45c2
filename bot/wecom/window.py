"""The window of 微信客服: five messages within 48 hours of the customer's last one, a slot taken before each send."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.models.conversation import Conversation, KfSend
from bot.wecom import lanes
from bot.wecom.api.kf import ServiceState
from crm.base.outbox import Claimed, OutboxRow, Status

WINDOW = timedelta(hours=48)
WINDOW_MESSAGES = 5  # for each message of the customer's
RESERVED = 1  # of them, for a person
MAY_SEND = frozenset({None, ServiceState.UNTREATED, ServiceState.BOT})  # None: WeCom will say
CLOCKS_DIFFER = timedelta(seconds=2)  # send_time is WeCom's clock in whole seconds; a slot near it counts as after it


@dataclass(frozen=True, slots=True)
class Use:
    """How a conversation's window stands before a send."""

    heard_at: datetime | None = None  # when the customer last wrote
    used: int = 0  # slots taken since
    is_open: bool = True  # as far as we know WeCom lets us send: not queued, with a servicer, or ended


@dataclass(frozen=True, slots=True)
class Window:
    """What a person may still send, and until when."""

    messages: int
    until: datetime | None  # None: the customer never wrote


async def of(session: AsyncSession, conversation: Conversation, *, now: datetime) -> Window:
    """What is left for a person; messages that wait to leave are counted as sent."""
    heard_at = await session.scalar(sa.select(Conversation.last_customer_at).where(Conversation.id == conversation.id))
    if heard_at is None:
        return Window(0, None)
    until = heard_at + WINDOW
    if now >= until:
        return Window(0, until)
    taken = sa.select(sa.func.count()).where(
        KfSend.conversation_id == conversation.id, KfSend.taken_at >= heard_at - CLOCKS_DIFFER
    )
    waiting = (
        sa.select(sa.func.count())
        .select_from(OutboxRow)
        .outerjoin(KfSend, KfSend.outbox_id == OutboxRow.id)
        .where(
            OutboxRow.key == f"kf:{conversation.id}",
            OutboxRow.lane == lanes.KF,
            OutboxRow.status == Status.WAITING,
            KfSend.outbox_id.is_(None),
        )
    )
    # One statement sees one moment: between two, a sender takes a message out of one count and into the other.
    gone = await session.scalar(sa.select(taken.scalar_subquery() + waiting.scalar_subquery()))
    return Window(max(0, WINDOW_MESSAGES - (gone or 0)), until)


async def roomy(session: AsyncSession, conversation_ids: Sequence[int], *, now: datetime) -> set[int]:
    """Conversations in which a marketing message may go now and still leaves the bot one answer."""
    uses = await _uses(session, conversation_ids)
    full = WINDOW_MESSAGES - RESERVED - 1
    return {one for one, use in uses.items() if not _why_not(use, False, now) and use.used < full}


async def take_slots(session: AsyncSession, claimed: Sequence[Claimed], *, now: datetime) -> list[tuple[Claimed, str]]:
    """Take one slot of its conversation's window for each message; returns those that get none, and why.

    A message that is tried again brings its slot along into the window of now. Only one message of a conversation is
    in hand at a time (its outbox key), so two senders never count the same window at once.
    """
    if not claimed:
        return []
    mine = KfSend.outbox_id.in_([one.id for one in claimed])
    held = {row.outbox_id: row.taken_at for row in await session.scalars(sa.select(KfSend).where(mine))}
    uses = await _uses(session, [one.body["conversation_id"] for one in claimed])
    refused, taken, kept = [], [], []
    for one in claimed:
        conversation = one.body["conversation_id"]
        use = _without(uses.get(conversation, Use()), held.get(one.id))
        if why := _why_not(use, bool(one.body.get("by_person")), now):
            refused.append((one, why))
        elif one.id in held:
            kept.append(one.id)
        else:
            taken.append(
                {"outbox_id": one.id, "conversation_id": conversation, "msgid": one.dedupe_key, "taken_at": now}
            )
    if taken:
        await session.execute(sa.insert(KfSend), taken)
    if kept:
        await session.execute(sa.update(KfSend).where(KfSend.outbox_id.in_(kept)).values(taken_at=now))
    return refused


def _without(use: Use, taken_at: datetime | None) -> Use:
    """The window as it stands without the slot taken at `taken_at`."""
    counted = taken_at is not None and use.heard_at is not None and taken_at >= use.heard_at - CLOCKS_DIFFER
    return replace(use, used=use.used - 1) if counted else use


def _why_not(use: Use, by_person: bool, now: datetime) -> str:
    """Why this message may not leave; empty when it may."""
    if not use.is_open:  # 95018 otherwise; and what was meant before a person came must not appear after them
        return "a person has the session, or it has ended"
    if use.heard_at is None or now >= use.heard_at + WINDOW:
        return "over 48 hours since the customer's last message"
    if use.used >= WINDOW_MESSAGES - (0 if by_person else RESERVED):
        return f"window full: {use.used} of {WINDOW_MESSAGES} used"
    return ""


async def _uses(session: AsyncSession, conversation_ids: Sequence[int]) -> dict[int, Use]:
    conversations = (
        await session.execute(
            sa.select(Conversation.id, Conversation.last_customer_at, Conversation.service_state).where(
                Conversation.id.in_(conversation_ids)
            )
        )
    ).all()
    opened = {row.id: row.last_customer_at - CLOCKS_DIFFER for row in conversations if row.last_customer_at}
    if not opened:
        return {}
    taken = await session.execute(
        sa.select(KfSend.conversation_id, KfSend.taken_at).where(
            KfSend.conversation_id.in_(opened), KfSend.taken_at >= min(opened.values())
        )
    )
    used = Counter(row.conversation_id for row in taken if row.taken_at >= opened[row.conversation_id])
    return {row.id: Use(row.last_customer_at, used[row.id], row.service_state in MAY_SEND) for row in conversations}
