"""Points: lots that come and go by the rules, exactly, whatever happens in whatever order."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncSession

from crm import check_ins, identities, loyalty_rules, merges, orders, point_nights, point_orders, point_returns, points
from crm.base import events
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.check_ins import CheckedInAlready, NoCheckIn
from crm.models.loyalty import EntryKind, LotState, PointEntry, PointLot
from crm.models.member import Member, MemberSource
from crm.models.order import Order
from crm.order_terms import Told
from crm.point_ledger import Cause, CauseToldDifferently
from crm.point_returns import PointsNotFound, TooMuchBack
from crm.point_rules import PointRules
from crm.points import Balance, NoPoints, NotEnoughPoints, PointsWrong, ReasonMissing
from tests.crm.loyalty_books import faults
from tests.factories import Make

BOOKS = settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
RULES = PointRules()


@asynccontextmanager
async def shop(sessions: Sessions, clock: FrozenClock, rules: PointRules = RULES) -> AsyncIterator[AsyncSession]:
    """A transaction in a shop with points, whose books are right at its end."""
    async with sessions.begin() as session:
        await loyalty_rules.set_points(session, rules, now=clock.now())
        yield session
        assert await faults(session) == []


async def balance(sessions: Sessions, member: Member, clock: FrozenClock) -> Balance:
    async with sessions.read() as session:
        return await points.balance_of(session, member.id, now=clock.now())


async def has(sessions: Sessions, member: Member, clock: FrozenClock) -> tuple[int, int, int]:
    found = await balance(sessions, member, clock)
    return found.active, found.pending, found.owed


async def grant(
    session: AsyncSession, member: Member, number: int, clock: FrozenClock, *, name: str = "g", days: int | None = None
) -> PointEntry:
    ends = clock.now() + timedelta(days=days) if days is not None else None
    return await points.grant(
        session, member.id, number, cause=Cause("manual", name), reason="补偿", by="dianzhang", expires_at=ends,
        now=clock.now(),
    )  # fmt: skip


async def spend(session: AsyncSession, member: Member, number: int, clock: FrozenClock, name: str = "s") -> PointEntry:
    return await points.spend(session, member.id, number, cause=Cause("coupon", name), now=clock.now())


async def settle(sessions: Sessions, clock: FrozenClock) -> None:
    async with sessions.begin() as session:
        while await point_nights.settle_due(session, now=clock.now()):
            pass
        assert await faults(session) == []


async def pay(sessions: Sessions, make: Make, member: Member, fen: int, clock: FrozenClock) -> Order:
    """A paid order, and what the reaction to it does."""
    order = await make.order(member, total_fen=fen)
    await follow(sessions, order, clock)
    return order


async def refund(sessions: Sessions, order: Order, fen: int, clock: FrozenClock) -> None:
    async with sessions.begin() as session:
        await orders.refund(
            session, "test", f"R{order.id}-{fen}-{clock.now():%s}", order_no=order.external_no, amount_fen=fen,
            refunded_at=clock.now(), now=clock.now(),
        )  # fmt: skip
    await follow(sessions, order, clock)


async def follow(sessions: Sessions, order: Order, clock: FrozenClock) -> None:
    async with sessions.begin() as session:
        await point_orders.follow(session, order.id, now=clock.now())
        assert await faults(session) == []


# Orders


async def test_an_orders_points_are_pending_until_the_refund_window_closes(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member = await make.member()
    async with shop(sessions, clock):
        pass
    order = await pay(sessions, make, member, 8899, clock)
    await follow(sessions, order, clock)  # an event may come twice
    assert await has(sessions, member, clock) == (0, 88, 0)
    clock.advance(days=14, hours=23)
    await settle(sessions, clock)
    assert await has(sessions, member, clock) == (0, 88, 0)
    clock.advance(hours=1)
    assert await has(sessions, member, clock) == (88, 0, 0), "true at once, before the sweep"
    await settle(sessions, clock)
    assert await has(sessions, member, clock) == (88, 0, 0)
    assert (await balance(sessions, member, clock)).expires_at == datetime(2027, 12, 31, 16, tzinfo=UTC)


async def test_a_refund_takes_back_its_share_and_a_full_one_all(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member = await make.member()
    async with shop(sessions, clock):
        pass
    order = await pay(sessions, make, member, 9900, clock)
    await refund(sessions, order, 3300, clock)
    assert await has(sessions, member, clock) == (0, 66, 0)
    clock.advance(days=20)
    await refund(sessions, order, 100, clock)
    assert await has(sessions, member, clock) == (65, 0, 0)
    await refund(sessions, order, 6500, clock)
    assert await has(sessions, member, clock) == (0, 0, 0)


async def test_points_that_were_spent_are_owed_and_the_next_ones_pay(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member = await make.member()
    async with shop(sessions, clock):
        pass
    order = await pay(sessions, make, member, 10000, clock)
    clock.advance(days=16)
    async with shop(sessions, clock) as session:
        await spend(session, member, 80, clock)
        await grant(session, member, 30, clock)
    await refund(sessions, order, 10000, clock)
    assert await has(sessions, member, clock) == (0, 0, 50), "20 of its own lot, 30 of another, the rest is owed"
    await pay(sessions, make, member, 4000, clock)
    assert await has(sessions, member, clock) == (0, 40, 50), "what is pending pays nothing yet"
    clock.advance(days=16)
    await settle(sessions, clock)
    assert await has(sessions, member, clock) == (0, 0, 10)
    async with shop(sessions, clock) as session:
        await grant(session, member, 25, clock, name="g2")
    assert await has(sessions, member, clock) == (15, 0, 0)


async def test_a_cancelled_spend_pays_the_debt_of_a_refund(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member = await make.member()
    async with shop(sessions, clock):
        pass
    order = await pay(sessions, make, member, 10000, clock)
    clock.advance(days=16)
    async with shop(sessions, clock) as session:
        await spend(session, member, 100, clock)
    await refund(sessions, order, 10000, clock)
    assert await has(sessions, member, clock) == (0, 0, 100)
    async with shop(sessions, clock) as session:
        await point_returns.give_back(session, Cause("coupon", "s"), by_cause=Cause("coupon", "x"), now=clock.now())
    assert await has(sessions, member, clock) == (0, 0, 0)


async def test_what_expired_unspent_is_not_taken_back_again(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member = await make.member()
    async with shop(sessions, clock, PointRules(lasts_days=30)):
        pass
    order = await pay(sessions, make, member, 10000, clock)
    clock.advance(days=20)
    async with sessions.begin() as session:
        await spend(session, member, 60, clock)
    clock.advance(days=20)
    await settle(sessions, clock)
    async with sessions.begin() as session:
        await grant(session, member, 500, clock)
    await refund(sessions, order, 10000, clock)
    assert await has(sessions, member, clock) == (440, 0, 0)


async def test_an_order_that_changes_hands_earns_for_the_other(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    one, other = await make.member(), await make.member()
    async with shop(sessions, clock):
        pass
    order = await pay(sessions, make, one, 5000, clock)
    for owner, wanted in ((other, (0, 50)), (one, (50, 0)), (other, (0, 50))):
        clock.advance(hours=1)
        told = Told(
            source="test", external_no=order.external_no, member_id=owner.id, placed_at=order.placed_at,
            total_fen=5000, paid_at=order.paid_at, told_at=clock.now(),
        )  # fmt: skip
        async with sessions.begin() as session:
            await orders.place(session, told, now=clock.now())
        await follow(sessions, order, clock)
        await follow(sessions, order, clock)
        assert ((await has(sessions, one, clock))[1], (await has(sessions, other, clock))[1]) == wanted


async def test_without_rules_nothing_is_earned(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member = await make.member()
    await pay(sessions, make, member, 10000, clock)
    assert await has(sessions, member, clock) == (0, 0, 0)
    with pytest.raises(NoCheckIn):
        async with sessions.begin() as session:
            await check_ins.check_in(session, member.id, now=clock.now())
    with pytest.raises(NoPoints):
        async with sessions.begin() as session:
            await points.earn(session, member.id, 5, cause=Cause("review", "1"), now=clock.now())


# Spending


async def test_the_oldest_expiry_goes_first_and_comes_back_last(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member = await make.member()
    async with shop(sessions, clock, PointRules(lasts_years=None)) as session:
        for name, days in (("never", None), ("late", 60), ("soon", 10)):
            await grant(session, member, 100, clock, name=name, days=days)
        spent = await spend(session, member, 150, clock)
        lots = {lot.id: lot for lot in await session.scalars(sa.select(PointLot))}
        uses = await points_of(session, spent)
        assert [(lots[lot_id].expires_at, number) for lot_id, number in uses.items()] == [
            (clock.now() + timedelta(days=10), 100),
            (clock.now() + timedelta(days=60), 50),
        ]
        back = Cause("coupon", "back")
        await point_returns.give_back(session, Cause("coupon", "s"), by_cause=back, points=70, now=clock.now())
        again = await point_returns.give_back(session, Cause("coupon", "s"), by_cause=back, points=70, now=clock.now())
        assert again is not None and again.points == 70
        assert list((await points_of(session, spent)).values()) == [80], (
            "70 are back: 50 in the later lot, 20 in the first"
        )
        with pytest.raises(TooMuchBack):
            await point_returns.give_back(
                session, Cause("coupon", "s"), by_cause=Cause("coupon", "z"), points=81, now=clock.now()
            )
    assert (await balance(sessions, member, clock)).expiring == 20


async def points_of(session: AsyncSession, spent: PointEntry) -> dict[int, int]:
    return await point_returns.lots_of_spend(session, spent.id)


async def test_what_comes_back_too_late_is_gone_at_once(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member = await make.member()
    async with shop(sessions, clock) as session:
        await grant(session, member, 100, clock, days=10)
        await spend(session, member, 60, clock)
    clock.advance(days=10)
    await settle(sessions, clock)
    assert await has(sessions, member, clock) == (0, 0, 0)
    async with shop(sessions, clock) as session:
        await point_returns.give_back(session, Cause("coupon", "s"), by_cause=Cause("coupon", "x"), now=clock.now())
    assert await has(sessions, member, clock) == (0, 0, 0)
    async with sessions.read() as session:
        kinds = [entry.kind for entry in await points.statement_of(session, member.id)]
    assert kinds == [EntryKind.EXPIRED, EntryKind.RETURNED, EntryKind.EXPIRED, EntryKind.SPENT, EntryKind.GRANTED]


async def test_a_cause_moves_points_once_and_must_mean_the_same(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member = await make.member()
    async with shop(sessions, clock) as session:
        first = await grant(session, member, 100, clock)
        assert (await grant(session, member, 100, clock)).id == first.id
        await spend(session, member, 40, clock)
        await spend(session, member, 40, clock)
        with pytest.raises(CauseToldDifferently) as told:
            await spend(session, member, 41, clock)
        assert told.value.known_points == -40
        with pytest.raises(NotEnoughPoints) as refused:
            await spend(session, member, 61, clock, "other")
        assert (refused.value.points, refused.value.available) == (61, 60)
        with pytest.raises(PointsNotFound):
            await point_returns.give_back(session, Cause("x", "1"), by_cause=Cause("x", "2"), now=clock.now())
    assert await has(sessions, member, clock) == (60, 0, 0)


@pytest.mark.parametrize("number", [0, -1, 10**9 + 1])
async def test_odd_numbers_are_refused(sessions: Sessions, make: Make, clock: FrozenClock, number: int) -> None:
    member = await make.member()
    async with shop(sessions, clock) as session:
        with pytest.raises(PointsWrong):
            await grant(session, member, number, clock)
        with pytest.raises(PointsWrong):
            await spend(session, member, number, clock)


async def test_a_hand_gives_a_reason_and_a_name(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member, cause = await make.member(), Cause("manual", "1")
    async with shop(sessions, clock) as session:
        for reason, by in (("  ", "adou"), ("补偿", "")):
            with pytest.raises(ReasonMissing):
                await points.grant(session, member.id, 5, cause=cause, reason=reason, by=by, now=clock.now())
        await grant(session, member, 5, clock)
        with pytest.raises(NotEnoughPoints):
            await points.deduct(session, member.id, 6, cause=cause, reason="刷分", by="adou", now=clock.now())
        taken = await points.deduct(session, member.id, 5, cause=cause, reason=" 刷分 ", by="adou", now=clock.now())
        assert (taken.points, taken.reason, taken.by) == (-5, "刷分", "adou")


async def test_an_earning_is_cancelled_once(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member = await make.member()
    async with shop(sessions, clock) as session:
        await points.earn(session, member.id, 20, cause=Cause("review", "1"), now=clock.now())
        for _ in range(2):
            await point_returns.cancel_earning(
                session, Cause("review", "1"), by_cause=Cause("review", "gone"), now=clock.now()
            )
    assert await has(sessions, member, clock) == (0, 0, 0)


async def test_a_day_has_its_caps(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member = await make.member()
    rules = PointRules(daily_caps={"review": 50, "any": 60})
    async with shop(sessions, clock, rules) as session:
        got = [
            (await points.earn(session, member.id, 30, cause=Cause(kind, name), now=clock.now())).points
            for kind, name in (("review", "1"), ("review", "2"), ("review", "3"), ("survey", "1"), ("survey", "2"))
        ]
        assert got == [30, 20, 0, 10, 0]
        clock.advance(hours=14, seconds=-1)  # 23:59:59
        assert (await points.earn(session, member.id, 9, cause=Cause("review", "4"), now=clock.now())).points == 0
        clock.advance(seconds=1)
        assert (await points.earn(session, member.id, 9, cause=Cause("review", "5"), now=clock.now())).points == 9


# Check-ins


async def test_days_in_a_row_bring_more_and_a_missed_one_begins_again(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member, got = await make.member(), []
    for day in range(12):
        clock.advance(days=1)
        if day == 9:
            continue
        async with shop(sessions, clock) as session:
            done = await check_ins.check_in(session, member.id, now=clock.now())
            got.append((done.streak, done.points, done.reward_in))
            with pytest.raises(CheckedInAlready):
                await check_ins.check_in(session, member.id, now=clock.now())
    assert got[5:9] == [(6, 2, 1), (7, 12, 7), (1, 2, 6), (2, 2, 5)]
    assert [one[0] for one in got[9:]] == [1, 2]
    assert await has(sessions, member, clock) == (11 * 2 + 10, 0, 0)


async def test_a_day_of_check_ins_begins_at_the_shops_midnight(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member = await make.member()
    clock.advance(hours=14, seconds=-1)  # 23:59:59 in Shanghai
    async with shop(sessions, clock) as session:
        await check_ins.check_in(session, member.id, now=clock.now())
        clock.advance(seconds=1)
        assert (await check_ins.check_in(session, member.id, now=clock.now())).streak == 2


# Time


async def test_members_are_told_once_before_points_expire(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member = await make.member()
    async with shop(sessions, clock) as session:
        for name, days in (("a", 40), ("b", 45), ("c", 400)):
            await grant(session, member, 10, clock, name=name, days=days)
    told = []
    for _ in range(50):
        clock.advance(days=1)
        async with sessions.begin() as session:
            await point_nights.warn(session, now=clock.now())
            await point_nights.settle_due(session, now=clock.now())
            told += [one.body for one in await events.take(session, "test") if one.name == "PointsExpiring"]
    assert [(one["points"], one["first_on"]) for one in told] == [(10, "2026-04-18"), (10, "2026-04-23")]
    assert await has(sessions, member, clock) == (10, 0, 0)


async def test_months_pass(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    """Two years of a regular: what was earned in one year is gone at the end of the next, the rest is there."""
    member = await make.member()
    async with shop(sessions, clock):
        pass
    for _ in range(22):
        await pay(sessions, make, member, 1000, clock)
        clock.advance(days=30)
        await settle(sessions, clock)
    assert clock.now() == datetime(2027, 12, 29, 2, tzinfo=UTC)
    assert await has(sessions, member, clock) == (220, 0, 0)
    assert (await balance(sessions, member, clock)).expiring == 100, "10 orders of 2026"
    clock.advance(days=3)
    await settle(sessions, clock)
    assert await has(sessions, member, clock) == (120, 0, 0)


# Merges


async def test_a_merge_carries_the_ledger_and_its_undoing_parts_it(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    one, other = await make.member(), await make.member()
    async with shop(sessions, clock) as session:
        await grant(session, one, 100, clock, name="a", days=90)
        await grant(session, other, 50, clock, name="b", days=10)
        for member in (one, other):
            await check_ins.check_in(session, member.id, now=clock.now())
    clock.advance(hours=1)
    async with shop(sessions, clock) as session:
        await merges.merge(session, one.id, other.id, because="manual", now=clock.now())
        await point_returns.follow_merge(session, one.id, now=clock.now())
        assert await faults(session) == []
        await spend(session, other, 70, clock)  # told under either number; the lot that expires first was the other's
    assert await has(sessions, one, clock) == (84, 0, 0)
    async with shop(sessions, clock) as session:
        with pytest.raises(CheckedInAlready):
            await check_ins.check_in(session, one.id, now=clock.now())
    clock.advance(hours=1)
    async with shop(sessions, clock) as session:
        await merges.undo(session, other.id, now=clock.now())
        for _ in range(2):
            await point_returns.part(session, one.id, other.id, now=clock.now())
    assert (await has(sessions, one, clock), await has(sessions, other, clock)) == ((82, 0, 0), (2, 0, 0))
    async with sessions.read() as session:
        parted = await session.execute(
            sa.select(PointEntry.member_id, PointEntry.points).where(PointEntry.kind == EntryKind.PARTED)
        )
    assert {row.member_id: row.points for row in parted} == {one.id: 50, other.id: -50}


async def test_what_one_owes_the_other_pays_after_a_merge(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    one, other = await make.member(), await make.member()
    async with shop(sessions, clock):
        pass
    order = await pay(sessions, make, one, 3000, clock)
    clock.advance(days=16)
    async with shop(sessions, clock) as session:
        await spend(session, one, 30, clock)
        await grant(session, other, 100, clock)
    await refund(sessions, order, 3000, clock)
    async with sessions.begin() as session:
        await merges.merge(session, one.id, other.id, because="manual", now=clock.now())
    assert await has(sessions, one, clock) == (70, 0, 0)
    async with shop(sessions, clock) as session:
        await point_returns.follow_merge(session, one.id, now=clock.now())
    assert await has(sessions, one, clock) == (70, 0, 0)


# Whatever happens


class Seen(Exception):
    """Rolls a world back."""


@BOOKS
@given(chance=st.randoms(use_true_random=False))
async def test_the_books_are_right_whatever_happens(sessions: Sessions, chance: Random) -> None:
    clock = FrozenClock()
    with pytest.raises(Seen):
        async with sessions.begin() as session:
            await Story(session, clock, chance).play()
            raise Seen


class Story:
    """Random days of two members: orders, refunds, spends and returns, check-ins, merges, and nights that pass."""

    def __init__(self, session: AsyncSession, clock: FrozenClock, chance: Random) -> None:
        self.session, self.clock, self.chance = session, clock, chance
        self.spends: list[str] = []
        self.orders: list[Order] = []
        self.number = 0

    async def play(self) -> None:
        rules = PointRules(lasts_days=self.chance.choice((20, 40)), daily_caps={"any": 150})
        await loyalty_rules.set_points(self.session, rules, now=self.clock.now())
        people = [identities.wechat_person(f"wm-story-{n}") for n in range(2)]
        self.people = await identities.enrol_batch(
            self.session, people, source=MemberSource.KF, now=self.clock.now(), chance=Random(7)
        )
        acts = (self.buys, self.buys, self.refunds, self.spends_some, self.spends_some, self.takes_back, self.waits)
        acts += (self.waits, self.checks_in, self.is_granted, self.merges)
        for _ in range(20):
            self.number += 1
            await self.chance.choice(acts)()
            assert await faults(self.session) == []
            for one in self.people:
                found = await points.balance_of(self.session, one, now=self.clock.now())
                assert min(found.active, found.pending, found.owed, found.expiring) >= 0
                assert not (found.active and found.owed)

    @property
    def somebody(self) -> int:
        return self.chance.choice(self.people)

    async def buys(self) -> None:
        fen, at = self.chance.randint(0, 9000), self.clock.now()
        told = Told(
            source="t", external_no=f"T{self.number}", member_id=self.somebody, placed_at=at, total_fen=fen, paid_at=at
        )
        order = await orders.place(self.session, told, now=at)
        await point_orders.follow(self.session, order.id, now=at)
        self.orders.append(order)

    async def refunds(self) -> None:
        able = [order for order in self.orders if order.refunded_fen < order.paid_fen]
        if not able:
            return
        order, now = self.chance.choice(able), self.clock.now()
        left = order.paid_fen - order.refunded_fen
        fen = self.chance.choice((left, self.chance.randint(1, left)))
        await orders.refund(
            self.session, "t", f"R{self.number}", order_no=order.external_no, amount_fen=fen, refunded_at=now, now=now
        )
        await point_orders.follow(self.session, order.id, now=now)
        if order.refunded_fen == order.paid_fen:
            await self._is_gone(order)

    async def _is_gone(self, order: Order) -> None:
        """Of a fully refunded order nothing is left: all that came was taken back, or expired."""
        earned = await self.session.scalar(
            sa.select(PointEntry).where(PointEntry.cause_kind == "order", PointEntry.cause_id == str(order.id))
        )
        if earned is None or not earned.points:
            return
        lot = (await self.session.scalars(sa.select(PointLot).where(PointLot.entry_id == earned.id))).one()
        assert lot.remaining == 0 or lot.state is LotState.EXPIRED

    async def spends_some(self) -> None:
        name, member_id = f"S{self.number}", self.somebody
        can = (await points.balance_of(self.session, member_id, now=self.clock.now())).active
        if not can:
            return
        number = self.chance.choice((can, self.chance.randint(1, can)))
        await points.spend(self.session, member_id, number, cause=Cause("coupon", name), now=self.clock.now())
        self.spends.append(name)

    async def takes_back(self) -> None:
        """Half of a spend, then all of it: each lot has again what was taken from it, unless that has expired."""
        if not self.spends:
            return
        cause, now = Cause("coupon", self.spends.pop()), self.clock.now()
        spent = (
            await self.session.scalars(
                sa.select(PointEntry).where(PointEntry.kind == EntryKind.SPENT, PointEntry.cause_id == cause.id)
            )
        ).one()
        half = -spent.points // 2
        if half:
            await point_returns.give_back(
                self.session, cause, by_cause=Cause("back", f"{self.number}a"), points=half, now=now
            )
        await point_returns.give_back(self.session, cause, by_cause=Cause("back", f"{self.number}b"), now=now)
        assert await point_returns.lots_of_spend(self.session, spent.id) == {}

    async def waits(self) -> None:
        self.clock.advance(days=self.chance.choice((0, 1, 5, 16, 25)), hours=self.chance.choice((1, 7)))
        if self.chance.random() < 0.6:
            while await point_nights.settle_due(self.session, now=self.clock.now()):
                pass

    async def checks_in(self) -> None:
        try:
            await check_ins.check_in(self.session, self.somebody, now=self.clock.now())
        except CheckedInAlready:
            return

    async def is_granted(self) -> None:
        cause = Cause("manual", str(self.number))
        await points.grant(self.session, self.somebody, 40, cause=cause, reason="补偿", by="adou", now=self.clock.now())

    async def merges(self) -> None:
        """Two become one, which each of their numbers leads to; the undoing comes at once, or not at all."""
        one, other = sorted(self.people)
        if one == other or self.chance.random() < 0.5:
            return
        await merges.merge(self.session, one, other, because="manual", now=self.clock.now())
        await point_returns.follow_merge(self.session, one, now=self.clock.now())
        if self.chance.random() < 0.5:
            self.people = [one, one]
            return
        await self.spends_some()
        await merges.undo(self.session, other, now=self.clock.now())
        await point_returns.part(self.session, one, other, now=self.clock.now())
