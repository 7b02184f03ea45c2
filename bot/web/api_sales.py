"""API calls about flash sales: plan one, announce and end it, its stock and who claimed."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated

import sqlalchemy as sa
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from bot.flashsale import announcing, board, sales
from bot.flashsale.sales import ItemPlan, Plan
from bot.flashsale.terms import SaleInvalid, SaleNotFound
from bot.models.api import Scope
from bot.models.sale import Channel, Claim, ClaimStatus, Sale, SaleItem, SaleStatus
from bot.web import paging
from bot.web.api_call import Call
from bot.web.api_orders import Body, Fen, Instant, Name
from bot.web.api_segments import NothingIn
from bot.web.paging import BadCursor, PageIn, PageOut
from campaigns.guard_rules import Gate
from campaigns.words import Words
from campaigns.words import read as read_words
from crm.base.errors import Invalid, Refused
from crm.models.group import Group
from crm.models.member import Member

ChatId = Annotated[str, Field(min_length=1, max_length=64)]
Units = Annotated[int, Field(ge=1, le=1_000_000)]
Word = Annotated[str, Field(min_length=1, max_length=40)]


class ItemIn(Body):
    """An article. shares: units kept for a group, by its chat_id."""

    code: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,8}$")]
    sku: Name
    name: Annotated[str, Field(min_length=1, max_length=120)]
    price_fen: Fen
    list_price_fen: Fen
    stock: Units
    limit_each: Annotated[int, Field(ge=1, le=99)] = 1
    picture: Annotated[str, Field(max_length=2048)] = ""
    shares: dict[ChatId, Units] = Field(default_factory=dict)


class SaleIn(Body):
    """A draft. groups: chat_ids of those it is for; none means everybody. series: a weekly sale by this name."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    opens_at: Instant
    closes_at: Instant
    items: Annotated[list[ItemIn], Field(min_length=1, max_length=50)]
    early_at: Instant | None = None
    early_levels: Annotated[list[Word], Field(max_length=20)] = Field(default_factory=list)
    early_tags: Annotated[list[Word], Field(max_length=20)] = Field(default_factory=list)
    groups: Annotated[list[ChatId], Field(max_length=200)] = Field(default_factory=list)
    pay_minutes: Annotated[int, Field(ge=1, le=1440)] = 15
    honours_late: bool = True
    series: Word | None = None


class SalesIn(PageIn):
    status: SaleStatus | None = None
    opens_since: Instant | None = None


class SaleOut(BaseModel):
    code: str
    name: str
    status: SaleStatus
    opens_at: datetime
    closes_at: datetime
    early_at: datetime | None
    series: str | None
    created_at: datetime


class SalesOut(PageOut):
    sales: list[SaleOut]


class StockOut(BaseModel):
    """held + sold + left = stock at every instant."""

    code: str
    sku: str
    name: str
    price_fen: int
    list_price_fen: int
    stock: int
    held: int
    sold: int
    left: int
    limit_each: int


class GroupOut(BaseModel):
    """What came by one group's link. link_code: `g` of the link."""

    chat_id: str
    name: str
    link_code: str
    claimed: int
    paid: int
    paid_fen: int


class SaleStandsOut(SaleOut):
    items: list[StockOut]
    groups: list[GroupOut]


class ClaimsIn(PageIn):
    status: ClaimStatus | None = None
    claimed_since: Instant | None = None


class ClaimOut(BaseModel):
    """no: also the out_trade_no of its payment. member: their code."""

    no: str
    item: str
    member: str
    quantity: int
    total_fen: int
    status: ClaimStatus
    channel: Channel
    claimed_at: datetime
    pay_due_at: datetime
    paid_at: datetime | None
    released_at: datetime | None


class ClaimsOut(PageOut):
    claims: list[ClaimOut]


@dataclass(frozen=True, slots=True)
class Telling:
    """How a sale is announced to its groups: what the gate lets, in which words, with links to which pages."""

    gate: Gate = field(default_factory=Gate)
    words: Words = field(default_factory=read_words)
    public_url: str = ""


