"""A shop with plans, members who subscribe, and a day that is worked off as the service does it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import subscription_days, subscription_orders, subscription_plans, subscription_reminders, subscriptions
from campaigns.definition import Message
from campaigns.models.subscription import Cycle, Mode, Reminder, ReminderStatus, Subscription
from campaigns.subscription_plans import PlanDraft, PlanView
from campaigns.subscription_reminders import Due, Key
from campaigns.subscriptions import View
from crm.base import outbox
from crm.base.clock import FrozenClock, day_start, local_day
from crm.base.db import Sessions
from crm.base.outbox import OutboxRow, Status
from crm.models.member import Member
from tests.factories import Make

FOOD = {"sku": "F1", "name": "全价猫粮 2kg", "category": "猫粮", "price_fen": 12_900}


@dataclass
class Paper:
    """Ways that write down what they would send."""

    open_to: set[int] = field(default_factory=set)
    colleagues: bool = True
    said: list[tuple[str, Due]] = field(default_factory=list)

    async def reachable(self, session: AsyncSession, member_ids: Collection[int], *, now: datetime) -> set[int]:
        return self.open_to & set(member_ids)

    async def write(self, session: AsyncSession, dues: Sequence[Due], *, now: datetime) -> Mapping[Key, str]:
        return {due.key: await self._put(session, "kf", due, now=now) for due in dues}

    def mass_message(self, due: Due) -> Message:
        return Message(text=f"您订阅的{due.title}{due.due_on:%m-%d}发货")

    async def to_do(self, session: AsyncSession, due: Due, why: str, *, now: datetime) -> str | None:
        return await self._put(session, "todo", due, now=now) if self.colleagues else None

    async def _put(self, session: AsyncSession, lane: str, due: Due, *, now: datetime) -> str:
        self.said.append((lane, due))
        key = f"{lane}:{due.key[0]}:{due.due_on}:{due.step}"
        await outbox.put(session, [outbox.Message(lane=lane, dedupe_key=key, body={})], now=now)
        return key


@dataclass
class Club:
    """Verbs in one line, each committed."""

    sessions: Sessions
    make: Make
    clock: FrozenClock
    ways: Paper = field(default_factory=Paper)

    async def plan(self, key: str = "粮", **more: Any) -> PlanView:
        told = {"key": key, "title": "猫粮月套餐", "items": [FOOD], "price_fen": 9900, "on_holiday": "same", **more}
        async with self.sessions.begin() as session:
            return await subscription_plans.put(session, PlanDraft.model_validate(told), now=self.clock.now())

    async def subscriber(
        self, key: str = "粮", *, member: Member | None = None, mode: Mode = Mode.DEFAULT, **more: Any
    ) -> View:
        member = member or await self.make.member()
        async with self.sessions.begin() as session:
            return await subscriptions.sign_up(session, member.id, key, mode=mode, now=self.clock.now(), **more)

    async def do(self, verb: Any, view: View, *told: Any, **more: Any) -> View:
        mine = view.subscription
        async with self.sessions.begin() as session:
            done: View = await verb(session, mine.no, *told, member_id=mine.member_id, now=self.clock.now(), **more)
            return done

    async def look(self, view: View) -> View:
        async with self.sessions.read() as session:
            return await subscriptions.get(session, view.subscription.no)

    async def pay(self, view: View, *, fen: int | None = None, transaction: str = "") -> Cycle:
        cycle = (await self.cycles(view))[-1]
        async with self.sessions.begin() as session:
            return await subscription_orders.pay(
                session, cycle.order_no, paid_fen=cycle.price_fen if fen is None else fen, paid_at=self.clock.now(),
                transaction_id=transaction or f"t-{cycle.order_no}", now=self.clock.now(),
            )  # fmt: skip

    async def cycles(self, view: View) -> list[Cycle]:
        mine = sa.select(Cycle).where(Cycle.subscription_id == view.subscription.id).order_by(Cycle.number)
        async with self.sessions.read() as session:
            return list(await session.scalars(mine))

    async def reminders(self, view: View) -> list[Reminder]:
        mine = sa.select(Cycle.id).where(Cycle.subscription_id == view.subscription.id)
        rows = sa.select(Reminder).where(Reminder.cycle_id.in_(mine)).order_by(Reminder.remind_on, Reminder.cycle_id)
        async with self.sessions.read() as session:
            return list(await session.scalars(rows))

    async def work(self) -> None:
        """All that is due at this instant; twice, because a second run must find nothing."""
        for _ in range(2):
            for step in subscription_days.STEPS:
                done = 1
                while done:
                    async with self.sessions.begin() as session:
                        done = await step(session, now=self.clock.now())
            async with self.sessions.begin() as session:
                await subscription_reminders.dispatch(session, self.ways, now=self.clock.now())

    async def day(self, on: date, *, hours: Sequence[int] = (10, 18)) -> None:
        """Go to the shop's day and work at these hours of it."""
        for hour in hours:
            to = day_start(on).timestamp() + hour * 3600
            if to > self.clock.now().timestamp():
                self.clock.advance(seconds=to - self.clock.now().timestamp())
            await self.work()

    async def deliver(self) -> None:
        """What is in the outbox is sent; the reminders hear of it."""
        sent = sa.update(OutboxRow).where(OutboxRow.status == Status.WAITING)
        async with self.sessions.begin() as session:
            await session.execute(sent.values(status=Status.SENT, settled_at=self.clock.now()))
        self.clock.advance(seconds=5)
        async with self.sessions.begin() as session:
            await subscription_reminders.settle(session, self.ways, now=self.clock.now())

    @property
    def today(self) -> date:
        return local_day(self.clock.now())


@pytest.fixture
def club(sessions: Sessions, make: Make, clock: FrozenClock) -> Club:
    return Club(sessions, make, clock)


def by_status(reminders: Sequence[Reminder], status: ReminderStatus) -> list[tuple[str, date]]:
    return [(one.step, one.remind_on) for one in reminders if one.status is status]


async def counted(session: AsyncSession, subscription: Subscription) -> int:
    """Paid since the last free one, counted from the deliveries."""
    rows = await session.scalars(
        sa.select(Cycle).where(Cycle.subscription_id == subscription.id).order_by(Cycle.number)
    )
    bought = 0
    for one in rows:
        if one.status.value == "paid":
            bought = 0 if one.is_gift else bought + 1
    return bought
