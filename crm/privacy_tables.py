"""What crm holds about people, table by table: whose a row is, and what an erasure does with it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import addresses, phones, segments
from crm.base import events, outbox
from crm.base.db import json_put
from crm.base.events import EventCursor, EventFailure, EventRow
from crm.base.outbox import OutboxRow
from crm.base.secrets import Vault
from crm.groups import GroupJoined
from crm.models.audience import MemberTag, Segment, SegmentMember, Tag, TagGroup
from crm.models.consent import Consent
from crm.models.group import Group, GroupMember, GroupTag
from crm.models.lifecycle import MemberDate, MemberStage, StageMove
from crm.models.loyalty import (
    CheckIn,
    Level,
    LevelMove,
    LoyaltyRule,
    MemberLevel,
    PointAccount,
    PointEntry,
    PointLot,
    PointUse,
)
from crm.models.member import Contact, Gender, Identity, Member, MemberMerge, Staff
from crm.models.order import EarlyNews, MemberOrders, Order, OrderLine, Refund
from crm.models.privacy import Erasure, Tombstone, TombstoneKey
from crm.models.private import PrivateKind, PrivateValue, Reveal
from crm.models.rfm import MemberRfm, RfmChange, RfmSnapshot
from crm.models.tag import ContactTag, CorpTag, CorpTagGroup
from crm.privacy import Condition, Fate, Holding, Subject, of_member, through

ACCOUNTS = "记账要留；名下是一个没有任何编号的空会员"
SUMS = "由留下的订单算出来的合计"
AUDIT = "谁看过要有底；写下的原因已抹去"
OTHERS = "是别人的进群记录；谁邀请的已抹去"
SENT = "发了多少条要数得清；内容和收件人已抹去"
UNREAD = "还有后续没做完；做完后由夜间清理删除"


def _mine(who: Subject) -> Condition:
    return Member.id.in_(who.member_ids)


def _merges(who: Subject) -> Condition:
    return sa.or_(MemberMerge.kept_id.in_(who.member_ids), MemberMerge.absorbed_id.in_(who.member_ids))


def _contacts(who: Subject) -> Condition:
    return Contact.member_id.in_(who.member_ids)


def _orders(who: Subject) -> Condition:
    return Order.member_id.in_(who.member_ids)


def _early(who: Subject) -> Condition:
    of_theirs = (Order.source == EarlyNews.source, Order.external_no == EarlyNews.order_no)
    return sa.exists(sa.select(Order.id).where(*of_theirs, _orders(who)))


def _lots(who: Subject) -> Condition:
    return PointLot.member_id.in_(who.member_ids)


def _events(who: Subject) -> Condition:
    return EventRow.member_id.in_(who.member_ids)


def _invited(who: Subject) -> Condition:
    return GroupMember.invited_by.in_(who.external_userids)


def _invitations(who: Subject) -> Condition:
    invited = EventRow.member_id.in_(sa.select(GroupMember.member_id).where(_invited(who)))
    by = EventRow.body["invited_by"].as_string().in_(who.external_userids)
    return sa.and_(invited, EventRow.name == GroupJoined.__name__, by)


async def _take_back(session: AsyncSession, whose: Condition, now: datetime) -> None:
    """What waits does not leave; what a sender has in hand is not tried a second time."""
    await outbox.cancel(session, whose, reason="member erased", now=now)


async def _leave_segments(session: AsyncSession, whose: Condition, now: datetime) -> None:
    await segments.leave(session, whose, now=now)


def _opened(row: PrivateValue, vault: Vault | None) -> dict[str, Any]:
    shown = "（没有密钥，打不开）"
    if vault is not None:
        purposes = {PrivateKind.PHONE: phones.PURPOSE, PrivateKind.ADDRESS: addresses.PURPOSE}
        shown = vault.open(row.sealed, about=purposes[row.kind])
    return {"kind": row.kind, "value": shown, "added_at": row.added_at}


FACTS: Sequence[Holding] = (
    Holding(
        model=Member,
        title="会员资料",
        whose=_mine,
        fate=Fate.BLANKED,
        why="订单要有一行可以指；姓名等已抹去，会员号作废",
        blank={"name": "", "avatar": "", "gender": Gender.UNKNOWN},
    ),
    of_member(Identity, "身份", Fate.GONE),
    of_member(PrivateValue, "手机号和地址", Fate.GONE, show=_opened),
    of_member(Reveal, "谁看过手机号", Fate.BLANKED, AUDIT, blank={"because": ""}),
    Holding(model=MemberMerge, title="会员合并", whose=_merges, fate=Fate.GONE),
    of_member(Contact, "和员工的好友关系", Fate.GONE),
    Holding(
        model=ContactTag,
        title="员工打的企业标签",
        whose=through(ContactTag.contact_id, Contact.id, _contacts),
        fate=Fate.GONE,
    ),
    of_member(GroupMember, "在哪些群", Fate.GONE),
    Holding(
        model=EventRow,
        title="邀请别人进群",
        whose=_invitations,
        fate=Fate.BLANKED,
        why=OTHERS,
        blank={"body": json_put(EventRow.body, "invited_by", "")},
    ),
    Holding(
        model=GroupMember,
        title="邀请进群的人",
        whose=_invited,
        fate=Fate.BLANKED,
        why=OTHERS,
        blank={"invited_by": ""},
    ),
    of_member(Consent, "同意和拒绝", Fate.GONE),
    of_member(MemberDate, "生日和纪念日", Fate.GONE),
    of_member(MemberStage, "生命周期阶段", Fate.GONE),
    of_member(StageMove, "阶段变化", Fate.GONE),
    of_member(MemberTag, "标签", Fate.GONE),
    of_member(SegmentMember, "所在人群", Fate.GONE, prepare=_leave_segments),
    of_member(PointAccount, "积分", Fate.GONE),
    of_member(PointEntry, "积分明细", Fate.GONE),
    of_member(PointLot, "积分批次", Fate.GONE),
    Holding(
        model=PointUse,
        title="积分用在哪里",
        whose=through(PointUse.lot_id, PointLot.id, _lots),
        fate=Fate.GONE,
    ),
    of_member(CheckIn, "签到", Fate.GONE),
    of_member(MemberLevel, "等级", Fate.GONE),
    of_member(LevelMove, "等级变化", Fate.GONE),
    of_member(Order, "订单", Fate.KEPT, ACCOUNTS),
    Holding(
        model=OrderLine,
        title="订单里的商品",
        whose=through(OrderLine.order_id, Order.id, _orders),
        fate=Fate.KEPT,
        why=ACCOUNTS,
    ),
    of_member(Refund, "退款", Fate.KEPT, ACCOUNTS),
    Holding(model=EarlyNews, title="等着订单的消息", whose=_early, fate=Fate.KEPT, why=ACCOUNTS),
    of_member(MemberOrders, "订单合计", Fate.KEPT, SUMS),
    of_member(MemberRfm, "RFM 评分", Fate.KEPT, SUMS),
    of_member(RfmChange, "RFM 评分的历史", Fate.KEPT, SUMS),
    of_member(EventRow, "发生过的事", Fate.GONE, UNREAD, ripe=events.read_by_all),
    Holding(
        model=EventFailure,
        title="没做成的后续",
        whose=through(EventFailure.event_id, EventRow.id, _events),
        fate=Fate.GONE,
    ),
    of_member(
        OutboxRow,
        "发出和待发的消息",
        Fate.BLANKED,
        SENT,
        blank={"body": {}, "result": None, "error": None, "key": None, "member_id": None},
        prepare=_take_back,
    ),
)
NOBODY: dict[type[Any], str] = {
    EventCursor: "how far readers have come",
    Group: "a group as a whole",
    GroupTag: "words on a group as a whole",
    Level: "what the shop promises",
    LoyaltyRule: "what the shop decided",
    Staff: "our own people",
    CorpTag: "a word",
    CorpTagGroup: "words",
    Tag: "a word",
    TagGroup: "words",
    Segment: "a condition",
    RfmSnapshot: "sums over everybody",
    Erasure: "receipts name nobody",
    Tombstone: "keyed hashes",
    TombstoneKey: "a key",
}
