"""A sale in words, as members read it in the chat."""

from collections.abc import Sequence
from datetime import datetime

from bot import texts
from bot.flashsale.board import ClaimView, ItemView
from bot.flashsale.terms import Granted, NotOpenYet, Outcome, SoldOut, UnpaidClaim
from bot.flashsale.waiting import Place
from bot.models.sale import ClaimStatus, PaymentOutcome, Sale, SaleItem
from crm.base.clock import SHANGHAI
from crm.base.errors import ShopError


def yuan(fen: int) -> str:
    """19.9, 20: as a price tag says it."""
    return f"{fen / 100:.2f}".rstrip("0").rstrip(".")


def clock(instant: datetime) -> str:
    return f"{instant.astimezone(SHANGHAI):%m月%d日 %H:%M}"


def sale(one: Sale, items: Sequence[ItemView], public_url: str, *, now: datetime) -> str:
    """What is on, since or until when, and what is left of each article."""
    is_open = one.opens_at <= now
    when = texts.SALE_OPEN if is_open else texts.SALE_SOON
    lines = [
        texts.SALE_ITEM.format(
            code=item.code,
            name=item.name,
            price=yuan(item.price_fen),
            list_price=yuan(item.list_price_fen),
            limit=item.limit_each,
            left=(f"剩 {item.left} 件" if item.left else "抢光了") if is_open else f"共 {item.stock} 件",
        )
        for item in items
    ]
    head = f"【{one.name}】" + when.format(opens=clock(one.opens_at), closes=clock(one.closes_at))
    return "\n".join([head, *lines, *_link(public_url, f"/h5/sales/{one.code}")])


def answer(what: Outcome | Place, item: SaleItem, public_url: str) -> str:
    """The answer to a line like 抢 A1 or 排队 A1."""
    if isinstance(what, Place):
        return texts.SALE_WAITING.format(item=item.name, number=what.number)
    if isinstance(what, Granted):
        return _granted(what.no, item.name, what.quantity, what.total_fen, what.pay_due_at, public_url)
    if isinstance(what, UnpaidClaim):
        total = what.quantity * item.price_fen
        return (
            texts.SALE_UNPAID + "\n" + _granted(what.no, item.name, what.quantity, total, what.pay_due_at, public_url)
        )
    return refusal(what, item.code, item.name)


def refusal(why: ShopError, code: str, name: str) -> str:
    if isinstance(why, SoldOut):
        return texts.SALE_SOLD_OUT.format(item=name, code=code)
    if isinstance(why, NotOpenYet):
        return texts.SALE_NOT_OPEN.format(item=name, opens=clock(why.opens_at))
    return texts.refusal(why)


def _granted(no: str, name: str, quantity: int, total_fen: int, due_at: datetime, public_url: str) -> str:
    said = texts.SALE_GRANTED.format(
        item=name, quantity=quantity, yuan=yuan(total_fen), until=f"{due_at.astimezone(SHANGHAI):%H:%M}"
    )
    return "\n".join([said, *claim_link(public_url, no)])


def claim(one: ClaimView, public_url: str) -> str:
    """A claim in a line, with where to pay while that is still possible."""
    state = texts.CLAIM_STATES[one.status]
    if one.refund is not None and one.status is not ClaimStatus.PAID:
        state = texts.CLAIM_REFUNDS[PaymentOutcome(one.refund)]
    until = f"{one.pay_due_at.astimezone(SHANGHAI):%H:%M}"
    line = texts.CLAIM_LINE.format(
        item=one.item_name, quantity=one.quantity, yuan=yuan(one.total_fen), state=state.format(until=until)
    )
    links = claim_link(public_url, one.no) if one.status is ClaimStatus.HELD else []
    return "\n".join([line, *links])


def claim_link(public_url: str, no: str) -> list[str]:
    """The line that leads to a claim's page; none where the shop has no address for its pages."""
    return _link(public_url, f"/h5/claims/{no}")


def _link(public_url: str, path: str) -> list[str]:
    return [f"{public_url.rstrip('/')}{path}"] if public_url else []
