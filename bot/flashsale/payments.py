"""What becomes of a claim: paid, given back, or released when its time is over; and money that came too late.

Everything that moves an item's counters locks the item first and the claim second, as the allocator does.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.flashsale import allocator, waiting
from bot.flashsale.allocator import Stand
from bot.flashsale.terms import CannotCancel, ClaimNotFound
from bot.flashsale.waiting import SaleOffered
from bot.models.sale import Claim, ClaimStatus, PaymentOutcome, Sale, SaleItem, SalePayment, SaleShare
from crm import holds, orders
from crm.base import events
from crm.order_terms import Line, Told

SOURCE = "sale"  # of the orders that claims become
TOGETHER = 200  # claims released in one transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimPaid:
    """A claim was paid and is an order now."""

    no: str
    member_id: int
    order_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundDue:
    """Money came for a claim that cannot have it: somebody has to give it back."""

    no: str
    member_id: int
    payment_id: int
    paid_fen: int


@dataclass(frozen=True, slots=True)
class Payment:
    """One payment as the bank tells it. no: the claim's, which was the out_trade_no."""

    transaction_id: str
    no: str
    paid_fen: int
    paid_at: datetime


async def pay(session: AsyncSession, told: Payment, *, now: datetime) -> SalePayment:
    """Take a payment, once however often it is told; returns what became of it.

    In time: the claim is paid and its order is in the books. After its release: a unit that is left is taken, where
    the sale honours that; else, for any other amount, and from who was erased meanwhile, the money is due back.
    Raises ClaimNotFound.
    """
    claim = await session.scalar(sa.select(Claim).where(Claim.no == told.no))
    if claim is None:
        raise ClaimNotFound(told.no)
    stand = (await allocator.lock_items(session, [claim.item_id]))[claim.item_id]
    await session.refresh(claim, with_for_update=True)
    known: SalePayment | None = await session.scalar(
        sa.select(SalePayment).where(SalePayment.transaction_id == told.transaction_id)
    )
    if known is not None:
        return known
    outcome, why = await _outcome(session, claim, told, stand)
    payment = SalePayment(
        transaction_id=told.transaction_id,
        claim_id=claim.id,
        paid_fen=told.paid_fen,
        paid_at=told.paid_at,
        outcome=outcome,
        why=why,
        told_at=now,
    )
    session.add(payment)
    await session.flush()
    if outcome is PaymentOutcome.REFUND_DUE:
        due = RefundDue(no=claim.no, member_id=claim.member_id, payment_id=payment.id, paid_fen=told.paid_fen)
        await events.append(session, due, now=now)
    else:
        await _into_the_books(session, claim, told, now=now)
    return payment


async def _outcome(session: AsyncSession, claim: Claim, told: Payment, stand: Stand) -> tuple[PaymentOutcome, str]:
    """Decide about a payment of a locked claim, and move the counters accordingly."""
    if told.paid_fen != claim.total_fen:
        return PaymentOutcome.REFUND_DUE, f"应付 {claim.total_fen} 分，付了 {told.paid_fen} 分"
    if claim.status is ClaimStatus.PAID:
        return PaymentOutcome.REFUND_DUE, "这一单已经付过"
    if (await holds.hold_one(session, claim.member_id)).is_erased:  # the books take no new order of theirs
        return PaymentOutcome.REFUND_DUE, "会员已注销"
    item = sa.update(SaleItem).where(SaleItem.id == claim.item_id)
    if claim.status is ClaimStatus.HELD:
        moved = item.values(held=SaleItem.held - claim.quantity, sold=SaleItem.sold + claim.quantity)
        await session.execute(moved)
        claim.status, claim.paid_at = ClaimStatus.PAID, told.paid_at
        return PaymentOutcome.APPLIED, ""
    if not await _honours(session, claim):
        return PaymentOutcome.REFUND_DUE, "超过付款时限，名额已经释放"
    if stand.room(claim.group_id) < claim.quantity:
        return PaymentOutcome.REFUND_DUE, "超过付款时限，已经没有库存"
    await session.execute(item.values(sold=SaleItem.sold + claim.quantity))
    await _give_share(session, claim.item_id, claim.group_id, -claim.quantity)
    claim.status, claim.paid_at = ClaimStatus.PAID, told.paid_at
    return PaymentOutcome.HONOURED, ""


async def _honours(session: AsyncSession, claim: Claim) -> bool:
    """Whether the sale takes late money, and this member's limit still has room."""
    person = await allocator.identities_of(session, claim.member_id)
    mine = sa.select(sa.func.coalesce(sa.func.sum(Claim.quantity), 0)).where(
        Claim.item_id == claim.item_id, Claim.member_id.in_(person), Claim.status != ClaimStatus.RELEASED
    )
    rule = sa.select(Sale.honours_late, SaleItem.limit_each).join(SaleItem, SaleItem.sale_id == Sale.id)
    honours_late, limit = (await session.execute(rule.where(SaleItem.id == claim.item_id))).one()
    return bool(honours_late) and (await session.scalar(mine) or 0) + claim.quantity <= limit


