"""RFM once more, in plain Python from the definition alone: what the product is compared with."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction


@dataclass(frozen=True)
class Order:
    """paid_on and the days of its refunds are shop-local. A sale that was not paid has no paid_on."""

    member: str
    paid_on: date | None
    paid_fen: int
    refunds: tuple[tuple[date, int], ...] = ()


@dataclass(frozen=True)
class LooseRefund:
    member: str
    on: date
    fen: int


Row = tuple[int, int, int, int, int, int, str]  # recency, frequency, monetary, r, f, m, segment

NAMES = {
    "111": "重要价值", "101": "重要发展", "011": "重要保持", "001": "重要挽留",
    "110": "一般价值", "100": "一般发展", "010": "一般保持", "000": "一般挽留",
}  # fmt: skip


def score(orders: Sequence[Order], loose: Sequence[LooseRefund], as_of: date, window_days: int = 365) -> dict[str, Row]:
    first = as_of - timedelta(days=window_days)
    days, money = defaultdict(list), defaultdict(int)
    for order in orders:
        if order.paid_on is None or not first <= order.paid_on < as_of:
            continue
        left = order.paid_fen - sum(fen for on, fen in order.refunds if on < as_of)
        money[order.member] += left
        if order.paid_fen > 0 and left > 0:
            days[order.member].append(order.paid_on)
    for refund in loose:
        if first <= refund.on < as_of:
            money[refund.member] -= refund.fen
    base = {member: ((as_of - max(paid)).days, len(paid), money[member]) for member, paid in days.items()}
    n = len(base)
    recencies, frequencies, amounts = ([row[place] for row in base.values()] for place in range(3))
    scored = {
        member: (
            1 + 5 * sum(other > r for other in recencies) // n,
            1 + 5 * sum(other < f for other in frequencies) // n,
            1 + 5 * sum(other < m for other in amounts) // n,
        )
        for member, (r, f, m) in base.items()
    }
    means = [Fraction(sum(scores[place] for scores in scored.values()), n or 1) for place in range(3)]
    return {
        member: (
            *base[member],
            *scores,
            NAMES["".join("1" if value >= mean else "0" for value, mean in zip(scores, means, strict=True))],
        )
        for member, scores in scored.items()
    }
