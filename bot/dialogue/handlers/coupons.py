"""我的券, 用券, 领券, 积分兑换: a customer's coupons, taken and used by a line in the chat."""

from datetime import timedelta

from bot import coupon_words, texts
from bot.dialogue.router import Router, from_customer, says
from bot.dialogue.turn import Reply, Turn
from campaigns import coupons, ladders, offers, points_shop
from campaigns.coupon_terms import CouponUnfit, OrderRef
from campaigns.models.offer import Offer
from campaigns.offer_rules import Basket, Line
from crm import orders
from crm.models.order import Order, OrderStatus

router = Router("coupons")

HOLD = timedelta(minutes=30)
LOOK = r"(?:帮我)?(?:查看?|看看?|查询)?(?:一?下)?"
KEY = r"(?P<key>[^\s，。！？]{1,40})"


@router.on(from_customer, says(rf"{LOOK}我的?(?:优惠)?券(?:包)?|{LOOK}我有(?:哪些|什么|几张)(?:优惠)?券|查券"))
async def mine(turn: Turn) -> Reply | None:
    found = await coupons.wallet_of(turn.session, turn.member.id, now=turn.now, limit=10)
    if not found:
        return Reply.text(texts.COUPONS_NONE)
    lines = [coupon_words.line(coupon, offer) for coupon, offer in found]
    return Reply.text("\n".join([texts.COUPONS_HEAD, *lines, texts.COUPONS_TAIL]))


@router.on(from_customer, says(r"(?:用|使用)(?:优惠)?券\s*(?P<code>[A-Za-z0-9]{8})"))
async def use(turn: Turn, code: str) -> Reply | None:
    """On the customer's newest order that waits for its payment; without one, what the coupon is good for."""
    waiting = [one for one in await orders.latest_of(turn.session, turn.member.id) if one.status is OrderStatus.PLACED]
    if not waiting:
        return await _tell(turn, code.upper())
    order = waiting[0]
    try:
        quoted = await coupons.use(
            turn.session,
            turn.member.id,
            [code],
            order=OrderRef(order.source, order.external_no),
            basket=await _basket(turn, order),
            until=turn.now + HOLD,
            now=turn.now,
        )
    except CouponUnfit as unfit:
        return Reply.text(coupon_words.unfit(unfit))
    return Reply.text(coupon_words.used(quoted, order.external_no))


@router.on(from_customer, says(rf"领(?:优惠)?券(?:\s*{KEY})?"))
async def claim(turn: Turn, key: str) -> Reply | None:
    """Take a coupon that is there to be taken; without a name, which there are."""
    if not key:
        shown = await offers.on_show(turn.session, Offer.claimable.is_(True), now=turn.now)
        lines = [f"领券 {one.key}  {coupon_words.terms(one)}" for one in shown]
        return _list(texts.CLAIM_HEAD, lines, texts.CLAIM_NONE)
    ladder = await ladders.find(turn.session, key)
    if ladder is not None and ladder.claimable:
        given = await ladders.give(turn.session, key, turn.member.id, because="chat", now=turn.now)
        return Reply.text(coupon_words.given(given))
    offer = await offers.find(turn.session, key)
    if offer is None or not offer.claimable:
        return Reply.text(texts.CLAIM_UNKNOWN.format(key=key))
    coupon = await coupons.issue(
        turn.session, offer.id, turn.member.id, because=f"chat:{turn.inbound.id}", now=turn.now
    )
    return Reply.text(texts.CLAIMED.format(line=coupon_words.line(coupon, offer)))


@router.on(from_customer, says(rf"(?:积分)?(?:兑换|换券|商城)(?:\s+{KEY})?"))
async def exchange(turn: Turn, key: str) -> Reply | None:
    """Points for a coupon; without a name, what there is. A shop without any leaves the question to its articles."""
    shown = await points_shop.on_show(turn.session, now=turn.now)
    if not shown:
        return None
    if not key:
        lines = [f"兑换 {one.key}  {one.points_price} 积分，{coupon_words.terms(one)}" for one in shown]
        return _list(texts.EXCHANGE_HEAD, lines, "")
    coupon, price = await points_shop.exchange(
        turn.session, key, turn.member.id, because=f"chat:{turn.inbound.id}", now=turn.now
    )
    line = coupon_words.line(coupon, (await offers.get_batch(turn.session, [coupon.offer_id]))[coupon.offer_id])
    return Reply.text(texts.EXCHANGED.format(points=price, line=line))


async def _tell(turn: Turn, code: str) -> Reply:
    for coupon, offer in await coupons.wallet_of(turn.session, turn.member.id, now=turn.now):
        if coupon.code == code:
            return Reply.text(texts.COUPON_NO_ORDER.format(line=coupon_words.line(coupon, offer)))
    return Reply.text(texts.REFUSALS["coupon.not_found"])


async def _basket(turn: Turn, order: Order) -> Basket:
    """The order as it was told; what its lines do not explain is postage, and without lines it is one article."""
    told = await orders.lines_of(turn.session, order.id)
    lines = [Line(sku=one.sku, category=one.category, quantity=one.quantity, price_fen=one.price_fen) for one in told]
    goods = sum(line.fen for line in lines)
    if not lines or goods > order.total_fen:
        return Basket(lines=[Line(sku="", price_fen=order.total_fen)])
    return Basket(lines=lines, shipping_fen=order.total_fen - goods)


def _list(head: str, lines: list[str], nothing: str) -> Reply:
    return Reply.text("\n".join([head, *lines]) if lines else nothing)
