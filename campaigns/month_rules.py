"""What a month of campaigns suggests, by stated rules: each suggestion names its rule and the figures it follows from.

No rule speaks from small numbers: an effect counts when its interval says so, a share from so many on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from campaigns import deliveries
from campaigns.attribution import Outcome
from campaigns.experiments import wilson

ENOUGH = 100  # deliveries before a share is spoken of
UNCONFIRMED_SHARE = 0.2  # of what staff were asked to send
CAPPED_SHARE = 0.2  # of everybody who was planned
FAILED_SHARE = 0.1  # of what had an end
OPTED_OUT_SHARE = 0.005  # of those reached
CAPS = ("gate.frequency", "gate.quota", deliveries.LIMIT_REACHED)


@dataclass(frozen=True, slots=True)
class CampaignMonth:
    """One campaign in one month: its runs that were due then."""

    campaign_id: int
    name: str
    runs: int
    planned: int
    by_status: Mapping[str, int]
    reasons: Mapping[str, int]
    outcome: Outcome

    @property
    def sent(self) -> int:
        return self.by_status.get("sent", 0)

    @property
    def failed(self) -> int:
        """By the platform; a task that nobody confirmed is no failure of its."""
        return self.by_status.get("failed", 0) - self.unconfirmed

    @property
    def unconfirmed(self) -> int:
        return self.reasons.get(deliveries.NOT_CONFIRMED, 0)

    @property
    def capped(self) -> int:
        return sum(self.reasons.get(one, 0) for one in CAPS)


@dataclass(frozen=True, slots=True)
class HourOfDay:
    """Messages that arrived in one shop-local hour, and how many of them an order is credited to."""

    hour: int
    sent: int
    converted: int

    @property
    def rate(self) -> float:
        return self.converted / self.sent if self.sent else 0.0


@dataclass(frozen=True, slots=True)
class Suggestion:
    code: str  # of the rule
    campaign: str = ""  # empty: of the whole month
    facts: Mapping[str, Any] = field(default_factory=dict)


def suggestions(months: Sequence[CampaignMonth], hours: Sequence[HourOfDay], opted_out: int) -> list[Suggestion]:
    """Everything the rules have to say, what costs money first."""
    found = [one for month in months for one in _of_campaign(month)]
    reached = sum(one.sent for one in months)
    if reached >= ENOUGH and opted_out > OPTED_OUT_SHARE * reached:
        found.append(Suggestion("opt_outs", facts={"opted_out": opted_out, "reached": reached}))
    if (best := best_hour(hours)) is not None:
        found.append(Suggestion("best_hour", facts={"hour": best.hour, "rate": best.rate}))
    order = ("loses_money", "does_harm", "no_effect", "winner", "unconfirmed", "capped", "failed", "opt_outs")
    return sorted(found, key=lambda one: order.index(one.code) if one.code in order else len(order))


def _surely_loses(told: Outcome) -> bool:
    """Even the upper end of what it may have brought is below its cost."""
    if not told.cost_fen or told.revenue_lift is None:
        return False
    return told.revenue_lift.high * told.reached.members < told.cost_fen


def _of_campaign(month: CampaignMonth) -> Iterator[Suggestion]:
    name, told = month.name, month.outcome
    if _surely_loses(told):
        facts = {"roi": told.return_on_cost, "cost_fen": told.cost_fen, "more_fen": told.incremental_fen}
        yield Suggestion("loses_money", name, facts)
    if told.lift is not None and min(told.reached.members, told.holdout.members) >= ENOUGH:
        if told.lift.high < 0:
            yield Suggestion("does_harm", name, {"low": told.lift.low, "high": told.lift.high})
        elif told.lift.low <= 0:
            yield Suggestion("no_effect", name, {"low": told.lift.low, "high": told.lift.high})
    if told.winner is not None:
        worst = min(told.arms, key=lambda arm: arm.rate)
        yield Suggestion("winner", name, {"winner": told.winner, "worst": worst.name})
    asked = month.sent + month.failed + month.unconfirmed
    if asked >= ENOUGH and month.unconfirmed > UNCONFIRMED_SHARE * asked:
        yield Suggestion("unconfirmed", name, {"unconfirmed": month.unconfirmed, "asked": asked})
    if month.planned >= ENOUGH and month.capped > CAPPED_SHARE * month.planned:
        yield Suggestion("capped", name, {"capped": month.capped, "planned": month.planned})
    ended = month.sent + month.failed
    if ended >= ENOUGH and month.failed > FAILED_SHARE * ended:
        yield Suggestion("failed", name, {"failed": month.failed, "ended": ended})
    if month.sent >= ENOUGH and not told.holdout.members:
        yield Suggestion("no_holdout", name, {"sent": month.sent})


def best_hour(hours: Sequence[HourOfDay]) -> HourOfDay | None:
    """The hour whose interval lies above the rate of all others together; None where chance may explain it."""
    enough = [one for one in hours if one.sent >= ENOUGH]
    best = max(enough, key=lambda one: (one.rate, one.sent), default=None)
    if best is None:
        return None
    sent = sum(one.sent for one in hours) - best.sent
    if sent < ENOUGH:
        return None
    rest = wilson(sum(one.converted for one in hours) - best.converted, sent)
    return best if wilson(best.converted, best.sent).low > rest.high else None
