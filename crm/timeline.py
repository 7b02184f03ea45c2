"""A member's timeline: the events about them, newest first, each in a sentence. Upper layers add words for theirs."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm.base.db import is_among
from crm.base.events import EventRow
from crm.lifecycle import STAGE_NAMES
from crm.models.audience import Segment, Tag
from crm.models.group import Group
from crm.models.lifecycle import Stage
from crm.models.member import MemberSource, Staff

SOURCES = {
    MemberSource.CONTACT: "加了员工的企微",
    MemberSource.GROUP: "进了客户群",
    MemberSource.KF: "给客服写了消息",
    MemberSource.H5: "打开了页面",
    MemberSource.IMPORT: "从文件或店铺系统导入",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened. words: "" where no layer has a sentence for it."""

    at: datetime
    event: str
    words: str


@dataclass(frozen=True, slots=True)
class Names:
    """What the numbers in events are called."""

    tags: Mapping[int, str] = field(default_factory=dict)
    groups: Mapping[int, str] = field(default_factory=dict)
    segments: Mapping[int, str] = field(default_factory=dict)
    staff: Mapping[int, str] = field(default_factory=dict)


Words = Callable[[Mapping[str, Any], Names], str]


def _stage(value: Any) -> str:
    return STAGE_NAMES[Stage(value)] if value else "—"


def _source(body: Mapping[str, Any]) -> str:
    return SOURCES.get(MemberSource(body["source"]), "")


def yuan(fen: int) -> str:
    return f"¥{fen / 100:,.2f}"


WORDS: dict[str, Words] = {
    "MemberEnrolled": lambda body, _: f"成为会员：{_source(body)}",
    "OrderPlaced": lambda body, _: f"下单 {yuan(body['total_fen'])}",
    "OrderPaid": lambda body, _: f"付款 {yuan(body['paid_fen'])}",
    "OrderRefunded": lambda body, _: f"退款 {yuan(body['refund_fen'])}{'（全额）' if body.get('is_full') else ''}",
    "OrderCancelled": lambda _body, _: "取消了订单",
    "OrderChanged": lambda _body, _: "店铺改了订单",
    "ContactAdded": lambda body, names: f"加了{names.staff.get(body['staff_id'], '员工')}的企微",
    "ContactLost": lambda body, names: f"和{names.staff.get(body['staff_id'], '员工')}不再是好友",
    "GroupJoined": lambda body, names: f"进群「{names.groups.get(body['group_id'], '')}」",
    "GroupLeft": lambda body, names: f"离开群「{names.groups.get(body['group_id'], '')}」",
    "OptedIn": lambda body, _: f"同意接收：{body['topic']}",
    "OptedOut": lambda body, _: f"退订：{body['topic']}",
    "MemberTagged": lambda body, names: f"打上标签「{names.tags.get(body['tag_id'], '')}」",
    "MemberUntagged": lambda body, names: f"去掉标签「{names.tags.get(body['tag_id'], '')}」",
    "StageMoved": lambda body, _: f"阶段：{_stage(body.get('from_stage'))} → {_stage(body['to_stage'])}",
    "SegmentEntered": lambda body, names: f"进入人群「{names.segments.get(body['segment_id'], '')}」",
    "SegmentLeft": lambda body, names: f"离开人群「{names.segments.get(body['segment_id'], '')}」",
    "MemberDateCame": lambda body, _: f"到了她的日子（{body['came_on']}）",
    "CheckedIn": lambda body, _: f"签到第 {body['streak']} 天，得 {body['points']} 分",
    "PointsMoved": lambda body, _: f"积分 {body['points']:+d}",
    "PointsActivated": lambda body, _: f"{body['points']} 积分可以用了",
    "LevelMoved": lambda body, _: f"{'升' if body['is_rise'] else '变'}为「{body['to_level']}」",
}


_NEWEST = (  # built once: making a statement costs more than SQLite's answer to it
    sa.select(EventRow.at, EventRow.name, EventRow.body)
    .where(EventRow.member_id == sa.bindparam("member", type_=sa.BigInteger()))
    .order_by(EventRow.at.desc(), EventRow.id.desc())
    .limit(sa.bindparam("most", type_=sa.Integer()))
)


async def of(session: AsyncSession, member_id: int, *, limit: int = 30) -> list[Moment]:
    """The newest events about a member: one query, and one for each kind of name that occurs."""
    rows = await session.execute(_NEWEST, {"member": member_id, "most": limit})
    found = [(at, name, dict(body)) for at, name, body in rows]
    names = await _names(session, [body for _, _, body in found])
    return [Moment(at, name, WORDS[name](body, names) if name in WORDS else "") for at, name, body in found]


async def _names(session: AsyncSession, bodies: Sequence[Mapping[str, Any]]) -> Names:
    async def called(field_name: str, id_: Any, name: Any) -> dict[int, str]:
        ids: Collection[int] = {int(body[field_name]) for body in bodies if body.get(field_name) is not None}
        if not ids:
            return {}
        rows = await session.execute(sa.select(id_, name).where(is_among(session, id_, sorted(ids))))
        return {row[0]: row[1] for row in rows}

    return Names(
        tags=await called("tag_id", Tag.id, Tag.name),
        groups=await called("group_id", Group.id, Group.name),
        segments=await called("segment_id", Segment.id, Segment.name),
        staff=await called("staff_id", Staff.id, Staff.name),
    )
