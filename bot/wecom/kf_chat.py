"""The kf chat as a channel of campaigns: who may be written to now, and the message that does."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot import survey_words, texts
from bot.dialogue.turn import as_messages
from bot.models.conversation import Conversation
from bot.wecom import lanes, window
from bot.wecom.lanes import KfAddress
from campaigns import surveys
from campaigns.definition import Message
from campaigns.draining import Letter
from campaigns.models.survey import Survey
from crm.base import outbox
from crm.base.db import is_among

QUIET_FOR = window.WINDOW - window.CLOCKS_DIFFER


class KfChat:
    """Members whose window is open, who are in the bot's hands, and to whom the bot could still answer afterwards."""

    async def reachable(self, session: AsyncSession, member_ids: Collection[int], *, now: datetime) -> set[int]:
        talks = await open_talks(session, member_ids, now=now)
        roomy = await window.roomy(session, [one.id for one in talks.values()], now=now)
        return {member_id for member_id, one in talks.items() if one.id in roomy}

    async def reachable_between(self, session: AsyncSession, after_id: int, upto_id: int, *, now: datetime) -> set[int]:
        here = (Conversation.member_id > after_id, Conversation.member_id <= upto_id)
        found = sa.select(Conversation.member_id).where(*here, Conversation.last_customer_at > now - QUIET_FOR)
        ids = {one for one in await session.scalars(found) if one is not None}
        return await self.reachable(session, ids, now=now) if ids else set()

    async def put(self, session: AsyncSession, letters: Sequence[Letter], *, now: datetime) -> None:
        talks = await open_talks(session, [one.member_id for one in letters], now=now)
        asked = await _surveys(session, letters)
        messages = [
            lanes.marketing(
                lanes.kf_message(
                    KfAddress(talk.id, talk.open_kfid, talk.external_userid, letter.member_id),
                    _payload(letter, asked.get(letter.message.survey or "")),
                    because=(letter.ref,),
                    deadline=letter.deadline,
                ),
                gate_ref=letter.ref,
            )
            for letter in letters
            if (talk := talks.get(letter.member_id)) is not None
        ]
        await outbox.put(session, messages, now=now)


async def open_talks(session: AsyncSession, member_ids: Collection[int], *, now: datetime) -> dict[int, Conversation]:
    """The conversation in which each member wrote last, if that was within the window and no person was called."""
    rows = await session.scalars(
        sa.select(Conversation)
        .where(is_among(session, Conversation.member_id, member_ids), Conversation.last_customer_at > now - QUIET_FOR)
        .order_by(Conversation.last_customer_at, Conversation.id)
        .execution_options(populate_existing=True)
    )
    newest = {one.member_id: one for one in rows if one.member_id is not None}
    return {member_id: one for member_id, one in newest.items() if one.human_wanted_at is None}


async def _surveys(session: AsyncSession, letters: Sequence[Letter]) -> dict[str, Survey]:
    """The surveys that these letters ask, by key."""
    keys = {one.message.survey for one in letters if one.message.survey}
    found = [await surveys.find(session, key) for key in sorted(keys)]
    return {one.key: one for one in found if one is not None}


def _payload(letter: Letter, survey: Survey | None) -> dict[str, Any]:
    """A text; of one that asks a survey a menu whose lines are the answers, and know by which run they were asked."""
    said = _text(letter.message)
    if survey is None:
        return {"msgtype": "text", "text": {"content": said}}
    menu = survey_words.question(survey, surveys.told(survey), run_id=letter.run_id, before=said)
    return as_messages([menu])[0]


def _text(message: Message) -> str:
    if message.link is None:
        return message.text
    return f"{message.text}\n{texts.LINK.format(title=message.link.title, url=message.link.url)}"
