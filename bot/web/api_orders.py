"""API calls about members and their orders: tell an order, tell a refund, look a member up."""

import re
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncSession

from bot.api_keys import Caller
from bot.models.api import Scope
from bot.web.api_call import Call
from crm import identities, members, orders
from crm.base.clock import SHANGHAI
from crm.base.errors import NotFound, ShopError
from crm.holds import PersonErased
from crm.identities import Person
from crm.models.member import IdentityKind, Member, MemberSource
from crm.order_terms import Line, Told
from crm.sight import SIGHT, Role, Sight

NO_CONTROLS = r"^[^\x00-\x1f\x7f]*$"
LARGEST_FEN = 100_000_000_00  # a hundred million yuan: above it somebody sent yuan, or nonsense


def _written_out(told: Any) -> Any:
    """An instant of a JSON text: pydantic would take seconds since 1970 too, written as one."""
    if not isinstance(told, str):
        return told
    try:
        if re.match(r"\d{4}-\d\d-\d\d[Tt ]", told):
            return datetime.fromisoformat(told.upper())
    except ValueError:
        pass
    raise ValueError("an instant is written like 2026-03-08T12:00:00+08:00")


def _with_zone(instant: datetime) -> datetime:
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=SHANGHAI)


Instant = Annotated[datetime, BeforeValidator(_written_out), AfterValidator(_with_zone)]  # no zone: shop-local
Fen = Annotated[int, Field(ge=0, le=LARGEST_FEN)]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=NO_CONTROLS)]


class Body(BaseModel):
    """What callers send: unknown fields are refused, so that a typing error is not silence."""

    model_config = ConfigDict(extra="forbid")


class WhoIn(Body):
    """The identities under which the caller knows a person; at least one."""

    external_userid: Name | None = None
    unionid: Name | None = None
    shop_account: Name | None = None

    def person(self, source: str) -> Person | None:
        """The person as crm knows them; a shop account is one of the system `source`."""
        keys = []
        if self.external_userid:
            keys.append((IdentityKind.EXTERNAL_USERID, self.external_userid))
        if self.unionid:
            keys.append((IdentityKind.UNIONID, self.unionid))
        if self.shop_account:
            keys.append(identities.shop_account(source, self.shop_account))
        return Person(keys=tuple(keys)) if keys else None


class LineIn(Body):
    sku: Name
    name: Annotated[str, Field(max_length=255, pattern=NO_CONTROLS)] = ""
    category: Annotated[str, Field(max_length=64, pattern=NO_CONTROLS)] = ""
    quantity: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    price_fen: Fen


class OrderIn(Body):
    """An order as it is now. (source, external_no) names it: telling it again changes it, or nothing."""

    source: Annotated[str, Field(min_length=1, max_length=40)] = "api"
    external_no: Name
    member: WhoIn
    placed_at: Instant
    total_fen: Fen
    lines: Annotated[list[LineIn], Field(max_length=500)] | None = None
    told_at: Instant | None = None
    paid_at: Instant | None = None
    paid_fen: Fen | None = None
    cancelled_at: Instant | None = None


class OrdersIn(Body):
    orders: Annotated[list[OrderIn], Field(min_length=1, max_length=500)]


class RefundIn(Body):
    """Money that went back, once per refund_no. Without an order it counts for the member alone."""

    source: Annotated[str, Field(min_length=1, max_length=40)] = "api"
    refund_no: Name
    amount_fen: Annotated[int, Field(gt=0, le=LARGEST_FEN)]
    refunded_at: Instant
    order_no: Name | None = None
    member: WhoIn | None = None


class RefundsIn(Body):
    refunds: Annotated[list[RefundIn], Field(min_length=1, max_length=500)]


class ResultOut(BaseModel):
    """What became of one of them, in the order they were sent. `waiting`: it came before its order, and waits."""

    number: str
    result: Literal["taken", "waiting", "refused"]
    status: str | None = None
    error: str | None = None


class ResultsOut(BaseModel):
    results: list[ResultOut]


class MemberIn(WhoIn):
    """Look up by one of these; `source` is the system of the shop account."""

    source: Annotated[str, Field(min_length=1, max_length=40)] = "api"

    code: Annotated[str, Field(min_length=8, max_length=8)] | None = None


class MemberOut(BaseModel):
    """A member as other systems may know them."""

    code: str
    name: str
    joined_at: datetime
    external_userids: list[str]


class MemberUnknown(NotFound):
    """Nobody is known under these identities."""

    code = "member.unknown"


class NobodyNamed(NotFound):
    """The request names no identity."""

    code = "member.not_named"


def sight_of(caller: Caller) -> Sight:
    """What this key sees of a person."""
    return SIGHT[Role.MANAGER if caller.sees_people else Role.AUDITOR]


async def tell_orders(session: AsyncSession, body: OrdersIn, *, now: datetime) -> ResultsOut:
    """Each order stands alone: one that is refused takes no other with it."""
    return ResultsOut(results=[await _tell_order(session, one, now=now) for one in body.orders])


