"""What a claim needs to know of a sale, as read a moment ago: a storm asks for the same few rows again and again.

Nothing here decides. Whether it is open, what is left and what one may have is read by the allocator, under its lock.
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.flashsale import board, groups, sales
from bot.flashsale.sales import Standing
from bot.flashsale.terms import ItemNotFound, SaleNotFound
from bot.models.sale import Sale, SaleGroup, SaleStatus
from crm.base.clock import Clock
from crm.base.db import Sessions

SECONDS = 1.0
MOST = 100  # sales remembered


@dataclass(frozen=True, slots=True)
class Known:
    """A sale that members may see. is_for_all: it is for no certain groups."""

    sale: Sale
    item_ids: dict[str, int]  # by code
    is_for_all: bool
    until: float


class KnownSales:
    """Sales by the code in their address."""

    def __init__(self, sessions: Sessions, clock: Clock) -> None:
        self._sessions, self._clock = sessions, clock
        self._known: dict[str, Known] = {}

    def item_id(self, code: str, item: str) -> int | None:
        """An item's id, if it has been asked for before: ids never change, so this one has no end."""
        known = self._known.get(code.upper())
        return known.item_ids.get(item) if known is not None else None

    async def get(self, code: str) -> Known:
        """Raises SaleNotFound, also for a draft."""
        known = self._known.get(code.upper())
        if known is None or self._clock.monotonic() >= known.until:
            async with self._sessions.read() as session:
                known = await self._read(session, code)
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[known.sale.code] = known
        return known

    async def _read(self, session: AsyncSession, code: str) -> Known:
        sale = await sales.get(session, code)
        if sale.status is SaleStatus.DRAFT:
            raise SaleNotFound(code)
        item_ids = {one.code: one.item_id for one in await board.items(session, sale.id)}
        group = await session.scalar(sa.select(SaleGroup.id).where(SaleGroup.sale_id == sale.id).limit(1))
        return Known(sale, item_ids, group is None, self._clock.monotonic() + SECONDS)

    async def place(
        self, known: Known, item: str, member_id: int, *, link: str, now: datetime
    ) -> tuple[int, Standing, int | None]:
        """The item's id, what the sale makes of this member, and the group their claim counts for.

        Of a sale for everybody that has opened all members are alike, and nothing is read. Raises ItemNotFound.
        """
        item_id = known.item_ids.get(item)
        if item_id is None:
            raise ItemNotFound(item[:8])
        if known.is_for_all and now >= known.sale.opens_at:
            return item_id, Standing(is_early=False, is_invited=True), None
        async with self._sessions.read() as session:
            standing = await sales.standing(session, known.sale, member_id, now=now)
            return item_id, standing, await groups.of_claim(session, known.sale, item_id, member_id, link=link)
