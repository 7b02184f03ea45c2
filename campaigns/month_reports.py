"""The month's figures of all campaigns together: what each cost and brought, who was reached, what stood in the way."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import attribution, deliveries
from campaigns.models.campaign import Campaign, Conversion, Delivery, DeliveryStatus, Run
from campaigns.month_rules import CampaignMonth, HourOfDay, Suggestion, suggestions
from crm.base.clock import SHANGHAI, day_start
from crm.base.db import is_among, utc_hour
from crm.models.consent import Consent


@dataclass(frozen=True, slots=True)
class Month:
    """A shop-local month; campaigns by revenue, most first."""

    first_day: date
    campaigns: Sequence[CampaignMonth]
    people_reached: int  # once each, by whatever campaign
    opted_out: int  # members who said no to marketing or a part of it
    hours: Sequence[HourOfDay]
    suggestions: Sequence[Suggestion]

    @property
    def sent(self) -> int:
        return sum(one.sent for one in self.campaigns)

    @property
    def revenue_fen(self) -> int:
        """Credited by the last touch."""
        return sum(one.outcome.credit.revenue_fen for one in self.campaigns)

    @property
    def cost_fen(self) -> int:
        return sum(one.outcome.cost_fen for one in self.campaigns)

    @property
    def reasons(self) -> Mapping[str, int]:
        """Why members did not get what was planned for them, most frequent first."""
        found: Counter[str] = Counter()
        for one in self.campaigns:
            found.update(one.reasons)
        return dict(found.most_common())


def span(first_day: date, zone: ZoneInfo = SHANGHAI) -> tuple[datetime, datetime]:
    """From the first instant of the month to the first of the next."""
    following = (first_day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return day_start(first_day.replace(day=1), zone), day_start(following, zone)


async def summary(session: AsyncSession, first_day: date, *, zone: ZoneInfo = SHANGHAI) -> Month:
    """Campaigns with a run that was due in the month, and what came of these runs by now."""
    due = span(first_day, zone)
    rows = await session.execute(
        sa.select(Run, Campaign.name)
        .join(Campaign, Campaign.id == Run.campaign_id)
        .where(Run.due_at >= due[0], Run.due_at < due[1])
        .order_by(Run.id)
    )
    by_campaign: dict[int, list[Run]] = {}
    names: dict[int, str] = {}
    for run, name in rows:
        by_campaign.setdefault(run.campaign_id, []).append(run)
        names[run.campaign_id] = name
    months = [await _of(session, one, names[one], runs, due) for one, runs in by_campaign.items()]
    months.sort(key=lambda one: (-one.outcome.credit.revenue_fen, -one.sent, one.campaign_id))
    run_ids = [run.id for runs in by_campaign.values() for run in runs]
    hours, opted_out = await _hours(session, run_ids, zone, due[0]), await _opted_out(session, due)
    return Month(
        first_day.replace(day=1), months, await _people(session, run_ids), opted_out, hours,
        suggestions(months, hours, opted_out),
    )  # fmt: skip


async def _of(
    session: AsyncSession, campaign_id: int, name: str, runs: Sequence[Run], due: tuple[datetime, datetime]
) -> CampaignMonth:
    statuses: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    planned = 0
    for run in runs:
        found: dict[str, Any] = run.figures or await deliveries.figures(session, run.id)
        planned += found["total"]
        statuses.update(found["by_status"])
        reasons.update(found["reasons"])
    told = await attribution.outcome(session, campaign_id, due=due)
    return CampaignMonth(campaign_id, name, len(runs), planned, statuses, reasons, told)


async def _people(session: AsyncSession, run_ids: Sequence[int]) -> int:
    reached = sa.select(sa.func.count(Delivery.member_id.distinct())).where(
        is_among(session, Delivery.run_id, run_ids), Delivery.status == DeliveryStatus.SENT
    )
    return await session.scalar(reached) or 0


async def _opted_out(session: AsyncSession, due: tuple[datetime, datetime]) -> int:
    said = sa.select(sa.func.count(Consent.member_id.distinct())).where(
        Consent.granted.is_(False), Consent.said_at >= due[0], Consent.said_at < due[1]
    )
    return await session.scalar(said) or 0


async def _hours(session: AsyncSession, run_ids: Sequence[int], zone: ZoneInfo, at: datetime) -> list[HourOfDay]:
    """What arrived by the hour of the shop's clock; the zone's whole hours as they were when the month began."""
    shift = int((at.astimezone(zone).utcoffset() or timedelta()).total_seconds() // 3600)

    async def count(instant: Any, many: Any, *where: sa.ColumnElement[bool]) -> dict[int, int]:
        hour = utc_hour(session, instant)
        rows = await session.execute(sa.select(hour, many).where(*where).group_by(hour))
        return {(int(at_hour) + shift) % 24: found for at_hour, found in rows}

    mine = is_among(session, Delivery.run_id, run_ids)
    sent = await count(Delivery.sent_at, sa.func.count(), mine, Delivery.status == DeliveryStatus.SENT)
    credited = is_among(session, Conversion.run_id, run_ids)
    pairs = sa.select(Conversion.run_id, Conversion.member_id, Conversion.touched_at).where(credited).distinct()
    touched = pairs.subquery()
    converted = await count(touched.c.touched_at, sa.func.count())
    return [HourOfDay(one, sent[one], min(converted.get(one, 0), sent[one])) for one in sorted(sent)]
