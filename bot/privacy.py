"""What the edge holds about people, and all layers' holdings together: what the tools export, erase and sweep."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from bot.models.access import Account, AuditEntry, SignIn, SignInTry
from bot.models.api import ApiKey, ApiReply
from bot.models.archive import ArchiveAgreement, ArchiveCount, ArchivedLine, ArchiveState
from bot.models.bill import BillReading, StrayBill
from bot.models.conversation import Conversation, KfSend
from bot.models.desk import CannedReply, DeskSeat, LaterReply, TicketMark
from bot.models.faq import (
    FaqArticle,
    FaqCase,
    FaqCluster,
    FaqPicture,
    FaqPublication,
    FaqQuestion,
    FaqRevision,
    FaqState,
)
from bot.models.gateway import CallbackRow, InboundMessage, KfAccount
from bot.models.group_bot import BotMention
from bot.models.handoff import Ticket, TicketStep
from bot.models.newcomer import Newcomer
from bot.models.referral import InviterWay, PosterWanted
from bot.models.sale import Claim, ClaimLine, Sale, SaleGroup, SaleItem, SalePayment, SaleShare, Waiter
from bot.models.shop_rules import RuleVersion
from bot.models.sync import SyncRun
from bot.models.webhook import Webhook, WebhookAttempt, WebhookDelivery
from bot.models.wecom import WecomToken
from campaigns import privacy as decisions
from campaigns.models.referral import ReferralLink
from crm import privacy, privacy_tables
from crm.base import outbox
from crm.base.db import Sessions
from crm.base.errors import Busy
from crm.base.outbox import OutboxRow
from crm.models.privacy import Erasure
from crm.privacy import Condition, Fate, Holding, Reason, Subject, of_member, through
from crm.privacy_tables import SENT

TRIES = 5
SALES = "库存和账目对得上；只剩编号和金额，不再指向个人"
QUESTION_ERASED = "（已抹除的问题）"


def _conversations(who: Subject) -> Condition:
    """Theirs by member, and by name: of a merge that was just undone the conversations follow a moment later."""
    by_name = (Conversation.open_kfid.in_(sa.select(KfAccount.open_kfid)), Conversation.external_userid)
    return sa.or_(Conversation.member_id.in_(who.member_ids), sa.and_(by_name[0], by_name[1].in_(who.external_userids)))


def _tickets(who: Subject) -> Condition:
    return Ticket.conversation_id.in_(sa.select(Conversation.id).where(_conversations(who)))


def _questions(who: Subject) -> Condition:
    asked = FaqQuestion.conversation_id.in_(sa.select(Conversation.id).where(_conversations(who)))
    return sa.or_(asked, FaqQuestion.asker.in_(who.external_userids))


def _archived(who: Subject) -> Condition:
    return ArchivedLine.sender.in_(who.external_userids)


def _agreements(who: Subject) -> Condition:
    return ArchiveAgreement.person.in_(who.external_userids)


def _labels(who: Subject) -> Condition:
    """Clusters named by words that only this person used."""
    others = aliased(FaqQuestion)
    same = (others.cluster_id == FaqCluster.id, others.text == FaqCluster.label)
    theirs = sa.select(Conversation.id).where(_conversations(who))
    elsewhere = sa.exists(sa.select(others.id).where(*same, others.conversation_id.not_in(theirs)))
    return sa.and_(FaqCluster.label.in_(sa.select(FaqQuestion.text).where(_questions(who))), ~elsewhere)


def _another_label() -> Any:
    """How somebody else put the question, if anybody did."""
    told = sa.select(sa.func.max(FaqQuestion.text)).where(
        FaqQuestion.cluster_id == FaqCluster.id, FaqQuestion.text != FaqCluster.label
    )
    return sa.func.coalesce(told.correlate(FaqCluster).scalar_subquery(), QUESTION_ERASED)


def _claims(who: Subject) -> Condition:
    return Claim.member_id.in_(who.member_ids)


def _told(who: Subject) -> Condition:
    return WebhookDelivery.about_member_id.in_(who.member_ids)


def _strays(who: Subject) -> Condition:
    return StrayBill.external_userid.in_(who.external_userids)


def _callbacks(who: Subject) -> Condition:
    """Raw callbacks name people in their XML alone, so they are read: a scan, of as many days as are kept."""
    return sa.or_(sa.false(), *(CallbackRow.body.contains(name, autoescape=True) for name in who.external_userids))


def _kf_messages(who: Subject) -> Condition:
    """What left in their conversations, as whomever they were known at the time."""
    talks = sa.select(Conversation.id).where(_conversations(who))
    return OutboxRow.id.in_(sa.select(KfSend.outbox_id).where(KfSend.conversation_id.in_(talks)))


def _links(who: Subject) -> Condition:
    return ReferralLink.member_id.in_(who.member_ids)


async def _take_back(session: AsyncSession, whose: Condition, now: datetime) -> None:
    await outbox.cancel(session, whose, reason="member erased", now=now)


def _in_conversation(model: Any, title: str) -> Holding:
    return Holding(
        model=model, title=title, whose=through(model.conversation_id, Conversation.id, _conversations), fate=Fate.GONE
    )


def _of_ticket(model: Any, title: str) -> Holding:
    return Holding(model=model, title=title, whose=through(model.ticket_id, Ticket.id, _tickets), fate=Fate.GONE)


EDGE: Sequence[Holding] = (
    Holding(model=Conversation, title="会话", whose=_conversations, fate=Fate.GONE, locked_first=True),
    _in_conversation(InboundMessage, "会话里的消息"),
    _in_conversation(KfSend, "会话里发出的消息占的名额"),
    _in_conversation(PosterWanted, "要过的邀请海报"),
    Holding(
        model=InviterWay,
        title="邀请用的渠道活码",
        whose=through(InviterWay.link_id, ReferralLink.id, _links),
        fate=Fate.BLANKED,
        why="要凭编号到企业微信删掉它；删掉后只剩编号",
        blank={"qr_code": "", "error": ""},
    ),
    Holding(
        model=OutboxRow,
        title="会话里发出的消息",
        whose=_kf_messages,
        fate=Fate.BLANKED,
        why=SENT,
        blank={"body": {}, "result": None, "error": None, "key": None, "member_id": None},
        prepare=_take_back,
    ),
    Holding(model=Ticket, title="工单", whose=_tickets, fate=Fate.GONE),
    Holding(
        model=TicketStep,
        title="工单经过",
        whose=through(TicketStep.ticket_id, Ticket.id, _tickets),
        fate=Fate.GONE,
    ),
    _of_ticket(TicketMark, "工单上的标签"),
    _of_ticket(DeskSeat, "谁看着工单"),
    _of_ticket(LaterReply, "定时的回复"),
    Holding(model=FaqQuestion, title="问过的问题", whose=_questions, fate=Fate.GONE),
    Holding(
        model=FaqCluster,
        title="待写答案里用作标题的问题",
        whose=_labels,
        fate=Fate.BLANKED,
        why="别人也这样问；标题换成别人的问法",
        blank={"label": _another_label()},
    ),
    Holding(model=ArchivedLine, title="客户群里说过的话（会话存档）", whose=_archived, fate=Fate.GONE),
    Holding(model=ArchiveAgreement, title="是否同意会话存档", whose=_agreements, fate=Fate.GONE),
    Holding(model=WebhookDelivery, title="发给别的系统的事件", whose=_told, fate=Fate.GONE),
    Holding(
        model=WebhookAttempt,
        title="发给别的系统的结果",
        whose=through(WebhookAttempt.delivery_id, WebhookDelivery.id, _told),
        fate=Fate.GONE,
    ),
    of_member(Claim, "抢到的秒杀", Fate.KEPT, SALES),
    Holding(
        model=SalePayment,
        title="秒杀的付款",
        whose=through(SalePayment.claim_id, Claim.id, _claims),
        fate=Fate.KEPT,
        why=SALES,
    ),
    Holding(
        model=StrayBill,
        title="对不上任何一单的收款",
        whose=_strays,
        fate=Fate.BLANKED,
        why="钱的账要留；是谁付的、写了什么已抹去",
        blank={"external_userid": "", "words": ""},
    ),
    of_member(Waiter, "秒杀排队", Fate.GONE),
    of_member(Newcomer, "第一次来秒杀", Fate.GONE),
    of_member(ClaimLine, "聊天里抢的秒杀", Fate.GONE),
    Holding(model=CallbackRow, title="企业微信的回调", whose=_callbacks, fate=Fate.GONE),
)
NOBODY: dict[type[Any], str] = {
    **privacy_tables.NOBODY,
    **decisions.NOBODY,
    Account: "our own people",
    AuditEntry: "what our own people did; members by number alone",
    SignIn: "our own people",
    SignInTry: "our own people",
    ArchiveCount: "numbers of records by day and kind",
    ArchiveState: "how far a reading has come",
    ApiKey: "the shop's own keys",
    ApiReply: "order and refund numbers with what became of them, for thirty days",
    BillReading: "how far a reading has come",
    CannedReply: "the shop's own words",
    BotMention: "what our own people asked the bot inside the company",
    FaqArticle: "the shop's own words",
    FaqCase: "questions that staff chose for the regression set",
    FaqPicture: "the shop's own pictures",
    FaqPublication: "who of us published what",
    FaqRevision: "the shop's own words",
    FaqState: "a version number",
    KfAccount: "an account of the shop",
    RuleVersion: "the shop's own choices",
    Sale: "the shop's own plan",
    SaleGroup: "the shop's own plan",
    SaleItem: "the shop's own plan",
    SaleShare: "the shop's own plan",
    SyncRun: "how far a reading has come",
    Webhook: "an address of another system of the shop",
    WecomToken: "the shop's own keys",
}
EVERYTHING: Sequence[Holding] = (*privacy_tables.FACTS, *decisions.DECISIONS, *EDGE)


async def erase(sessions: Sessions, member_id: int, *, by: str, reason: Reason, now: datetime) -> Erasure:
    """Erase a person in a transaction of its own, tried again when somebody was writing about them.

    Raises MemberNotFound, PersonErased, and Busy when they never came to rest.
    """
    for attempt in range(TRIES):
        try:
            async with sessions.begin() as session:
                return await privacy.erase(session, member_id, EVERYTHING, by=by, reason=reason, now=now)
        except (Busy, DBAPIError) as error:
            if attempt == TRIES - 1 or not (isinstance(error, Busy) or "deadlock" in str(error)):
                raise
            await asyncio.sleep(0.1 * (attempt + 1))
    raise Busy
