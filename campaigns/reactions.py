"""What follows from facts: crm's events, read forward, each reaction in the transaction that moves the cursor.

An event is seen at least once and its reactions commit together with the cursor, so a kill repeats or keeps both. A
reaction that fails stops the cursor, is tried again, and after some tries is left out and kept for a person to see.
"""

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import (
    coupon_days,
    coupons,
    replenishment,
    sequence_exits,
    staff_tasks,
    subscription_orders,
    subscriptions,
)
from campaigns.brakes import SendingStopped
from campaigns.coupon_terms import OrderRef
from campaigns.tasks import progress
from campaigns.tasks.entries import TaskDone
from campaigns.tasks.reviews import ReviewDecided
from crm import (
    custom_events,
    holds,
    level_changes,
    levels,
    lifecycle,
    member_dates,
    point_orders,
    point_returns,
    rfm,
    rule_tags,
    segments,
)
from crm.base import events, outbox
from crm.base.clock import Clock
from crm.base.db import Sessions
from crm.base.events import Recorded
from crm.base.outbox import OutboxRow, Purpose
from crm.base.peers import Peers
from crm.check_ins import CheckedIn
from crm.consents import MARKETING, OptedIn, OptedOut
from crm.contacts import ContactAdded, ContactLost
from crm.custom_events import CustomHappened
from crm.groups import GroupJoined, GroupLeft
from crm.levels import LevelMoved
from crm.lifecycle import StageMoved
from crm.member_tags import MemberTagged, MemberUntagged
from crm.members import MemberEnrolled
from crm.merges import MembersMerged, MergeUndone
from crm.models.order import Order
from crm.orders import OrderCancelled, OrderChanged, OrderPaid, OrderRefunded
from crm.point_ledger import PointsActivated, PointsMoved

log = logging.getLogger(__name__)

Event = TypeVar("Event")
Reaction = Callable[..., Awaitable[None]]  # (session, event, *, now)
OfMembers = Callable[..., Awaitable[None]]  # (session, member_ids, *, now)
Table = Mapping[str, Sequence[tuple[type[Any], Reaction]]]

TOGETHER = 100
TRIES = 5
IDLE_SECONDS = 1.0
AFTER_FAILURE_SECONDS = 2.0


class Reactions:
    """Which functions follow which events."""

    def __init__(self) -> None:
        self.table: defaultdict[str, list[tuple[type[Any], Reaction]]] = defaultdict(list)

    def to(self, kind: type[Event]) -> Callable[[Reaction], Reaction]:
        """Register a reaction to events of this type."""

        def register(reaction: Reaction) -> Reaction:
            self.table[kind.__name__].append((kind, reaction))
            return reaction

        return register

    def about(self, *kinds: type[Any]) -> Callable[[OfMembers], OfMembers]:
        """Register what is done once a round for all members whom events of these types are about.

        An order is told by four or five events, an import by thousands: its members are looked at once, together.
        """

        def register(reaction: OfMembers) -> OfMembers:
            for kind in kinds:
                self.table[kind.__name__].append((kind, _Together(reaction)))
            return reaction

        return register


@dataclass(frozen=True, slots=True)
class _Together:
    """A reaction that waits for the end of the round; to one event alone it reacts like any other."""

    of_members: OfMembers

    async def __call__(self, session: AsyncSession, event: Any, *, now: datetime) -> None:
        await self.of_members(session, [event.member_id], now=now)


reactions = Reactions()
reacts_to = reactions.to


