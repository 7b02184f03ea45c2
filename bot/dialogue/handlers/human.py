"""Customers who want a person: the wish is recorded, they hear what happens next, and the session is brought over."""

from bot import texts
from bot.dialogue.router import Arguments, Router, from_customer, says
from bot.dialogue.turn import Reply, Turn
from bot.handoff import queue

router = Router("human")

WISH = (
    r"(?:我?(?:要|想|需要)?(?:找|转|接|叫|联系|呼叫|换)?(?:一下|个|你们)?的?)?"
    r"(?:人工|真人|客服|人工客服|在线客服|人工服务|客服人员|工作人员|店员)(?:服务|客服|人员|在吗|在不在|呢|吧|谢谢)*"
    r"|转人工|(?:我要)?投诉|(?:我)?要?(?:和|跟)真人(?:说话|聊|沟通)|不想(?:和|跟)机器人(?:说|聊)了?"
)


def person_called(turn: Turn) -> Arguments | None:
    """A person was called and is on the way."""
    return {} if turn.conversation.human_wanted_at is not None else None


@router.on(from_customer, says(WISH))
async def call(turn: Turn) -> Reply | None:
    hours = turn.app.shop.service_hours
    if person_called(turn) is not None:
        return Reply.text(texts.HUMAN_ALREADY.format(hours=hours))
    handoff = await queue.call(turn.session, turn.conversation, reason="asked_for", quote=turn.text, now=turn.now)
    return Reply.text(texts.HUMAN_COMING.format(hours=hours), *handoff)


@router.on(from_customer, person_called)
async def keep_quiet(turn: Turn) -> Reply | None:
    """From the message that called a person on, the bot is silent: the person reads what comes now."""
    return Reply()
