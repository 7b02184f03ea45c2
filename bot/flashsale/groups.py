"""Whose group's units a member claims: the link's they came by, or where an item is shared out, one of their own."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.flashsale import sales
from bot.models.sale import Sale, SaleGroup, SaleItem, SaleShare
from crm.models.group import GroupMember


async def of_claim(session: AsyncSession, sale: Sale, item_id: int, member_id: int, *, link: str = "") -> int | None:
    """The group a claim counts for; None: of no group that is known.

    A link counts for who is in its group. In the chat, and on the page without a link, an item that is shared out
    counts for that group of the member's which has most left; who is in none of them has what is shared out to none.
    """
    if link and (by_link := await sales.group_by_link(session, sale, link[:8], member_id)) is not None:
        return by_link
    left = SaleShare.stock - SaleShare.taken
    mine = (GroupMember.group_id == SaleShare.group_id, GroupMember.member_id == member_id)
    found: int | None = await session.scalar(
        sa.select(SaleShare.group_id)
        .join(SaleItem, SaleItem.id == SaleShare.item_id)
        .join(SaleGroup, sa.and_(SaleGroup.sale_id == SaleItem.sale_id, SaleGroup.group_id == SaleShare.group_id))
        .join(GroupMember, sa.and_(*mine, GroupMember.left_at.is_(None)))
        .where(SaleShare.item_id == item_id)
        .order_by(left.desc(), SaleShare.group_id)
        .limit(1)
    )
    return found