class Reader:
    """Reads events for one table of reactions, under one cursor."""

    def __init__(self, sessions: Sessions, peers: Peers, clock: Clock, *, cursor: str, table: Table) -> None:
        self._sessions, self._peers, self._clock = sessions, peers, clock
        self._cursor, self._table = cursor, table

    async def run(self) -> None:
        """Forever: react to what happened, then wait a moment for more."""
        async with self._sessions.begin() as session:
            if await events.after_restore(session):
                log.warning("events.restored", extra={"cursor": self._cursor})
        while True:
            done, failed = await self.round()
            if failed:
                await self._peers.wait(f"events-failed:{self._cursor}", seconds=AFTER_FAILURE_SECONDS)
            elif not done:
                await self._peers.wait(f"events:{self._cursor}", seconds=IDLE_SECONDS)

    async def round(self) -> tuple[int, bool]:
        """React to the next events in one transaction; returns how many, and whether one failed and will come again."""
        now = self._clock.now()
        async with self._sessions.begin() as session:
            found = await events.peek(session, self._cursor, limit=TOGETHER)
            done = 0
            for event in found:
                if not await self._react(session, event, now=now):
                    break
                done += 1
            done = await self._react_together(session, found[:done], now=now)
            if done:
                await events.move(session, self._cursor, to=found[done - 1])
        return done, done < len(found)

    async def _react_together(self, session: AsyncSession, seen: Sequence[Recorded], *, now: datetime) -> int:
        """What is done once for the members of all these events; returns how many of the events are done with.

        When it fails it is done for one event after the other, and the one that fails is treated like any that does.
        """
        wanted: defaultdict[OfMembers, set[int]] = defaultdict(set)
        for event in seen:
            for kind, reaction in self._table.get(custom_events.kind_of(event.name), ()):
                if isinstance(reaction, _Together):
                    wanted[reaction.of_members].add(event.load(kind).member_id)
        try:
            async with session.begin_nested():
                for of_members, member_ids in wanted.items():
                    await of_members(session, sorted(member_ids), now=now)
        except Exception:
            log.exception("events.together_failed", extra={"events": len(seen)})
            for place, event in enumerate(seen):
                if not await self._react(session, event, now=now, together=True):
                    return place
        return len(seen)

    async def _react(self, session: AsyncSession, event: Recorded, *, now: datetime, together: bool = False) -> bool:
        """All reactions to one event, or none of them; False when it shall be tried again.

        together: those that are done once a round, else the others.
        """
        try:
            async with session.begin_nested():
                for kind, reaction in self._table.get(custom_events.kind_of(event.name), ()):
                    if isinstance(reaction, _Together) is together:
                        await reaction(session, event.load(kind), now=now)
        except Exception as error:
            log.exception("events.reaction_failed", extra={"event_id": event.id, "event_name": event.name})
            tries = await events.note_failure(session, self._cursor, event, f"{type(error).__name__}: {error}", now=now)
            return tries >= TRIES
        return True


@reacts_to(OptedOut)
async def take_back_marketing(session: AsyncSession, event: OptedOut, *, now: datetime) -> None:
    """Who opts out gets nothing more, also of what was waiting to leave."""
    if event.topic != MARKETING:
        return
    waiting = (OutboxRow.member_id == event.member_id, OutboxRow.purpose == Purpose.MARKETING)
    await outbox.cancel(session, *waiting, reason="opted out", now=now)


@reacts_to(MemberEnrolled)
async def begin_lifecycle(session: AsyncSession, event: MemberEnrolled, *, now: datetime) -> None:
    """Who joins is a lead, and of the lowest level, from the first second on."""
    await lifecycle.begin(session, among=[event.member_id], now=now)
    await levels.begin(session, among=[event.member_id], now=now)


@reacts_to(OrderPaid)
@reacts_to(OrderRefunded)
@reacts_to(OrderChanged)
async def keep_points_of_order(
    session: AsyncSession, event: OrderPaid | OrderRefunded | OrderChanged, *, now: datetime
) -> None:
    """Points come with a payment and go with the money. A refund that names no order is nobody's earning."""
    if event.order_id is not None:
        await point_orders.follow(session, event.order_id, now=now)


@reacts_to(CheckedIn)
async def reward_days_in_a_row(session: AsyncSession, event: CheckedIn, *, now: datetime) -> None:
    """Also of check-ins that came over the API: those in the chat and on the page are rewarded at once."""
    await progress.follow_check_in(session, event.member_id, on=event.checked_on, now=now)


@reactions.about(CheckedIn, OrderPaid, TaskDone, ReviewDecided)
async def reward_months(session: AsyncSession, member_ids: Sequence[int], *, now: datetime) -> None:
    """What monthly tasks count."""
    await progress.follow_months(session, member_ids, now=now)


@reacts_to(OrderPaid)
async def spend_coupons(session: AsyncSession, event: OrderPaid, *, now: datetime) -> None:
    """What an order holds is spent when it is paid."""
    await coupons.redeem_order(session, await _order(session, event.order_id), now=now)


@reacts_to(OrderCancelled)
async def release_coupons(session: AsyncSession, event: OrderCancelled, *, now: datetime) -> None:
    """An order that nobody pays gives back what it holds."""
    await coupons.release_order(session, await _order(session, event.order_id), now=now)


@reacts_to(OrderRefunded)
async def return_coupons(session: AsyncSession, event: OrderRefunded, *, now: datetime) -> None:
    """When all of its money went back, so do its coupons."""
    if event.is_full and event.order_id is not None:
        await coupons.return_order(session, await _order(session, event.order_id), now=now)


