"""A conversation as it was: what the customer, the bot and people said, what happened, and why the bot said so."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot import texts
from bot.handoff.triggers import asks_for_person
from bot.models.faq import FaqQuestion
from bot.models.gateway import InboundMessage
from bot.models.handoff import StepKind, Ticket, TicketStep
from bot.wecom import lanes
from bot.wecom.kf_items import KfMessage, Origin, parse_kf_item
from crm import staff
from crm.base.outbox import OutboxRow, Status

SHOWN = 200  # of each kind of line; the transcript has all

Who = Literal["customer", "bot", "staff", "step", "note"]


@dataclass(frozen=True, slots=True)
class Why:
    """What the bot decided about a question, and on which articles. hits: (article, score, closest wording)."""

    decision: str
    hits: tuple[tuple[str, float, str], ...]
    follow: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One line. state: of ours, how far it got: waiting, sent, dead, unknown, cancelled."""

    at: datetime
    who: Who
    words: str
    name: str = ""
    state: str = ""
    error: str = ""
    choices: tuple[str, ...] = ()
    kind: str = "text"
    why: Why | None = None
    step: StepKind | None = None


async def read(session: AsyncSession, ticket: Ticket, *, limit: int | None = SHOWN) -> list[Said]:
    """Everything in the ticket's conversation, oldest first; `limit` lines of each kind, the newest."""
    found = [
        *await _heard(session, ticket.conversation_id, limit),
        *await _sent(session, ticket.conversation_id, limit),
        *await _steps(session, ticket, limit),
    ]
    names = await staff.names_of(session, {one.name for one in found})
    told = [replace(one, name=names[one.name]) if one.name else one for one in found]
    return sorted(told, key=lambda one: (one.at, one.who == "step"))


async def last_question(session: AsyncSession, conversation_id: int) -> str:
    """What the customer asked last, for the suggested answers; that they want a person is no question."""
    rows = await session.scalars(
        sa.select(InboundMessage)
        .where(InboundMessage.conversation_id == conversation_id, InboundMessage.origin == Origin.CUSTOMER)
        .order_by(InboundMessage.id.desc())
        .limit(10)
    )
    for row in rows:
        item = parse_kf_item(row.body)
        if isinstance(item, KfMessage) and item.text.strip() and not asks_for_person(item.text):
            return item.text.strip()
    return ""


async def marks(session: AsyncSession, ticket: Ticket) -> tuple[int, ...]:
    """Numbers that change when the conversation does: cheap enough to be looked at twice a second."""
    key = f"kf:{ticket.conversation_id}"
    row = (
        await session.execute(
            sa.select(
                sa.select(sa.func.max(InboundMessage.id))
                .where(InboundMessage.conversation_id == ticket.conversation_id)
                .scalar_subquery(),
                sa.select(sa.func.max(TicketStep.id)).where(TicketStep.ticket_id == ticket.id).scalar_subquery(),
                sa.select(sa.func.max(OutboxRow.id)).where(OutboxRow.key == key).scalar_subquery(),
                sa.select(sa.func.count())
                .where(OutboxRow.key == key, OutboxRow.status.in_((Status.WAITING, Status.CLAIMED)))
                .scalar_subquery(),
            )
        )
    ).one()
    return tuple(int(one or 0) for one in row)


async def _heard(session: AsyncSession, conversation_id: int, limit: int | None) -> list[Said]:
    rows = (
        await session.execute(
            sa.select(InboundMessage, FaqQuestion)
            .outerjoin(FaqQuestion, FaqQuestion.inbound_id == InboundMessage.id)
            .where(
                InboundMessage.conversation_id == conversation_id,
                InboundMessage.origin.in_((Origin.CUSTOMER, Origin.SERVICER)),
            )
            .order_by(InboundMessage.id.desc())
            .limit(limit)
        )
    ).all()
    found = []
    for row, question in rows:
        item = parse_kf_item(row.body)
        words = item.text if isinstance(item, KfMessage) else ""
        by_staff = row.origin == Origin.SERVICER
        name = item.servicer_userid if by_staff and isinstance(item, KfMessage) else ""
        found.append(
            Said(
                at=row.sent_at,
                who="staff" if by_staff else "customer",
                words=words or f"［{texts.KINDS.get(row.kind, '消息')}］",
                name=name,
                kind=row.kind,
                why=_why(question),
            )
        )
    return found


def _why(question: FaqQuestion | None) -> Why | None:
    if question is None:
        return None
    hits = tuple((str(key), float(score), str(wording)) for key, score, wording in question.hits)
    return Why(question.decision, hits, question.follow)


async def _sent(session: AsyncSession, conversation_id: int, limit: int | None) -> list[Said]:
    rows = await session.scalars(
        sa.select(OutboxRow)
        .where(OutboxRow.key == f"kf:{conversation_id}", OutboxRow.lane.in_((lanes.KF, lanes.KF_EVENT)))
        .order_by(OutboxRow.id.desc())
        .limit(limit)
    )
    found = []
    for row in rows:
        words, choices = _of_message(row.body.get("message", {}))
        if words or choices:
            found.append(
                Said(
                    at=row.created_at,
                    who="staff" if row.body.get("by_person") else "bot",
                    words=words,
                    choices=choices,
                    state=row.status.value,
                    error=row.error or "",
                )
            )
    return found


def _of_message(message: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    kind = message.get("msgtype", "")
    body = message.get(kind, {})
    if kind == "msgmenu":
        choices = tuple(one.get("click", {}).get("content", "") for one in body.get("list", ()))
        tail = body.get("tail_content")
        return "\n".join(filter(None, (body.get("head_content", ""), tail))), choices
    if kind == "link":
        return f"{body.get('title', '')}\n{body.get('url', '')}", ()
    if kind == "image":
        return "［图片］", ()
    return str(body.get("content", "")), ()


async def _steps(session: AsyncSession, ticket: Ticket, limit: int | None) -> Sequence[Said]:
    """What happened to every ticket of this conversation: an agent wants to know that it was here before."""
    rows = await session.scalars(
        sa.select(TicketStep)
        .join(Ticket, Ticket.id == TicketStep.ticket_id)
        .where(Ticket.conversation_id == ticket.conversation_id)
        .order_by(TicketStep.id.desc())
        .limit(limit)
    )
    return [
        Said(
            at=row.at,
            who="note" if row.kind is StepKind.NOTED else "step",
            words=row.note,
            name=row.by,
            step=row.kind,
        )
        for row in reversed(rows.all())
    ]
