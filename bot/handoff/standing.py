"""What a member's corp tags say about their standing: the level, and whether the shop treats them as a VIP."""

from sqlalchemy.ext.asyncio import AsyncSession

from bot.handoff.policy import Policy
from crm import tags
from crm.models.tag import CorpTag, CorpTagGroup

LEVELS = "会员等级"  # the tag group that tells a member's level


async def level_of(session: AsyncSession, member_id: int | None) -> str:
    """The highest level any of the staff has marked this member with; empty when there is none."""
    highest = (
        tags.borne_by(member_id)
        .join(CorpTagGroup, CorpTagGroup.id == CorpTag.group_id)
        .where(CorpTagGroup.name == LEVELS)
        .order_by(CorpTag.rank, CorpTag.id.desc())
        .limit(1)
    )
    return await session.scalar(highest) or ""


async def is_vip(session: AsyncSession, member_id: int | None, policy: Policy) -> bool:
    """Whether the member bears one of the shop's VIP tags."""
    if not policy.vip_tags:
        return False
    return await session.scalar(tags.borne_by(member_id).where(CorpTag.name.in_(policy.vip_tags)).limit(1)) is not None
