"""Which customer groups a post is for: by name, by our tags, by owner; each part that is given has to fit."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.definition import Groups, aware
from crm import staff
from crm.base.db import is_among
from crm.models.group import Group, GroupMember, GroupTag
from crm.models.member import Staff


@dataclass(frozen=True, slots=True)
class Chosen:
    """A group that is meant. owner_id: None when WeCom names nobody of ours, so that nobody can send into it."""

    group_id: int
    name: str
    owner_id: int | None


async def select(session: AsyncSession, wanted: Groups) -> list[Chosen]:
    """The living groups that are meant, by id. Names are compared here: a shop has thousands of groups at most."""
    query = sa.select(Group.id, Group.name, Group.chat_id, Group.owner_id).where(Group.dismissed_at.is_(None))
    if wanted.tags:
        query = query.where(sa.exists().where(GroupTag.group_id == Group.id, GroupTag.tag.in_(wanted.tags)))
    if wanted.owners:
        keys = [staff.key(one) for one in wanted.owners]
        query = query.where(Group.owner_id.in_(sa.select(Staff.id).where(Staff.key.in_(keys))))
    if wanted.made_since is not None:
        query = query.where(Group.created_at >= aware(wanted.made_since))
    rows = await session.execute(query.order_by(Group.id))
    return [Chosen(row.id, row.name, row.owner_id) for row in rows if _named(row.name, row.chat_id, wanted.names)]


def _named(name: str, chat_id: str, wanted: Sequence[str]) -> bool:
    return not wanted or any(one == chat_id or fnmatchcase(name, _plain(one)) for one in wanted)


def _plain(pattern: str) -> str:
    """A name as a pattern in which nothing but * means anything."""
    return pattern.replace("[", "[[]").replace("?", "[?]")


async def people(session: AsyncSession, group_ids: Sequence[int]) -> int:
    """Members who are in at least one of these groups now."""
    here = (is_among(session, GroupMember.group_id, group_ids), GroupMember.left_at.is_(None))
    return await session.scalar(sa.select(sa.func.count(GroupMember.member_id.distinct())).where(*here)) or 0


async def living(session: AsyncSession) -> int:
    """How many groups there are."""
    return await session.scalar(sa.select(sa.func.count()).where(Group.dismissed_at.is_(None))) or 0
