"""A test event for one webhook, sent at once: whoever set it up sees what came back."""

from datetime import datetime

from bot.models.webhook import DeliveryState, WebhookDelivery
from bot.outward import EventOut
from bot.webhooks import endpoints
from bot.webhooks.courier import Answer, Courier, Letter
from bot.webhooks.relay import frozen
from bot.webhooks.sender import LEASE, note
from crm.base.db import Sessions
from crm.base.secrets import Vault

PING = "Ping"


async def ping(sessions: Sessions, courier: Courier, vault: Vault, name: str, *, now: datetime) -> Answer:
    """One call, kept in the log, not repeated. Raises WebhookNotFound."""
    async with sessions.begin() as session:
        webhook = await endpoints.get(session, name)
        secret = endpoints.secret_of(webhook, vault)
        body = frozen(EventOut(id=0, name=PING, at=now, member=None, data={"webhook": webhook.name}))
        sent = WebhookDelivery(
            webhook_id=webhook.id, event=PING, body=body, attempts=1, due_at=now + LEASE, created_at=now,
            state=DeliveryState.GIVEN_UP, settled_at=now,
        )  # fmt: skip
        session.add(sent)
        await session.flush()
    answer = await courier.carry(Letter(webhook.url, secret, PING, sent.id, body.encode()))
    async with sessions.begin() as session:
        kept = await session.get_one(WebhookDelivery, sent.id)
        note(session, sent.id, answer, now=now)
        if answer.is_taken:
            kept.state = DeliveryState.DELIVERED
    return answer