async def _into_the_books(session: AsyncSession, claim: Claim, told: Payment, *, now: datetime) -> None:
    item = await session.get_one(SaleItem, claim.item_id)
    line = Line(sku=item.sku, name=item.name, quantity=claim.quantity, price_fen=item.price_fen)
    order = await orders.place(
        session,
        Told(
            source=SOURCE,
            external_no=claim.no,
            member_id=claim.member_id,
            placed_at=claim.claimed_at,
            total_fen=claim.total_fen,
            lines=[line],
            paid_at=told.paid_at,
        ),
        now=now,
    )
    await events.append(session, ClaimPaid(no=claim.no, member_id=claim.member_id, order_id=order.id), now=now)


async def give_back(session: AsyncSession, no: str, *, member_id: int, now: datetime) -> list[SaleOffered]:
    """A member no longer wants what they hold; returns what was offered to those who wait.

    Raises ClaimNotFound (also for somebody else's), CannotCancel.
    """
    found = (
        await session.execute(sa.select(Claim.id, Claim.item_id).where(Claim.no == no, Claim.member_id == member_id))
    ).first()
    if found is None:
        raise ClaimNotFound(no)
    await allocator.lock_items(session, [found.item_id])
    freed = await _release(session, [found.id], now=now)
    if not freed:
        raise CannotCancel(no)
    return await _hand_on(session, freed, now=now)


async def take_back(
    session: AsyncSession, member_ids: Collection[int], item_ids: Collection[int], *, now: datetime
) -> list[SaleOffered]:
    """Release what these members hold of these items and have not paid; returns what was offered further."""
    held = (Claim.member_id.in_(member_ids), Claim.item_id.in_(item_ids), Claim.status == ClaimStatus.HELD)
    found = (await session.execute(sa.select(Claim.id, Claim.item_id).where(*held))).all()
    await allocator.lock_items(session, {row.item_id for row in found})
    freed = await _release(session, [row.id for row in found], now=now)
    return await _hand_on(session, freed, now=now)


async def release_due(
    session: AsyncSession, *, now: datetime, limit: int = TOGETHER
) -> tuple[set[int], list[SaleOffered]]:
    """Release claims whose time to pay is over, up to `limit`; returns their items and what was offered further."""
    due = await session.execute(
        sa.select(Claim.id, Claim.item_id)
        .where(Claim.status == ClaimStatus.HELD, Claim.pay_due_at <= now)
        .order_by(Claim.pay_due_at)
        .limit(limit)
    )
    found = due.all()
    if not found:
        return set(), []
    await allocator.lock_items(session, {row.item_id for row in found})
    freed = await _release(session, [row.id for row in found], now=now)
    return {one.item_id for one in freed}, await _hand_on(session, freed, now=now)


@dataclass(frozen=True, slots=True)
class Freed:
    """Units that a claim gave back. group_id: whose share they were of."""

    item_id: int
    group_id: int | None
    quantity: int


async def _release(session: AsyncSession, claim_ids: list[int], *, now: datetime) -> list[Freed]:
    """The guard against a payment is in the WHERE clause: what was paid meanwhile is not held any more."""
    released = await session.execute(
        sa.update(Claim)
        .where(Claim.id.in_(claim_ids), Claim.status == ClaimStatus.HELD)
        .values(status=ClaimStatus.RELEASED, released_at=now)
        .returning(Claim.item_id, Claim.group_id, Claim.quantity)
        .execution_options(synchronize_session=False)
    )
    return [Freed(*row) for row in released]


async def _hand_on(session: AsyncSession, freed: list[Freed], *, now: datetime) -> list[SaleOffered]:
    """Put units back on the shelf, and from there into the hands of who waits, in this same transaction."""
    units: defaultdict[int, int] = defaultdict(int)
    for one in freed:
        units[one.item_id] += one.quantity
        await _give_share(session, one.item_id, one.group_id, one.quantity)
    for item_id, count in sorted(units.items()):
        back = sa.update(SaleItem).where(SaleItem.id == item_id).values(held=SaleItem.held - count)
        await session.execute(back.execution_options(synchronize_session=False))
    return [offer for item_id in sorted(units) for offer in await waiting.offer(session, item_id, now=now)]


async def _give_share(session: AsyncSession, item_id: int, group_id: int | None, units: int) -> None:
    """Units come back to a group's share, where the item has one for it."""
    if group_id is None:
        return
    mine = sa.update(SaleShare).where(SaleShare.item_id == item_id, SaleShare.group_id == group_id)
    await session.execute(mine.values(taken=SaleShare.taken - units).execution_options(synchronize_session=False))


async def refunded(session: AsyncSession, payment_id: int) -> bool:
    """The money went back, says a person or the bills; whether this call wrote it down."""
    done = sa.update(SalePayment).where(SalePayment.id == payment_id, SalePayment.outcome == PaymentOutcome.REFUND_DUE)
    return await session.scalar(done.values(outcome=PaymentOutcome.REFUNDED).returning(SalePayment.id)) is not None


async def due_back(session: AsyncSession, *, limit: int = 50) -> list[SalePayment]:
    """Payments that have to go back, the oldest first."""
    rows = await session.scalars(
        sa.select(SalePayment)
        .where(SalePayment.outcome == PaymentOutcome.REFUND_DUE)
        .order_by(SalePayment.id)
        .limit(limit)
    )
    return list(rows)
