"""The year before the demo opens, month by month: who joined, what they bought, and what each month's end made of them.

Written before the service runs, so that nobody acts on what happened long ago.
"""

import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.demo import loyalty, shop
from bot.simulator.simulator import Simulator
from crm import identities, lifecycle, order_batches, rfm, segments
from crm.base.clock import local_day
from crm.base.db import Sessions
from crm.models.member import Member, MemberSource
from crm.models.order import OrderStatus
from crm.order_terms import Told

MONTH, MONTHS = timedelta(days=30), 13
SEGMENTS = {
    "买过猫粮，还没买过猫砂": {
        "is": "all",
        "of": [
            {"is": "ordered", "categories": ["猫粮"], "when": {"last_days": 180}},
            {"is": "ordered", "categories": ["猫砂"], "when": {"last_days": 365}, "count": {"most": 0}},
        ],
    },
    "高价值，快要流失": {
        "is": "all",
        "of": [{"is": "rfm", "tiers": ["high_value"]}, {"is": "stage", "among": ["at_risk"]}],
    },
    "加了企微，还没下过单": {"is": "all", "of": [{"is": "contact_of"}, {"is": "lifetime", "orders": {"most": 0}}]},
}


def joined(
    customers: Sequence[str], past: Sequence[shop.PastOrder], chance: random.Random, *, now: datetime
) -> dict[str, datetime]:
    """When each became a customer: some days before the first order, or some day of the year."""
    first: dict[str, datetime] = {}
    for one in sorted(past, key=lambda order: order.placed_at, reverse=True):
        first[one.external_userid] = one.placed_at
    others = {one: now - timedelta(days=360 * chance.random() ** 3) for one in customers}  # ever more of late
    days = {one: timedelta(days=chance.uniform(0.1, 12)) for one in customers}
    return {one: first[one] - days[one] if one in first else others[one] for one in customers}


def backdate(simulator: Simulator, joined: Mapping[str, datetime]) -> None:
    """The staff's contacts and the groups' members are as old as the members are."""
    world = simulator.world
    for customer, at in joined.items():
        for follow in world.contacts.of_customer(customer):
            follow.created_at = int(at.timestamp())
    for group in world.groups.all.values():
        group.create_time -= int((MONTHS * MONTH).total_seconds())
        for member in group.members.values():
            member.join_time = int(joined[member.id].timestamp()) if member.id in joined else group.create_time


async def live_through(
    sessions: Sessions, joined: Mapping[str, datetime], past: Sequence[shop.PastOrder], *, now: datetime
) -> list[int]:
    """The shop system's orders, as its import brought them each month; returns the customers as members, in order."""
    member_of: dict[str, int] = {}
    ends = [now - MONTH * months for months in range(MONTHS, -1, -1)]
    for since, then in pairwise(ends):
        async with sessions.begin() as session:
            if not member_of:
                await loyalty.open_programme(session, now=since)
            fresh = [one for one, at in joined.items() if since < at <= then]
            people = [identities.wechat_person(one) for one in fresh]
            made = await identities.enrol_batch(session, people, source=MemberSource.IMPORT, now=then)
            ids = {one: member for one, member in zip(fresh, made, strict=True) if member is not None}
            member_of.update(ids)
            if ids:
                told = [{"id": id_, "joined_at": joined[one]} for one, id_ in ids.items()]
                await session.execute(sa.update(Member), told)
            sold = [_told(one, member_of[one.external_userid]) for one in past if since < one.placed_at <= then]
            await order_batches.place_all(session, sold, now=then)
            await _judge(session, then)
    async with sessions.begin() as session:
        for name, condition in SEGMENTS.items():
            await segments.save(session, name, condition, now=now)
    return [member_of[one] for one in joined]


async def _judge(session: AsyncSession, now: datetime) -> None:
    """What the nights of this month would have come to."""
    while await lifecycle.begin(session, now=now):
        pass
    while await lifecycle.review(session, now=now):
        pass
    await rfm.refresh(session, as_of=local_day(now), now=now)


def _told(one: shop.PastOrder, member_id: int) -> Told:
    return Told(
        source="shop",
        external_no=one.external_no,
        member_id=member_id,
        placed_at=one.placed_at,
        total_fen=one.total_fen,
        lines=one.lines,
        paid_at=one.placed_at if one.status is OrderStatus.PAID else None,
        cancelled_at=one.placed_at if one.status is OrderStatus.CANCELLED else None,
    )
