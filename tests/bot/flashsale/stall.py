"""A flash sale for tests: members, a sale that is open, and claims on it in one line."""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot.flashsale import board, payments, sales
from bot.flashsale.allocator import Allocator
from bot.flashsale.payments import Payment
from bot.flashsale.sales import ItemPlan, Plan
from bot.flashsale.terms import Granted, Request
from bot.models.sale import Channel, Claim, ClaimStatus, Sale, SaleItem, SalePayment
from crm import identities
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.models.member import MemberSource
from tests.factories import Make


@dataclass
class Stall:
    """The sale under test. Every claim has a request of its own unless told otherwise."""

    sessions: Sessions
    make: Make
    clock: FrozenClock
    allocator: Allocator
    keys: int = 0

    async def sale(self, *items: ItemPlan, opens_in: timedelta = timedelta(0), **more: Any) -> Sale:
        now = self.clock.now()
        plan = Plan(
            name="周四秒杀",
            opens_at=now + opens_in,
            closes_at=now + opens_in + timedelta(hours=1),
            items=items or (item(),),
            **more,
        )
        async with self.sessions.begin() as session:
            made = await sales.plan(session, plan, now=now, chance=random.Random(self.keys + 7))
            await sales.announce(session, made.id)
        return made

    async def item(self, *, stock: int = 3, limit_each: int = 1, **more: Any) -> SaleItem:
        """The one item of a sale that is open."""
        made = await self.sale(item(stock=stock, limit_each=limit_each), **more)
        return (await self.items(made))[0]

    async def items(self, sale: Sale) -> list[SaleItem]:
        async with self.sessions.read() as session:
            return await sales.items_of(session, sale.id)

    async def members(self, count: int) -> list[int]:
        self.keys += 1
        names = [identities.wechat_person(f"wm-stall-{self.keys}-{number}") for number in range(count)]
        async with self.sessions.begin() as session:
            found = await identities.enrol_batch(session, names, source=MemberSource.KF, now=self.clock.now())
        return [member_id for member_id in found if member_id is not None]

    def request(self, item: SaleItem, member_id: int, quantity: int = 1, *, key: str = "", **more: Any) -> Request:
        self.keys += 1
        return Request(
            item_id=item.id,
            member_id=member_id,
            quantity=quantity,
            key=key or f"r{self.keys}",
            channel=Channel.H5,
            **more,
        )

    async def claim(self, item: SaleItem, member_id: int, quantity: int = 1, **more: Any) -> Granted:
        return await self.allocator.claim(self.request(item, member_id, quantity, **more))

    async def pay(self, no: str, fen: int, *, transaction: str = "") -> SalePayment:
        now = self.clock.now()
        async with self.sessions.begin() as session:
            return await payments.pay(session, Payment(transaction or f"t-{no}", no, fen, now), now=now)

    async def release(self) -> list[payments.SaleOffered]:
        async with self.sessions.begin() as session:
            return (await payments.release_due(session, now=self.clock.now()))[1]

    async def counters(self, item: SaleItem) -> tuple[int, int, int]:
        """held, sold, left; and they are the sums of the claims."""
        async with self.sessions.read() as session:
            assert await board.mismatches(session) == []
            row = (
                await session.execute(
                    sa.select(SaleItem.held, SaleItem.sold, SaleItem.stock).where(SaleItem.id == item.id)
                )
            ).one()
        return row.held, row.sold, row.stock - row.held - row.sold

    async def statuses(self, member_id: int) -> list[ClaimStatus]:
        async with self.sessions.read() as session:
            return list(
                await session.scalars(sa.select(Claim.status).where(Claim.member_id == member_id).order_by(Claim.id))
            )


def item(code: str = "A1", *, stock: int = 3, limit_each: int = 1, **more: Any) -> ItemPlan:
    return ItemPlan(
        code=code,
        sku=f"SKU-{code}",
        name=f"冻干 {code}",
        price_fen=1990,
        list_price_fen=5990,
        stock=stock,
        limit_each=limit_each,
        **more,
    )


@pytest.fixture
async def stall(sessions: Sessions, make: Make, clock: FrozenClock) -> AsyncIterator[Stall]:
    allocator = Allocator(sessions, clock)
    await allocator.start()
    yield Stall(sessions, make, clock, allocator)
    await allocator.stop()
