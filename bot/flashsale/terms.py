"""What is asked of a sale and what can be answered: a request, what was granted, and every refusal with its facts."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from bot.models.sale import Channel
from crm.base.errors import Invalid, NotFound, Refused, ShopError
from crm.base.ids import dedupe_key

MOST = 99  # units of one request


class Request(NamedTuple):
    """One member wants some units of an item. is_early, is_invited: what the edge found out about them before.

    key: names the request, so that the same one repeated is one claim. (A tuple is made in a third of the time of a
    frozen dataclass, and a storm makes many.)
    """

    item_id: int
    member_id: int
    quantity: int
    key: str
    channel: Channel
    group_id: int | None = None
    is_early: bool = False
    is_invited: bool = True

    @property
    def no(self) -> str:
        """The claim's public number: the same request has the same."""
        return dedupe_key("claim", self.item_id, self.member_id, self.key)


class Granted(NamedTuple):
    """A claim that is in the database. is_new: this very call made it."""

    no: str
    item_id: int
    quantity: int
    total_fen: int
    pay_due_at: datetime
    is_new: bool = True


@dataclass(eq=False)
class SaleNotFound(NotFound):
    code = "sale.not_found"
    sale: str = ""


@dataclass(eq=False)
class ItemNotFound(NotFound):
    """No sale that can be seen has this item."""

    code = "sale.item_not_found"
    item: str = ""


@dataclass(eq=False)
class ClaimNotFound(NotFound):
    code = "sale.claim_not_found"
    no: str = ""


@dataclass(eq=False)
class BillNotFound(NotFound):
    """No stray payment with this transaction waits for a person."""

    code = "sale.bill_not_found"
    transaction_id: str = ""


@dataclass(eq=False)
class QuantityInvalid(Invalid):
    code = "sale.quantity_invalid"
    quantity: int = 0


@dataclass(eq=False)
class SaleInvalid(Invalid):
    """A plan that cannot be meant; `problem` says which field and why."""

    code = "sale.invalid"
    problem: str = ""


@dataclass(eq=False)
class NotOpenYet(Refused):
    code = "sale.not_open"
    opens_at: datetime
    early_at: datetime | None = None


@dataclass(eq=False)
class SaleOver(Refused):
    code = "sale.over"


@dataclass(eq=False)
class SoldOut(Refused):
    """Nothing is left now; held units may come back to who waits."""

    code = "sale.sold_out"
    item_id: int


@dataclass(eq=False)
class TooFewLeft(Refused):
    code = "sale.too_few_left"
    left: int


@dataclass(eq=False)
class ShareSoldOut(Refused):
    """This group's share is gone."""

    code = "sale.share_sold_out"
    item_id: int


@dataclass(eq=False)
class LimitReached(Refused):
    """One person may have so many."""

    code = "sale.limit_reached"
    limit: int
    have: int


@dataclass(eq=False)
class NotInvited(Refused):
    """The sale is for certain groups, and this member is in none of them."""

    code = "sale.not_invited"


@dataclass(eq=False)
class UnpaidClaim(Refused):
    """Pay the one you hold first, or give it back."""

    code = "sale.unpaid_claim"
    no: str
    quantity: int
    pay_due_at: datetime


@dataclass(eq=False)
class ClaimReleased(Refused):
    """This very request had its claim, which was not paid in time: asking again is a new request."""

    code = "sale.claim_released"
    no: str


@dataclass(eq=False)
class StockIsBack(Refused):
    """Nobody needs to wait: there is something left."""

    code = "sale.stock_is_back"
    left: int


@dataclass(eq=False)
class UnderReview(Refused):
    """One of many new faces: somebody of the shop looks first."""

    code = "sale.under_review"


@dataclass(eq=False)
class TurnedAway(Refused):
    """Somebody of the shop looked, and said no."""

    code = "sale.turned_away"


@dataclass(eq=False)
class CannotCancel(Refused):
    """A claim that is paid or released is not given back."""

    code = "sale.cannot_cancel"
    no: str


Outcome = Granted | ShopError
