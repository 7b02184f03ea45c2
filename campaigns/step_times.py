"""When the steps of a sequence come due: pure, in the shop's days and times of day."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from campaigns.definition import Definition, Step
from campaigns.models.sequence import EnrolmentStatus, OnTheWay, Phase
from crm.base.clock import SHANGHAI, local_day

LOOK_FIRST, LOOK_MOST = timedelta(seconds=10), timedelta(minutes=10)
SOON = timedelta(seconds=1)
USUAL = time(10)  # of a step on a later day that names no time


@dataclass(frozen=True, slots=True)
class Place:
    """Where an enrolment stands: what it does, until when, and since when it listens."""

    phase: Phase
    due_at: datetime
    waits_since: datetime | None = None


def begins(told: Definition, number: int, *, day_zero: date, ended_at: datetime) -> Place:
    """How step `number` begins. ended_at: when the step before came to its end, or they entered."""
    step = told.steps[number]
    if step.wait is not None:
        return Place(Phase.LISTENS, ended_at + step.wait.within, ended_at)
    if step.after is not None:
        return Place(Phase.DUE, at_time(ended_at + step.after, step.at))
    at = step.at or (USUAL if step.day else None)
    if at is None:
        return Place(Phase.DUE, ended_at)
    day = planned_on(step, day_zero=day_zero, due_at=ended_at)
    planned = datetime.combine(day, at, tzinfo=SHANGHAI).astimezone(ended_at.tzinfo)
    return Place(Phase.DUE, planned if planned >= ended_at else at_time(ended_at, at))


def forward(one: OnTheWay, told: Definition, *, ended_at: datetime, now: datetime) -> Place | None:
    """On to the step that follows, or the end (None). ended_at: when the step before came to its end."""
    one.run_id = None
    one.step += 1
    if one.step >= len(told.steps):
        one.status, one.due_at, one.ended_at = EnrolmentStatus.FINISHED, None, now
        return None
    place = begins(told, one.step, day_zero=one.day_zero, ended_at=ended_at)
    one.phase, one.due_at = place.phase, place.due_at
    return place


def look_again(since: datetime, now: datetime) -> datetime:
    """When a step under way is looked at next: the longer it takes, the less often."""
    return now + min(max((now - since) / 10, LOOK_FIRST), LOOK_MOST)


def heard(step: Step, *, at: datetime) -> Place:
    """What a step waited for has come."""
    return Place(Phase.DUE, at_time(at, step.at))


def planned_on(step: Step, *, day_zero: date, due_at: datetime) -> date:
    """The shop-local day a step should go on."""
    return day_zero + timedelta(days=step.day) if step.day is not None else local_day(due_at)


def shifted(day_zero: date, *, planned: date, sent_at: datetime) -> date:
    """A step that went days late moves those that follow by as many, so that their distance stays."""
    return day_zero + max(local_day(sent_at) - planned, timedelta())


def at_time(instant: datetime, at: time | None) -> datetime:
    """The first instant from `instant` on that is this time of day in the shop."""
    if at is None:
        return instant
    local = instant.astimezone(SHANGHAI)
    same_day = datetime.combine(local.date(), at, tzinfo=SHANGHAI)
    came = same_day if same_day >= local else datetime.combine(local.date() + timedelta(days=1), at, tzinfo=SHANGHAI)
    return came.astimezone(instant.tzinfo)
