"""Conditions in words, for a person to read."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm.conditions import (
    AllOf,
    AnyOf,
    CameFrom,
    Condition,
    Consented,
    ContactOf,
    CorpTagged,
    DateComes,
    Did,
    Grades,
    HasLevel,
    HasPoints,
    InBucket,
    InGroup,
    InStage,
    IsGender,
    Joined,
    Lifetime,
    Not,
    Ordered,
    Period,
    PointsExpire,
    Rfm,
    Span,
    Tagged,
    leaves,
)
from crm.models.audience import Tag
from crm.models.group import Group
from crm.models.lifecycle import DateKind, Stage
from crm.models.loyalty import Level
from crm.models.member import Gender, MemberSource, Staff
from crm.models.rfm import Tier
from crm.models.tag import CorpTag

GENDERS = {Gender.UNKNOWN: "未知", Gender.MALE: "男", Gender.FEMALE: "女"}
SOURCES = {
    MemberSource.CONTACT: "加企微好友",
    MemberSource.GROUP: "进客户群",
    MemberSource.KF: "微信客服",
    MemberSource.H5: "活动页面",
    MemberSource.IMPORT: "导入",
}
STAGES = {
    Stage.LEAD: "潜客",
    Stage.NEW: "新客",
    Stage.ACTIVE: "活跃",
    Stage.LOYAL: "忠诚",
    Stage.AT_RISK: "有流失风险",
    Stage.LAPSED: "已流失",
    Stage.WON_BACK: "已赢回",
}
TIERS = {Tier.HIGH_VALUE: "高价值", Tier.POTENTIAL: "潜力", Tier.DORMANT: "沉睡"}
DATES = {
    DateKind.BIRTHDAY: "生日",
    DateKind.CHILD_BIRTHDAY: "孩子生日",
    DateKind.PET_BIRTHDAY: "宠物生日",
    DateKind.ANNIVERSARY: "纪念日",
}
ANSWERS = {"yes": "同意", "no": "拒绝", "never": "从未表态"}


@dataclass(frozen=True, slots=True)
class Names:
    """What the ids in a condition are called; an id nobody has is shown as a number."""

    tags: Mapping[int, str] = field(default_factory=dict)
    groups: Mapping[int, str] = field(default_factory=dict)
    staff: Mapping[int, str] = field(default_factory=dict)
    corp_tags: Mapping[str, str] = field(default_factory=dict)
    levels: Mapping[int, str] = field(default_factory=dict)


async def names_in(session: AsyncSession, condition: Condition) -> Names:
    """Five look-ups at most, whatever the size of the tree."""
    asked: tuple[tuple[Any, Any, Any], ...] = (
        (Tagged, Tag.id, Tag.name),
        (InGroup, Group.id, Group.name),
        (ContactOf, Staff.id, Staff.name),
        (CorpTagged, CorpTag.wecom_id, CorpTag.name),
        (HasLevel, Level.id, Level.name),
    )
    found = list(leaves(condition))
    return Names(
        *[
            await _names(session, key, name, [one for leaf in found if isinstance(leaf, kind) for one in _ids(leaf)])
            for kind, key, name in asked
        ]
    )


def _ids(leaf: Any) -> Collection[Any]:
    ids: Collection[Any] = leaf.among if isinstance(leaf, HasLevel) else leaf.any_of
    return ids


async def _names(session: AsyncSession, key: Any, name: Any, ids: Collection[Any]) -> dict[Any, str]:
    if not ids:
        return {}
    return {row[0]: row[1] for row in await session.execute(sa.select(key, name).where(key.in_(set(ids))))}


# In words


def in_words(condition: Condition, names: Names | None = None) -> str:
    """The whole condition in one line."""
    names = names or Names()
    if isinstance(condition, AllOf):
        return "，且".join(_bracketed(part, names) for part in condition.of)
    if isinstance(condition, AnyOf):
        return " 或 ".join(_bracketed(part, names) for part in condition.of)
    if isinstance(condition, Not):
        return f"不满足（{in_words(condition.of, names)}）"
    return said(condition, names)


def _bracketed(condition: Condition, names: Names) -> str:
    words = in_words(condition, names)
    return f"（{words}）" if isinstance(condition, AllOf | AnyOf) and len(condition.of) > 1 else words


@singledispatch
def said(leaf: Any, names: Names) -> str:
    """One leaf in words."""
    raise NotImplementedError(type(leaf).__name__)


@said.register
def _(leaf: IsGender, names: Names) -> str:
    return "性别是" + _or(GENDERS[one] for one in leaf.among)


@said.register
def _(leaf: CameFrom, names: Names) -> str:
    return "来源是" + _or(SOURCES[one] for one in leaf.among)


@said.register
def _(leaf: Joined, names: Names) -> str:
    return f"{period(leaf.when)}入会"


@said.register
def _(leaf: Tagged, names: Names) -> str:
    return "有标签" + _or(f"“{names.tags.get(one, one)}”" for one in leaf.any_of)


@said.register
def _(leaf: CorpTagged, names: Names) -> str:
    return "有企业标签" + _or(f"“{names.corp_tags.get(one, one)}”" for one in leaf.any_of)


@said.register
def _(leaf: Rfm, names: Names) -> str:
    parts = [f"{name} {_grades(grades)}" for name, grades in (("R", leaf.r), ("F", leaf.f), ("M", leaf.m)) if grades]
    if leaf.segments:
        parts.append("RFM 分群是" + _or(leaf.segments))
    if leaf.tiers:
        parts.append("价值层是" + _or(TIERS[one] for one in leaf.tiers))
    return "、".join(parts) or "有 RFM 评分"


@said.register
def _(leaf: InStage, names: Names) -> str:
    since = f"，至少 {leaf.for_days} 天" if leaf.for_days else ""
    return "处于" + _or(STAGES[one] for one in leaf.among) + f"阶段{since}"


@said.register
def _(leaf: Lifetime, names: Names) -> str:
    orders = f"累计下单{_span(leaf.orders)}次" if leaf.orders else ""
    spent = f"累计消费{_money(leaf.spent_fen)}" if leaf.spent_fen else ""
    return "、".join(filter(None, (orders, spent)))


@said.register
def _(leaf: Ordered, names: Names) -> str:
    what = "、".join([*(f"“{one}”类商品" for one in leaf.categories), *(f"商品 {one}" for one in leaf.skus)])
    parts = [f"{period(leaf.when)}买过{what}" if what else f"{period(leaf.when)}下过单"]
    if leaf.count:
        parts.append(f"次数{_span(leaf.count)}")
    if leaf.spent_fen:
        parts.append(f"金额{_money(leaf.spent_fen)}")
    return "，".join(parts)


@said.register
def _(leaf: Did, names: Names) -> str:
    return f"{period(leaf.when)}发生“{leaf.event}”{_span(leaf.count)}次"


@said.register
def _(leaf: InGroup, names: Names) -> str:
    return "在客户群" + _or(f"“{names.groups.get(one, one)}”" for one in leaf.any_of) + ("里" if leaf.any_of else "中")


@said.register
def _(leaf: ContactOf, names: Names) -> str:
    return f"是{_or(names.staff.get(one) or f'员工 {one}' for one in leaf.any_of) or '任一员工'}的企微好友"


@said.register
def _(leaf: Consented, names: Names) -> str:
    return f"对“{leaf.topic}”（渠道 {leaf.channel}）{ANSWERS[leaf.answer]}"


@said.register
def _(leaf: DateComes, names: Names) -> str:
    soon = f"{leaf.within_days} 天内" if leaf.within_days else "今天"
    return soon + "有" + _or(DATES[one] for one in leaf.kinds)


@said.register
def _(leaf: HasLevel, names: Names) -> str:
    since = f"，至少 {leaf.for_days} 天" if leaf.for_days else ""
    return "会员等级是" + _or(names.levels.get(one, one) for one in leaf.among) + since


@said.register
def _(leaf: HasPoints, names: Names) -> str:
    return f"可用积分{_span(leaf.active)}".rstrip()


@said.register
def _(leaf: PointsExpire, names: Names) -> str:
    return f"{leaf.within_days} 天内到期的积分{_span(leaf.points)}".rstrip()


@said.register
def _(leaf: InBucket, names: Names) -> str:
    return f"随机分桶“{leaf.salt}”在 {leaf.first}–{leaf.end - 1} 之间"


def _or(words: Any) -> str:
    return "或".join(str(one) for one in words)


def period(when: Period) -> str:
    if when.last_days is not None:
        return f"近 {when.last_days} 天"
    if when.from_on is None and when.to_on is None:
        return ""
    return f"{when.from_on or ''} 至 {when.to_on or '今'} ".lstrip()


def _span(span: Span) -> str:
    if span.least == span.most:
        return f" {span.least} "
    if span.most is None:
        return f"不少于 {span.least} "
    return f"不多于 {span.most} " if span.least is None else f" {span.least} 到 {span.most} "


def _money(span: Span) -> str:
    least, most = (None if one is None else yuan(one) for one in (span.least, span.most))
    if most is None:
        return f"不少于 {least}"
    return f"不多于 {most}" if least is None else f" {least} 到 {most}"


def _grades(grades: Grades) -> str:
    return f"= {grades.least}" if grades.least == grades.most else f"在 {grades.least}–{grades.most}"


def yuan(fen: int) -> str:
    return f"{'-' if fen < 0 else ''}{abs(fen) // 100:,}.{abs(fen) % 100:02d} 元"
