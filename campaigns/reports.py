"""The numbers the tables of campaigns can tell; the only place for analytical SQL of this package."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import deliveries, group_posts, group_runs
from campaigns.group_posts import Stand
from campaigns.models.campaign import Broadcast, Copy, Delivery, DeliveryStatus, Run
from campaigns.models.sequence import (
    Enrolment,
    EnrolmentStatus,
    EnrolmentStep,
    GroupEnrolment,
    GroupEnrolmentStep,
)
from crm.models.member import Staff


@dataclass(frozen=True, slots=True)
class StaffReport:
    """What one member of staff was asked to send in a campaign, and what came of it."""

    userid: str
    name: str
    tasks: int
    asked: int  # customers
    sent: int
    not_confirmed: int
    failed: int  # by the platform
    waiting: int
    confirmed_at: datetime | None  # the newest tap; None: they have not tapped at all
    reminders: int


async def by_staff(session: AsyncSession, campaign_id: int) -> list[StaffReport]:
    """Everybody who was asked, who sent least of it first."""

    def count(*which: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.coalesce(sa.func.sum(sa.case((sa.and_(*which), 1), else_=0)), 0)

    failed, left_alone = Delivery.status == DeliveryStatus.FAILED, Delivery.reason == deliveries.NOT_CONFIRMED
    rows = await session.execute(
        sa.select(
            Staff.userid,
            Staff.name,
            sa.func.count(Broadcast.id.distinct()),
            sa.func.count(),
            count(Delivery.status == DeliveryStatus.SENT),
            count(failed, left_alone),
            count(failed, ~left_alone),
            count(Delivery.status.in_((DeliveryStatus.QUEUED, DeliveryStatus.ASKED))),
            sa.func.max(Broadcast.confirmed_at),
            sa.func.max(Broadcast.reminders),
        )
        .select_from(Run)
        .join(Broadcast, Broadcast.run_id == Run.id)
        .join(Staff, Staff.id == Broadcast.staff_id)
        .join(Copy, Copy.broadcast_id == Broadcast.id)
        .join(Delivery, sa.and_(Delivery.run_id == Run.id, Delivery.member_id == Copy.member_id))
        .where(Run.campaign_id == campaign_id)
        .group_by(Staff.id, Staff.userid, Staff.name)
    )
    found = [StaffReport(*list(row)) for row in rows]
    return sorted(found, key=lambda one: (one.sent / one.asked, one.userid))


async def figures(session: AsyncSession, campaign_id: int) -> dict[str, Any]:
    """All runs of a campaign together: deliveries by status and by reason. Finished runs were counted at their end."""
    together: dict[str, Any] = {"total": 0, "by_status": {}, "reasons": {}}
    for run in await _runs(session, campaign_id):
        found = run.figures or await _counted(session, run)
        together["total"] += found["total"]
        for part in ("by_status", "reasons"):
            for name, count in found[part].items():
                together[part][name] = together[part].get(name, 0) + count
    return together


async def _counted(session: AsyncSession, run: Run) -> dict[str, Any]:
    if "groups" in run.definition:
        return await group_posts.figures(session, group_runs.ref(run.id))
    return await deliveries.figures(session, run.id)


async def by_owner(session: AsyncSession, campaign_id: int) -> list[StaffReport]:
    """by_staff() of a campaign into groups: counts are groups."""
    found: dict[str, list[Stand]] = {}
    for ref in await group_runs.of_campaign(session, campaign_id):
        known = await group_posts.progress(session, ref)
        for one in known.groups if known else ():
            if one.asked_at is not None:
                found.setdefault(one.userid, []).append(one)
    reports = [_of_owner(userid, stands) for userid, stands in found.items()]
    return sorted(reports, key=lambda one: (one.sent / one.asked, one.userid))


def _of_owner(userid: str, stands: Sequence[Stand]) -> StaffReport:
    def count(status: DeliveryStatus) -> int:
        return sum(one.status is status for one in stands)

    unconfirmed = sum(one.reason == deliveries.NOT_CONFIRMED for one in stands)
    return StaffReport(
        userid, stands[0].staff, len({one.asked_at for one in stands}), len(stands), count(DeliveryStatus.SENT),
        unconfirmed, count(DeliveryStatus.FAILED) - unconfirmed, count(DeliveryStatus.ASKED),
        max((one.confirmed_at for one in stands if one.confirmed_at), default=None),
        max(one.reminders for one in stands),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Way:
    """Of a sequence: how many are where and why they left; how many came to each step, and how many it was to go to."""

    stands: Sequence[tuple[EnrolmentStatus, str, int]]  # (status, because, how many)
    steps: Sequence[tuple[int, int, int]]  # (step, had it, of them with a message)


async def way(session: AsyncSession, campaign_id: int, *, of_groups: bool) -> Way:
    """Members on their way through a sequence, or customer groups."""
    people: Any = GroupEnrolment if of_groups else Enrolment
    steps: Any = GroupEnrolmentStep if of_groups else EnrolmentStep
    mine, count = people.campaign_id == campaign_id, sa.func.count()
    stands = await session.execute(
        sa.select(people.status, people.because, count)
        .where(mine)
        .group_by(people.status, people.because)
        .order_by(people.status, people.because)
    )
    had = await session.execute(
        sa.select(steps.step, count, sa.func.count(steps.run_id))
        .join(people, people.id == steps.enrolment_id)
        .where(mine)
        .group_by(steps.step)
        .order_by(steps.step)
    )
    return Way([(row[0], row[1], row[2]) for row in stands], [(row[0], row[1], row[2]) for row in had])


async def _runs(session: AsyncSession, campaign_id: int) -> Sequence[Run]:
    return (await session.scalars(sa.select(Run).where(Run.campaign_id == campaign_id))).all()
