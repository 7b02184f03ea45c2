"""What the edge does when facts change below it."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.models.conversation import Conversation
from bot.models.handoff import Ticket
from campaigns.reactions import Reactions
from crm.identities import MembersMerged, MergeUndone
from crm.models.member import Identity, IdentityKind

reactions = Reactions()
TOGETHER = 1000  # members whose relations are looked up at once


@reactions.to(MembersMerged)
@reactions.to(MergeUndone)
async def follow_identities(session: AsyncSession, event: MembersMerged | MergeUndone, *, now: datetime) -> None:
    """After a merge, or its undoing, a conversation belongs to whoever its external_userid is now."""
    del now
    owner = (
        sa.select(Identity.member_id)
        .where(Identity.kind == IdentityKind.EXTERNAL_USERID, Identity.value == Conversation.external_userid)
        .scalar_subquery()
    )
    touched = Conversation.member_id.in_([event.kept_id, event.absorbed_id])
    await session.execute(
        sa.update(Conversation)
        .where(touched)
        .values(member_id=sa.func.coalesce(owner, Conversation.member_id))
        .execution_options(synchronize_session=False)
    )
    holder = sa.select(Conversation.member_id).where(Conversation.id == Ticket.conversation_id).scalar_subquery()
    await session.execute(
        sa.update(Ticket)
        .where(Ticket.member_id.in_([event.kept_id, event.absorbed_id]))
        .values(member_id=holder)
        .execution_options(synchronize_session=False)
    )
