"""Mentions as they arrive, and how far the answer to each has come: everything a stream needs is in its row."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from bot import texts
from bot.models.faq import FaqQuestion
from bot.models.gateway import Handling
from bot.models.group_bot import BotMention, ChatType
from bot.wecom.aibot import RESPONSE_LIFE, STREAM_LIFE, Mention
from bot.wecom.callback import Outcome
from bot.wecom.lanes import late_answer
from crm.base.db import Sessions, insert_new
from crm.base.groupcommit import GroupCommit
from crm.base.ids import dedupe_key
from crm.base.outbox import Message
from crm.base.peers import Peers

TEXT_CHARS = 2_000
LAST_WORD = timedelta(seconds=20)  # before the stream's end: what is not ready by then comes by the active reply
TOPIC = "mentions"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A mention, verified and decrypted, on its way into the database."""

    bot: str
    envelope: str  # the signature
    mention: Mention
    received_at: datetime

    @property
    def stream_id(self) -> str:
        """The same message is the same stream, in whichever process it arrives again."""
        return dedupe_key("stream", self.bot, self.mention.sender.msgid)


@dataclass(frozen=True, slots=True)
class Progress:
    """What a stream shows: the whole text so far."""

    words: str
    is_done: bool


class MentionInbox:
    """Stores mentions, many per commit, and taps who answers them."""

    def __init__(self, sessions: Sessions, peers: Peers) -> None:
        self._peers = peers
        self._commit: GroupCommit[Arrival, Outcome] = GroupCommit(sessions, store)
        self.start, self.stop = self._commit.start, self._commit.stop

    async def put(self, arrival: Arrival) -> Outcome:
        """Returns after the commit that holds it. Raises Busy when too many wait."""
        outcome = await self._commit.submit(arrival)
        if outcome is Outcome.STORED:
            self._peers.tap(TOPIC)
        return outcome


async def store(connection: AsyncConnection, arrivals: Sequence[Arrival]) -> list[Outcome]:
    """Write arrivals into the running transaction; the unique keys decide which are new."""
    rows = {one.envelope: _row(one) for one in reversed(arrivals)}
    new = set(await insert_new(connection, list(reversed(rows.values())), returning=BotMention.envelope))
    known = set(
        (await connection.scalars(sa.select(BotMention.envelope).where(BotMention.envelope.in_(set(rows) - new)))).all()
    )
    outcomes = []
    for one in arrivals:
        if one.envelope in new:
            new.discard(one.envelope)
            known.add(one.envelope)
            outcomes.append(Outcome.STORED)
        else:
            outcomes.append(Outcome.REPLAYED if one.envelope in known else Outcome.DUPLICATE)
    return outcomes


def _row(one: Arrival) -> dict[str, Any]:
    mention = one.mention
    return {
        "bot": one.bot,
        "msgid": mention.sender.msgid,
        "envelope": one.envelope,
        "stream_id": one.stream_id,
        "chat_type": ChatType.GROUP if mention.sender.in_group else ChatType.SINGLE,
        "chat_id": mention.sender.chat_id,
        "userid": mention.sender.userid,
        "text": (mention.text or mention.quoted)[:TEXT_CHARS],
        "response_code": mention.response_code or None,
        "received_at": one.received_at,
        "status": Handling.OPEN,
        "attempts": 0,
        "not_before": one.received_at,
    }


async def progress(sessions: Sessions, bot: str, stream_id: str, *, now: datetime) -> Progress:
    """How far a stream has come. The first time an answer is handed out is written down: it is not sent again.

    Near its end an unfinished stream is closed with a promise, and the answer follows by late().
    """
    async with sessions.read() as session:
        row = await session.scalar(
            sa.select(BotMention).where(BotMention.stream_id == stream_id, BotMention.bot == bot)
        )
    if row is None:
        return Progress(texts.GROUP_LOST, is_done=True)
    if row.answer is not None and (row.shown_at is not None or now < row.received_at + STREAM_LIFE):
        if row.shown_at is None:
            async with sessions.begin() as session:
                await session.execute(shown(row.id, now=now))
        return Progress(row.answer, is_done=True)
    if now < row.received_at + STREAM_LIFE - LAST_WORD:
        return Progress(texts.GROUP_LOOKING, is_done=False)
    return Progress(texts.GROUP_LATE if row.response_code else texts.GROUP_LOST, is_done=True)


def shown(mention_id: int, *, now: datetime) -> sa.Update:
    """WeCom has taken the answer."""
    return sa.update(BotMention).where(BotMention.id == mention_id, BotMention.shown_at.is_(None)).values(shown_at=now)


def late(row: BotMention, *, now: datetime) -> list[Message]:
    """The answer as an active reply after the stream's end, in case no refresh has taken it by then.

    A restart in mid-stream may cost the refreshes; it does not cost the answer.
    """
    if not row.response_code:
        return []
    not_before = max(now, row.received_at + STREAM_LIFE + LAST_WORD)
    return [late_answer(row.id, not_before=not_before, deadline=row.received_at + RESPONSE_LIFE)]


async def rate(session: AsyncSession, bot: str, stream_id: str, *, feedback: int) -> int | None:
    """Keep what somebody thought of an answer; returns the mention it was to, None when there is none."""
    found: int | None = await session.scalar(
        sa.update(BotMention)
        .where(BotMention.stream_id == stream_id, BotMention.bot == bot)
        .values(feedback=feedback)
        .returning(BotMention.id)
    )
    return found


async def forget(session: AsyncSession, *, before: datetime, limit: int = 5_000) -> int:
    """Delete what was said before then, together with the questions that came of it; returns how many mentions."""
    old = list(await session.scalars(sa.select(BotMention.id).where(BotMention.received_at < before).limit(limit)))
    await session.execute(sa.delete(FaqQuestion).where(FaqQuestion.mention_id.in_(old)))
    await session.execute(sa.delete(BotMention).where(BotMention.id.in_(old)))
    return len(old)
