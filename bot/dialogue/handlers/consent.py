"""退订: a customer's word on marketing messages, kept with its wording and time."""

from bot import texts
from bot.dialogue.router import Router, from_customer, says
from bot.dialogue.turn import Reply, Turn
from crm import consents

router = Router("consent")
SOURCE = "kf_chat"


STOP = (
    r"退订|td|取消订阅(?:消息|推送)"
    r"|(?:不要|别|停止|关闭|取消)再?(?:给我)?(?:发|推送|推)?(?:广告|活动|优惠|营销)?(?:推送|消息|信息|广告)了?"
)


@router.on(from_customer, says(STOP))
async def opt_out(turn: Turn) -> Reply | None:
    changed = await consents.opt_out(
        turn.session, turn.member.id, source=SOURCE, wording_version=turn.text[:64], now=turn.now
    )
    return Reply.text(texts.OPTED_OUT if changed else texts.OPTED_OUT_ALREADY)


@router.on(from_customer, says(r"恢复(?:推送|订阅|消息)|重新订阅(?:推送|消息)|开启推送"))
async def opt_in(turn: Turn) -> Reply | None:
    await consents.opt_in(turn.session, turn.member.id, source=SOURCE, wording_version=turn.text[:64], now=turn.now)
    return Reply.text(texts.OPTED_IN)
