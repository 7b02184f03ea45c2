"""One person of whom every table tells, each time with a mark of its own; and what the database says of the marks."""

import random
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.models.archive import ArchiveAgreement, ArchivedLine, Speaker
from bot.models.conversation import Conversation, KfSend
from bot.models.faq import FaqCluster, FaqQuestion
from bot.models.gateway import CallbackRow, Handling, InboundMessage
from bot.models.handoff import StepKind, Ticket, TicketStep
from bot.wecom import lanes
from campaigns.models.campaign import Campaign, Conversion, Copy, Delivery, DeliveryStatus, Kind, Run, RunStatus
from campaigns.models.gate import MarketingHold, QuotaUse, Touch
from crm import (
    consents,
    contacts,
    early_news,
    groups,
    identities,
    lifecycle,
    member_dates,
    member_tags,
    merges,
    orders,
    phones,
    segments,
)
from crm.base import events, outbox
from crm.base.clock import FrozenClock
from crm.base.db import Base, Sessions
from crm.base.events import EventFailure
from crm.base.outbox import OutboxRow, Status
from crm.base.secrets import Vault
from crm.early_news import Early, News
from crm.identities import Person, shop_account
from crm.member_tags import TagSource
from crm.members import Profile
from crm.models.group import Group
from crm.models.lifecycle import DateKind
from crm.models.loyalty import (
    CheckIn,
    EntryKind,
    Level,
    LevelMove,
    LevelReason,
    LotState,
    MemberLevel,
    PointAccount,
    PointEntry,
    PointLot,
    PointUse,
)
from crm.models.member import IdentityKind, MemberSource
from crm.models.order import Order
from crm.models.rfm import MemberRfm, RfmChange
from crm.order_terms import Line, Told

VAULT = Vault("dGVzdC1rZXktdGVzdC1rZXktdGVzdC1rZXktdGVzdCE=")
PHONE = "+8613800138000"
CUSTOMER, OTHER_ID = "wm-marked-customer", "wm-marked-second"
MARKS = (
    *(CUSTOMER, OTHER_ID, "un-marked", "op-marked", "acc-marked", PHONE, "13800138000", "印记姓名", "印记头像"),
    *("印记备注", "印记描述", "印记昵称", "印记孩子", "印记原话", "印记退订词", "印记为什么", "印记评价", "印记回复"),
    *("印记问题", "印记群聊", "印记群问", "印记卡片", "印记失败", "印记积分", "印记等级", "state-marked"),
)


async def whole_person(sessions: Sessions, clock: FrozenClock) -> int:
    """Writes the person and returns their member id; two members were merged into it."""
    now = clock.now()
    async with sessions.begin() as session:
        member_id = await _facts(session, clock)
        await _decisions(session, member_id, clock)
        await _edge(session, member_id, clock)
        await events.append(session, segments.SegmentEntered(segment_id=1, member_id=member_id), now=now)
    return member_id


