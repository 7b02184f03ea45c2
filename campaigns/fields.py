"""What a template may say about a member: the fields, by name, read for many members at once."""

import unicodedata
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import suggestions
from crm import segment_words
from crm.base.clock import SHANGHAI, local_day
from crm.base.db import is_among
from crm.models.lifecycle import DateKind, MemberDate, MemberStage
from crm.models.member import Member
from crm.models.order import MemberOrders

Value = str | int | date
Row = dict[str, Value]
VALUE_CHARS = 60


async def _profiles(session: AsyncSession, member_ids: Collection[int], now: datetime) -> dict[int, Row]:
    rows = await session.execute(
        sa.select(Member.id, Member.name, Member.code, Member.joined_at).where(is_among(session, Member.id, member_ids))
    )
    return {
        row.id: {
            "会员名": row.name,
            "会员码": row.code,
            "入会天数": (local_day(now) - local_day(row.joined_at)).days,
        }
        for row in rows
    }


async def _orders(session: AsyncSession, member_ids: Collection[int], now: datetime) -> dict[int, Row]:
    rows = await session.scalars(sa.select(MemberOrders).where(is_among(session, MemberOrders.member_id, member_ids)))
    found: dict[int, Row] = {}
    for row in rows:
        found[row.member_id] = {"订单数": row.orders, "累计消费": row.paid_fen - row.refunded_fen}
        if row.last_paid_on is not None:
            found[row.member_id] |= {"上次购买": row.last_paid_on, "没来天数": (local_day(now) - row.last_paid_on).days}
    return found


async def _stages(session: AsyncSession, member_ids: Collection[int], now: datetime) -> dict[int, Row]:
    del now
    rows = await session.scalars(sa.select(MemberStage).where(is_among(session, MemberStage.member_id, member_ids)))
    return {row.member_id: {"阶段": segment_words.STAGES[row.stage]} for row in rows}


async def _dates(session: AsyncSession, member_ids: Collection[int], now: datetime) -> dict[int, Row]:
    """The day of each kind that comes next: of two pets, the one whose birthday is nearer."""
    del now
    rows = await session.scalars(
        sa.select(MemberDate)
        .where(is_among(session, MemberDate.member_id, member_ids))
        .order_by(MemberDate.next_on.desc(), MemberDate.id.desc())
    )
    found: dict[int, Row] = {}
    for row in rows:
        day, whose = _DATES[row.kind]
        values = found.setdefault(row.member_id, {})
        values[day] = row.next_on
        if whose:
            values[whose] = row.whose
    return found


async def _suggestions(session: AsyncSession, member_ids: Collection[int], now: datetime) -> dict[int, Row]:
    """What they may like; whose orders say nothing has no such field."""
    found = await suggestions.for_members(session, member_ids, now=now, limit=3)
    return {
        member_id: {"推荐商品": some[0].name, "推荐三件": "、".join(one.name for one in some)}
        for member_id, some in found.items()
        if some
    }


_DATES = {
    DateKind.BIRTHDAY: ("生日", ""),
    DateKind.CHILD_BIRTHDAY: ("孩子生日", "孩子名"),
    DateKind.PET_BIRTHDAY: ("宠物生日", "宠物名"),
    DateKind.ANNIVERSARY: ("纪念日", ""),
}
Source = Callable[[AsyncSession, Collection[int], datetime], Awaitable[dict[int, Row]]]
SOURCES: Mapping[str, Source] = {
    **dict.fromkeys(("会员名", "会员码", "入会天数"), _profiles),
    **dict.fromkeys(("订单数", "累计消费", "上次购买", "没来天数"), _orders),
    "阶段": _stages,
    **dict.fromkeys(("推荐商品", "推荐三件"), _suggestions),
    **dict.fromkeys(("生日", "孩子生日", "孩子名", "宠物生日", "宠物名", "纪念日"), _dates),
}
ALWAYS = frozenset({"今天"})  # needs nobody


async def read(
    session: AsyncSession, names: Collection[str], member_ids: Collection[int], *, now: datetime
) -> dict[int, Row]:
    """These fields of these members, one query for each table they lie in. Who lacks a field has no such key."""
    found: dict[int, Row] = {member_id: {"今天": local_day(now)} for member_id in member_ids}
    for source in {SOURCES[name] for name in names if name in SOURCES}:
        for member_id, values in (await source(session, member_ids, now)).items():
            found[member_id] |= {name: _printable(value) for name, value in values.items()}
    return {
        member_id: {name: value for name, value in row.items() if name in names and value != ""}
        for member_id, row in found.items()
    }


def _printable(value: Value) -> Value:
    """Customers choose their own names: no control or direction characters of theirs get into our words."""
    if not isinstance(value, str):
        return value
    kept = "".join(char for char in value if unicodedata.category(char)[0] != "C")
    return " ".join(kept.split())[:VALUE_CHARS]


def day_words(day: date | datetime) -> str:
    """A day as people read it: 3 月 9 日."""
    day = local_day(day, SHANGHAI) if isinstance(day, datetime) else day
    return f"{day.month} 月 {day.day} 日"
