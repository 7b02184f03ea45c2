"""What the edge does when facts change below it."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.models.conversation import Conversation
from campaigns.reactions import Reactions
from crm.identities import MembersMerged

reactions = Reactions()


@reactions.to(MembersMerged)
async def follow_merge(session: AsyncSession, event: MembersMerged, *, now: datetime) -> None:
    """Conversations of a member who was merged belong to the one who was kept."""
    del now
    await session.execute(
        sa.update(Conversation).where(Conversation.member_id == event.absorbed_id).values(member_id=event.kept_id)
    )