@dataclass(eq=False)
class SaleStands(Refused):
    """The sale cannot do this where it stands."""

    code = "sale.wrong_status"
    sale: str
    stands: SaleStatus


@dataclass(eq=False)
class GroupUnknown(Invalid):
    """No group that still exists has this chat_id."""

    code = "sale.group_unknown"
    chat_id: str


async def list_sales(session: AsyncSession, body: SalesIn, *, now: datetime) -> SalesOut:
    del now
    query = sa.select(Sale)
    if body.status is not None:
        query = query.where(Sale.status == body.status)
    if body.opens_since is not None:
        query = query.where(Sale.opens_at >= body.opens_since)
    rows, after = await paging.page(session, "sales", body, query, Sale.id, lambda one: one.id)
    return SalesOut(sales=[_sale(one) for one in rows], next=after)


async def show_sale(session: AsyncSession, body: NothingIn, *, now: datetime, code: str) -> SaleStandsOut:
    del body, now
    return await _stands(session, await sales.get(session, code))


async def claims_of(session: AsyncSession, body: ClaimsIn, *, now: datetime, code: str) -> ClaimsOut:
    del now
    sale = await sales.get(session, code)
    items = await sales.items_of(session, sale.id)
    codes = {one.id: one.code for one in items}
    query = sa.select(Claim).where(Claim.item_id.in_(codes))
    if body.status is not None:
        query = query.where(Claim.status == body.status)
    if body.claimed_since is not None:
        query = query.where(Claim.claimed_at >= body.claimed_since)
    rows, after = await paging.page(session, f"claims:{sale.id}", body, query, Claim.id, lambda one: one.id)
    ids = {one.member_id for one in rows}
    found = await session.execute(sa.select(Member.id, Member.code).where(Member.id.in_(ids)))
    people = {row[0]: row[1] for row in found}
    named = {"item", "member"}
    claims = [
        ClaimOut(
            **{name: getattr(one, name) for name in ClaimOut.model_fields if name not in named},
            item=codes[one.item_id],
            member=people[one.member_id],
        )
        for one in rows
    ]
    return ClaimsOut(claims=claims, next=after)


async def plan_sale(session: AsyncSession, body: SaleIn, *, now: datetime) -> SaleStandsOut:
    """A draft; members see nothing of it before it is announced."""
    ids = await _groups(session, {*body.groups, *(chat for item in body.items for chat in item.shares)})
    items = [
        ItemPlan(
            **item.model_dump(exclude={"shares"}), shares={ids[chat]: units for chat, units in item.shares.items()}
        )
        for item in body.items
    ]
    taken = ("name", "opens_at", "closes_at", "early_at", "early_levels", "early_tags", "honours_late", "series")
    wanted = Plan(
        **{name: getattr(body, name) for name in taken},
        items=items,
        group_ids=[ids[chat] for chat in body.groups],
        pay_window=timedelta(minutes=body.pay_minutes),
    )
    return await _stands(session, await sales.plan(session, wanted, now=now, chance=secrets.SystemRandom()))


async def close_sale(session: AsyncSession, body: NothingIn, *, now: datetime, code: str) -> SaleStandsOut:
    del body
    sale = await sales.get(session, code)
    return await _moved(session, sale, await sales.close(session, sale.id, now=now))


async def _moved(session: AsyncSession, sale: Sale, did: bool) -> SaleStandsOut:
    await session.refresh(sale)
    if not did:
        raise SaleStands(sale.code, sale.status)
    return await _stands(session, sale)


async def _groups(session: AsyncSession, chat_ids: set[str]) -> dict[str, int]:
    rows = await session.execute(
        sa.select(Group.chat_id, Group.id).where(Group.chat_id.in_(chat_ids), Group.dismissed_at.is_(None))
    )
    found = {row[0]: row[1] for row in rows}
    if missing := sorted(chat_ids - found.keys()):
        raise GroupUnknown(missing[0])
    return found


