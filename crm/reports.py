"""The numbers these tables can tell; the only place for analytical SQL of this package."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, aliased

from crm.base.clock import day_start
from crm.models.group import Group, GroupMember
from crm.models.lifecycle import MemberStage, Stage, StageMove
from crm.models.member import Contact, Member, Staff
from crm.models.order import Order
from crm.models.rfm import MemberRfm, Segment

# The few who are no members any more: left out by name, for a join with everybody cost three times the count.
_GONE = sa.select(Member.id).where(sa.or_(Member.merged_into_id.is_not(None), Member.erased_at.is_not(None)))
ROWS = 50_000  # of a file for people; a spreadsheet opens no more with joy


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
        .where(MemberRfm.r.is_not(None), MemberRfm.member_id.not_in(_GONE))
        .group_by(MemberRfm.r, MemberRfm.f)
    )
    return [Cell(r=r or 0, f=f or 0, members=count, spent_fen=int(fen)) for r, f, count, fen in rows]


async def rfm_segments(session: AsyncSession) -> dict[Segment, tuple[int, int]]:
    """How many members each of the eight has now, and what they spent in the window, in fen."""
    rows = await session.execute(
        sa.select(MemberRfm.segment, sa.func.count(), sa.func.sum(MemberRfm.monetary_fen))
        .where(MemberRfm.segment.is_not(None), MemberRfm.member_id.not_in(_GONE))
        .group_by(MemberRfm.segment)
    )
    return {segment: (count, int(fen)) for segment, count, fen in rows if segment is not None}


async def stages(session: AsyncSession) -> dict[Stage, int]:
    """How many members stand where in the lifecycle now."""
    rows = await session.execute(
        sa.select(MemberStage.stage, sa.func.count())
        .where(MemberStage.member_id.not_in(_GONE))
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """Orders paid in a period; docs/numbers.md defines each figure. A mean or share of nothing is None."""

    orders: int  # counted: paid above zero, not refunded in full
    buyers: int
    paid_fen: int  # of the counted orders, before refunds: GMV
    net_fen: int  # less what was refunded of them since
    average_fen: int | None  # net_fen by order
    repeat: float | None  # of the buyers, those with another counted order before or in the period
    newcomers: int  # buyers whose first counted order this was


_COUNTED = (Order.paid_fen > 0, Order.refunded_fen < Order.paid_fen)


async def trade(session: AsyncSession, *, since_on: date, until_on: date) -> Trade:
    """Orders paid from `since_on` to before `until_on`, shop-local days."""
    paid_in = (Order.paid_on >= since_on, Order.paid_on < until_on)
    of_member = (
        sa.select(
            Order.member_id,
            sa.func.count().label("orders"),
            sa.func.sum(Order.paid_fen).label("paid_fen"),
            sa.func.sum(Order.refunded_fen).label("refunded_fen"),
        )
        .where(*_COUNTED, *paid_in)
        .group_by(Order.member_id)
        .subquery()
    )
    earlier = aliased(Order)
    before = sa.exists(
        sa.select(earlier.id).where(
            earlier.member_id == of_member.c.member_id,
            earlier.paid_fen > 0,
            earlier.refunded_fen < earlier.paid_fen,
            earlier.paid_at < day_start(since_on),  # by the instant: the index has all that is asked
        )
    )
    row = (
        await session.execute(
            sa.select(
                sa.func.coalesce(sa.func.sum(of_member.c.orders), 0),
                sa.func.count(),
                sa.func.coalesce(sa.func.sum(of_member.c.paid_fen), 0),
                sa.func.coalesce(sa.func.sum(of_member.c.refunded_fen), 0),
                sa.func.coalesce(sa.func.sum(sa.case((sa.or_(of_member.c.orders > 1, before), 1), else_=0)), 0),
                sa.func.coalesce(sa.func.sum(sa.case((before, 0), else_=1)), 0),
            ).select_from(of_member)
        )
    ).one()
    orders, buyers, paid, refunded, repeat, newcomers = (int(value) for value in row)
    net = paid - refunded
    return Trade(
        orders=orders,
        buyers=buyers,
        paid_fen=paid,
        net_fen=net,
        average_fen=net // orders if orders else None,
        repeat=repeat / buyers if buyers else None,
        newcomers=newcomers,
    )


async def trade_by_day(session: AsyncSession, *, since_on: date, until_on: date) -> list[tuple[date, int, int]]:
    """(day, counted orders, net fen) of each shop-local day with any."""
    rows = await session.execute(
        sa.select(Order.paid_on, sa.func.count(), sa.func.sum(Order.paid_fen - Order.refunded_fen))
        .where(*_COUNTED, Order.paid_on >= since_on, Order.paid_on < until_on)
        .group_by(Order.paid_on)
        .order_by(Order.paid_on)
    )
    return [(day, count, int(fen)) for day, count, fen in rows if day is not None]


async def trade_by_staff(session: AsyncSession, *, since_on: date, until_on: date) -> list[tuple[str, int, int]]:
    """(staff, buyers, net fen): an order counts for who added the customer first among those who still have them."""
    return await _by_contact(session, Staff.name, since_on, until_on)


async def trade_by_channel(session: AsyncSession, *, since_on: date, until_on: date) -> list[tuple[str, int, int]]:
    """(channel code, buyers, net fen): an order counts for the code by which the customer was first added."""
    return await _by_contact(session, Contact.state, since_on, until_on)


async def _by_contact(session: AsyncSession, label: Any, since_on: date, until_on: date) -> list[tuple[str, int, int]]:
    """Orders by a column of the customer's first standing contact; "": they have none."""
    bought = (
        sa.select(Order.member_id, sa.func.sum(Order.paid_fen - Order.refunded_fen).label("net"))
        .where(*_COUNTED, Order.paid_on >= since_on, Order.paid_on < until_on)
        .group_by(Order.member_id)
        .subquery()
    )
    theirs = aliased(Contact)
    first = (
        sa.select(sa.func.min(theirs.id))
        .where(theirs.member_id == bought.c.member_id, theirs.ended_at.is_(None))
        .scalar_subquery()
    )
    named, net = sa.func.coalesce(label, ""), sa.func.sum(bought.c.net)
    rows = await session.execute(
        sa.select(named, sa.func.count(), net)
        .select_from(bought)
        .outerjoin(Contact, Contact.id == first)
        .outerjoin(Staff, Staff.id == Contact.staff_id)
        .group_by(named)
        .order_by(net.desc())
    )
    return [(name, buyers, int(fen)) for name, buyers, fen in rows]


async def orders_of(session: AsyncSession, *, since_on: date, until_on: date) -> list[Any]:
    """The rows behind the trade figures: day, member code, source, number, status, paid and refunded fen."""
    rows = await session.execute(
        sa.select(
            *(Order.paid_on, Member.code, Order.source, Order.external_no),
            *(Order.status, Order.paid_fen, Order.refunded_fen),
        )
        .join(Member, Member.id == Order.member_id)
        .where(*_COUNTED, Order.paid_on >= since_on, Order.paid_on < until_on)
        .order_by(Order.paid_on, Order.id)
        .limit(ROWS)
    )
    return list(rows)
