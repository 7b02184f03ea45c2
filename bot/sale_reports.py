"""What flash sales and the chat before them tell: sold by group, and the way from a word to a payment."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.models.conversation import Conversation
from bot.models.gateway import InboundMessage
from bot.models.sale import Claim, ClaimStatus, SaleItem
from bot.wecom.kf_items import Origin
from crm.models.group import Group


@dataclass(frozen=True, slots=True, kw_only=True)
class Funnel:
    """Members on the way, in one period: each step counts those of the step before who also did this."""

    wrote: int  # to the kf account
    claimed: int  # of them, something in a flash sale
    paid: int  # of them, at least one claim


async def funnel(session: AsyncSession, *, since: datetime, until: datetime) -> Funnel:
    """Who wrote, claimed and paid from `since` to before `until`."""
    wrote = (
        sa.select(Conversation.member_id)
        .join(InboundMessage, InboundMessage.conversation_id == Conversation.id)
        .where(
            Conversation.member_id.is_not(None),
            InboundMessage.origin == Origin.CUSTOMER,
            InboundMessage.sent_at >= since,
            InboundMessage.sent_at < until,
        )
        .distinct()
        .cte("wrote")
    )
    claims = (
        sa.select(
            Claim.member_id, sa.func.max(sa.case((Claim.status == ClaimStatus.PAID, 1), else_=0)).label("has_paid")
        )
        .where(Claim.claimed_at >= since, Claim.claimed_at < until)
        .group_by(Claim.member_id)
        .subquery()
    )
    row = (
        await session.execute(
            sa.select(
                sa.func.count(),
                sa.func.count(claims.c.member_id),
                sa.func.coalesce(sa.func.sum(claims.c.has_paid), 0),
            )
            .select_from(wrote)
            .outerjoin(claims, claims.c.member_id == wrote.c.member_id)
        )
    ).one()
    return Funnel(wrote=row[0], claimed=row[1], paid=int(row[2]))


async def by_group(session: AsyncSession, *, since: datetime, until: datetime) -> list[tuple[str, int, int]]:
    """(group, units, fen) of paid claims by the group through whose link they came; "": through none."""
    named = sa.func.coalesce(Group.name, "")
    rows = await session.execute(
        sa.select(named, sa.func.sum(Claim.quantity), sa.func.sum(Claim.quantity * SaleItem.price_fen).label("fen"))
        .join(SaleItem, SaleItem.id == Claim.item_id)
        .outerjoin(Group, Group.id == Claim.group_id)
        .where(Claim.status == ClaimStatus.PAID, Claim.paid_at >= since, Claim.paid_at < until)
        .group_by(named)
        .order_by(sa.desc("fen"))
    )
    return [(name, int(units), int(fen)) for name, units, fen in rows]
