"""What a sale has to say unasked: to a member in the kf chat while its window is open, to who is responsible."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from bot import texts
from bot.app import App
from bot.flashsale import announce_words, words
from bot.flashsale.payments import RefundDue
from bot.flashsale.waiting import SaleOffered
from bot.models.sale import Sale, SaleItem
from bot.notices import say
from bot.wecom import lanes
from bot.wecom.window import WINDOW
from campaigns.group_posts import Progress
from crm.base import outbox
from crm.base.clock import SHANGHAI


async def offered(session: AsyncSession, offers: Sequence[SaleOffered], *, public_url: str, now: datetime) -> None:
    """Who waited hears that units are held for them, and until when."""
    for one in offers:
        item = await session.get_one(SaleItem, one.item_id)
        said = texts.SALE_OFFERED.format(
            item=item.name,
            quantity=one.quantity,
            yuan=words.yuan(one.quantity * item.price_fen),
            until=f"{one.pay_due_at.astimezone(SHANGHAI):%H:%M}",
            link="".join(f"\n{line}" for line in words.claim_link(public_url, one.no)),
        )
        await say(session, one.member_id, said, because=("sale-offer", one.no), until=one.pay_due_at, now=now)


async def refund_due(session: AsyncSession, due: RefundDue, *, now: datetime) -> None:
    """Whose money came too late hears that it goes back."""
    said = texts.SALE_REFUND.format(yuan=words.yuan(due.paid_fen))
    await say(session, due.member_id, said, because=("sale-refund", due.payment_id), until=now + WINDOW, now=now)


async def unsent(session: AsyncSession, found: Sequence[tuple[Sale, Progress]], *, app: App, now: datetime) -> None:
    """Who is responsible hears once, at the opening, which groups have not been told."""
    for sale, known in found if app.handoff.supervisors else ():
        names = "、".join(one.group for one in known.waiting[:10])
        said = texts.SALE_UNSENT.format(sale=sale.name, head=announce_words.headline(known), groups=names)
        message = lanes.staff_message(
            {"msgtype": "text", "text": {"content": said}},
            because=("sale-unsent", sale.id), userids=app.handoff.supervisors, deadline=sale.closes_at,
        )  # fmt: skip
        await outbox.put(session, [message], now=now)


async def looked_at(
    session: AsyncSession, sale: Sale, member_ids: Sequence[int], *, admitted: bool, now: datetime
) -> None:
    """Who had to wait until somebody had looked hears what came of it."""
    said = (texts.SALE_ADMITTED if admitted else texts.SALE_TURNED_AWAY).format(sale=sale.name)
    for one in member_ids:
        await say(session, one, said, because=("sale-newcomer", sale.id, one, admitted), until=now + WINDOW, now=now)
