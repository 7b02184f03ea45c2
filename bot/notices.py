"""What the shop has to say to a member unasked, in the kf chat while its window is open."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.handoff import queue
from bot.models.conversation import Conversation
from bot.wecom import lanes
from bot.wecom.window import MAY_SEND, WINDOW
from crm.base import outbox


async def say(
    session: AsyncSession,
    member_id: int,
    said: str,
    *,
    because: tuple[object, ...],
    until: datetime | None = None,
    now: datetime,
) -> bool:
    """A service message, where we may write; False: there is no chat in which we may. The same `because` once."""
    conversation = await session.scalar(
        sa.select(Conversation)
        .where(
            Conversation.member_id == member_id,
            Conversation.last_customer_at > now - WINDOW,
            sa.or_(Conversation.service_state.is_(None), Conversation.service_state.in_(MAY_SEND - {None})),
        )
        .order_by(Conversation.last_customer_at.desc())
        .limit(1)
    )
    if conversation is None:
        return False
    payload = {"msgtype": "text", "text": {"content": said}}
    deadline = until or now + WINDOW
    message = lanes.kf_message(queue.address(conversation), payload, because=because, deadline=deadline)
    await outbox.put(session, [message], now=now)
    return True
