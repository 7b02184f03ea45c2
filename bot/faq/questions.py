"""What customers asked, what the bot decided on which evidence, and what they did next."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.faq.matcher import Match
from bot.models.faq import FaqQuestion, Follow
from bot.models.handoff import Ticket

TEXT_CHARS = 500
TOGETHER = 2_000
LOOK_BACK = timedelta(days=1)
FOLLOWS_WITHIN = timedelta(minutes=30)  # what comes later is another matter


def record(
    session: AsyncSession, match: Match, *, conversation_id: int, inbound_id: int, text: str, now: datetime
) -> None:
    """Keep a question with its decision; the row goes with the caller's transaction."""
    session.add(FaqQuestion(conversation_id=conversation_id, inbound_id=inbound_id, **_decided(match, text, now=now)))


def record_mention(
    session: AsyncSession, match: Match, *, mention_id: int, asker: str, text: str, now: datetime
) -> None:
    """Keep a question put to the bot in a group."""
    session.add(FaqQuestion(mention_id=mention_id, asker=asker, **_decided(match, text, now=now)))


def record_archived(session: AsyncSession, match: Match, *, msgid: str, asker: str, text: str, now: datetime) -> None:
    """Keep a question that nobody answered in a customer group; what the bot could only have guessed is open too."""
    decided = {**_decided(match, text, now=now), "unanswered": match.kind != "answer"}
    session.add(FaqQuestion(archived_msgid=msgid, asker=asker, **decided))


def _decided(match: Match, text: str, *, now: datetime) -> dict[str, Any]:
    return {
        "text": text[:TEXT_CHARS],
        "decision": match.kind,
        "hits": [[hit.article_id, round(hit.score, 3), hit.matched] for hit in match.hits],
        "article_key": match.hits[0].article_id if match.kind == "answer" else None,
        "unanswered": match.kind == "miss",
        "asked_at": now,
    }


async def tapped(session: AsyncSession, conversation_id: int, key: str, *, now: datetime) -> None:
    """A line of the menu was the right one. Taps on a greeting's menu follow no question and leave no trace here."""
    asked = (
        sa.select(FaqQuestion.id)
        .where(FaqQuestion.conversation_id == conversation_id, FaqQuestion.asked_at > now - FOLLOWS_WITHIN)
        .order_by(FaqQuestion.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    await session.execute(
        sa.update(FaqQuestion)
        .where(FaqQuestion.id == asked, FaqQuestion.decision == "suggest")
        .values(article_key=key, follow=Follow.TAPPED, followed_at=now)
    )


async def chosen(session: AsyncSession, mention_id: int, key: str, *, now: datetime) -> None:
    """Of the articles offered by number after this mention, this was the right one."""
    await session.execute(
        sa.update(FaqQuestion)
        .where(FaqQuestion.mention_id == mention_id, FaqQuestion.decision == "suggest")
        .values(article_key=key, follow=Follow.TAPPED, followed_at=now)
    )


async def rated(session: AsyncSession, conversation_id: int, inbound_id: int, *, useful: bool, now: datetime) -> bool:
    """The customer called the answer to their message useful or not; False when there was no such answer of theirs."""
    theirs = (FaqQuestion.inbound_id == inbound_id, FaqQuestion.conversation_id == conversation_id)
    return await _rate(session, *theirs, follow=Follow.USEFUL if useful else Follow.USELESS, now=now)


async def rated_mention(session: AsyncSession, mention_id: int, *, useful: bool | None, now: datetime) -> bool:
    """rated(), in a group. None: the rating was taken back."""
    follow = None if useful is None else Follow.USEFUL if useful else Follow.USELESS
    return await _rate(session, FaqQuestion.mention_id == mention_id, follow=follow, now=now)


async def _rate(session: AsyncSession, *where: sa.ColumnElement[bool], follow: Follow | None, now: datetime) -> bool:
    found = await session.scalar(
        sa.update(FaqQuestion)
        .where(*where)
        .values(
            follow=follow,
            unanswered=sa.or_(FaqQuestion.decision == "miss", sa.literal(follow is Follow.USELESS)),
            followed_at=now,
        )
        .returning(FaqQuestion.id)
    )
    return found is not None


async def settle_follows(session: AsyncSession, *, now: datetime) -> int:
    """Write down what followed recent questions: a person was called, or another question came. Returns how many."""
    rows = await session.execute(
        sa.select(FaqQuestion.id, FaqQuestion.conversation_id, FaqQuestion.asked_at)
        .where(
            FaqQuestion.follow.is_(None),
            FaqQuestion.conversation_id.is_not(None),  # in a group nobody knows to whom the next words belong
            FaqQuestion.asked_at > now - LOOK_BACK,
            FaqQuestion.asked_at <= now - FOLLOWS_WITHIN,
        )
        .order_by(FaqQuestion.id)
        .limit(TOGETHER)
    )
    asked = [(id_, conversation_id, at) for id_, conversation_id, at in rows if conversation_id is not None]
    conversations = {conversation_id for _, conversation_id, _ in asked}
    called = await _instants(session, Ticket.conversation_id, Ticket.opened_at, conversations, now=now)
    again = await _instants(session, FaqQuestion.conversation_id, FaqQuestion.asked_at, conversations, now=now)
    followed: dict[Follow, list[int]] = defaultdict(list)
    for id_, conversation_id, at in asked:
        if any(at <= one < at + FOLLOWS_WITHIN for one in called[conversation_id]):
            followed[Follow.ASKED_PERSON].append(id_)
        elif any(at < one < at + FOLLOWS_WITHIN for one in again[conversation_id]):
            followed[Follow.ASKED_AGAIN].append(id_)
    for follow, ids in followed.items():
        await session.execute(
            sa.update(FaqQuestion).where(FaqQuestion.id.in_(ids)).values(follow=follow, followed_at=now)
        )
    return sum(map(len, followed.values()))


async def _instants(
    session: AsyncSession, conversation: Any, instant: Any, conversations: Collection[int], *, now: datetime
) -> Mapping[int, list[datetime]]:
    rows = await session.execute(
        sa.select(conversation, instant).where(conversation.in_(conversations), instant > now - LOOK_BACK)
    )
    found: defaultdict[int, list[datetime]] = defaultdict(list)
    for conversation_id, at in rows:
        found[conversation_id].append(at)
    return found


async def forget(session: AsyncSession, *, before: datetime, limit: int = 5_000) -> int:
    """Delete questions older than the shop keeps them; returns how many."""
    old = sa.select(FaqQuestion.id).where(FaqQuestion.asked_at < before).limit(limit).scalar_subquery()
    gone = await session.scalars(sa.delete(FaqQuestion).where(FaqQuestion.id.in_(old)).returning(FaqQuestion.id))
    return len(gone.all())
