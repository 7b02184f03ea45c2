"""Whatever happens to a sale in whatever order: sums hold, and only a merge brings a person more than their limit."""

from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.flashsale import board, payments, sales, waiting
from bot.flashsale.merging import follow_merge
from bot.models.sale import Claim, ClaimStatus, Sale, SaleItem, Waiter, WaiterStatus
from crm import merges
from crm.base.errors import ShopError
from crm.models.member import Member
from tests.bot.flashsale.stall import Stall, item

PEOPLE, LIMITS = 4, (1, 2)  # of the first item and of the second
ACTS = ["claim", "pay", "wait", "release", "give_back"] * 2 + ["wait", "later", "leave", "merge", "react"]


@dataclass
class Story:
    """A sale of two items, one shared out to two of three groups, and what may happen. who, what, units: any number."""

    stall: Stall
    items: list[SaleItem]
    people: list[int]
    groups: list[int]
    merges: list[tuple[int, int]] = field(default_factory=list)  # whose reaction has not run

    def wish(self, who: int, what: int, units: int) -> Any:
        item, group = self.items[what % 2], self.groups[who % 3] if what % 2 else None
        return self.stall.request(item, self.people[who % PEOPLE], units % LIMITS[what % 2] + 1, group_id=group)

    async def claim(self, who: int, what: int, units: int) -> None:
        await self.stall.allocator.claim(self.wish(who, what, units))

    async def wait(self, who: int, what: int, units: int) -> None:
        async with self.stall.sessions.begin() as session:
            await waiting.join(session, self.wish(who, what, units), now=self.stall.clock.now())

    async def leave(self, who: int, what: int, units: int) -> None:
        async with self.stall.sessions.begin() as session:
            one, item = self.people[who % PEOPLE], self.items[what % 2]
            await waiting.leave(session, item.id, one, now=self.stall.clock.now())

    async def _some(self, number: int) -> Claim | None:
        async with self.stall.sessions.read() as session:
            mine = Claim.item_id.in_([each.id for each in self.items])
            known = (await session.scalars(sa.select(Claim).where(mine).order_by(Claim.id))).all()
        return known[number % len(known)] if known else None

    async def pay(self, who: int, what: int, units: int) -> None:
        if (claim := await self._some(who)) is not None:  # released or paid ones too
            wrong = units == 5
            await self.stall.pay(claim.no, claim.total_fen + wrong, transaction=f"{claim.no}-{units // 3}")

    async def give_back(self, who: int, what: int, units: int) -> None:
        if (claim := await self._some(who)) is not None:
            async with self.stall.sessions.begin() as session:
                now = self.stall.clock.now()
                await payments.give_back(session, claim.no, member_id=claim.member_id, now=now)
            self.stall.allocator.forget([claim.item_id])

    async def later(self, who: int, what: int, units: int) -> None:
        self.stall.clock.advance(minutes=units + 3)

    async def release(self, who: int, what: int, units: int) -> None:
        await self.stall.release()

    async def merge(self, who: int, what: int, units: int) -> None:
        one, two = self.people[who % PEOPLE], self.people[(who + 1 + what % (PEOPLE - 1)) % PEOPLE]
        async with self.stall.sessions.begin() as session:
            living = [(await session.get_one(Member, each)).merged_into_id or each for each in (one, two)]
            kept = await merges.merge(session, one, two, because="unionid", now=self.stall.clock.now())
        if living[0] != living[1]:
            self.merges.append((kept, sum(living) - kept))

    async def react(self, who: int, what: int, units: int) -> None:
        merges, self.merges = self.merges, []
        for kept, absorbed in merges:
            async with self.stall.sessions.begin() as session:
                await follow_merge(session, kept, absorbed, now=self.stall.clock.now())

    async def units(self) -> Counter[tuple[int, int]]:
        """(item, member as of now) -> what is held and paid; and sums hold."""
        async with self.stall.sessions.read() as session:
            assert await board.mismatches(session) == []
            for each in await session.scalars(sa.select(SaleItem)):
                assert 0 <= each.held + each.sold <= each.stock
            rows = await session.execute(
                sa.select(Claim.item_id, Claim.member_id, Claim.quantity).where(
                    Claim.status != ClaimStatus.RELEASED, Claim.item_id.in_([each.id for each in self.items])
                )
            )
            found: Counter[tuple[int, int]] = Counter()
            for item_id, member_id, quantity in rows:
                found[item_id, member_id] += quantity
        return found

    async def persons(self) -> dict[int, int]:
        async with self.stall.sessions.read() as session:
            rows = await session.execute(sa.select(Member.id, Member.merged_into_id).where(Member.id.in_(self.people)))
            return {row.id: row.merged_into_id or row.id for row in rows}

    async def nobody_is_left_waiting_for_what_is_there(self) -> None:
        """Once all that is due has run: of the item that is not shared out nothing is left while somebody waits."""
        async with self.stall.sessions.read() as session:
            left = SaleItem.stock - SaleItem.held - SaleItem.sold
            waits = sa.select(Waiter.id).join(SaleItem, SaleItem.id == Waiter.item_id)
            idle = waits.where(Waiter.status == WaiterStatus.WAITING, SaleItem.id == self.items[0].id, left > 0)
            assert (await session.scalars(idle)).all() == []


def summed(units: Counter[tuple[int, int]], persons: dict[int, int]) -> Counter[tuple[int, int]]:
    found: Counter[tuple[int, int]] = Counter()
    for (item_id, member_id), count in units.items():
        found[item_id, persons[member_id]] += count
    return found


async def begin(stall: Stall) -> Story:
    people, groups = await stall.members(PEOPLE), [(await stall.make.group()).id for _ in range(3)]
    shares = dict.fromkeys(groups[:2], 1)
    made = await stall.sale(
        item("A1", stock=1, limit_each=LIMITS[0]),
        item("A2", stock=3, limit_each=LIMITS[1], shares=shares),
        group_ids=groups,
    )
    async with stall.sessions.begin() as session:  # longer than any story
        await session.execute(sa.update(Sale).values(closes_at=stall.clock.now() + timedelta(days=1)))
    story = Story(stall, await stall.items(made), people, groups)
    for who, what in ((0, 0), (0, 1), (1, 1)):  # so that somebody has to wait
        await story.claim(who, what, 0)
    return story


STEPS = st.tuples(st.sampled_from(ACTS), st.integers(0, 11), st.integers(0, 5), st.integers(0, 5))


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=20, max_size=30))
async def test_whatever_happens_the_sums_hold(stall: Stall, steps: list[tuple[str, int, int, int]]) -> None:
    story = await begin(stall)
    before = await story.units()
    for name, *numbers in steps:
        act: Callable[[int, int, int], Coroutine[Any, Any, None]] = getattr(story, name)
        with suppress(ShopError):
            await act(*numbers)
        after, persons = await story.units(), await story.persons()
        had = summed(before, persons)
        for key, count in summed(after, persons).items():
            limit = LIMITS[key[0] == story.items[1].id]
            assert count <= max(limit, had[key]), (name, numbers, key)
        before = after
    await story.react(0, 0, 0)
    for who in range(PEOPLE):
        with suppress(ShopError):
            await story.wait(who, 0, 0)
    stall.clock.advance(sales.PAY_WINDOW)
    await story.release(0, 0, 0)
    await story.units()
    await story.nobody_is_left_waiting_for_what_is_there()
