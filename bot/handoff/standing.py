"""A member's standing with the shop: their level, and whether they are treated as a VIP.

A shop that has levels of its own knows them from there: what a corp tag of the same name says is staff's word, or a
mirror that is a moment behind. A shop without keeps them as corp tags, in a group of that name.
"""

from sqlalchemy.ext.asyncio import AsyncSession

from bot.handoff.policy import Policy
from crm import levels, tags
from crm.level_programme import GROUP
from crm.models.tag import CorpTag, CorpTagGroup


async def level_of(session: AsyncSession, member_id: int | None) -> str:
    """The member's level; without levels of our own, the highest any of the staff has marked them with; else empty."""
    if await levels.ladder(session):
        return (await levels.name_of(session, member_id) if member_id is not None else None) or ""
    highest = (
        tags.borne_by(member_id)
        .join(CorpTagGroup, CorpTagGroup.id == CorpTag.group_id)
        .where(CorpTagGroup.name == GROUP)
        .order_by(CorpTag.rank, CorpTag.id.desc())
        .limit(1)
    )
    return await session.scalar(highest) or ""


async def names_of(session: AsyncSession, member_id: int | None) -> frozenset[str]:
    """Names of the corp tags any of the staff has put on this member; of levels only the true one."""
    borne, ladder = frozenset(await session.scalars(tags.borne_by(member_id))), await levels.ladder(session)
    if not ladder or member_id is None:
        return borne
    mine = await levels.name_of(session, member_id)
    return borne - {level.name for level in ladder} | ({mine} if mine else set())


async def is_vip(session: AsyncSession, member_id: int | None, policy: Policy) -> bool:
    """Whether the member bears one of the shop's VIP tags, or has a level of that name."""
    return bool(policy.vip_tags) and not policy.vip_tags.isdisjoint(await names_of(session, member_id))