async def _facts(session: AsyncSession, clock: FrozenClock) -> int:
    now, chance = clock.now(), random.Random(7)
    profile = Profile(name="印记姓名", avatar="https://wx.qlogo.cn/印记头像")
    keys = (
        (IdentityKind.EXTERNAL_USERID, CUSTOMER),
        (IdentityKind.UNIONID, "un-marked"),
        (IdentityKind.OPENID, "op-marked"),
        shop_account("shop", "acc-marked"),
        phones.key(VAULT, PHONE),
    )
    person = Person(keys=keys, profile=profile)
    member = await identities.enrol(session, person, source=MemberSource.CONTACT, now=now, chance=chance)
    other = await identities.enrol(
        session, identities.wechat_person(OTHER_ID, profile=profile), source=MemberSource.KF, now=now, chance=chance
    )
    await merges.merge(session, member.id, other.id, because="manual", now=now)
    relation = contacts.Relation(
        userid="wang",
        person=identities.wechat_person(CUSTOMER),
        added_at=now,
        state="state-marked",
        remark="印记备注",
        description="印记描述",
        tag_ids=("et-1",),
    )
    await contacts.take_batch(session, [relation], read_at=now, now=now)
    seats = (
        groups.Seat(userid="wang", joined_at=now),
        groups.Seat(
            person=identities.wechat_person(CUSTOMER), joined_at=now, nickname="印记昵称", state="state-marked"
        ),
        groups.Seat(person=identities.wechat_person("wm-friend"), joined_at=now, invited_by=CUSTOMER),
    )
    await groups.take_snapshot(
        session,
        groups.Snapshot(
            chat_id="wr-1",
            name="群",
            owner="wang",
            created_at=now,
            notice="",
            member_version="1",
            seats=seats,
            read_at=now,
        ),
        now=now,
    )
    await consents.opt_out(session, member.id, source="kf_chat", wording_version="印记退订词", now=now)
    await phones.keep(session, VAULT, {PHONE: member.id}, now=now)
    await phones.reveal(session, VAULT, member.id, userid="wang", because="印记为什么", now=now)
    await member_dates.remember(session, member.id, DateKind.CHILD_BIRTHDAY, month=3, day=9, whose="印记孩子", now=now)
    await member_dates.come(session, now=now)  # an event with the child's name
    told = Told(
        source="shop",
        external_no="T1",
        member_id=member.id,
        placed_at=now,
        total_fen=8800,
        lines=[Line(sku="A1", name="猫粮", category="猫粮", quantity=1, price_fen=8800)],
        paid_at=now,
    )
    await orders.place(session, told, now=now)
    await orders.refund(session, "shop", "R1", order_no="T1", amount_fen=800, refunded_at=now, now=now)
    unpaid = Told(source="shop", external_no="T2", member_id=member.id, placed_at=now, total_fen=100, lines=[])
    await orders.place(session, unpaid, now=now)
    await early_news.keep(session, "shop", "T2", Early(kind=News.REFUNDED, at=now, fen=100, own_no="R2"), now=now)
    await lifecycle.judge_members(session, [member.id], now=now)
    await _tag_and_segment(session, member.id, clock)
    await _loyalty(session, member.id, clock)
    session.add(MemberRfm(member_id=member.id, frequency=1, monetary_fen=8000, last_paid_day=20500))
    session.add(RfmChange(member_id=member.id, taken_on=now.date(), code=1))
    await session.flush()
    return member.id


async def _tag_and_segment(session: AsyncSession, member_id: int, clock: FrozenClock) -> None:
    now = clock.now()
    group = await member_tags.add_group(session, "兴趣")
    tag = await member_tags.add(session, group.id, "猫", now=now)
    await member_tags.tag(session, [member_id], tag.id, source=TagSource.MANUAL, by="wang", now=now)
    segment = await segments.save(session, "全部", {"is": "joined", "when": {"last_days": 9}}, watched=True, now=now)
    await segments.refresh(session, segment.id, now=now)


async def _loyalty(session: AsyncSession, member_id: int, clock: FrozenClock) -> None:
    now = clock.now()
    level = Level(name="金卡", rank=901, threshold_fen=0, benefits={}, retired_at=now)
    earned = PointEntry(
        member_id=member_id,
        kind=EntryKind.GRANTED,
        points=9,
        cause_kind="test",
        cause_id="1",
        reason="印记积分",
        facts={},
        at=now,
        booked_on=now.date(),
    )
    session.add_all([level, earned])
    await session.flush()
    lot = PointLot(member_id=member_id, entry_id=earned.id, points=9, remaining=8, state=LotState.ACTIVE, active_at=now)
    reason, today = LevelReason.MANUAL, now.date()
    move = LevelMove(member_id=member_id, to_level_id=level.id, reason=reason, facts={"why": "印记等级"}, moved_at=now)
    session.add_all([lot, move, CheckIn(member_id=member_id, checked_on=today, streak=1, points=1, checked_at=now)])
    await session.merge(MemberLevel(member_id=member_id, level_id=level.id, since_on=today, growth_fen=0))
    await session.merge(PointAccount(member_id=member_id, active=8, pending=0, owed=0))
    await session.flush()
    session.add(PointUse(entry_id=earned.id, lot_id=lot.id, points=-1))
    await session.flush()


async def _decisions(session: AsyncSession, member_id: int, clock: FrozenClock) -> None:
    now = clock.now()
    session.add(Touch(member_id=member_id, ref="delivery:1", channel="kf", topic="marketing", at=now))
    session.add(QuotaUse(member_id=member_id, ref="delivery:1", at=now))
    session.add(MarketingHold(ref="ticket:1", member_id=member_id, reason="complaint", since=now))
    plan = Campaign(name="春季", kind=Kind.ONE_OFF, definition={}, created_by="wang", created_at=now, changed_at=now)
    session.add(plan)
    await session.flush()
    run = Run(campaign_id=plan.id, occurrence="1", status=RunStatus.SENDING, definition={}, due_at=now, ticked_at=now)
    session.add(run)
    await session.flush()
    order_id = await session.scalar(sa.select(Order.id).where(Order.member_id == member_id).limit(1)) or 0
    session.add(Delivery(run_id=run.id, member_id=member_id, status=DeliveryStatus.SENT, variant=0, sent_at=now))
    session.add(Copy(run_id=run.id, member_id=member_id, staff_id=1, variant=0, external_userid=CUSTOMER))
    session.add(Conversion(order_id=order_id, run_id=run.id, member_id=member_id, touched_at=now, paid_at=now))
    await session.flush()


