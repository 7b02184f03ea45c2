"""What an offer takes off a basket, pure: thresholds, caps, scopes, and which coupons go together.

Prices never go below zero, and the same goods are not discounted twice for more than they cost: each discount is
spread over the lines it is for, and the next one sees what is left of them. See docs/coupons.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from campaigns.models.offer import OfferKind

WHOLE_BP = 10_000
ORDER = {OfferKind.AMOUNT: 0, OfferKind.PERCENT: 1, OfferKind.GIFT: 2, OfferKind.SHIPPING: 3}  # as they are applied


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """So many pieces of one article, at the price of one."""

    sku: str
    category: str = ""
    quantity: int = 1
    price_fen: int

    @property
    def fen(self) -> int:
        return self.quantity * self.price_fen


@dataclass(frozen=True, slots=True, kw_only=True)
class Basket:
    lines: Sequence[Line]
    shipping_fen: int = 0

    @property
    def goods_fen(self) -> int:
        return sum(line.fen for line in self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an offer gives, as its row says it."""

    kind: OfferKind
    amount_fen: int = 0
    percent_bp: int = 0
    cap_fen: int | None = None
    gift_sku: str = ""
    gift_fen: int = 0
    threshold_fen: int = 0
    skus: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()
    stacks: bool = False

    def is_for(self, line: Line) -> bool:
        return not (self.skus or self.categories) or line.sku in self.skus or line.category in self.categories


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What one coupon did for the basket."""

    code: str
    kind: OfferKind
    goods_fen: int = 0
    shipping_fen: int = 0
    gift_sku: str = ""
    cost_fen: int = 0  # to the shop: what counts against the budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """Why a coupon does nothing here. reason: scope, threshold, nothing_left, not_together."""

    code: str
    reason: str
    missing_fen: int = 0  # to the threshold


@dataclass(frozen=True, slots=True)
class Quote:
    """What a basket costs with these coupons."""

    goods_fen: int
    shipping_fen: int
    saved: tuple[Saved, ...] = ()
    unfit: tuple[Unfit, ...] = ()
    lines_fen: tuple[int, ...] = field(default=())  # what is left to pay for each line, in the basket's order

    @property
    def discount_fen(self) -> int:
        return sum(one.goods_fen + one.shipping_fen for one in self.saved)

    @property
    def cost_fen(self) -> int:
        return sum(one.cost_fen for one in self.saved)

    @property
    def to_pay_fen(self) -> int:
        return self.goods_fen + self.shipping_fen - self.discount_fen


def quote(basket: Basket, coupons: Sequence[tuple[str, Terms]]) -> Quote:
    """The price with all of these coupons that fit and go together.

    One that does not stack goes alone: beside it, the others are unfit. Amounts go before percentages, so a member
    gets the percentage of what is left to pay. A threshold is measured on the full price of the articles.
    """
    alone = [code for code, terms in coupons if not terms.stacks]
    together = coupons if not alone or len(coupons) == 1 else [one for one in coupons if one[0] == alone[0]]
    unfit = [Unfit(code=code, reason="not_together") for code, _ in coupons if code not in {one for one, _ in together}]
    left = [line.fen for line in basket.lines]
    shipping = basket.shipping_fen
    saved: list[Saved] = []
    for code, terms in sorted(together, key=lambda one: (ORDER[one[1].kind], one[0])):
        result = _apply(code, terms, basket, left, shipping)
        if isinstance(result, Unfit):
            unfit.append(result)
        else:
            saved.append(result)
            shipping -= result.shipping_fen
    return Quote(basket.goods_fen, basket.shipping_fen, tuple(saved), tuple(unfit), tuple(left))


def best(basket: Basket, coupons: Sequence[tuple[str, Terms]]) -> Quote:
    """The cheapest way to use a wallet: one coupon alone, or all that stack. Of equal ways the first."""
    stacking = [one for one in coupons if one[1].stacks]
    ways = [quote(basket, [one]) for one in coupons] + ([quote(basket, stacking)] if len(stacking) > 1 else [])
    fitting = [way for way in ways if way.saved]
    return min(
        fitting, key=lambda way: (way.to_pay_fen, -sum(one.cost_fen for one in way.saved)), default=quote(basket, [])
    )


def _apply(code: str, terms: Terms, basket: Basket, left: list[int], shipping: int) -> Saved | Unfit:
    mine = [place for place, line in enumerate(basket.lines) if terms.is_for(line)]
    full = sum(basket.lines[place].fen for place in mine)
    if not mine:
        return Unfit(code=code, reason="scope")
    if full < terms.threshold_fen:
        return Unfit(code=code, reason="threshold", missing_fen=terms.threshold_fen - full)
    if terms.kind is OfferKind.GIFT:
        return Saved(code=code, kind=terms.kind, gift_sku=terms.gift_sku, cost_fen=terms.gift_fen)
    if terms.kind is OfferKind.SHIPPING:
        off = min(shipping, terms.amount_fen or shipping)
        return Saved(code=code, kind=terms.kind, shipping_fen=off, cost_fen=off) if off else _nothing(code)
    rest = sum(left[place] for place in mine)
    off = min(terms.amount_fen, rest) if terms.kind is OfferKind.AMOUNT else rest * terms.percent_bp // WHOLE_BP
    if terms.kind is OfferKind.PERCENT and terms.cap_fen is not None:
        off = min(off, terms.cap_fen)
    if not off:
        return _nothing(code)
    for place, share in zip(mine, _spread(off, [left[place] for place in mine]), strict=True):
        left[place] -= share
    return Saved(code=code, kind=terms.kind, goods_fen=off, cost_fen=off)


def _nothing(code: str) -> Unfit:
    return Unfit(code=code, reason="nothing_left")


def _spread(off: int, over: Sequence[int]) -> list[int]:
    """`off` in shares of these amounts, whole fen, none above its amount; what rounding leaves goes to the first."""
    total = sum(over)
    shares = [off * amount // total for amount in over]
    rest = off - sum(shares)
    for place, amount in enumerate(over):
        more = min(rest, amount - shares[place])
        shares[place] += more
        rest -= more
    return shares
