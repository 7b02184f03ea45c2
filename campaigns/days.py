"""Members whose time has come on a day: a date of theirs, or so many days of silence; as SQL for a plan."""

from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.definition import Trigger
from campaigns.models.campaign import Run
from crm.base.clock import day_start, local_day
from crm.models.lifecycle import MemberDate
from crm.models.member import Member
from crm.models.order import MemberOrders

MOST_MISSED = timedelta(days=7)  # silence that began longer before the last look is let be


async def since(session: AsyncSession, campaign_id: int, *, due_at: datetime) -> date:
    """The day whose members the campaign looked for last; who fell silent while we slept is found today."""
    today = local_day(due_at)
    last = await session.scalar(
        sa.select(sa.func.max(Run.due_at)).where(Run.campaign_id == campaign_id, Run.due_at < due_at)
    )
    return max(local_day(last), today - MOST_MISSED) if last is not None else today - timedelta(days=1)


def whose(on: Trigger, member_id: Any, *, after: date, today: date) -> sa.ColumnElement[bool]:
    """SQL: a daily trigger means this member today. after: the day of the look before.

    A date is the day itself and is not made up for; silence reached since the look before is.
    """
    if on.date is not None:
        comes = today + timedelta(days=on.days_before)
        dates = sa.select(MemberDate.member_id).where(MemberDate.kind == on.date, MemberDate.next_on == comes)
        return sa.and_(member_id.in_(dates))
    silent = timedelta(days=on.silent_days or 0)
    first, last = after - silent + timedelta(days=1), today - silent
    paid = sa.select(MemberOrders.member_id).where(MemberOrders.last_paid_on.between(first, last))
    ever = sa.exists().where(MemberOrders.member_id == Member.id, MemberOrders.last_paid_on.is_not(None))
    since_joined = (Member.joined_at >= day_start(first), Member.joined_at < day_start(last + timedelta(days=1)))
    return sa.or_(member_id.in_(paid), member_id.in_(sa.select(Member.id).where(*since_joined, ~ever)))
