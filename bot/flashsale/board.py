"""What screens show of a sale: its items, a member's claims and places, each group's share; and whether sums hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.models.sale import (
    Claim,
    ClaimStatus,
    PaymentOutcome,
    Sale,
    SaleGroup,
    SaleItem,
    SalePayment,
    SaleShare,
    SaleStatus,
    Waiter,
    WaiterStatus,
)
from crm.models.group import Group

PACE_MINUTES, PACE_NOW = 30, timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemView:
    """One article as everybody sees it."""

    item_id: int
    code: str
    name: str
    picture: str
    price_fen: int
    list_price_fen: int
    stock: int
    held: int
    sold: int
    limit_each: int

    @property
    def left(self) -> int:
        return self.stock - self.held - self.sold


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimView:
    """One claim as its member sees it."""

    no: str
    item_id: int
    item_code: str
    item_name: str
    sale_code: str
    quantity: int
    total_fen: int
    status: ClaimStatus
    claimed_at: datetime
    pay_due_at: datetime
    refund: PaymentOutcome | None  # refund_due or refunded, when money came that could not be taken


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitView:
    """A place in a queue; 1 is next."""

    item_id: int
    item_code: str
    item_name: str
    quantity: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupView:
    """What came by one group's link."""

    group_id: int
    name: str
    link_code: str
    claimed: int  # units held and paid
    paid: int  # units
    paid_fen: int


@dataclass(frozen=True, slots=True)
class Pace:
    """Claims each second over the last ten, and by minute: when each began, and how many."""

    per_second: float
    by_minute: tuple[tuple[datetime, int], ...]


@dataclass(frozen=True, slots=True)
class Money:
    buyers: int
    paid: int  # claims
    paid_fen: int
    released: int  # claims that were not paid in time, or given back


@dataclass(frozen=True, slots=True)
class RefundView:
    payment_id: int
    no: str
    paid_fen: int
    why: str
    paid_at: datetime


@dataclass(frozen=True, slots=True)
class Mismatch:
    """An item whose counters are not the sums of its claims."""

    item_id: int
    name: str
    held: int
    held_by_claims: int
    sold: int
    sold_by_claims: int


async def items(session: AsyncSession, sale_id: int) -> list[ItemView]:
    """The articles of a sale, in the order of their codes."""
    names = ("code", "name", "picture", "price_fen", "list_price_fen", "stock", "held", "sold", "limit_each")
    rows = await session.execute(
        sa.select(SaleItem.id.label("item_id"), *(getattr(SaleItem, name) for name in names))
        .where(SaleItem.sale_id == sale_id)
        .order_by(SaleItem.code)
    )
    return [ItemView(**row._mapping) for row in rows]