async def _edge(session: AsyncSession, member_id: int, clock: FrozenClock) -> None:
    now = clock.now()
    talk = Conversation(
        open_kfid="wk1", external_userid=CUSTOMER, member_id=member_id, created_at=now, last_customer_at=now
    )
    session.add(talk)
    await session.flush()
    said = InboundMessage(
        msgid="m1",
        conversation_id=talk.id,
        origin=3,
        kind="text",
        body={"external_userid": CUSTOMER, "text": {"content": "印记原话"}},
        sent_at=now,
        received_at=now,
        status=Handling.DONE,
    )
    cluster = FaqCluster(label="印记问题", created_at=now)
    ticket = Ticket(
        conversation_id=talk.id,
        member_id=member_id,
        reason="asked_for",
        quote="印记原话",
        opened_at=now,
        csat_score=5,
        csat_comment="印记评价",
    )
    session.add_all([said, cluster, ticket])
    await session.flush()
    session.add(TicketStep(ticket_id=ticket.id, kind=StepKind.NOTED, at=now, by="wang", note="印记原话"))
    session.add(
        FaqQuestion(
            conversation_id=talk.id,
            inbound_id=said.id,
            text="印记问题",
            decision="miss",
            hits=[],
            unanswered=True,
            cluster_id=cluster.id,
            asked_at=now,
        )
    )
    group_id = await session.scalar(sa.select(Group.id).limit(1))
    assert group_id is not None
    session.add_all(
        [
            ArchivedLine(
                msgid="a1", group_id=group_id, speaker=Speaker.CUSTOMER, sender=CUSTOMER, text="印记群聊", said_at=now
            ),
            ArchiveAgreement(group_id=group_id, person=CUSTOMER, agreed=True, asked_at=now),
            FaqQuestion(
                archived_msgid="a1",
                asker=CUSTOMER,
                text="印记群问",
                decision="miss",
                hits=[],
                unanswered=True,
                asked_at=now,
            ),
        ]
    )
    to = lanes.KfAddress(talk.id, "wk1", CUSTOMER, member_id)
    reply = lanes.kf_message(to, {"msgtype": "text", "text": {"content": "印记回复"}}, because=("m1",), deadline=None)
    card = lanes.staff_message({"text": {"content": "印记卡片"}}, because=("t1",), userids=("wang",), about=member_id)
    marks = lanes.tag_marks(1, CUSTOMER, about=member_id, because=("x",))
    await outbox.put(session, [reply, card, marks], now=now)
    sent = await session.scalar(sa.select(OutboxRow.id).where(OutboxRow.dedupe_key == card.dedupe_key))
    assert sent is not None
    await session.execute(
        sa.update(OutboxRow).where(OutboxRow.id == sent).values(status=Status.SENT, result={"to": "印记卡片"})
    )
    session.add(KfSend(outbox_id=sent, conversation_id=talk.id, msgid="k1", taken_at=now))
    session.add(
        CallbackRow(
            app="main",
            envelope="e1",
            event="ExternalContactAdded",
            received_at=now,
            not_before=now,
            body=f"<xml><ExternalUserID>{CUSTOMER}</ExternalUserID></xml>",
            status=Handling.DONE,
        )
    )
    event = await session.scalar(sa.select(events.EventRow.id).where(events.EventRow.member_id == member_id))
    session.add(EventFailure(cursor="edge", event_id=event or 0, tries=1, error="印记失败", failed_at=now))
    await session.flush()


async def told_of(sessions: Sessions, marks: tuple[str, ...] = MARKS) -> dict[str, set[str]]:
    """Which table says which mark: every cell of every row is read."""
    found: dict[str, set[str]] = {}
    async with sessions.read() as session:
        for table in Base.metadata.sorted_tables:
            rows: list[Any] = [tuple(row) for row in await session.execute(sa.select(table))]
            said = {mark for mark in marks if mark in str(rows)}
            if said:
                found[table.name] = said
    return found
