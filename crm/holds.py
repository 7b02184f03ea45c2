"""Holding a person: their identities are the lock on them.

Whoever writes facts about people locks their identities first and keeps them to the end of the transaction, and a merge
re-points identities before anything else. So a fact is written either before a merge, which then carries it along, or
after it, under the member that remained. An erasure deletes them: a fact is written before it, and erased with the
rest, or finds a tombstone.
"""

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm.base.db import is_among
from crm.base.errors import Busy, Refused
from crm.members import MemberNotFound
from crm.models.member import Identity, Member

MERGE_ROUNDS = 10


@dataclass(eq=False)
class PersonErased(Refused):
    """They asked to be forgotten, and have done nothing since that makes them a member again."""

    code = "member.erased"


async def hold(session: AsyncSession, member_id: int) -> int:
    """Lock a person for facts about to be written; returns the member they are by now. Raises MemberNotFound."""
    return (await hold_one(session, member_id)).member_id


@dataclass(frozen=True, slots=True)
class Held:
    """A member who is locked. is_erased: only what was already known of them may still change, as a refund does."""

    member_id: int
    is_erased: bool


async def hold_one(session: AsyncSession, member_id: int) -> Held:
    """Like `hold`, and says whether they were erased. Who has no identities is locked by their own row."""
    for _ in range(MERGE_ROUNDS):
        mine = sa.select(Identity.id).where(Identity.member_id == member_id).order_by(Identity.id)
        names = (await session.scalars(mine.with_for_update(key_share=True))).all()
        row = sa.select(Member.id, Member.merged_into_id, Member.erased_at).where(Member.id == member_id)
        found = (await session.execute(row if names else row.with_for_update(key_share=True))).first()
        if found is None:
            raise MemberNotFound(member_id)
        if found.merged_into_id is None:
            return Held(member_id, found.erased_at is not None)
        member_id = found.merged_into_id
    raise Busy(retry_after=1.0)


async def hold_all(session: AsyncSession, member_ids: Collection[int]) -> set[int]:
    """Lock many people, as hold_one() does each; returns those who live under these ids."""
    theirs = is_among(session, Identity.member_id, member_ids)
    names = sa.select(Identity.id).where(theirs).order_by(Identity.member_id, Identity.id)
    await session.execute(names.with_for_update(key_share=True))
    nameless = sa.select(Member.id).where(
        is_among(session, Member.id, member_ids), ~sa.exists().where(Identity.member_id == Member.id)
    )
    await session.execute(nameless.order_by(Member.id).with_for_update(key_share=True))
    living = (Member.merged_into_id.is_(None), Member.erased_at.is_(None))
    return set(await session.scalars(sa.select(Member.id).where(is_among(session, Member.id, member_ids), *living)))


async def lock_living(session: AsyncSession, ids: set[int]) -> list[Member]:
    """Lock these members, oldest first; one that was merged meanwhile stands for the member it became part of.

    Each further round follows a merge that was committed while we waited. Raises MemberNotFound, and Busy when merges
    of these members never come to rest.
    """
    for _ in range(MERGE_ROUNDS):
        rows = await session.scalars(
            sa.select(Member)
            .where(Member.id.in_(ids))
            .order_by(Member.id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
        locked = list(rows)
        if missing := ids - {member.id for member in locked}:
            raise MemberNotFound(min(missing))
        living = {member.merged_into_id or member.id for member in locked}
        if living == ids:
            return locked
        ids = living
    raise Busy(retry_after=1.0)
