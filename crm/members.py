"""Members: who is in the programme. New rows, reading one, and what sources tell about a person."""

import random
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm.base.db import insert_rows, is_among, next_ids
from crm.base.errors import NotFound
from crm.base.ids import code
from crm.models.member import Gender, Member, MemberSource

CHANCE = secrets.SystemRandom()
CODE_ATTEMPTS = 5  # 10^12 codes: at a million members one in a million is taken


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberEnrolled:
    """Somebody became a member: `joined_at` is when we learned of them. Appended by identities.enrol_batch()."""

    member_id: int
    source: MemberSource
    joined_at: datetime


@dataclass(eq=False)
class MemberNotFound(NotFound):
    """No member has this id."""

    code = "member.not_found"
    member_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What one source says about a person. None: it does not say."""

    name: str | None = None
    avatar: str | None = None
    gender: Gender | None = None


async def get(session: AsyncSession, member_id: int) -> Member:
    """The member who has this id, or who absorbed the one that had it. Raises MemberNotFound."""
    member = await session.get(Member, member_id)
    if member is not None and member.merged_into_id is not None:
        member = await session.get(Member, member.merged_into_id)
    if member is None:
        raise MemberNotFound(member_id)
    return member


async def get_batch(session: AsyncSession, member_ids: Collection[int]) -> dict[int, Member]:
    """The members with these ids, by id; ids nobody has are left out."""
    rows = await session.scalars(sa.select(Member).where(Member.id.in_(set(member_ids))))
    return {member.id: member for member in rows}


async def find_by_code(session: AsyncSession, typed: str) -> Member | None:
    """The member with this public code, in whatever case it was typed."""
    member: Member | None = await session.scalar(sa.select(Member).where(Member.code == typed.strip().upper()))
    return await get(session, member.id) if member is not None else None


def describe(member: Member, profile: Profile) -> None:
    """Take over what a source says. An erased member stays blank, however often a sync meets them."""
    if member.erased_at is not None:
        return
    for field in ("name", "avatar", "gender"):
        said = getattr(profile, field)
        if said is not None:
            setattr(member, field, said)


async def add_rows(
    session: AsyncSession,
    profiles: Sequence[Profile],
    *,
    source: MemberSource,
    now: datetime,
    chance: random.Random = CHANCE,
) -> list[int]:
    """New members, one per profile and in that order; returns their ids. Only identities.enrol_batch() calls this."""
    if not profiles:
        return []
    ids = await next_ids(session, _members, len(profiles))
    left = dict(zip(ids, profiles, strict=True))
    for _ in range(CODE_ATTEMPTS):
        rows = [
            (
                *(member_id, code(chance), one.name or "", one.avatar or "", one.gender or Gender.UNKNOWN),
                *(source, now),
            )
            for member_id, one in left.items()
        ]
        if await insert_rows(session, _members, _COLUMNS, rows, conflict="(code) DO NOTHING") == len(rows):
            return ids
        written = set(await session.scalars(sa.select(Member.id).where(is_among(session, Member.id, ids))))
        left = {member_id: one for member_id, one in left.items() if member_id not in written}
    raise RuntimeError(f"{len(left)} members found no free code")


_members: Any = Member.__table__
_COLUMNS = ("id", "code", "name", "avatar", "gender", "source", "joined_at")
