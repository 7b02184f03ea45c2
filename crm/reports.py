"""The numbers these tables can tell; the only place for analytical SQL of this package."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from crm.models.group import Group, GroupMember
from crm.models.member import Contact, Member
from crm.models.order import Order


@dataclass(frozen=True, slots=True, kw_only=True)
class Headcount:
    """How many of what the shop has now. Merged and erased members do not count."""

    members: int
    contacts: int  # members in at least one staff member's contacts
    groups: int
    grouped: int  # members in at least one living group
    orders: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """Who came and went from `since` (inclusive) to `until` (exclusive)."""

    enrolled: int
    contacts_added: int
    contacts_lost: int
    group_joined: int
    group_left: int


async def headcount(session: AsyncSession) -> Headcount:
    row = await _counts(
        session,
        sa.select(sa.func.count(Member.id)).where(Member.merged_into_id.is_(None), Member.erased_at.is_(None)),
        sa.select(sa.func.count(Contact.member_id.distinct())).where(Contact.ended_at.is_(None)),
        sa.select(sa.func.count(Group.id)).where(Group.dismissed_at.is_(None)),
        sa.select(sa.func.count(GroupMember.member_id.distinct())).where(GroupMember.left_at.is_(None)),
        sa.select(sa.func.count(Order.id)),
    )
    return Headcount(members=row[0], contacts=row[1], groups=row[2], grouped=row[3], orders=row[4])


async def movement(session: AsyncSession, *, since: datetime, until: datetime) -> Movement:
    def within(instant: InstrumentedAttribute[Any]) -> sa.ColumnElement[bool]:
        return sa.and_(instant >= since, instant < until)

    in_group = sa.select(sa.func.count(GroupMember.id)).where(GroupMember.member_id.is_not(None))
    row = await _counts(
        session,
        sa.select(sa.func.count(Member.id)).where(Member.merged_into_id.is_(None), within(Member.joined_at)),
        sa.select(sa.func.count(Contact.id)).where(within(Contact.added_at)),
        sa.select(sa.func.count(Contact.id)).where(within(Contact.ended_at)),
        in_group.where(within(GroupMember.joined_at)),
        in_group.where(within(GroupMember.left_at)),
    )
    return Movement(
        enrolled=row[0], contacts_added=row[1], contacts_lost=row[2], group_joined=row[3], group_left=row[4]
    )


async def _counts(session: AsyncSession, *counts: sa.Select[int]) -> Sequence[int]:
    row = (await session.execute(sa.select(*(count.scalar_subquery() for count in counts)))).one()
    return [value or 0 for value in row]