@reacts_to(OrderPaid)
async def settle_delivery(session: AsyncSession, event: OrderPaid, *, now: datetime) -> None:
    """A delivery of a subscription is paid wherever we hear of it."""
    await subscription_orders.follow_payment(session, event.order_id, now=now)


@reacts_to(OrderPaid)
async def count_replenishment(session: AsyncSession, event: OrderPaid, *, now: datetime) -> None:
    """Who bought it again needs no reminder of it."""
    await replenishment.follow_order(session, event.order_id, now=now)


@reacts_to(OrderCancelled)
async def drop_delivery(session: AsyncSession, event: OrderCancelled, *, now: datetime) -> None:
    """The shop cancelled a delivery's order."""
    await subscription_orders.follow_cancel(session, event.order_id, now=now)


@reacts_to(OrderRefunded)
async def uncount_delivery(session: AsyncSession, event: OrderRefunded, *, now: datetime) -> None:
    """A delivery whose money went back does not count towards the next free one."""
    if event.is_full and event.order_id is not None:
        await subscription_orders.follow_refund(session, event.order_id, now=now)


async def _order(session: AsyncSession, order_id: int) -> OrderRef:
    order = await session.get_one(Order, order_id)
    return OrderRef(order.source, order.external_no)


@reacts_to(MembersMerged)
async def join_standings(session: AsyncSession, event: MembersMerged, *, now: datetime) -> None:
    """One person has one score, one stage, one level and one birthday; the points of one pay what the other owes."""
    await holds.hold(session, event.kept_id)  # an order of theirs waits, and adds to what is counted here
    await rfm.recount(session, [event.kept_id, event.absorbed_id], now=now)
    await lifecycle.follow_merge(session, event.kept_id, event.absorbed_id, now=now)
    await level_changes.follow_merge(session, event.kept_id, event.absorbed_id, now=now)
    await point_returns.follow_merge(session, event.kept_id, now=now)
    await member_dates.follow_merge(session, event.kept_id, event.absorbed_id)
    await coupon_days.follow_people(session, event.kept_id, event.absorbed_id)
    await subscriptions.follow_people(session, event.kept_id, event.absorbed_id)
    await replenishment.follow_people(session, event.kept_id, event.absorbed_id, now=now)
    await sequence_exits.follow_merge(session, event.kept_id, event.absorbed_id, now=now)
    await judge_anew(session, [event.kept_id], now=now)
    await segments.follow(session, [event.absorbed_id], now=now)  # who is merged leaves them all, and is told to


@reacts_to(MergeUndone)
async def part_standings(session: AsyncSession, event: MergeUndone, *, now: datetime) -> None:
    """Two people have a score, a stage, a level and points each, from what is theirs again."""
    both = [event.kept_id, event.absorbed_id]
    for member_id in both:
        await holds.hold(session, member_id)
    await rfm.recount(session, both, now=now)
    await lifecycle.judge_members(session, both, now=now)
    await level_changes.part(session, event.kept_id, event.absorbed_id, now=now)
    await point_returns.part(session, event.kept_id, event.absorbed_id, now=now)
    await coupon_days.follow_people(session, *both)
    await subscriptions.follow_people(session, *both)
    await replenishment.follow_people(session, *both, now=now)
    await judge_anew(session, both, now=now)


CHANGES_A_MEMBER = (
    *(MemberEnrolled, OrderPaid, OrderRefunded, OrderCancelled, StageMoved, LevelMoved, PointsMoved, PointsActivated),
    *(
        ContactAdded,
        ContactLost,
        GroupJoined,
        GroupLeft,
        OptedIn,
        OptedOut,
        MemberTagged,
        MemberUntagged,
        CustomHappened,
    ),
)


@reactions.about(*CHANGES_A_MEMBER)
async def judge_anew(session: AsyncSession, member_ids: Sequence[int], *, now: datetime) -> None:
    """Something about members changed: the tags that rules put on them, and the watched segments that hold them."""
    await rule_tags.follow(session, member_ids, now=now)
    await segments.follow(session, member_ids, now=now)


@reacts_to(SendingStopped)
async def take_tasks_back(session: AsyncSession, event: SendingStopped, *, now: datetime) -> None:
    """What staff hold and have not sent is taken back at the platform, at once."""
    del event
    await staff_tasks.look_at_all(session, now=now)
