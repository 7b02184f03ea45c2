"""API calls about points and levels: what a member has, spending at the checkout and giving back, by hand, check-in."""

from datetime import date, datetime
from typing import Annotated

from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from bot.models.api import Scope
from bot.web.api_call import Call
from bot.web.api_coupons import Source, known_member
from bot.web.api_orders import Body, MemberUnknown, Name, NobodyNamed, WhoIn
from crm import check_ins, level_standing, point_returns, points
from crm.base.ids import dedupe_key
from crm.check_ins import CheckedInAlready, NoCheckIn
from crm.models.loyalty import EntryKind
from crm.point_ledger import Cause, CauseToldDifferently
from crm.point_returns import PointsNotFound, TooMuchBack
from crm.points import MOST_AT_ONCE, NotEnoughPoints, PointsWrong, ReasonMissing

Points = Annotated[int, Field(ge=1, le=MOST_AT_ONCE)]
Words = Annotated[str, Field(min_length=1, max_length=200)]
CAUSE_CHARS = 80


class LevelOut(BaseModel):
    """until_on: the period ends before this day. next_in_fen: what is missing to the next level."""

    name: str
    since_on: date
    until_on: date | None
    grace_until_on: date | None
    growth_fen: int
    next_name: str | None
    next_in_fen: int


class StandingOut(BaseModel):
    """What a member has now. owed: taken back after it was spent; the next points pay it."""

    active: int
    pending: int
    owed: int
    expiring: int
    expires_at: datetime | None
    level: LevelOut | None


class MovementOut(BaseModel):
    """One line of a statement; points is signed."""

    kind: EntryKind
    points: int
    cause: str
    reason: str
    at: datetime


class StatementOut(BaseModel):
    movements: list[MovementOut]


class MovedOut(BaseModel):
    """points: how many moved, signed; 0: nothing was left to move. active: what can be spent now."""

    points: int
    active: int


class CheckedInOut(BaseModel):
    streak: int
    points: int
    reward_in: int | None
    reward: int


class AboutIn(WhoIn):
    source: Source = "api"


class MemberIn(Body):
    source: Source = "api"
    member: WhoIn


class SpendIn(MemberIn):
    """Points for an order: the same order spends once, whatever it is called with again."""

    order_no: Name
    points: Points


class GiveBackIn(Body):
    """What an order spent goes back, all that is left or some; refund_no: once for each of its refunds."""

    source: Source = "api"
    order_no: Name
    refund_no: Name | None = None
    points: Points | None = None


class ByHandIn(MemberIn):
    """because: the caller's own number of it; the same number moves points once."""

    points: Points
    because: Name
    reason: Words
    by: Annotated[str, Field(min_length=1, max_length=64)]


async def standing(session: AsyncSession, body: AboutIn, *, now: datetime) -> StandingOut:
    member_id = await known_member(session, body, body.source)
    found = await points.balance_of(session, member_id, now=now)
    level = await level_standing.standing_of(session, member_id, now=now)
    shown = {name: getattr(found, name) for name in StandingOut.model_fields if name != "level"}
    fields = LevelOut.model_fields
    return StandingOut(
        **shown, level=LevelOut(**{name: getattr(level, name) for name in fields}) if level is not None else None
    )


async def statement(session: AsyncSession, body: AboutIn, *, now: datetime) -> StatementOut:
    del now
    found = await points.statement_of(session, await known_member(session, body, body.source), limit=50)
    return StatementOut(
        movements=[
            MovementOut(kind=one.kind, points=one.points, cause=one.cause_kind, reason=one.reason, at=one.at)
            for one in found
        ]
    )


async def spend(session: AsyncSession, body: SpendIn, *, now: datetime) -> MovedOut:
    member_id = await known_member(session, body.member, body.source)
    cause = _cause("checkout", body.source, body.order_no)
    entry = await points.spend(session, member_id, body.points, cause=cause, now=now)
    return await _moved(session, entry.member_id, entry.points, now=now)


async def give_back(session: AsyncSession, body: GiveBackIn, *, now: datetime) -> MovedOut:
    cause = _cause("checkout", body.source, body.order_no)
    by_cause = _cause("checkout_back", body.source, body.refund_no or body.order_no)
    spent = await point_returns.get_spend(session, cause)
    entry = await point_returns.give_back(session, cause, by_cause=by_cause, points=body.points, now=now)
    return await _moved(session, spent.member_id, entry.points if entry is not None else 0, now=now)


