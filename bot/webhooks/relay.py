"""From events to deliveries: read forward by a cursor, the body frozen, both in one transaction.

Killed in between, both are there or neither; the unique (webhook, event) lets nothing be written twice.
"""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot import outward
from bot.models.webhook import DeliveryState, Webhook, WebhookDelivery
from bot.outward import EventOut
from bot.webhooks.endpoints import CURSOR
from crm.base import events
from crm.base.db import insert, to_json
from crm.base.events import EventCursor

TOGETHER = 200


async def relay(session: AsyncSession, *, now: datetime) -> int:
    """Write down for every webhook what it should hear of next; returns how many events were read."""
    hooks = (await session.scalars(sa.select(Webhook).where(Webhook.removed_at.is_(None)).order_by(Webhook.id))).all()
    found = await events.peek(session, CURSOR, limit=TOGETHER)
    if not found:
        return 0
    told = [one for one in found if outward.is_told(one.name)]
    people = {one.id: one.body.get("member_id") for one in told}
    rows = [
        {
            "webhook_id": hook.id,
            "event_id": one.id,
            "event": one.name,
            "about_member_id": people[one.id],
            "body": frozen(one),
            "state": DeliveryState.WAITING,
            "attempts": 0,
            "due_at": now,
            "created_at": now,
        }
        for one in await outward.tell(session, told)
        for hook in hooks
        if hears(hook.events, one.name)
    ]
    if rows:
        await session.execute(insert(session, WebhookDelivery.__table__).on_conflict_do_nothing(), rows)
    await events.move(session, CURSOR, to=found[-1])
    return len(found)


async def is_wanted(session: AsyncSession) -> bool:
    """Whether there was ever a webhook; the first one sets the cursor. Without hooks now it still moves on."""
    return await session.scalar(sa.select(EventCursor.name).where(EventCursor.name == CURSOR)) is not None


def hears(names: Sequence[str], event: str) -> bool:
    return not names or event in names


def frozen(one: EventOut) -> str:
    """The body as it will be sent, whatever becomes of the member, the order or the code meanwhile."""
    return to_json(one.model_dump(mode="json"))
