"""What is promised to a customer who waits for a person: targets by reason, and when each clock warns and ends."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bot.handoff.hours import ALWAYS, WorkingHours
from bot.handoff.triggers import Reason
from bot.models.handoff import Priority

WARN_AT = 0.8  # of the promised time
COMPLAINTS = frozenset({Reason.COMPLAINT, Reason.ANGRY, Reason.BAD_RATING})


@dataclass(frozen=True, slots=True)
class Target:
    """How long something may take. `elapsed`: nights and holidays count too, as a customer would count them."""

    within: timedelta
    elapsed: bool = False


@dataclass(frozen=True, slots=True)
class Deadline:
    """When to warn, and when it is broken: at that very instant."""

    warn_at: datetime
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Promise:
    """First answer and resolution of one kind of ticket."""

    first_response: Target
    resolution: Target


@dataclass(frozen=True)
class Promises:
    """Working hours, and what is promised in them: one promise for every ticket, another for complaints."""

    hours: WorkingHours
    usual: Promise = Promise(Target(timedelta(minutes=15)), Target(timedelta(hours=12)))
    complaints: Promise = Promise(Target(timedelta(hours=2)), Target(timedelta(hours=48), elapsed=True))
    priorities: Mapping[Reason, Priority] = field(
        default_factory=lambda: {
            **dict.fromkeys(COMPLAINTS, Priority.URGENT),
            Reason.VIP: Priority.HIGH,
            Reason.REFUND: Priority.HIGH,
        }
    )

    def of(self, reason: str) -> Promise:
        return self.complaints if reason in COMPLAINTS else self.usual

    def priority_of(self, reason: str) -> Priority:
        return self.priorities.get(Reason(reason), Priority.NORMAL)

    def deadline(self, target: Target, *, since: datetime, left: timedelta | None = None) -> Deadline:
        """The clock of `target` started, or with `left` to go resumed, at `since`. A warning that is over is now."""
        hours = self._hours(target)
        left = target.within if left is None else left
        spare = target.within * (1 - WARN_AT)
        return Deadline(hours.add(since, max(left - spare, timedelta())), hours.add(since, left))

    def left(self, target: Target, *, due_at: datetime, now: datetime) -> timedelta:
        """What a clock that is paused now has to go; a broken one has nothing."""
        return self._hours(target).between(now, due_at)

    def _hours(self, target: Target) -> WorkingHours:
        return ALWAYS if target.elapsed else self.hours
