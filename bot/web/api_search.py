"""API calls that list orders and coupons, one page after the other."""

from datetime import datetime
from typing import Annotated

import sqlalchemy as sa
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from bot.models.api import Scope
from bot.web import paging
from bot.web.api_call import Call
from bot.web.api_coupons import CouponOut, coupon_out
from bot.web.api_orders import Instant, MemberUnknown, Name
from bot.web.paging import BadCursor, PageIn, PageOut
from campaigns import offers
from campaigns.models.offer import Coupon, CouponStatus, Offer
from crm import members
from crm.base.db import is_among
from crm.models.member import Member
from crm.models.order import Order, OrderLine, OrderStatus

MemberCode = Annotated[str, Field(pattern=r"^[A-HJ-NP-Za-hj-np-z2-9]{8}$")]


class OrdersPageIn(PageIn):
    """changed_since: told last from then on, by the shop system's own clock."""

    source: Annotated[str, Field(min_length=1, max_length=40)] | None = None
    external_no: Name | None = None
    member: MemberCode | None = None
    status: OrderStatus | None = None
    placed_since: Instant | None = None
    changed_since: Instant | None = None


class LineOut(BaseModel):
    sku: str
    name: str
    category: str
    quantity: int
    price_fen: int


class OrderOut(BaseModel):
    """member: their code."""

    source: str
    external_no: str
    member: str
    status: OrderStatus
    total_fen: int
    paid_fen: int
    refunded_fen: int
    placed_at: datetime
    told_at: datetime
    paid_at: datetime | None
    cancelled_at: datetime | None
    lines: list[LineOut]


class OrdersOut(PageOut):
    orders: list[OrderOut]


class CouponsPageIn(PageIn):
    offer: Annotated[str, Field(min_length=1, max_length=40)] | None = None
    member: MemberCode | None = None
    status: CouponStatus | None = None
    issued_since: Instant | None = None


class HeldCouponOut(CouponOut):
    """member: the code of whoever has it."""

    member: str


class CouponsPageOut(PageOut):
    coupons: list[HeldCouponOut]


async def list_orders(session: AsyncSession, body: OrdersPageIn, *, now: datetime) -> OrdersOut:
    del now
    query = sa.select(Order)
    if body.source is not None:
        query = query.where(Order.source == body.source)
    if body.external_no is not None:
        query = query.where(Order.external_no == body.external_no)
    if body.member is not None:
        query = query.where(Order.member_id == await _member_id(session, body.member))
    if body.status is not None:
        query = query.where(Order.status == body.status)
    if body.placed_since is not None:
        query = query.where(Order.placed_at >= body.placed_since)
    if body.changed_since is not None:
        query = query.where(Order.told_at >= body.changed_since)
    rows, after = await paging.page(session, "orders", body, query, Order.id, lambda one: one.id)
    lines: dict[int, list[LineOut]] = {one.id: [] for one in rows}
    mine = sa.select(OrderLine).where(is_among(session, OrderLine.order_id, list(lines)))
    for line in await session.scalars(mine.order_by(OrderLine.order_id, OrderLine.line_no)):
        shown = LineOut(**{name: getattr(line, name) for name in LineOut.model_fields})
        lines[line.order_id].append(shown)
    codes = await _codes(session, {one.member_id for one in rows})
    fields = [name for name in OrderOut.model_fields if name not in {"member", "lines"}]
    found = [
        OrderOut(**{name: getattr(one, name) for name in fields}, member=codes[one.member_id], lines=lines[one.id])
        for one in rows
    ]
    return OrdersOut(orders=found, next=after)


async def list_coupons(session: AsyncSession, body: CouponsPageIn, *, now: datetime) -> CouponsPageOut:
    del now
    query = sa.select(Coupon)
    if body.offer is not None:
        query = query.where(Coupon.offer_id.in_(sa.select(Offer.id).where(Offer.key == body.offer)))
    if body.member is not None:
        query = query.where(Coupon.member_id == await _member_id(session, body.member))
    if body.status is not None:
        query = query.where(Coupon.status == body.status)
    if body.issued_since is not None:
        query = query.where(Coupon.issued_at >= body.issued_since)
    rows, after = await paging.page(session, "coupons", body, query, Coupon.id, lambda one: one.id)
    known = await offers.get_batch(session, {one.offer_id for one in rows})
    codes = await _codes(session, {one.member_id for one in rows})
    found = [
        HeldCouponOut(**coupon_out(one, known[one.offer_id]).model_dump(), member=codes[one.member_id]) for one in rows
    ]
    return CouponsPageOut(coupons=found, next=after)


async def _member_id(session: AsyncSession, code: str) -> int:
    member = await members.find_by_code(session, code)
    if member is None:
        raise MemberUnknown
    return member.id


async def _codes(session: AsyncSession, ids: set[int]) -> dict[int, str]:
    rows = await session.execute(sa.select(Member.id, Member.code).where(is_among(session, Member.id, ids)))
    return {row[0]: row[1] for row in rows}


CALLS = (
    Call(
        method="GET",
        path="/orders",
        summary="Orders, one page after the other",
        takes=OrdersPageIn,
        gives=OrdersOut,
        handle=list_orders,
        scope=Scope.ORDERS_READ,
        refuses=(BadCursor, MemberUnknown),
        example={"status": "paid", "placed_since": "2026-03-01T00:00:00+08:00"},
    ),
    Call(
        method="GET",
        path="/coupons/search",
        summary="Coupons, one page after the other",
        takes=CouponsPageIn,
        gives=CouponsPageOut,
        handle=list_coupons,
        scope=Scope.COUPONS_READ,
        refuses=(BadCursor, MemberUnknown),
        example={"status": "issued", "limit": 50},
    ),
)