async def _stands(session: AsyncSession, sale: Sale) -> SaleStandsOut:
    rows = await session.scalars(sa.select(SaleItem).where(SaleItem.sale_id == sale.id).order_by(SaleItem.code))
    items = [
        StockOut(
            **{name: getattr(one, name) for name in StockOut.model_fields if name != "left"},
            left=one.stock - one.held - one.sold,
        )
        for one in rows
    ]
    views = await board.groups(session, sale.id)
    found = await session.execute(
        sa.select(Group.id, Group.chat_id).where(Group.id.in_([one.group_id for one in views]))
    )
    chats = {row[0]: row[1] for row in found}
    named = {"chat_id"}
    groups = [
        GroupOut(
            **{name: getattr(one, name) for name in GroupOut.model_fields if name not in named},
            chat_id=chats[one.group_id],
        )
        for one in views
    ]
    return SaleStandsOut(**_sale(sale).model_dump(), items=items, groups=groups)


def _sale(sale: Sale) -> SaleOut:
    return SaleOut(**{name: getattr(sale, name) for name in SaleOut.model_fields})


def sale_calls(telling: Callable[[], Telling]) -> Sequence[Call]:
    """telling: how the groups of a sale hear of it."""

    async def announce(session: AsyncSession, body: NothingIn, *, now: datetime, code: str) -> SaleStandsOut:
        del body
        sale = await sales.get(session, code)
        told = telling()
        did = await announcing.announce(
            session, sale, gate=told.gate, words=told.words, public_url=told.public_url, now=now
        )
        return await _moved(session, sale, did)

    return (
        Call(
            method="GET",
            path="/sales",
            summary="The flash sales",
            takes=SalesIn,
            gives=SalesOut,
            handle=list_sales,
            scope=Scope.SALES_READ,
            refuses=(BadCursor,),
            example={"status": "open"},
        ),
        Call(
            method="GET",
            path="/sales/{code}",
            summary="One flash sale with its stock",
            takes=NothingIn,
            gives=SaleStandsOut,
            handle=show_sale,
            scope=Scope.SALES_READ,
            refuses=(SaleNotFound,),
        ),
        Call(
            method="GET",
            path="/sales/{code}/claims",
            summary="Who claimed what of a flash sale",
            takes=ClaimsIn,
            gives=ClaimsOut,
            handle=claims_of,
            scope=Scope.SALES_READ,
            refuses=(SaleNotFound, BadCursor),
            example={"status": "paid"},
        ),
        Call(
            method="POST",
            path="/sales",
            summary="A draft of a flash sale",
            takes=SaleIn,
            gives=SaleStandsOut,
            handle=plan_sale,
            scope=Scope.SALES_WRITE,
            refuses=(SaleInvalid, GroupUnknown),
            example={
                "name": "周四秒杀",
                "opens_at": "2027-03-11T20:00:00+08:00",
                "closes_at": "2027-03-11T22:00:00+08:00",
                "items": [
                    {
                        "code": "A1",
                        "sku": "SN-FD",
                        "name": "冻干鸡肉粒",
                        "price_fen": 1990,
                        "list_price_fen": 3900,
                        "stock": 200,
                    }
                ],
            },
        ),
        Call(
            method="POST",
            path="/sales/{code}/announce",
            summary="Members may see a flash sale, and its groups are told when it is time",
            takes=NothingIn,
            gives=SaleStandsOut,
            handle=announce,
            scope=Scope.SALES_WRITE,
            refuses=(SaleNotFound, SaleStands, SaleInvalid),
        ),
        Call(
            method="POST",
            path="/sales/{code}/close",
            summary="End a flash sale early; who holds a claim may still pay",
            takes=NothingIn,
            gives=SaleStandsOut,
            handle=close_sale,
            scope=Scope.SALES_WRITE,
            refuses=(SaleNotFound, SaleStands),
        ),
    )
