"""The conversations of the two weeks before the demo opens: what customers asked, who needed a person, the ratings.

The bot's decisions are those it makes of the questions now; what people did afterwards is made up.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from bot.app import Faq
from bot.demo import shop
from bot.faq import questions
from bot.handoff.triggers import Reason
from bot.models.conversation import Conversation
from bot.models.gateway import Handling, InboundMessage
from bot.models.handoff import StepKind, Ticket, TicketMode, TicketStatus, TicketStep
from bot.wecom.kf_items import Origin
from crm.base.clock import SHANGHAI
from crm.base.db import Sessions

DAYS, A_DAY = 14, (6, 7, 8, 9, 11, 13)
NEW_TO_US = (  # nothing in the shop's knowledge base answers them
    "你们有实体店可以带狗进去吗", "实体店能带猫去吗", "线下门店能带宠物吗",
    "猫粮能不能寄到部队", "部队地址可以收货吗",
    "可以刻名字的狗牌有吗", "有没有能刻字的宠物吊牌",
    "可以帮忙介绍靠谱的猫舍吗", "想领养一只猫，你们有渠道吗", "你们能帮忙找领养吗",
)  # fmt: skip
WHY = (
    (Reason.ASKED_FOR, "转人工"),
    (Reason.ASKED_FOR, "我要找人工客服"),
    (Reason.REFUND, "这单我想退款"),
    (Reason.COMPLAINT, "发错货了，我要投诉"),
    (Reason.MISSES, ""),
)
SCORES, COMMENTS = (5, 5, 5, 4, 4, 3, 2), {5: "很耐心，谢谢", 2: "等得有点久"}
DUE = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Said:
    """A customer's words at an instant, in one of the shop's two accounts."""

    customer: str
    member_id: int
    account: str
    at: datetime
    words: tuple[str, ...]


async def recall(
    sessions: Sessions,
    faq: Faq,
    customers: Sequence[str],
    members: Sequence[int],
    chance: random.Random,
    *,
    now: datetime,
) -> None:
    """Customers who have not spoken today; one in six of them needed a person."""
    known = [wording for article in faq.articles.values() for wording in (article.question, *article.similar)]
    others = list(zip(customers[10:], members[10:], strict=True))  # the first ones talk today
    async with sessions.begin() as session:
        for number, said in enumerate(_talks(others, known, chance, now)):
            talk = await _keep(session, faq, said, number)
            if chance.randrange(6) == 0:
                await _helped(session, talk, said, chance)


def _talks(
    others: Sequence[tuple[str, int]], known: Sequence[str], chance: random.Random, now: datetime
) -> Iterator[Said]:
    left = iter(chance.sample(list(others), k=len(others)))
    unknown = iter(NEW_TO_US)
    for days in range(DAYS, 0, -1):
        day = (now - timedelta(days=days)).astimezone(SHANGHAI).replace(hour=9, minute=0)
        for _ in range(chance.choice(A_DAY)):
            customer, member_id = next(left)
            words = chance.sample(known, k=chance.choice((1, 1, 1, 2)))
            if chance.randrange(9) == 0 and (strange := next(unknown, None)) is not None:
                words = [strange]
            account = chance.choice((shop.KF, shop.KF, shop.KF_DESK))
            yield Said(customer, member_id, account, day + timedelta(minutes=chance.randrange(12 * 60)), tuple(words))


async def _keep(session: AsyncSession, faq: Faq, said: Said, number: int) -> Conversation:
    """The conversation with its questions, as the dialogue would have left them."""
    talk = Conversation(
        open_kfid=said.account, external_userid=said.customer, member_id=said.member_id, created_at=said.at,
        last_customer_at=said.at,
    )  # fmt: skip
    session.add(talk)
    await session.flush()
    for place, words in enumerate(said.words):
        at = said.at + timedelta(minutes=3 * place)
        inbound = InboundMessage(
            msgid=f"DEMO{number}-{place}", conversation_id=talk.id, origin=Origin.CUSTOMER, kind="text",
            body={"msgtype": "text", "text": {"content": words}}, sent_at=at, received_at=at,
            status=Handling.DONE, done_at=at,
        )  # fmt: skip
        session.add(inbound)
        await session.flush()
        match = faq.matcher.match(words, at.date())
        questions.record(session, match, conversation_id=talk.id, inbound_id=inbound.id, text=words, now=at)
    return talk


async def _helped(session: AsyncSession, talk: Conversation, said: Said, chance: random.Random) -> None:
    """A person answered, mostly in time, closed it, and most customers said how it was."""
    reason, quote = chance.choice(WHY)
    opened = said.at + timedelta(minutes=5)
    answered = opened + timedelta(minutes=chance.choice((1, 2, 3, 4, 6, 9, 13, 22)))
    closed = answered + timedelta(minutes=chance.randrange(6, 70))
    score = chance.choice((*SCORES, None, None))
    agent = chance.choice(shop.SERVICERS)
    ticket = Ticket(
        conversation_id=talk.id, member_id=said.member_id, reason=reason, quote=quote or said.words[-1],
        mode=TicketMode.DESK if said.account == shop.KF_DESK else TicketMode.NATIVE, status=TicketStatus.CLOSED,
        servicer_userid=agent, offers=1, opened_at=opened, assigned_at=opened, accepted_at=answered,
        first_response_at=answered, first_response_due_at=opened + DUE, closed_at=closed, csat_asked_at=closed,
        csat_score=score, csat_comment=COMMENTS.get(score or 0),
        csat_rated_at=closed + timedelta(minutes=2) if score else None,
    )  # fmt: skip
    session.add(ticket)
    await session.flush()
    steps = [(StepKind.OPENED, opened, ""), (StepKind.ASSIGNED, opened, agent), (StepKind.ANSWERED, answered, agent)]
    if answered - opened > DUE:
        steps.append((StepKind.BREACHED, opened + DUE, ""))
    steps += [(StepKind.CLOSED, closed, agent), (StepKind.ASKED, closed, "")]
    for kind, at, by in steps:
        note = "first_response" if kind is StepKind.BREACHED else ""
        session.add(TicketStep(ticket_id=ticket.id, kind=kind, at=at, by=by, note=note))
