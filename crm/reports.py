"""The numbers these tables can tell; the only place for analytical SQL of this package."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from crm.models.group import Group, GroupMember
from crm.models.lifecycle import MemberStage, Stage, StageMove
from crm.models.member import Contact, Member
from crm.models.order import Order
from crm.models.rfm import MemberRfm, Segment


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The members of one R-F cell: how many, and what they spent in the window."""

    r: int
    f: int
    members: int
    spent_fen: int


async def rfm_grid(session: AsyncSession) -> list[Cell]:
    """Everybody with a score of now, by R and F; empty cells are left out."""
    rows = await session.execute(
        sa.select(MemberRfm.r, MemberRfm.f, sa.func.count(), sa.func.sum(MemberRfm.monetary_fen))
        .join(Member, Member.id == MemberRfm.member_id)
        .where(MemberRfm.r.is_not(None), Member.merged_into_id.is_(None), Member.erased_at.is_(None))
        .group_by(MemberRfm.r, MemberRfm.f)
    )
    return [Cell(r=r or 0, f=f or 0, members=count, spent_fen=int(fen)) for r, f, count, fen in rows]


async def rfm_segments(session: AsyncSession) -> dict[Segment, tuple[int, int]]:
    """How many members each of the eight has now, and what they spent in the window, in fen."""
    rows = await session.execute(
        sa.select(MemberRfm.segment, sa.func.count(), sa.func.sum(MemberRfm.monetary_fen))
        .join(Member, Member.id == MemberRfm.member_id)
        .where(MemberRfm.segment.is_not(None), Member.merged_into_id.is_(None), Member.erased_at.is_(None))
        .group_by(MemberRfm.segment)
    )
    return {segment: (count, int(fen)) for segment, count, fen in rows if segment is not None}


async def stages(session: AsyncSession) -> dict[Stage, int]:
    """How many members stand where in the lifecycle now."""
    rows = await session.execute(
        sa.select(MemberStage.stage, sa.func.count())
        .join(Member, Member.id == MemberStage.member_id)
        .where(Member.merged_into_id.is_(None), Member.erased_at.is_(None))
        .group_by(MemberStage.stage)
    )
    return {row[0]: row[1] for row in rows}


async def stage_flow(
    session: AsyncSession, *, since: datetime, until: datetime
) -> dict[tuple[Stage | None, Stage], int]:
    """Moves from stage to stage from `since` to before `until`; None: they began."""
    rows = await session.execute(
        sa.select(StageMove.from_stage, StageMove.to_stage, sa.func.count())
        .where(StageMove.moved_at >= since, StageMove.moved_at < until)
        .group_by(StageMove.from_stage, StageMove.to_stage)
    )
    return {(before, after): count for before, after, count in rows}
