"""The waiting list of an item: first come, first offered, with a time to pay of one's own."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.flashsale import allocator, sales
from bot.flashsale.allocator import Stand
from bot.flashsale.terms import (
    MOST,
    Granted,
    ItemNotFound,
    LimitReached,
    NotInvited,
    QuantityInvalid,
    Request,
    SaleOver,
    StockIsBack,
    UnpaidClaim,
)
from bot.models.sale import Channel, Claim, ClaimStatus, Sale, SaleItem, SaleShare, Waiter, WaiterStatus
from crm.base import events
from crm.base.db import insert

LOOKED_AT = 50  # people in the queue considered at once


@dataclass(frozen=True, slots=True, kw_only=True)
class SaleOffered:
    """Units came back and are held for a member who waited."""

    no: str
    member_id: int
    item_id: int
    quantity: int
    pay_due_at: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the queue; 1 is next."""

    number: int
    quantity: int


async def join(session: AsyncSession, request: Request, *, now: datetime) -> Place:
    """Wait for units to come back; asking again keeps the place.

    Raises StockIsBack when nobody has to wait, and the refusals of a claim that no waiting would cure.
    """
    if not 0 < request.quantity <= MOST:
        raise QuantityInvalid(request.quantity)
    stand = (await allocator.lock_items(session, [request.item_id])).get(request.item_id)
    if stand is None or stand.status in allocator.HIDDEN:
        raise ItemNotFound(str(request.item_id))
    if stand.status in allocator.OVER or now >= stand.closes_at:
        raise SaleOver
    if not request.is_invited:
        raise NotInvited
    if (room := stand.room(request.group_id)) > 0:
        raise StockIsBack(room)
    await _check_own(session, request, stand)
    values = {
        "item_id": request.item_id,
        "member_id": request.member_id,
        "quantity": request.quantity,
        "group_id": request.group_id,
        "status": WaiterStatus.WAITING,
        "since": now,
    }
    await session.execute(insert(session, Waiter).values(values).on_conflict_do_nothing())
    found = await place_of(session, request.item_id, request.member_id)
    assert found is not None  # the row above, or the one that was there
    return found


async def _check_own(session: AsyncSession, request: Request, stand: Stand) -> None:
    person = await allocator.identities_of(session, request.member_id)
    mine = await session.execute(
        sa.select(Claim.no, Claim.quantity, Claim.status, Claim.pay_due_at).where(
            Claim.item_id == request.item_id,
            Claim.member_id.in_(person),
            Claim.status != ClaimStatus.RELEASED,
        )
    )
    rows = mine.all()
    for row in rows:
        if row.status is ClaimStatus.HELD:
            raise UnpaidClaim(row.no, row.quantity, row.pay_due_at)
    have = sum(row.quantity for row in rows)
    if have + request.quantity > stand.limit_each:
        raise LimitReached(stand.limit_each, have)


async def leave(session: AsyncSession, item_id: int, member_id: int, *, now: datetime) -> bool:
    """Give up the place; whether there was one."""
    which = (Waiter.item_id == item_id, Waiter.member_id == member_id, Waiter.status == WaiterStatus.WAITING)
    gone = sa.update(Waiter).where(*which).values(status=WaiterStatus.GONE, ended_at=now).returning(Waiter.id)
    return await session.scalar(gone.execution_options(synchronize_session=False)) is not None


async def place_of(session: AsyncSession, item_id: int, member_id: int) -> Place | None:
    """Where a member stands in the queue; None: they do not wait."""
    waits = (Waiter.item_id == item_id, Waiter.status == WaiterStatus.WAITING)
    mine = (
        await session.execute(sa.select(Waiter.id, Waiter.quantity).where(*waits, Waiter.member_id == member_id))
    ).first()
    if mine is None:
        return None
    before = await session.scalar(sa.select(sa.func.count()).select_from(Waiter).where(*waits, Waiter.id < mine.id))
    return Place((before or 0) + 1, mine.quantity)


