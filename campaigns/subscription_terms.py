"""What can be said of subscriptions: what happened to them, and what is refused."""

from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from campaigns.models.subscription import CycleStatus, SubscriptionStatus
from crm.base.errors import Invalid, NotFound, Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionBegan:
    """A member subscribed."""

    subscription_id: int
    member_id: int
    plan_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionEnded:
    """It is over. because: "member", "plan" or "shop"."""

    subscription_id: int
    member_id: int
    plan_id: int
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionUnpaid:
    """A delivery was asked for in vain: its order is cancelled and the subscription waits."""

    subscription_id: int
    member_id: int
    cycle_id: int


@dataclass(eq=False)
class PlanNotFound(NotFound):
    """No plan has this key."""

    code: ClassVar[str] = "subscription.plan_not_found"
    key: str


@dataclass(eq=False)
class PlanClosed(Refused):
    """Nobody can sign up for it any more."""

    code: ClassVar[str] = "subscription.plan_closed"
    key: str


@dataclass(eq=False)
class PlanFixed(Refused):
    """Members subscribed to this rhythm, so another one is another plan."""

    code: ClassVar[str] = "subscription.plan_fixed"
    key: str
    subscribers: int


@dataclass(eq=False)
class SubscriptionNotFound(NotFound):
    """This member has no such subscription."""

    code: ClassVar[str] = "subscription.not_found"
    no: str


@dataclass(eq=False)
class AlreadySubscribed(Refused):
    """One of a kind is enough: more of it is a larger quantity."""

    code: ClassVar[str] = "subscription.already"
    key: str
    no: str


@dataclass(eq=False)
class DateInvalid(Invalid):
    """A delivery cannot be on this day."""

    code: ClassVar[str] = "subscription.date_invalid"
    first: date
    last: date


@dataclass(eq=False)
class QuantityInvalid(Invalid):
    """Between 1 and 99."""

    code: ClassVar[str] = "subscription.quantity_invalid"
    quantity: int


@dataclass(eq=False)
class NothingOpen(Refused):
    """No delivery waits for the member's word; the next one is on due_on."""

    code: ClassVar[str] = "subscription.nothing_open"
    due_on: date


@dataclass(eq=False)
class TooLate(Refused):
    """The delivery is past what was asked."""

    code: ClassVar[str] = "subscription.too_late"
    stands: CycleStatus


@dataclass(eq=False)
class WrongStanding(Refused):
    """A subscription that stands like this cannot do it."""

    code: ClassVar[str] = "subscription.wrong_standing"
    stands: SubscriptionStatus


@dataclass(eq=False)
class PaymentDiffers(Refused):
    """Another amount was paid than is owed, or somebody else's payment: a person has to look."""

    code: ClassVar[str] = "subscription.payment_differs"
    order_no: str
    owed_fen: int
    paid_fen: int


@dataclass(eq=False)
class PaidAlready(Refused):
    """Another payment came first; this one has to go back."""

    code: ClassVar[str] = "subscription.paid_already"
    order_no: str
    transaction_id: str
