"""What a referral programme promises, as data, and the arithmetic of what it may cost. Money is fen."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from campaigns.definition import CampaignWrong, Duration, Part
from campaigns.models.offer import Offer, OfferKind
from crm.base import complaints
from crm.base.clock import SHANGHAI

WHOLE_BP = 10_000

Fen = Annotated[int, Field(ge=0, le=10_000_000_00)]
Userid = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]


class ProgrammeWrong(CampaignWrong):
    """A programme cannot be meant; `mistakes` says where and why."""

    code = "referral.wrong"


class Gift(Part):
    """One of: a coupon of an offer, points, or cash that a colleague pays by hand."""

    coupon: Annotated[str, Field(min_length=1, max_length=40)] | None = None  # the offer's key
    points: Annotated[int, Field(ge=1, le=10**6)] | None = None
    cash_fen: Annotated[int, Field(ge=1, le=10**7)] | None = None
    worth_fen: Fen | None = None  # what the coupon costs the shop; unless given, what the offer says

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if sum(one is not None for one in (self.coupon, self.points, self.cash_fen)) != 1:
            raise ValueError("写 coupon、points、cash_fen 中的一个")
        if self.worth_fen is not None and self.coupon is None:
            raise ValueError("worth_fen 只和 coupon 一起写")
        return self


class Step(Gift):
    """A rung of the ladder: with so many invitations that count, this besides."""

    at: Annotated[int, Field(ge=1, le=10_000)]


class Back(Part):
    """首单返现: a share of what the invitee kept of the first order, as points or as cash by hand."""

    percent_bp: Annotated[int, Field(ge=1, le=WHOLE_BP)]
    most_fen: Annotated[int, Field(ge=1, le=10**7)]
    paid_in: Literal["points", "cash"] = "points"

    def fen_of(self, kept_fen: int) -> int:
        return min(self.most_fen, kept_fen * self.percent_bp // WHOLE_BP)


class ForInviter(Part):
    each: Gift | None = None  # for every invitation that counts
    steps: tuple[Step, ...] = Field((), max_length=20)

    @model_validator(mode="after")
    def _climbs(self) -> Self:
        rungs = [step.at for step in self.steps]
        if rungs != sorted(set(rungs)):
            raise ValueError("steps 的 at 要从小到大，不能重复")
        return self


class ForInvitee(Part):
    welcome: Gift | None = None  # at once
    first_order: Gift | None = None  # when it outlived its refund window
    back: Back | None = None  # the same moment


class Burst(Part):
    """More invitations of one member than this within the time are looked at by a person."""

    most: Annotated[int, Field(ge=1, le=10_000)] = 10
    within: Duration = timedelta(hours=1)


class Terms(Part):
    """A programme. What is paid never exceeds budget_fen; past the cap per acquired member it pauses itself."""

    kind: Literal["referral"] = "referral"
    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=24)]  # on poster and page
    starts_at: datetime
    ends_at: datetime | None = None
    staff: tuple[Userid, ...] = Field((), max_length=100)  # whom invitees add: WeCom takes 100 in a contact way
    inviter: ForInviter = ForInviter()
    invitee: ForInvitee = ForInvitee()
    budget_fen: Annotated[int, Field(ge=1, le=10_000_000_00)]
    acquisition_cost_fen: Annotated[int, Field(ge=1, le=10**7)]  # what a new customer costs elsewhere
    cap_bp: Annotated[int, Field(ge=1, le=WHOLE_BP * 10)] = 5_000  # of that: at most so much for one acquired here
    cap_from: Annotated[int, Field(ge=1, le=10_000)] = 5  # fewer acquired members than this are taken for so many
    points_per_yuan: Annotated[int, Field(ge=1, le=10**6)] = 100  # what points are worth
    newcomer: Literal["joined", "bought"] = "joined"  # new is: not known to us before, or never bought before
    min_order_fen: Fen = 1  # that the invitee keeps of the first order
    refund_window: Duration = timedelta(days=15)
    order_within: Duration = timedelta(days=30)
    stay: Duration = timedelta(days=30)  # who leaves sooner does not count
    burst: Burst = Burst()

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        if self.ends_at is not None and self.ends <= self.starts:  # type: ignore[operator]
            raise ValueError("ends_at 不在 starts_at 之后")
        if self.inviter.each is None and not self.inviter.steps:
            raise ValueError("inviter 写 each 或 steps：邀请的人要得到点什么")
        return self

    @property
    def starts(self) -> datetime:
        return _aware(self.starts_at)

    @property
    def ends(self) -> datetime | None:
        return None if self.ends_at is None else _aware(self.ends_at)

    @property
    def cap_fen(self) -> int:
        """One acquired member may cost this."""
        return self.acquisition_cost_fen * self.cap_bp // WHOLE_BP

    def gifts(self) -> list[tuple[str, Gift]]:
        """Every gift with its place in the file."""
        found: list[tuple[str, Gift | None]] = [("inviter.each", self.inviter.each)]
        found += [(f"inviter.steps.{place}", step) for place, step in enumerate(self.inviter.steps)]
        found += [("invitee.welcome", self.invitee.welcome), ("invitee.first_order", self.invitee.first_order)]
        return [(place, gift) for place, gift in found if gift is not None]

    def points_cost(self, points: int) -> int:
        """Rounded up: a budget is not eaten by roundings."""
        return -(-points * 100 // self.points_per_yuan)

    def points_for(self, fen: int) -> int:
        return fen * self.points_per_yuan // 100


def _aware(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=SHANGHAI)


def read(told: Any) -> Terms:
    """Terms from JSON or YAML. Raises ProgrammeWrong with every mistake."""
    try:
        return Terms.model_validate(told)
    except ValidationError as error:
        wrong = [
            {"field": ".".join(map(str, one["loc"])), "reason": complaints.sentence(one)} for one in error.errors()
        ]
    raise ProgrammeWrong(wrong)


def write(terms: Terms) -> dict[str, Any]:
    """As JSON, the same for the same terms."""
    return terms.model_dump(mode="json")


def worth_of(gift: Gift, offer: Offer | None, terms: Terms) -> int | None:
    """What a gift costs the shop at most, in fen. None: the offer does not say, so the file must (worth_fen)."""
    if gift.points is not None:
        return terms.points_cost(gift.points)
    if gift.cash_fen is not None:
        return gift.cash_fen
    if gift.worth_fen is not None or offer is None:
        return gift.worth_fen
    known = {OfferKind.PERCENT: offer.cap_fen, OfferKind.GIFT: offer.gift_fen, OfferKind.AMOUNT: offer.amount_fen}
    return known.get(offer.kind, offer.amount_fen) or None


def dearest(each: int, steps: list[tuple[int, int]], invitee: int) -> int:
    """What one acquired member costs at most, when all promised is given. steps: (at, cost), the first first.

    A rung's gift is shared by the invitations it took; the dearest average is right on a rung.
    """
    climbed = [sum(cost for at, cost in steps if at <= rung) for rung, _ in steps]
    shares = [-(-total // rung) for (rung, _), total in zip(steps, climbed, strict=True)]
    return each + invitee + max(shares, default=0)


def state_of(code: str) -> str:
    """The `state` of a member's contact way, and the scene_param of their kf link. WeCom takes 30 characters."""
    return f"yq{code}"


def code_in(state: str) -> str | None:
    """The invite code in a state or a scene_param that is ours."""
    code = state.removeprefix("yq").partition(".")[0]
    return code if state.startswith("yq") and len(code) == 8 and code.isalnum() and code.isupper() else None


def cost_each(committed_fen: int, acquired: int) -> int | None:
    """Fen for one acquired member, rounded up. None: nobody yet."""
    return -(-committed_fen // acquired) if acquired else None


def is_over_cap(terms: Terms, committed_fen: int, acquired: int) -> bool:
    return committed_fen > terms.cap_fen * max(acquired, terms.cap_from)
