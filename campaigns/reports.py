"""The numbers the tables of campaigns can tell; the only place for analytical SQL of this package."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import deliveries
from campaigns.models.campaign import Broadcast, Copy, Delivery, DeliveryStatus, Run
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
        found = run.figures or await deliveries.figures(session, run.id)
        together["total"] += found["total"]
        for part in ("by_status", "reasons"):
            for name, count in found[part].items():
                together[part][name] = together[part].get(name, 0) + count
    return together


async def _runs(session: AsyncSession, campaign_id: int) -> Sequence[Run]:
    return (await session.scalars(sa.select(Run).where(Run.campaign_id == campaign_id))).all()
