"""What is so about one member where a condition asks: the other half of why somebody is not in a segment."""

from datetime import datetime, timedelta
from functools import singledispatch
from typing import Any

import sqlalchemy as sa

from crm.base.clock import local_day
from crm.base.events import EventRow
from crm.conditions import (
    CameFrom,
    DateComes,
    Did,
    HasLevel,
    HasPoints,
    InBucket,
    InStage,
    IsGender,
    Joined,
    Lifetime,
    Ordered,
    PointsExpire,
    Rfm,
)
from crm.models.lifecycle import MemberDate, MemberStage
from crm.models.loyalty import Level, LotState, MemberLevel, PointAccount, PointLot
from crm.models.member import Member
from crm.models.order import MemberOrders, Order, OrderLine
from crm.models.rfm import MemberRfm
from crm.segment_leaves import bucket_of, counted, of_article, within
from crm.segment_words import GENDERS, SOURCES, STAGES, period, yuan


@singledispatch
def fact(leaf: Any, member_id: int, now: datetime) -> Any:
    """The query for what is so about the member where the leaf asks; None: there is nothing to add to yes or no."""
    return None


@singledispatch
def tell(leaf: Any, row: Any, now: datetime) -> str:
    """What `fact` found, in words. row: its one row, or None."""
    return ""


@fact.register
def _(leaf: IsGender, member_id: int, now: datetime) -> Any:
    return sa.select(Member.gender).where(Member.id == member_id)


@tell.register
def _(leaf: IsGender, row: Any, now: datetime) -> str:
    return f"性别是{GENDERS[row[0]]}"


@fact.register
def _(leaf: CameFrom, member_id: int, now: datetime) -> Any:
    return sa.select(Member.source).where(Member.id == member_id)


@tell.register
def _(leaf: CameFrom, row: Any, now: datetime) -> str:
    return f"来源是{SOURCES[row[0]]}"


@fact.register
def _(leaf: Joined, member_id: int, now: datetime) -> Any:
    return sa.select(Member.joined_at).where(Member.id == member_id)


@tell.register
def _(leaf: Joined, row: Any, now: datetime) -> str:
    return f"{local_day(row[0])} 入会"


@fact.register
def _(leaf: Rfm, member_id: int, now: datetime) -> Any:
    score = (MemberRfm.r, MemberRfm.f, MemberRfm.m, MemberRfm.segment)
    return sa.select(*score).where(MemberRfm.member_id == member_id, MemberRfm.r.is_not(None))


@tell.register
def _(leaf: Rfm, row: Any, now: datetime) -> str:
    return f"评分 {row.r}-{row.f}-{row.m}，{row.segment}" if row is not None else "还没有 RFM 评分"


@fact.register
def _(leaf: InStage, member_id: int, now: datetime) -> Any:
    return sa.select(MemberStage.stage, MemberStage.since_on).where(MemberStage.member_id == member_id)


@tell.register
def _(leaf: InStage, row: Any, now: datetime) -> str:
    return f"{row.since_on} 起处于{STAGES[row.stage]}阶段" if row is not None else "还没有阶段"


@fact.register
def _(leaf: Lifetime, member_id: int, now: datetime) -> Any:
    spent = MemberOrders.paid_fen - MemberOrders.refunded_fen
    return sa.select(MemberOrders.orders, spent).where(MemberOrders.member_id == member_id)


@tell.register
def _(leaf: Lifetime, row: Any, now: datetime) -> str:
    return f"累计下单 {row[0]} 次，消费 {yuan(row[1])}" if row is not None else "从未下单"


@fact.register
def _(leaf: Ordered, member_id: int, now: datetime) -> Any:
    mine = (Order.member_id == member_id, *counted(), *within(Order.paid_at, leaf.when, now))
    if not (leaf.skus or leaf.categories):
        return sa.select(sa.func.count(), sa.func.sum(Order.paid_fen - Order.refunded_fen)).where(*mine)
    article = of_article(leaf)
    spent = sa.func.sum(OrderLine.quantity * OrderLine.price_fen)
    bought = sa.select(sa.func.count(Order.id.distinct()), spent).join(OrderLine, OrderLine.order_id == Order.id)
    return bought.where(*mine, article)


@tell.register
def _(leaf: Ordered, row: Any, now: datetime) -> str:
    return f"{period(leaf.when)}符合的订单 {row[0]} 笔，{yuan(int(row[1] or 0))}"


@fact.register
def _(leaf: Did, member_id: int, now: datetime) -> Any:
    done = (EventRow.member_id == member_id, EventRow.name == leaf.event, *within(EventRow.at, leaf.when, now))
    return sa.select(sa.func.count()).where(*done)


@tell.register
def _(leaf: Did, row: Any, now: datetime) -> str:
    return f"{period(leaf.when)}发生 {row[0]} 次"


@fact.register
def _(leaf: DateComes, member_id: int, now: datetime) -> Any:
    dates = sa.select(sa.func.min(MemberDate.next_on))
    return dates.where(MemberDate.member_id == member_id, MemberDate.kind.in_(leaf.kinds))


@tell.register
def _(leaf: DateComes, row: Any, now: datetime) -> str:
    return f"下一次是 {row[0]}" if row[0] is not None else "没有登记这些日子"


@fact.register
def _(leaf: HasLevel, member_id: int, now: datetime) -> Any:
    mine = sa.select(Level.name, MemberLevel.since_on).join(Level, Level.id == MemberLevel.level_id)
    return mine.where(MemberLevel.member_id == member_id)


@tell.register
def _(leaf: HasLevel, row: Any, now: datetime) -> str:
    return f"{row.since_on} 起是{row.name}" if row is not None else "还没有等级"


@fact.register
def _(leaf: HasPoints, member_id: int, now: datetime) -> Any:
    return sa.select(PointAccount.active).where(PointAccount.member_id == member_id)


@tell.register
def _(leaf: HasPoints, row: Any, now: datetime) -> str:
    return f"有 {row[0]} 积分" if row is not None else "还没有积分"


@fact.register
def _(leaf: PointsExpire, member_id: int, now: datetime) -> Any:
    soon = (PointLot.expires_at > now, PointLot.expires_at <= now + timedelta(days=leaf.within_days))
    mine = (PointLot.member_id == member_id, PointLot.state == LotState.ACTIVE)
    return sa.select(sa.func.sum(PointLot.remaining)).where(*mine, *soon)


@tell.register
def _(leaf: PointsExpire, row: Any, now: datetime) -> str:
    return f"{leaf.within_days} 天内到期的有 {int(row[0] or 0)} 积分"


@fact.register
def _(leaf: InBucket, member_id: int, now: datetime) -> Any:
    return sa.select(sa.literal(bucket_of(member_id, leaf.salt)))


@tell.register
def _(leaf: InBucket, row: Any, now: datetime) -> str:
    return f"分在第 {row[0]} 桶"