async def grant(session: AsyncSession, body: ByHandIn, *, now: datetime) -> MovedOut:
    member_id = await known_member(session, body.member, body.source)
    cause = _cause("manual", body.source, body.because)
    entry = await points.grant(session, member_id, body.points, cause=cause, reason=body.reason, by=body.by, now=now)
    return await _moved(session, entry.member_id, entry.points, now=now)


async def deduct(session: AsyncSession, body: ByHandIn, *, now: datetime) -> MovedOut:
    member_id = await known_member(session, body.member, body.source)
    cause = _cause("manual", body.source, body.because)
    entry = await points.deduct(session, member_id, body.points, cause=cause, reason=body.reason, by=body.by, now=now)
    return await _moved(session, entry.member_id, entry.points, now=now)


async def check_in(session: AsyncSession, body: MemberIn, *, now: datetime) -> CheckedInOut:
    done = await check_ins.check_in(session, await known_member(session, body.member, body.source), now=now)
    return CheckedInOut(**{name: getattr(done, name) for name in CheckedInOut.model_fields})


async def _moved(session: AsyncSession, member_id: int, moved: int, *, now: datetime) -> MovedOut:
    return MovedOut(points=moved, active=(await points.balance_of(session, member_id, now=now)).active)


def _cause(kind: str, source: str, number: str) -> Cause:
    """Two systems may use the same numbers; what is too long for the ledger is told by its hash."""
    name = f"{source}:{number}"
    return Cause(kind, name if len(name) <= CAUSE_CHARS else dedupe_key(source, number))


_STRANGERS = (MemberUnknown, NobodyNamed)
_WHO = {"external_userid": "wmAAAABBBBCCCC"}
_BY_HAND = {"member": _WHO, "points": 50, "because": "2026-001", "reason": "包裹破损补偿", "by": "wangxiaomei"}
CALLS = (
    Call(
        method="GET",
        path="/points",
        summary="A member's points and level",
        takes=AboutIn,
        gives=StandingOut,
        handle=standing,
        scope=Scope.POINTS_READ,
        refuses=_STRANGERS,
        example=_WHO,
    ),
    Call(
        method="GET",
        path="/points/statement",
        summary="A member's newest movements of points",
        takes=AboutIn,
        gives=StatementOut,
        handle=statement,
        scope=Scope.POINTS_READ,
        refuses=_STRANGERS,
        example=_WHO,
    ),
    Call(
        method="POST",
        path="/points/spend",
        summary="Spend points on an order",
        takes=SpendIn,
        gives=MovedOut,
        handle=spend,
        scope=Scope.POINTS_WRITE,
        refuses=(*_STRANGERS, NotEnoughPoints, PointsWrong, CauseToldDifferently),
        example={"member": _WHO, "order_no": "A20260308-1", "points": 200},
    ),
    Call(
        method="POST",
        path="/points/give_back",
        summary="Give back what an order spent",
        takes=GiveBackIn,
        gives=MovedOut,
        handle=give_back,
        scope=Scope.POINTS_WRITE,
        refuses=(PointsNotFound, TooMuchBack, CauseToldDifferently),
        example={"order_no": "A20260308-1"},
    ),
    Call(
        method="POST",
        path="/points/grant",
        summary="Give points by hand",
        takes=ByHandIn,
        gives=MovedOut,
        handle=grant,
        scope=Scope.POINTS_WRITE,
        refuses=(*_STRANGERS, PointsWrong, ReasonMissing, CauseToldDifferently),
        example=_BY_HAND,
    ),
    Call(
        method="POST",
        path="/points/deduct",
        summary="Take points by hand",
        takes=ByHandIn,
        gives=MovedOut,
        handle=deduct,
        scope=Scope.POINTS_WRITE,
        refuses=(*_STRANGERS, NotEnoughPoints, PointsWrong, ReasonMissing, CauseToldDifferently),
        example=_BY_HAND,
    ),
    Call(
        method="POST",
        path="/check_ins",
        summary="Check a member in for today",
        takes=MemberIn,
        gives=CheckedInOut,
        handle=check_in,
        scope=Scope.POINTS_WRITE,
        refuses=(*_STRANGERS, NoCheckIn, CheckedInAlready),
        example={"member": _WHO},
    ),
)
