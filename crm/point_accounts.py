"""A member's account of points: the row that decides between two who spend at once, and the sums it keeps."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm.base.db import insert
from crm.models.loyalty import LotState, PointAccount, PointEntry, PointLot

NO_SYNC = {"synchronize_session": False}


@dataclass(frozen=True, slots=True)
class Sums:
    active: int
    pending: int
    owed: int


async def lock(session: AsyncSession, member_ids: Collection[int]) -> dict[int, Sums]:
    """Hold these accounts until the transaction ends, each opened if need be; before any of their lots is touched."""
    wanted = sorted(set(member_ids))
    fresh = insert(session, PointAccount).on_conflict_do_nothing()
    await session.execute(fresh, [{"member_id": one, "active": 0, "pending": 0, "owed": 0} for one in wanted])
    c = PointAccount
    rows = await session.execute(
        sa.select(c.member_id, c.active, c.pending, c.owed)
        .where(c.member_id.in_(wanted))
        .order_by(c.member_id)
        .with_for_update()
    )
    return {row.member_id: Sums(row.active, row.pending, row.owed) for row in rows}


async def move(session: AsyncSession, member_id: int, *, active: int = 0, pending: int = 0, owed: int = 0) -> None:
    """Move the sums with the rows they stand for; the table's CHECK refuses what would go below zero."""
    if not (active or pending or owed):
        return
    c = PointAccount
    moved = sa.update(c).where(c.member_id == member_id)
    values = {"active": c.active + active, "pending": c.pending + pending, "owed": c.owed + owed}
    await session.execute(moved.values(**values), execution_options=NO_SYNC)


async def take(session: AsyncSession, member_id: int, points: int) -> bool:
    """Take points that can be spent. The WHERE clause is the guard: of any at once, none takes what is not there."""
    c = PointAccount
    taken = sa.update(c).where(c.member_id == member_id, c.active >= points).values(active=c.active - points)
    found = await session.execute(taken.returning(c.active), execution_options=NO_SYNC)
    return found.first() is not None


async def recount(session: AsyncSession, member_ids: Collection[int]) -> None:
    """Make these accounts anew from their rows, as after a merge. The caller holds them."""

    def of_lots(state: LotState) -> Any:
        lots = sa.select(sa.func.coalesce(sa.func.sum(PointLot.remaining), 0))
        return lots.where(PointLot.member_id == PointAccount.member_id, PointLot.state == state).scalar_subquery()

    owed = sa.select(sa.func.coalesce(sa.func.sum(PointEntry.owed), 0))
    await session.execute(
        sa.update(PointAccount)
        .where(PointAccount.member_id.in_(sorted(set(member_ids))))
        .values(
            active=of_lots(LotState.ACTIVE),
            pending=of_lots(LotState.PENDING),
            owed=owed.where(PointEntry.member_id == PointAccount.member_id, PointEntry.owed > 0).scalar_subquery(),
        ),
        execution_options=NO_SYNC,
    )
