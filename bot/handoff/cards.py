"""The card staff get with a ticket: who it is, what was said, by when, and buttons to take it or pass it on."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot import texts
from bot.dialogue.turn import cut
from bot.handoff import standing
from bot.handoff.hours import say_when
from bot.handoff.policy import Policy
from bot.models.gateway import InboundMessage
from bot.models.handoff import Ticket, TicketMode
from bot.wecom import lanes
from bot.wecom.kf_items import KfMessage, Origin, parse_kf_item
from crm import orders, staff
from crm.base.ids import dedupe_key
from crm.base.outbox import Message, OutboxRow, Status
from crm.models.member import Member
from crm.models.order import Order

ACCEPT, PASS = "accept", "pass"
TURNS = 6
TURN_BYTES = 90
QUOTE_BYTES = 300
TITLE_BYTES = 100


def task_id(ticket_id: int, round_no: int) -> str:
    return f"ticket-{ticket_id}-{round_no}"


def read_task_id(task: str) -> tuple[int, int] | None:
    """(ticket id, round) of one of our cards."""
    head, _, rest = task.partition("-")
    number, _, round_no = rest.partition("-")
    return (int(number), int(round_no)) if head == "ticket" and number.isdecimal() and round_no.isdecimal() else None


def key_of(ticket_id: int, round_no: int) -> tuple[object, ...]:
    """What names the message a card leaves with."""
    return "card", ticket_id, round_no


async def of_ticket(
    session: AsyncSession,
    ticket: Ticket,
    to: lanes.KfAddress,
    policy: Policy,
    userids: tuple[str, ...],
    *,
    round_no: int,
    now: datetime,
) -> Message:
    """The card for these people; for all servicers of the account when there are none."""
    who = await session.get(Member, ticket.member_id) if ticket.member_id is not None else None
    bought = await orders.latest_of(session, who.id, limit=2) if who is not None else []
    level = await standing.level_of(session, ticket.member_id)
    due = ticket.first_response_due_at
    facts = {
        "原因": texts.REASONS.get(ticket.reason, ticket.reason),
        "等级": level or "普通会员",
        "最近订单": _bought(bought) or "暂无",
        "首次回复": f"{say_when(due, now=now)} 前" if due is not None else "",
        "接待": await staff.name_of(session, userids[0]) or userids[0] if userids else "待接单",
        "方式": "工作台回复" if ticket.mode is TicketMode.DESK else "企业微信内回复",
    }
    card = {
        "card_type": "button_interaction",
        "source": {"desc": "人工接待"},
        "task_id": task_id(ticket.id, round_no),
        "main_title": {
            "title": texts.CARD_TITLES[ticket.priority],
            "desc": cut(" · ".join(filter(None, (who.name if who else "客户", level))), TITLE_BYTES)[0],
        },
        "quote_area": {"type": 0, "title": "最近对话", "quote_text": "\n".join(await last_turns(session, to))},
        "sub_title_text": cut(ticket.quote or "（没有文字）", QUOTE_BYTES)[0],
        "horizontal_content_list": [{"keyname": name, "value": value} for name, value in facts.items() if value],
        "button_list": [
            {"text": "接单", "style": 1, "key": ACCEPT},
            {"text": "转给同事", "style": 2, "key": PASS},
        ],
    }
    return lanes.staff_message(
        {"msgtype": "template_card", "template_card": card},
        because=key_of(ticket.id, round_no),
        userids=userids,
        open_kfid=to.open_kfid,
        about=ticket.member_id,
    )


async def replaced(session: AsyncSession, ticket_id: int, round_no: int, words: str) -> Message | None:
    """A change that takes the buttons off a card, for everybody who got it; None when its code is not known."""
    row = await session.scalar(
        sa.select(OutboxRow).where(
            OutboxRow.dedupe_key == dedupe_key("staff", *key_of(ticket_id, round_no)), OutboxRow.status == Status.SENT
        )
    )
    if row is None or not row.result or not row.result.get("response_code"):
        return None
    return lanes.card_update(tuple(row.result["userids"]), row.result["response_code"], button(words))


def button(words: str) -> dict[str, Any]:
    return {"button": {"replace_name": words}}


async def recipients(session: AsyncSession, ticket_id: int, round_no: int) -> tuple[str, ...]:
    """Who got this card."""
    result = await session.scalar(
        sa.select(OutboxRow.result).where(OutboxRow.dedupe_key == dedupe_key("staff", *key_of(ticket_id, round_no)))
    )
    return tuple((result or {}).get("userids", ()))


async def last_turns(session: AsyncSession, to: lanes.KfAddress) -> list[str]:
    """What was said last, oldest first, a line each."""
    heard = await session.scalars(
        sa.select(InboundMessage)
        .where(
            InboundMessage.conversation_id == to.conversation_id,
            InboundMessage.origin.in_([Origin.CUSTOMER, Origin.SERVICER]),
        )
        .order_by(InboundMessage.id.desc())
        .limit(TURNS)
    )
    said = await session.scalars(
        sa.select(OutboxRow)
        .where(OutboxRow.key == to.key, OutboxRow.lane == lanes.KF, OutboxRow.status == Status.SENT)
        .order_by(OutboxRow.id.desc())
        .limit(TURNS)
    )
    lines = [(row.sent_at, _heard(row)) for row in heard]
    lines += [(row.created_at, f"机器人：{_said(row.body['message'])}") for row in said]
    return [cut(" ".join(words.split()), TURN_BYTES)[0] for _, words in sorted(lines)[-TURNS:]]


def _heard(row: InboundMessage) -> str:
    item = parse_kf_item(row.body)
    words = item.text if isinstance(item, KfMessage) else ""
    who = "客户" if row.origin == Origin.CUSTOMER else "同事"
    return f"{who}：{words or '［' + texts.KINDS.get(row.kind, '消息') + '］'}"


def _said(message: dict[str, Any]) -> str:
    body = message.get(message.get("msgtype", ""), {})
    return str(body.get("content") or body.get("head_content") or "")


def _bought(found: Sequence[Order]) -> str:
    return "；".join(
        f"{order.external_no} {order.total_fen / 100:.2f} 元 {texts.ORDER_STATUS[order.status]}" for order in found
    )
