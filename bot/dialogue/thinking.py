"""What the open questions mean, worked out before the transaction that answers them: a model takes its time."""

from collections import defaultdict
from datetime import datetime

import sqlalchemy as sa

from bot.app import App
from bot.models.conversation import Conversation
from bot.models.gateway import Handling, InboundMessage
from bot.wecom.kf_items import KfMessage, Origin, parse_kf_item

AHEAD = 50  # texts of one round: with more the answers would wait for the model, and the lexical tier answers at once
LONGEST = 200  # characters; what is longer is a story, whose vector says little


async def think_ahead(app: App, *, now: datetime) -> None:
    """Ask the semantic tier about due texts the lexical one is not certain of. Does nothing where there is none."""
    matcher = app.faq.matcher
    if app.semantics is None or matcher.meant is None:
        return
    lines: defaultdict[int, list[str]] = defaultdict(list)
    async with app.sessions.read() as session:
        rows = await session.execute(
            sa.select(InboundMessage.conversation_id, InboundMessage.body)
            .join(Conversation, Conversation.id == InboundMessage.conversation_id)
            .where(
                Conversation.due_at <= now,
                InboundMessage.status == Handling.OPEN,
                InboundMessage.origin == Origin.CUSTOMER,
            )
            .order_by(InboundMessage.id)
            .limit(AHEAD)
        )
        for conversation_id, body in rows:
            item = parse_kf_item(body)
            if isinstance(item, KfMessage) and item.text.strip():
                lines[conversation_id].append(item.text.strip())
    texts = {text for of_one in lines.values() for text in (*of_one, " ".join(of_one))}  # quick lines may be one
    await app.semantics.think_of(text for text in texts if len(text) <= LONGEST and not matcher.is_certain(text))
