"""我的订单: a customer's newest orders."""

from bot import texts
from bot.dialogue.router import Router, from_customer, says
from bot.dialogue.turn import Reply, Turn
from crm import orders

router = Router("orders")


@router.on(from_customer, says(r"(?:查看?|看看?|查询)?(?:一下)?我的订单|查订单|订单查询"))
async def mine(turn: Turn) -> Reply | None:
    found = await orders.latest_of(turn.session, turn.member.id)
    if not found:
        return Reply.text(texts.ORDERS_NONE)
    return Reply.text("\n".join([texts.ORDERS_HEAD, *map(texts.order_line, found)]))
