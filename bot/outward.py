"""Our events as the shop's other systems read them: which are told at all, and our row numbers turned into names.

A member is their code, an order its shop's number, a group its chat_id. Who somebody is stays here: nobody's name or
id at WeCom leaves with an event.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from campaigns.models.offer import Coupon, Offer
from crm import custom_events
from crm.base.db import is_among
from crm.base.events import EventRow, Recorded
from crm.models.audience import Segment, Tag
from crm.models.group import Group
from crm.models.member import Member, Staff
from crm.models.order import Order, Refund

TOLD = (
    "MemberEnrolled",
    "MembersMerged",
    "MergeUndone",
    "OrderPlaced",
    "OrderPaid",
    "OrderRefunded",
    "OrderCancelled",
    "OrderChanged",
    "StageMoved",
    "LevelMoved",
    "PointsMoved",
    "PointsActivated",
    "CheckedIn",
    "MemberTagged",
    "MemberUntagged",
    "SegmentEntered",
    "SegmentLeft",
    "ContactAdded",
    "ContactLost",
    "GroupJoined",
    "GroupLeft",
    "OptedIn",
    "OptedOut",
    "CouponIssued",
    "CouponRedeemed",
    "CouponExpiring",
    "CampaignPaused",
    "RunAsks",
)
NAMES: Sequence[tuple[str, str, Any, Any]] = (  # field of ours, field told, and where its name is
    ("kept_id", "kept", Member, Member.code),
    ("absorbed_id", "absorbed", Member, Member.code),
    ("coupon_id", "coupon", Coupon, Coupon.code),
    ("offer_id", "offer", Offer, Offer.key),
    ("order_id", "order", Order, sa.type_coerce(Order.source + sa.literal("/") + Order.external_no, sa.Text())),
    ("refund_id", "refund", Refund, Refund.external_no),
    ("group_id", "group", Group, Group.chat_id),
    ("staff_id", "staff", Staff, Staff.userid),
    ("tag_id", "tag", Tag, Tag.name),
    ("segment_id", "segment", Segment, Segment.name),
)
KEPT_TOO = frozenset({"segment_id"})  # a number that the API takes
NOT_TOLD = frozenset({"member_id", "invited_by", "state", "contact_id", "spell_id", "remark"})


class EventOut(BaseModel):
    """Something that happened. id: always the same for the same event. member: their code."""

    id: int
    name: str
    at: datetime
    member: str | None
    data: dict[str, Any]


def is_told(name: str) -> bool:
    return name in TOLD or custom_events.is_custom(name)


def told() -> sa.ColumnElement[bool]:
    """SQL for an event that is told."""
    return sa.or_(EventRow.name.in_(TOLD), EventRow.name.startswith("X", autoescape=True))


async def tell(session: AsyncSession, recorded: Sequence[Recorded]) -> list[EventOut]:
    """These events with names for numbers; one query for each kind of name, however many events there are."""
    codes = await _codes(session, {int(one.body["member_id"]) for one in recorded if one.body.get("member_id")})
    known: dict[str, dict[int, Any]] = {}
    for field, _, model, column in NAMES:
        wanted = {int(one.body[field]) for one in recorded if is_told(one.name) and one.body.get(field) is not None}
        if wanted:
            rows = await session.execute(sa.select(model.id, column).where(is_among(session, model.id, wanted)))
            known[field] = {row[0]: row[1] for row in rows}
    return [
        EventOut(
            id=one.id,
            name=one.name,
            at=one.at,
            member=codes.get(int(one.body.get("member_id") or 0)),
            data=_data(one, known),
        )
        for one in recorded
    ]


def _data(one: Recorded, known: Mapping[str, Mapping[int, Any]]) -> dict[str, Any]:
    if custom_events.is_custom(one.name):
        return {name: value for name, value in one.body.items() if name != "member_id"}
    numbers = {field for field, *_ in NAMES}
    data = {
        name: value
        for name, value in one.body.items()
        if name not in NOT_TOLD and (name not in numbers or name in KEPT_TOO)
    }
    for field, name, *_ in NAMES:
        if one.body.get(field) is not None:
            data[name] = known.get(field, {}).get(int(one.body[field]))
    return data


async def _codes(session: AsyncSession, member_ids: set[int]) -> dict[int, str]:
    """Codes by id; whoever became part of another member has that one's."""
    if not member_ids:
        return {}
    kept = aliased(Member)
    rows = await session.execute(
        sa.select(Member.id, sa.func.coalesce(kept.code, Member.code))
        .outerjoin(kept, kept.id == Member.merged_into_id)
        .where(is_among(session, Member.id, member_ids))
    )
    return {row[0]: row[1] for row in rows}
