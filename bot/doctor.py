"""What is stuck or inconsistent, in words: for `siyu doctor` and for the console's page of connections."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from bot import reports
from bot.flashsale import bills as stray_bills
from bot.flashsale import board, payments
from bot.flashsale.newcomers import waiting_counts
from bot.web.status import problems
from bot.webhooks import endpoints


async def examine(session: AsyncSession, *, now: datetime) -> list[str]:
    """One line each; empty when all is well. A line that is indented belongs to the one before."""
    found = problems(await reports.pulse(session, now=now), now=now)
    found += board.in_words(await board.mismatches(session))
    found += await endpoints.problems(session)
    found += [f"秒杀付款 {one.transaction_id} 要退：{one.why}" for one in await payments.due_back(session)]
    found += [
        f"秒杀 {sale.code} {sale.name} 有 {count} 个新面孔等人看：siyu newcomers list {sale.code}"
        for sale, count in await waiting_counts(session)
    ]
    found += [
        f"收款 {one.transaction_id} 对不上任何一单（{one.why}）：siyu bills list"
        for one in await stray_bills.strays(session)
    ]
    return found + [f"  {line}" for line in await reports.why_dead(session, now=now)]
