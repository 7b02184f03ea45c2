"""When nobody else knew an answer: say so, and say what helps."""

from bot import texts
from bot.dialogue.router import Router, from_customer, is_text
from bot.dialogue.turn import Reply, Turn

router = Router("fallback")


@router.on(from_customer, is_text)
async def miss(turn: Turn) -> Reply | None:
    return Reply.text(texts.MISS)


@router.on(from_customer)
async def not_text(turn: Turn) -> Reply | None:
    return Reply.text(texts.NOT_TEXT.format(kind=texts.KINDS.get(turn.inbound.kind, "消息")))
