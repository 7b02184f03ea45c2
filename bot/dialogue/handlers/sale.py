"""秒杀: what is on, a claim by a line, one's own claims, and a place in the queue."""

import re

from bot import texts
from bot.dialogue.router import Router, Says, from_customer, says
from bot.dialogue.turn import Reply, Turn
from bot.flashsale import board, chat, sales, words
from bot.flashsale.terms import MOST, ItemNotFound, QuantityInvalid
from bot.models.sale import Sale, SaleItem, SaleStatus

router = Router("sale")
ITEM = r"(?P<item>[A-Za-z0-9]{1,13})"  # a code, perhaps with how many right behind it: A1x2
GLUED = re.compile(r"([A-Za-z0-9]{1,8}?)[xX](\d{1,4})")
SALES = Says(r"秒杀|今天(?:有)?什么秒杀|有(?:什么)?秒杀吗?|秒杀(?:有什么|活动|列表|专场)")
COUNT = r"(?:(?:\s*(?:[xX×*＊]|要)\s*|\s+)(?P<count>\d{1,4}))?\s*[份件个袋包罐]?"


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
    try:
        wanted, quantity = await _meant(turn, item, count)
    except ItemNotFound:
        return Reply.text(texts.SALE_NO_ITEM.format(item=item.upper()))
    if not 0 < quantity <= MOST:
        raise QuantityInvalid(quantity)
    sale = await turn.session.get_one(Sale, wanted.sale_id)
    if sale.status is SaleStatus.SETTLED:
        return Reply.text(await _over(turn, wanted))
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


async def _meant(turn: Turn, item: str, count: str) -> tuple[SaleItem, int]:
    """The item and how many: a code may end like a count, so the whole word is looked for first. Or ItemNotFound."""
    try:
        return await sales.find_item(turn.session, item, now=turn.now), int(count or 1)
    except ItemNotFound:
        glued = None if count else GLUED.fullmatch(item)
        if glued is None:
            raise
        return await sales.find_item(turn.session, glued[1], now=turn.now), int(glued[2])


async def _over(turn: Turn, item: SaleItem) -> str:
    """Of a sale that is settled: sold out, or merely over; and what comes next."""
    why = texts.SALE_ITEM_GONE if item.sold >= item.stock else texts.SALE_ITEM_ENDED
    coming = await sales.on_now(turn.session, now=turn.now, limit=1)
    then = "回复「秒杀」看看现在有什么。" if coming else texts.SALE_NONE.removeprefix("现在没有秒杀。")
    return texts.SALE_ITEM_OVER.format(item=item.name, why=why, then=then)
