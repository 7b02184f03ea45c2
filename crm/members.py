"""Members: who is in the programme. New rows, reading one, and what sources tell about a person."""

import random
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm.base.db import insert
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
    ids: dict[int, int] = {}  # place in `profiles` -> member id
    for _ in range(CODE_ATTEMPTS):
        places = {code(chance): place for place in range(len(profiles)) if place not in ids}
        if not places:
            break
        rows = [
            {
                "code": fresh,
                "name": profiles[place].name or "",
                "avatar": profiles[place].avatar or "",
                "gender": profiles[place].gender or Gender.UNKNOWN,
                "source": source,
                "joined_at": now,
            }
            for fresh, place in places.items()
        ]
        added = insert(session, Member.__table__).on_conflict_do_nothing(index_elements=["code"])
        taken = await session.execute(added.returning(Member.__table__.c.id, Member.__table__.c.code), rows)
        ids |= {places[row.code]: row.id for row in taken}
    return [ids[place] for place in range(len(profiles))]