async def _tell_order(session: AsyncSession, one: OrderIn, *, now: datetime) -> ResultOut:
    try:
        async with session.begin_nested():
            told = Told(
                source=one.source,
                external_no=one.external_no,
                member_id=await _buyer(session, one, now=now),
                placed_at=one.placed_at,
                total_fen=one.total_fen,
                lines=None if one.lines is None else [Line(**line.model_dump()) for line in one.lines],
                told_at=one.told_at,
                paid_at=one.paid_at,
                paid_fen=one.paid_fen,
                cancelled_at=one.cancelled_at,
            )
            order = await orders.place(session, told, now=now)
            return ResultOut(number=one.external_no, result="taken", status=order.status.value)
    except ShopError as refusal:
        return ResultOut(number=one.external_no, result="refused", error=refusal.code)


async def tell_refunds(session: AsyncSession, body: RefundsIn, *, now: datetime) -> ResultsOut:
    return ResultsOut(results=[await _tell_refund(session, one, now=now) for one in body.refunds])


async def _tell_refund(session: AsyncSession, one: RefundIn, *, now: datetime) -> ResultOut:
    try:
        async with session.begin_nested():
            member_id = None if one.member is None else await _member_id(session, one.member, one.source, now=now)
            refund = await orders.refund(
                session,
                one.source,
                one.refund_no,
                amount_fen=one.amount_fen,
                refunded_at=one.refunded_at,
                order_no=one.order_no,
                member_id=member_id,
                now=now,
            )
            return ResultOut(number=one.refund_no, result="waiting" if refund is None else "taken")
    except ShopError as refusal:
        return ResultOut(number=one.refund_no, result="refused", error=refusal.code)


async def _buyer(session: AsyncSession, one: OrderIn, *, now: datetime) -> int:
    """Whose order it is; one that we keep of an erased person stays where it is."""
    try:
        return await _member_id(session, one.member, one.source, now=now, acted_at=one.placed_at)
    except PersonErased:
        kept = await orders.find(session, one.source, one.external_no)
        if kept is None:
            raise
        return kept.member_id


async def _member_id(
    session: AsyncSession, who: WhoIn, source: str, *, now: datetime, acted_at: datetime | None = None
) -> int:
    person = who.person(source)
    if person is None:
        raise NobodyNamed
    person = replace(person, acted_at=acted_at)
    return (await identities.enrol(session, person, source=MemberSource.IMPORT, now=now)).id


async def find_member(session: AsyncSession, body: MemberIn, *, now: datetime, caller: Caller) -> MemberOut:
    """Masked unless the key may see people."""
    del now
    member = await _find(session, body)
    if member is None:
        raise MemberUnknown
    external = await identities.values_of(session, member.id, IdentityKind.EXTERNAL_USERID)
    seen = sight_of(caller)
    shown = [seen.id(value) for value in external]
    return MemberOut(code=member.code, name=seen.name(member.name), joined_at=member.joined_at, external_userids=shown)


async def _find(session: AsyncSession, body: MemberIn) -> Member | None:
    if body.code:
        return await members.find_by_code(session, body.code)
    person = body.person(body.source)
    if person is None:
        raise NobodyNamed
    return await identities.find_by(session, *person.keys[0])


_ORDER = {
    "external_no": "A20260308-1",
    "member": {"external_userid": "wmAAAABBBBCCCC"},
    "placed_at": "2026-03-08T12:00:00+08:00",
    "paid_at": "2026-03-08T12:01:00+08:00",
    "total_fen": 12800,
    "lines": [{"sku": "CF-2KG", "name": "猫粮 2kg", "price_fen": 12800}],
}
_REFUND = {
    "refund_no": "R1",
    "order_no": "A20260308-1",
    "amount_fen": 2800,
    "refunded_at": "2026-03-09T10:00:00+08:00",
}
CALLS = (
    Call(
        method="POST",
        path="/orders",
        summary="Tell orders: new ones, and what changed in known ones",
        takes=OrdersIn,
        gives=ResultsOut,
        handle=tell_orders,
        scope=Scope.ORDERS_WRITE,
        example={"orders": [_ORDER]},
    ),
    Call(
        method="POST",
        path="/refunds",
        summary="Tell refunds",
        takes=RefundsIn,
        gives=ResultsOut,
        handle=tell_refunds,
        scope=Scope.ORDERS_WRITE,
        example={"refunds": [_REFUND]},
    ),
    Call(
        method="GET",
        path="/members",
        summary="Look a member up by code or identity",
        takes=MemberIn,
        gives=MemberOut,
        handle=find_member,
        scope=Scope.MEMBERS_READ,
        refuses=(MemberUnknown, NobodyNamed),
        by_caller=True,
        example={"external_userid": "wmAAAABBBBCCCC"},
    ),
)
