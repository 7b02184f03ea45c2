"""When nobody else knew an answer: say so, and say what helps."""

from bot import texts
from bot.dialogue import state
from bot.dialogue.router import Router, from_customer, is_text
from bot.dialogue.turn import Reply, Text, Turn

router = Router("fallback")


@router.on(from_customer, is_text)
async def miss(turn: Turn) -> Reply | None:
    """Counted once, however many lines the question came in."""
    state.count_miss(turn.conversation, turn.now)
    return Reply((Text(texts.MISS),), settles=True)


@router.on(from_customer)
async def not_text(turn: Turn) -> Reply | None:
    return Reply.text(texts.NOT_TEXT.format(kind=texts.KINDS.get(turn.inbound.kind, "消息")))
