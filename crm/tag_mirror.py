"""Which of our tags a relation shows in WeCom as corp tags, and what staff change there by hand.

Our database is the truth and the mirror is compared as a whole: a message says only which relation to look at, and what
is missing or too much is found when it leaves. So messages may come late, twice or in any order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import member_tags
from crm.base import events
from crm.models.audience import MemberTag, Tag, TagEnd, TagGroup, TagSource
from crm.models.loyalty import Level
from crm.models.member import Contact, Staff
from crm.models.tag import ContactTag, CorpTag


@dataclass(frozen=True, slots=True, kw_only=True)
class TagMirrored:
    """A tag is shown in WeCom from now on, or no longer. Appended by set_mirrored()."""

    tag_id: int
    mirrored: bool


@dataclass(frozen=True, slots=True)
class Unmade:
    """A mirrored tag that WeCom does not have yet."""

    tag_id: int
    group: str
    name: str


@dataclass(frozen=True, slots=True)
class Gap:
    """What one relation lacks and what it has too much. add, remove: our ids of corp tags, with WeCom's."""

    userid: str
    external_userid: str
    add: dict[int, str]
    remove: dict[int, str]
    unmade: tuple[Unmade, ...]

    @property
    def is_closed(self) -> bool:
        return not (self.add or self.remove or self.unmade)


async def gap(session: AsyncSession, contact_id: int, *, now: datetime) -> Gap | None:
    """None: the relation is over, and nobody may mark it."""
    contact = (
        await session.execute(
            sa.select(Staff.userid, Contact.external_userid, Contact.member_id)
            .join(Staff, Staff.id == Contact.staff_id)
            .where(Contact.id == contact_id, Contact.ended_at.is_(None))
        )
    ).one_or_none()
    if contact is None:
        return None
    wanted = await session.execute(
        sa.select(Tag.id, Tag.name, TagGroup.name.label("group"), CorpTag.id.label("corp_tag_id"), CorpTag.wecom_id)
        .join(MemberTag, MemberTag.tag_id == Tag.id)
        .join(TagGroup, TagGroup.id == Tag.group_id)
        .outerjoin(CorpTag, CorpTag.id == Tag.corp_tag_id)
        .where(MemberTag.member_id == contact.member_id, Tag.mirrored, member_tags.alive(now))
        .order_by(Tag.id)
    )
    rows = wanted.all()
    should = {row.corp_tag_id: row.wecom_id for row in rows if row.corp_tag_id is not None}
    shown = await session.execute(
        sa.select(CorpTag.id, CorpTag.wecom_id)
        .join(ContactTag, ContactTag.tag_id == CorpTag.id)
        .join(Tag, Tag.corp_tag_id == CorpTag.id)
        .where(ContactTag.contact_id == contact_id, ContactTag.unmarked_at.is_(None))
    )
    does = {row.id: row.wecom_id for row in shown}
    return Gap(
        contact.userid,
        contact.external_userid,
        {key: wecom_id for key, wecom_id in should.items() if key not in does},
        {key: wecom_id for key, wecom_id in does.items() if key not in should},
        tuple(Unmade(row.id, row.group, row.name) for row in rows if row.corp_tag_id is None),
    )


async def relations_of(session: AsyncSession, member_ids: Sequence[int]) -> list[tuple[int, str, int]]:
    """The open relations of these members: contact id, external_userid and whose it is."""
    rows = await session.execute(
        sa.select(Contact.id, Contact.external_userid, Contact.member_id)
        .where(Contact.member_id.in_(member_ids), Contact.ended_at.is_(None))
        .order_by(Contact.id)
    )
    return [(row.id, row.external_userid, row.member_id) for row in rows]


async def shows(session: AsyncSession, tag_id: int) -> bool:
    """Whether a tag is in WeCom, or is to be."""
    found = sa.select(Tag.id).where(Tag.id == tag_id, Tag.mirrored | Tag.corp_tag_id.is_not(None))
    return await session.scalar(found) is not None


async def bearers(session: AsyncSession, tag_id: int, *, after: int, limit: int, now: datetime) -> list[int]:
    """Members who bear a tag, by id, behind `after`."""
    rows = await session.scalars(
        sa.select(MemberTag.member_id)
        .where(MemberTag.tag_id == tag_id, MemberTag.member_id > after, member_tags.alive(now))
        .order_by(MemberTag.member_id)
        .limit(limit)
    )
    return list(rows)


# Verbs


async def set_mirrored(session: AsyncSession, tag_id: int, mirrored: bool, *, now: datetime) -> None:
    """Show a tag in WeCom, or take it off there. Raises TagNotFound."""
    tag = await member_tags.get(session, tag_id)
    if tag.mirrored != mirrored:
        tag.mirrored = mirrored
        await session.flush()
        await events.append(session, TagMirrored(tag_id=tag_id, mirrored=mirrored), now=now)


async def link(session: AsyncSession, tag_id: int, wecom_id: str) -> None:
    """Our tag is this corp tag, which tags.take_groups() has written down."""
    corp_tag_id = sa.select(CorpTag.id).where(CorpTag.wecom_id == wecom_id).scalar_subquery()
    await session.execute(sa.update(Tag).where(Tag.id == tag_id).values(corp_tag_id=corp_tag_id))


async def take_mark(session: AsyncSession, contact_id: int, corp_tag_id: int, *, now: datetime) -> bool:
    """Staff marked a customer: the member bears the tag, unless they do already.

    True: the mark must go again, because the tag tells a level, and a level is not given by marking.
    """
    found = await _about(session, contact_id, corp_tag_id)
    if found is None:
        return False
    member_id, tag_id, userid = found
    if await _borne(session, member_id, tag_id, now=now) is None:
        level = sa.select(Level.id).where(Level.tag_id == tag_id, Level.retired_at.is_(None))
        if await session.scalar(level) is not None:
            return True
        await member_tags.tag(session, [member_id], tag_id, source=TagSource.WECOM, by=userid, now=now)
    return False


async def take_unmark(session: AsyncSession, contact_id: int, corp_tag_id: int, *, now: datetime) -> bool:
    """Staff took a mark off. True: a rule holds the tag on, so it must be shown again."""
    found = await _about(session, contact_id, corp_tag_id)
    if found is None:
        return False
    member_id, tag_id, _ = found
    source = await _borne(session, member_id, tag_id, now=now)
    if source is TagSource.RULE:
        return True
    await member_tags.untag(session, [member_id], tag_id, because=TagEnd.WECOM, now=now)
    return False


async def _about(session: AsyncSession, contact_id: int, corp_tag_id: int) -> tuple[int, int, str] | None:
    """Member, tag of ours and userid."""
    row = (
        await session.execute(
            sa.select(Contact.member_id, Tag.id, Staff.userid)
            .join(Staff, Staff.id == Contact.staff_id)
            .join(Tag, Tag.corp_tag_id == corp_tag_id)
            .where(Contact.id == contact_id)
        )
    ).one_or_none()
    return (row[0], row[1], row[2]) if row is not None else None


async def _borne(session: AsyncSession, member_id: int, tag_id: int, *, now: datetime) -> TagSource | None:
    source: TagSource | None = await session.scalar(
        sa.select(MemberTag.source).where(
            MemberTag.member_id == member_id, MemberTag.tag_id == tag_id, member_tags.alive(now)
        )
    )
    return source