async def claims_of(
    session: AsyncSession, member_id: int, *, sale_id: int | None = None, no: str | None = None, limit: int = 20
) -> list[ClaimView]:
    """A member's claims, newest first; sale_id: only those of one sale; no: only this one."""
    refund = (
        sa.select(SalePayment.outcome)
        .where(
            SalePayment.claim_id == Claim.id,
            SalePayment.outcome.in_((PaymentOutcome.REFUND_DUE, PaymentOutcome.REFUNDED)),
        )
        .order_by(SalePayment.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    names = ("no", "item_id", "quantity", "total_fen", "status", "claimed_at", "pay_due_at")
    query = (
        sa.select(
            *(getattr(Claim, name) for name in names),
            SaleItem.code.label("item_code"),
            SaleItem.name.label("item_name"),
            Sale.code.label("sale_code"),
            refund.label("refund"),
        )
        .join(SaleItem, SaleItem.id == Claim.item_id)
        .join(Sale, Sale.id == SaleItem.sale_id)
        .where(Claim.member_id == member_id)
        .order_by(Claim.id.desc())
        .limit(limit)
    )
    if sale_id is not None:
        query = query.where(SaleItem.sale_id == sale_id)
    if no is not None:
        query = query.where(Claim.no == no)
    return [ClaimView(**row._mapping) for row in await session.execute(query)]


async def claim_of(session: AsyncSession, member_id: int, no: str) -> ClaimView | None:
    """One claim, if it is this member's."""
    return next(iter(await claims_of(session, member_id, no=no)), None)


async def waits_of(session: AsyncSession, member_id: int) -> list[WaitView]:
    """Where a member waits, and at which place."""
    before = sa.orm.aliased(Waiter)
    ahead = (
        sa.select(sa.func.count())
        .where(before.item_id == Waiter.item_id, before.status == WaiterStatus.WAITING, before.id <= Waiter.id)
        .correlate(Waiter)
        .scalar_subquery()
    )
    rows = await session.execute(
        sa.select(
            Waiter.item_id,
            SaleItem.code.label("item_code"),
            SaleItem.name.label("item_name"),
            Waiter.quantity,
            ahead.label("number"),
        )
        .join(SaleItem, SaleItem.id == Waiter.item_id)
        .where(Waiter.member_id == member_id, Waiter.status == WaiterStatus.WAITING)
        .order_by(Waiter.id)
    )
    return [WaitView(**row._mapping) for row in rows]


async def groups(session: AsyncSession, sale_id: int) -> list[GroupView]:
    """Each group's link and what came by it, the best first."""
    mine = sa.and_(
        Claim.group_id == SaleGroup.group_id,
        Claim.item_id.in_(sa.select(SaleItem.id).where(SaleItem.sale_id == sale_id)),
        Claim.status != ClaimStatus.RELEASED,
    )
    paid = Claim.status == ClaimStatus.PAID

    def total(value: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
        return sa.func.coalesce(sa.func.sum(value), 0)

    rows = await session.execute(
        sa.select(
            SaleGroup.group_id,
            Group.name,
            SaleGroup.code.label("link_code"),
            total(Claim.quantity.expression).label("claimed"),
            total(sa.case((paid, Claim.quantity), else_=0)).label("paid"),
            total(sa.case((paid, Claim.total_fen), else_=0)).label("paid_fen"),
        )
        .join(Group, Group.id == SaleGroup.group_id)
        .outerjoin(Claim, mine)
        .where(SaleGroup.sale_id == sale_id)
        .group_by(SaleGroup.group_id, Group.name, SaleGroup.code)
        .order_by(sa.desc("claimed"), SaleGroup.group_id)
    )
    return [
        GroupView(**{**row._mapping, **{name: int(row._mapping[name]) for name in ("claimed", "paid", "paid_fen")}})
        for row in rows
    ]


async def pace(session: AsyncSession, sale_id: int, *, now: datetime) -> Pace:
    """How fast it goes: one look at the claims of half an hour."""
    since = now - PACE_MINUTES * timedelta(minutes=1)
    mine = Claim.item_id.in_(sa.select(SaleItem.id).where(SaleItem.sale_id == sale_id))
    edges = [since + number * timedelta(minutes=1) for number in range(PACE_MINUTES)]
    counts = [_count(Claim.claimed_at > edge, Claim.claimed_at <= edge + timedelta(minutes=1)) for edge in edges]
    lately = _count(Claim.claimed_at > now - PACE_NOW)
    row = (await session.execute(sa.select(lately, *counts).where(mine, Claim.claimed_at > since))).one()
    return Pace(row[0] / PACE_NOW.total_seconds(), tuple(zip(edges, (int(one) for one in row[1:]), strict=True)))


async def money(session: AsyncSession, sale_id: int) -> Money:
    """What a sale came to so far."""
    mine = Claim.item_id.in_(sa.select(SaleItem.id).where(SaleItem.sale_id == sale_id))
    paid, released = Claim.status == ClaimStatus.PAID, Claim.status == ClaimStatus.RELEASED
    row = (
        await session.execute(
            sa.select(
                sa.func.count(sa.case((paid, Claim.member_id)).distinct()),
                _count(paid),
                sa.func.coalesce(sa.func.sum(sa.case((paid, Claim.total_fen), else_=0)), 0),
                _count(released),
            ).where(mine)
        )
    ).one()
    return Money(*(int(one) for one in row))


async def refunds_due(session: AsyncSession, sale_id: int) -> list[RefundView]:
    """Payments of a sale that have to go back, the oldest first."""
    rows = await session.execute(
        sa.select(SalePayment.id, Claim.no, SalePayment.paid_fen, SalePayment.why, SalePayment.paid_at)
        .join(Claim, Claim.id == SalePayment.claim_id)
        .join(SaleItem, SaleItem.id == Claim.item_id)
        .where(SaleItem.sale_id == sale_id, SalePayment.outcome == PaymentOutcome.REFUND_DUE)
        .order_by(SalePayment.id)
    )
    return [RefundView(*row) for row in rows]


async def waiting(session: AsyncSession, sale_id: int) -> dict[int, int]:
    """How many wait for each item."""
    rows = await session.execute(
        sa.select(Waiter.item_id, sa.func.count())
        .join(SaleItem, SaleItem.id == Waiter.item_id)
        .where(SaleItem.sale_id == sale_id, Waiter.status == WaiterStatus.WAITING)
        .group_by(Waiter.item_id)
    )
    return {row[0]: row[1] for row in rows}


def _count(*which: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((sa.and_(*which), 1), else_=0)), 0)


async def mismatches(session: AsyncSession) -> list[Mismatch]:
    """Items of sales not yet settled whose counters are not what their claims add up to: never any, or an alarm."""

    def units(status: ClaimStatus) -> sa.ColumnElement[int]:
        return sa.func.coalesce(sa.func.sum(sa.case((Claim.status == status, Claim.quantity), else_=0)), 0)

    held, sold = units(ClaimStatus.HELD), units(ClaimStatus.PAID)
    rows = await session.execute(
        sa.select(SaleItem.id, SaleItem.name, SaleItem.held, held, SaleItem.sold, sold)
        .join(Sale, Sale.id == SaleItem.sale_id)
        .outerjoin(Claim, Claim.item_id == SaleItem.id)
        .where(Sale.status != SaleStatus.SETTLED)
        .group_by(SaleItem.id, SaleItem.name, SaleItem.held, SaleItem.sold)
        .having(sa.or_(SaleItem.held != held, SaleItem.sold != sold))
    )
    theirs = (Claim.item_id == SaleShare.item_id, Claim.group_id == SaleShare.group_id)
    taken = sa.func.coalesce(sa.func.sum(Claim.quantity), 0)
    shares = await session.execute(
        sa.select(SaleItem.id, SaleItem.name, SaleShare.taken, taken)
        .join(SaleShare, SaleShare.item_id == SaleItem.id)
        .join(Sale, Sale.id == SaleItem.sale_id)
        .outerjoin(Claim, sa.and_(*theirs, Claim.status != ClaimStatus.RELEASED))
        .where(Sale.status != SaleStatus.SETTLED)
        .group_by(SaleItem.id, SaleItem.name, SaleShare.id, SaleShare.taken)
        .having(SaleShare.taken != taken)
    )
    found = [Mismatch(row[0], row[1], int(row[2]), int(row[3]), int(row[4]), int(row[5])) for row in rows]
    return found + [
        Mismatch(one, f"{name}（一个群的份额）", int(has), int(claimed), 0, 0) for one, name, has, claimed in shares
    ]


def in_words(found: Sequence[Mismatch]) -> list[str]:
    """For whoever has to look at it."""
    return [
        f"秒杀商品 {one.name}（{one.item_id}）账不平：占用 {one.held}、按抢单 {one.held_by_claims}；"
        f"售出 {one.sold}、按抢单 {one.sold_by_claims}"
        for one in found
    ]
