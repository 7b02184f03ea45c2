"""Points of orders: earned when paid, pending until the refund window closes, taken back with the money.

One look at an order brings the ledger to what its facts say, however often and in whatever order its news are heard.
"""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import levels, loyalty_rules, point_ledger, point_returns, points
from crm.base.clock import SHANGHAI, local_day
from crm.base.errors import Busy
from crm.models.loyalty import EntryKind, PointEntry
from crm.models.order import Order
from crm.point_ledger import Cause
from crm.point_rules import ONCE_BP, still_deserved

ORDER = "order"


async def follow(session: AsyncSession, order_id: int, *, now: datetime, zone: ZoneInfo = SHANGHAI) -> None:
    """Earn for an order, or take back what its refunds took. Raises Busy when it changes hands meanwhile.

    An order that went over to another member earns anew there, and what it earned before is taken back.
    """
    owner = await session.scalar(sa.select(Order.member_id).where(Order.id == order_id))
    if owner is None:
        return
    member_id = await point_ledger.open_account(session, owner, now=now, zone=zone)
    order = await session.get_one(Order, order_id, populate_existing=True)
    if order.member_id != member_id:
        raise Busy(retry_after=0.1)
    earned = await _earnings(session, order_id)
    for other in (entry for entry in earned if entry.member_id != member_id):
        await point_ledger.open_account(session, other.member_id, now=now, zone=zone)
        await _take_back(session, other, other.points, now=now, zone=zone)
    mine = earned[-1] if earned and earned[-1].member_id == member_id else None
    net_fen = order.paid_fen - order.refunded_fen if order.paid_at is not None else 0
    if mine is None and net_fen > 0:
        mine = await _earn(session, order, len(earned), now=now, zone=zone)
    if mine is not None:
        left = still_deserved(mine.points, mine.facts["base_fen"], net_fen)
        await _take_back(session, mine, mine.points - left, now=now, zone=zone)


async def _earn(session: AsyncSession, order: Order, times: int, *, now: datetime, zone: ZoneInfo) -> PointEntry | None:
    rules = await loyalty_rules.of_points(session)
    if rules is None or order.paid_at is None:
        return None
    multiplier_bp = (await levels.benefits_of(session, order.member_id)).get("points_bp", ONCE_BP)
    wanted = rules.of_order(order.paid_fen, multiplier_bp=multiplier_bp)
    expires_at = rules.expires_at(local_day(order.paid_at, zone), zone)
    if wanted <= 0 or (expires_at is not None and expires_at <= now):  # told so late that they would be gone
        return None
    return await points.earn(
        session,
        order.member_id,
        wanted,
        cause=_cause(order.id, times),
        rules=rules,
        active_at=max(order.paid_at + timedelta(days=rules.refund_window_days), now),
        expires_at=expires_at,
        facts={"base_fen": order.paid_fen, "external_no": order.external_no},
        now=now,
        zone=zone,
    )


async def _take_back(session: AsyncSession, earned: PointEntry, due: int, *, now: datetime, zone: ZoneInfo) -> None:
    if due > 0:
        cause = Cause(ORDER, f"{earned.cause_id}/{due}")  # due only grows: each step of it is one cause
        await point_returns.take_back(session, earned, due, cause=cause, now=now, zone=zone)


async def _earnings(session: AsyncSession, order_id: int) -> list[PointEntry]:
    """What the order earned its owners, one after the other."""
    found: list[PointEntry] = []
    while entry := await point_ledger.find(session, EntryKind.EARNED, _cause(order_id, len(found))):
        found.append(entry)
    return found


def _cause(order_id: int, times: int) -> Cause:
    return Cause(ORDER, str(order_id) if not times else f"{order_id}#{times}")
