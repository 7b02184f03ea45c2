"""秒杀: what is on, a claim by a line, one's own claims, and a place in the queue."""

from bot import texts
from bot.dialogue.router import Router, Says, from_customer, says
from bot.dialogue.turn import Reply, Turn
from bot.flashsale import board, chat, sales, words
from bot.flashsale.terms import MOST, ItemNotFound, QuantityInvalid

router = Router("sale")
ITEM = r"(?P<item>[A-Za-z]{1,4}\d{1,4})"
SALES = Says(r"秒杀|今天(?:有)?什么秒杀|有(?:什么)?秒杀吗?|秒杀(?:有什么|活动|列表|专场)")
COUNT = r"(?:\s*(?:[xX×*＊]|要)?\s*(?P<count>\d{1,4})\s*[份件个袋包罐]?)?"


@router.on(from_customer, SALES)
async def list_sales(turn: Turn) -> Reply:
    found = await sales.on_now(turn.session, now=turn.now)
    if not found:
        return Reply.text(texts.SALE_NONE)
    parts = [
        words.sale(sale, await board.items(turn.session, sale.id), turn.app.public_url, now=turn.now) for sale in found
    ]
    return Reply.text("\n\n".join([*parts, texts.SALE_HOW]))


@router.on(from_customer, says(rf"(?:我)?(?:要)?(?:抢|秒)(?:购|杀)?\s*{ITEM}{COUNT}"))
async def claim(turn: Turn, item: str, count: str) -> Reply:
    return await _write_down(turn, item, count, waits=False)


@router.on(from_customer, says(r"(?:查看?|看看?)?(?:一下)?我的秒杀|我抢到了?(?:什么|吗)"))
async def mine(turn: Turn) -> Reply:
    claims = await board.claims_of(turn.session, turn.member.id, limit=8)
    waits = await board.waits_of(turn.session, turn.member.id)
    if not claims and not waits:
        return Reply.text(texts.SALE_MINE_NONE)
    lines = [words.claim(one, turn.app.public_url) for one in claims]
    lines += [texts.SALE_WAIT_LINE.format(item=one.item_name, number=one.number) for one in waits]
    return Reply.text("\n".join([texts.SALE_MINE, *lines]))


@router.on(from_customer, says(rf"(?:我要)?(?:排队|候补)\s*{ITEM}{COUNT}"))
async def wait(turn: Turn, item: str, count: str) -> Reply:
    return await _write_down(turn, item, count, waits=True)


async def _write_down(turn: Turn, item: str, count: str, *, waits: bool) -> Reply:
    """The deed and its answer follow from chat.ClaimLines, so that this turn keeps nobody waiting."""
    quantity = int(count or 1)
    if not 0 < quantity <= MOST:
        raise QuantityInvalid(quantity)
    try:
        wanted = await sales.find_item(turn.session, item, now=turn.now)
    except ItemNotFound:
        return Reply.text(texts.SALE_NO_ITEM.format(item=item.upper()))
    await chat.write_down(
        turn.session,
        msgid=turn.inbound.msgid,
        conversation=turn.conversation,
        member_id=turn.member.id,
        item_id=wanted.id,
        quantity=quantity,
        waits=waits,
        now=turn.now,
    )
    turn.app.peers.tap(chat.TOPIC)
    return Reply()
