"""Lines of customer groups: kept for some days, told to the owner where they alarm, listed where nobody answered.

Nothing here can speak in a group: all that leaves is a message to staff.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot import texts
from bot.app import App
from bot.archive import rules
from bot.archive.messages import Line
from bot.dialogue.turn import cut
from bot.faq import questions
from bot.metrics import ALERTS
from bot.models.archive import ArchivedLine, Speaker
from bot.wecom import lanes
from crm import identities
from crm.base import outbox
from crm.base.clock import local_day
from crm.base.db import insert_new
from crm.base.outbox import Message
from crm.models.group import Group
from crm.models.member import IdentityKind, Member, Staff

QUOTE_BYTES = 300
SAME_TROUBLE = timedelta(minutes=10)  # one customer's angry lines within it are one alarm
TOO_OLD = timedelta(hours=24)  # nobody is alarmed by what is read that late
LATE_RECORDS = timedelta(minutes=2)  # an answer in time is archived a little later
TOGETHER = 200
DELETED_TOGETHER = 5_000


@dataclass(frozen=True, slots=True)
class ArchiveChoices:
    """What the operator chose."""

    keywords: tuple[str, ...] = ()
    unanswered_after: timedelta = timedelta(minutes=30)
    kept: timedelta = timedelta(days=5)  # as long as the vendor keeps its own
    poll: timedelta = timedelta(seconds=60)
    supervisors: tuple[str, ...] = ()  # told where a group has no owner we know


async def keep(
    session: AsyncSession, said: Sequence[Line], groups: Mapping[str, Group], choices: ArchiveChoices, *, now: datetime
) -> None:
    """Write lines down once, and what is to be told because of the new ones."""
    rows = [
        {
            "msgid": one.msgid,
            "group_id": groups[one.room_id].id,
            "speaker": Speaker.CUSTOMER if one.by_customer else Speaker.STAFF,
            "sender": one.sender,
            "text": one.text,
            "said_at": one.said_at,
            "open_until": one.said_at + choices.unanswered_after if _asks(one) else None,
        }
        for one in said
    ]
    new = set(await insert_new(session, rows, returning=ArchivedLine.msgid))
    owners = await _owners(session, groups.values())
    told: list[Message] = []
    for one in said:
        if one.msgid in new and one.by_customer and one.said_at > now - TOO_OLD:
            group = groups[one.room_id]
            told += await _told(session, one, group, owners.get(group.owner_id or 0), choices)
    await outbox.put(session, told, now=now)


def _asks(one: Line) -> bool:
    return one.by_customer and rules.looks_like_question(one.text)


async def _told(
    session: AsyncSession, one: Line, group: Group, owner: str | None, choices: ArchiveChoices
) -> list[Message]:
    """To the owner, or to the supervisors of a group that has none."""
    reason, word = rules.alarm(one.text), rules.keyword(one.text, choices.keywords)
    if reason is None and not word:
        return []
    people = (owner,) if owner else choices.supervisors
    if not people:
        ALERTS.labels("archive_nobody_to_tell").inc()
        return []
    who: Member | None = await identities.find_by(session, IdentityKind.EXTERNAL_USERID, one.sender)
    name = who.name if who is not None and who.name else texts.ARCHIVE_SOMEBODY
    facts = {"group": group.name or texts.ARCHIVE_NAMELESS, "customer": name}
    quote = cut(one.text, QUOTE_BYTES)[0]
    at = int(one.said_at.timestamp() // SAME_TROUBLE.total_seconds())
    if reason is not None:
        words = texts.ARCHIVE_ALARM.format(**facts, reason=texts.REASONS[reason], quote=quote)
        because: tuple[object, ...] = ("archive_alarm", group.id, one.sender, at)
    else:
        words = texts.ARCHIVE_KEYWORD.format(**facts, word=word, quote=quote)
        because = ("archive_keyword", group.id, one.sender, word, at)
    message = {"msgtype": "text", "text": {"content": words}}
    about = who.id if who is not None else None
    return [lanes.staff_message(message, because=because, userids=people, about=about)]


async def _owners(session: AsyncSession, groups: Collection[Group]) -> dict[int, str]:
    ids = {one.owner_id for one in groups if one.owner_id is not None}
    rows = await session.execute(sa.select(Staff.id, Staff.userid).where(Staff.id.in_(ids), Staff.active))
    return {one.id: one.userid for one in rows}


async def settle(app: App, choices: ArchiveChoices) -> int:
    """Questions whose time is up: those to which none of us said a word join the list of misses. Returns how many."""
    now = app.clock.now()
    async with app.sessions.begin() as session:
        rows = await session.scalars(
            sa.select(ArchivedLine)
            .where(ArchivedLine.open_until <= now - LATE_RECORDS)
            .order_by(ArchivedLine.open_until, ArchivedLine.id)
            .limit(TOGETHER)
            .with_for_update(skip_locked=True)
        )
        due = list(rows)
        unanswered = 0
        for line in due:
            if not await _answered(session, line):
                match = app.faq.matcher.match(line.text, local_day(now))
                questions.record_archived(
                    session, match, msgid=line.msgid, asker=line.sender, text=line.text, now=line.said_at
                )
                unanswered += 1
            line.open_until = None
    return unanswered


async def _answered(session: AsyncSession, line: ArchivedLine) -> bool:
    """Whether one of us spoke in the group between the question and its time."""
    spoke = sa.select(ArchivedLine.id).where(
        ArchivedLine.group_id == line.group_id,
        ArchivedLine.speaker == Speaker.STAFF,
        ArchivedLine.said_at > line.said_at,
        ArchivedLine.said_at <= line.open_until,
    )
    return bool(await session.scalar(sa.select(spoke.exists())))


async def forget(app: App, choices: ArchiveChoices) -> int:
    """Delete lines that have served; returns how many."""
    before = app.clock.now() - choices.kept
    async with app.sessions.begin() as session:
        old = sa.select(ArchivedLine.id).where(ArchivedLine.said_at < before, ArchivedLine.open_until.is_(None))
        some = list(await session.scalars(old.limit(DELETED_TOGETHER)))
        await session.execute(sa.delete(ArchivedLine).where(ArchivedLine.id.in_(some)))
        return len(some)