async def offer(session: AsyncSession, item_id: int, *, now: datetime) -> list[SaleOffered]:
    """Give what is left of a locked item to those who wait, in their order, as claims that they have to pay.

    Who wants more than is left is offered what there is. Who got a unit elsewhere meanwhile is passed over for good.
    Who waits for the share of a group that has nothing now keeps their place: others' units are not theirs.
    """
    sale = (
        await session.scalars(sa.select(Sale).join(SaleItem, SaleItem.sale_id == Sale.id).where(SaleItem.id == item_id))
    ).one()
    if now >= sales.offers_until(sale):
        return []
    made: list[SaleOffered] = []
    after = 0
    while waiters := await _next_in_line(session, item_id, after=after):
        after = waiters[-1].id
        stand = (await allocator.lock_items(session, [item_id]))[item_id]
        if not stand.left:
            return made
        for waiter in waiters:
            if not stand.left:
                break
            room = await _room(session, waiter, stand)
            if (units := min(room, stand.room(waiter.group_id))) > 0:
                made.append(await _hold(session, waiter, stand, units, now=now))
                stand.left -= units
                waiter.status, waiter.ended_at = WaiterStatus.OFFERED, now
            elif not room:
                waiter.status, waiter.ended_at = WaiterStatus.GONE, now
        await session.flush()
    return made


async def _next_in_line(session: AsyncSession, item_id: int, *, after: int) -> list[Waiter]:
    rows = await session.scalars(
        sa.select(Waiter)
        .where(Waiter.item_id == item_id, Waiter.status == WaiterStatus.WAITING, Waiter.id > after)
        .order_by(Waiter.id)
        .limit(LOOKED_AT)
        .with_for_update()
    )
    return list(rows)


async def _room(session: AsyncSession, waiter: Waiter, stand: Stand) -> int:
    """How many units this one can have now, of the stock and their own limit; none when they hold or have enough."""
    person = await allocator.identities_of(session, waiter.member_id)
    mine = sa.select(
        sa.func.coalesce(sa.func.sum(Claim.quantity), 0),
        sa.func.coalesce(sa.func.sum(sa.case((Claim.status == ClaimStatus.HELD, 1), else_=0)), 0),
    ).where(Claim.item_id == waiter.item_id, Claim.member_id.in_(person), Claim.status != ClaimStatus.RELEASED)
    have, unpaid = (await session.execute(mine)).one()
    if unpaid:
        return 0
    return max(0, min(waiter.quantity, stand.left, stand.limit_each - int(have)))


async def _hold(session: AsyncSession, waiter: Waiter, stand: Stand, units: int, *, now: datetime) -> SaleOffered:
    request = Request(
        item_id=waiter.item_id,
        member_id=waiter.member_id,
        quantity=units,
        key=f"waited:{waiter.id}",
        channel=Channel.WAITING,
        group_id=waiter.group_id,
    )
    due_at = now + timedelta(seconds=stand.pay_seconds)
    granted = Granted(request.no, waiter.item_id, units, units * stand.price_fen, due_at)
    await session.execute(sa.insert(Claim).values(allocator.row_of(request, granted, now=now)))
    held = sa.update(SaleItem).where(SaleItem.id == waiter.item_id).values(held=SaleItem.held + units)
    await session.execute(held.execution_options(synchronize_session=False))
    if waiter.group_id is not None and waiter.group_id in stand.shares:
        share = sa.update(SaleShare).where(SaleShare.item_id == waiter.item_id, SaleShare.group_id == waiter.group_id)
        await session.execute(share.values(taken=SaleShare.taken + units).execution_options(synchronize_session=False))
        stand.shares[waiter.group_id] -= units
    told = SaleOffered(
        no=granted.no, member_id=waiter.member_id, item_id=waiter.item_id, quantity=units, pay_due_at=due_at
    )
    await events.append(session, told, now=now)
    return told
