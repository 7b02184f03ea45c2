"""Replenishment for those without a subscription: who buys what again, and a word before it runs out.

Every night the habits are counted anew from the orders, a range of members at a time; a purchase moves its row at
once. A reminder stops with the next order, with a complaint or any other no of the gate's, with a subscription to the
same thing, and after two that were not followed.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import definition, guards, standing_runs
from campaigns.guard_rules import Channel, Gate, Verdict
from campaigns.models.replenishment import Replenishment, Subject
from campaigns.models.subscription import PlanTerms, Subscription, SubscriptionStatus
from campaigns.replenishment_rules import (
    EPOCH,
    LEAST_PURCHASES,
    MOST_REMINDERS,
    again_on,
    habits,
    remind_on,
    runs_out,
)
from crm.base.clock import local_day
from crm.base.db import days_together, insert_rows, is_among
from crm.base.ids import dedupe_key
from crm.models.member import Member
from crm.models.order import Order, OrderLine

WINDOW = 20_000  # members counted in one transaction
LOOK_BACK = timedelta(days=730)
REMIND_HOUR = 10
TOGETHER = 2000
CAMPAIGN = "复购提醒"
TOPIC = "replenishment"
STALE = timedelta(days=30)  # a reminder this late says nothing any more
TEXT = "您常买的{label}差不多该补货了，需要的话随时告诉我们，也可以直接下单。"
_table: Any = Replenishment.__table__
_quiet = {"synchronize_session": False}
_COLUMNS = (
    "member_id", "subject", "key", "label", "purchases", "median_days", "confidence_bp", "last_on", "runs_out_on",
    "remind_on", "reminders", "stopped_because",
)  # fmt: skip
_TAKE = ("label", "purchases", "median_days", "confidence_bp", "last_on", "runs_out_on")
_FRESH = "excluded.last_on > replenishments.last_on"  # they bought since: what was said before is over
_CONFLICT = (
    "(member_id, subject, key) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _TAKE)
    + "".join(
        f", {name} = CASE WHEN {_FRESH} THEN excluded.{name} ELSE replenishments.{name} END"
        for name in ("remind_on", "reminders", "stopped_because")
    )
    + " WHERE excluded.last_on >= replenishments.last_on AND "
    + " OR ".join(f"excluded.{name} <> replenishments.{name}" for name in _TAKE).join(("(", ")"))
)


# Counted


async def refresh(session: AsyncSession, after_id: int, upto_id: int, *, now: datetime) -> int:
    """Count the habits of the members in (after_id, upto_id] anew; returns how many are believed."""
    whose = sa.and_(Order.member_id > after_id, Order.member_id <= upto_id)
    mine = sa.and_(Replenishment.member_id > after_id, Replenishment.member_id <= upto_id)
    return await _count(session, whose, mine, now=now)


async def follow_people(session: AsyncSession, *member_ids: int, now: datetime) -> None:
    """After a merge, or its undoing: what these people buy is counted anew."""
    await session.execute(
        sa.delete(Replenishment).where(Replenishment.member_id.in_(member_ids)), execution_options=_quiet
    )
    await _count(session, Order.member_id.in_(member_ids), Replenishment.member_id.in_(member_ids), now=now)


async def _count(
    session: AsyncSession, whose: sa.ColumnElement[bool], mine: sa.ColumnElement[bool], *, now: datetime
) -> int:
    today = local_day(now)
    kept: list[tuple[Any, ...]] = []
    for subject, column in ((Subject.SKU, OrderLine.sku), (Subject.CATEGORY, OrderLine.category)):
        found = await _bought(session, whose, column, since=today - LOOK_BACK)
        kept += _believed(subject, found, now=now)
    alive = sa.select(Replenishment.member_id, Replenishment.subject, Replenishment.key).where(mine)
    known = {tuple(row) for row in await session.execute(alive)}
    gone = known - {row[:3] for row in kept}
    for subject in Subject:
        lost = [(member_id, key) for member_id, kind, key in gone if kind is subject]
        for at in range(0, len(lost), TOGETHER):
            some = sa.tuple_(Replenishment.member_id, Replenishment.key).in_(lost[at : at + TOGETHER])
            gone_ones = sa.delete(Replenishment).where(Replenishment.subject == subject, some)
            await session.execute(gone_ones, execution_options=_quiet)
    await insert_rows(session, _table, _COLUMNS, kept, conflict=_CONFLICT)
    return len(kept)


async def _bought(session: AsyncSession, whose: sa.ColumnElement[bool], column: Any, *, since: date) -> Sequence[Any]:
    """Who bought what on three days or more. Orders that were refunded in full, or free, are no purchases."""
    name = OrderLine.category if column is OrderLine.category else OrderLine.name
    category = sa.func.max(OrderLine.category)
    rows = await session.execute(
        sa.select(
            Order.member_id, column, sa.case((category != "", category), else_=sa.func.max(name)),
            days_together(session, Order.paid_on),
        )
        .join(OrderLine, OrderLine.order_id == Order.id)
        .where(whose, Order.paid_on >= since, Order.paid_fen > Order.refunded_fen, column != "")
        .group_by(Order.member_id, column)
        .having(sa.func.count(Order.paid_on) >= LEAST_PURCHASES)
    )  # fmt: skip
    return rows.all()


def _believed(subject: Subject, found: Sequence[Any], *, now: datetime) -> list[tuple[Any, ...]]:
    """Rows of the habits that are believed."""
    if not found:
        return []
    days = [row[3].split(",") for row in found]
    groups = np.repeat(np.arange(len(found)), [len(one) for one in days])
    said = np.array([day for one in days for day in one], dtype="datetime64[D]").astype(np.int64)
    known = habits(groups, said, len(found))
    today = local_day(now)
    rows = []
    for place in np.flatnonzero(known.believed).tolist():
        member_id, key, label = found[place][:3]
        median, last_on = max(1, round(float(known.median_days[place]))), EPOCH + timedelta(days=int(known.last[place]))
        on = remind_on(last_on, median)
        rows.append(
            (
                member_id, subject, key, str(label)[:64], int(known.purchases[place]), median,
                int(known.confidence_bp[place]), last_on, runs_out(last_on, median),
                on if on > today - STALE else None, 0, "",
            )
        )  # fmt: skip
    return rows


async def follow_order(session: AsyncSession, order_id: int, *, now: datetime) -> None:
    """They bought: what was due is not due any more, and the next time is counted from today."""
    order = await session.get(Order, order_id)
    if order is None or order.paid_on is None or order.paid_fen <= 0:
        return
    lines = (await session.scalars(sa.select(OrderLine).where(OrderLine.order_id == order_id))).all()
    for subject, keys in (
        (Subject.SKU, {line.sku for line in lines}),
        (Subject.CATEGORY, {line.category for line in lines if line.category}),
    ):
        rows = await session.scalars(
            sa.select(Replenishment).where(
                Replenishment.member_id == order.member_id,
                Replenishment.subject == subject,
                is_among(session, Replenishment.key, keys),
                Replenishment.last_on <= order.paid_on,
            )
        )
        for row in rows:
            row.last_on, row.runs_out_on = order.paid_on, runs_out(order.paid_on, row.median_days)
            row.remind_on, row.reminders, row.stopped_because = remind_on(order.paid_on, row.median_days), 0, ""
    await session.flush()


# Reminded


async def remind(session: AsyncSession, *, gate: Gate, now: datetime) -> int:
    """Hand those whose day has come to the engine, one run for each thing; returns how many rows were looked at.

    The gate is asked first, so that a no ends the matter here; what it holds waits for another day.
    """
    today = local_day(now - timedelta(hours=REMIND_HOUR))
    some = (
        sa.select(Replenishment)
        .join(Member, Member.id == Replenishment.member_id)
        .where(Replenishment.remind_on <= today, Member.merged_into_id.is_(None), Member.erased_at.is_(None))
        .order_by(Replenishment.remind_on, Replenishment.member_id, Replenishment.subject.desc())
        .limit(TOGETHER)
        .with_for_update(skip_locked=True, of=Replenishment)
        .execution_options(populate_existing=True)
    )
    found = (await session.scalars(some)).all()
    if not found:
        return 0
    ids = {row.member_id for row in found}
    subscribed = await _subscribed(session, ids)
    decisions = await guards.judge(session, gate, ids, channel=Channel.KF, topic=TOPIC, now=now)
    going: defaultdict[str, list[int]] = defaultdict(list)
    said: set[tuple[int, str]] = set()
    for row in found:
        decision = decisions[row.member_id]
        if {row.key, row.label} & subscribed[row.member_id]:
            _stop(row, "subscribed")
        elif decision.verdict is Verdict.REFUSED:
            _stop(row, decision.code)
        elif decision.verdict is Verdict.HELD:
            row.remind_on = local_day(now) + timedelta(days=1)
            if row.remind_on > row.runs_out_on + STALE:
                _stop(row, decision.code)
        else:
            if (row.member_id, row.label) not in said:  # the article and its category are one word
                said.add((row.member_id, row.label))
                going[row.label].append(row.member_id)
            _said(row, today=local_day(now))
    await session.flush()
    for label, member_ids in sorted(going.items()):
        await _send(session, label, member_ids, now=now)
    return len(found)


def _stop(row: Replenishment, because: str) -> None:
    row.remind_on, row.stopped_because = None, because


def _said(row: Replenishment, *, today: date) -> None:
    """One more word was said; the second is the last until they buy."""
    row.reminders += 1
    if row.reminders >= MOST_REMINDERS:
        _stop(row, "ignored")
    else:
        row.remind_on = again_on(today, row.median_days)


async def _subscribed(session: AsyncSession, member_ids: Collection[int]) -> defaultdict[int, set[str]]:
    """What comes to these members by itself: skus and categories."""
    rows = await session.execute(
        sa.select(Subscription.member_id, PlanTerms.items)
        .join(PlanTerms, PlanTerms.id == Subscription.terms_id)
        .where(is_among(session, Subscription.member_id, member_ids), Subscription.status == SubscriptionStatus.ACTIVE)
    )
    found: defaultdict[int, set[str]] = defaultdict(set)
    for member_id, items in rows:
        found[member_id] |= {word for item in items for word in (item["sku"], item["category"]) if word}
    return found


async def _send(session: AsyncSession, label: str, member_ids: Sequence[int], *, now: datetime) -> None:
    told = definition.read(
        {
            "kind": "one_off",
            "starts_at": now.isoformat(),
            "audience": standing_runs.EVERYBODY,
            "messages": [{"text": TEXT.format(label=label.replace("{", "｛").replace("}", "｝"))}],
            "topic": TOPIC,
            "grace": "1d",
            "confirm_within": "10h",
            "pause_at_failed_percent": 100,
        }
    )
    what = f"{local_day(now)}:{dedupe_key(label)[:16]}"
    await standing_runs.begin(session, CAMPAIGN, what, told, member_ids, now=now)
