"""What can be said of an order: the whole of it as a shop system tells it, its lines, and what is refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from crm.base.errors import Invalid, Refused


@dataclass(eq=False)
class RefundTooLarge(Refused):
    """More would go back than was paid."""

    code = "order.refund_too_large"
    refund_no: str
    refund_fen: int
    left_fen: int


@dataclass(eq=False)
class RefundToldDifferently(Refused):
    """A refund with this number is known, with another amount."""

    code = "order.refund_differs"
    refund_no: str
    known_fen: int
    told_fen: int


@dataclass(eq=False)
class AmountInvalid(Invalid):
    """An amount below zero, a refund of nothing, or a payment smaller than what went back already."""

    code = "order.amount_invalid"
    field: str
    fen: int


@dataclass(eq=False)
class RefundOfNobody(Invalid):
    """A refund names neither an order nor a member."""

    code = "order.refund_of_nobody"
    refund_no: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One article of an order. price_fen: of one piece."""

    sku: str
    name: str
    category: str = ""
    quantity: int = 1
    price_fen: int


class Told(NamedTuple):
    """An order as its shop system tells it. What is None is not said, and what was known of it stays."""

    source: str
    external_no: str
    member_id: int
    placed_at: datetime
    total_fen: int
    lines: Sequence[Line] | None = None
    told_at: datetime | None = None  # when the shop last changed it; None: now. An older telling changes nothing
    paid_at: datetime | None = None
    paid_fen: int | None = None  # None: the total
    cancelled_at: datetime | None = None
    refunded_fen: int | None = None  # of all its refunds, where the shop does not number them
