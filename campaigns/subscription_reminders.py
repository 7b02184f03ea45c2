"""The way each reminder goes: the kf chat while its window is open, else a mass send to that member, else a colleague.

A way that turns out closed leaves a line in the reminder's trail, and the next one is tried on the same day; what is
shown as sent is what the platform says was sent.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from campaigns import audience, definition, deliveries, standing_runs
from campaigns.definition import Message
from campaigns.models.campaign import OPEN, Delivery, DeliveryStatus
from campaigns.models.subscription import (
    Cycle,
    CycleStatus,
    Mode,
    PlanTerms,
    Reminder,
    ReminderStatus,
    Subscription,
    SubscriptionPlan,
    Way,
)
from campaigns.subscription_rules import may_remind
from crm.base.clock import local_day
from crm.base.db import hold, is_among
from crm.base.outbox import OutboxRow, Status
from crm.models.member import Member, Staff

TOGETHER = 5000  # in one go: a task for each colleague and text, not one for every hundred members
LOOK_AGAIN = timedelta(minutes=1)
CAMPAIGN = "订阅提醒"
TOPIC = "subscription"
LATELY = timedelta(days=2)  # a yes belongs to a question that is no older
CONFIRM_WITHIN = timedelta(hours=6)  # asked at ten, a colleague has until four: then another way is tried
_quiet = {"synchronize_session": False}
Key = tuple[int, date, str]


@dataclass(frozen=True, slots=True)
class Due:
    """A reminder with all that can be said in it."""

    key: Key
    member_id: int
    member_name: str
    no: str  # of the subscription
    plan_id: int
    title: str
    days: int  # until the delivery
    status: CycleStatus
    mode: Mode
    quantity: int
    price_fen: int
    was_fen: int | None  # what the delivery before cost, where that is different
    is_gift: bool
    order_no: str
    staff: str = ""  # userid of who sends to this member

    @property
    def step(self) -> str:
        return self.key[2]

    @property
    def due_on(self) -> date:
        return self.key[1]


class Ways(Protocol):
    """The edge: who can be reached how, and the words."""

    async def reachable(self, session: AsyncSession, member_ids: Collection[int], *, now: datetime) -> set[int]:
        """Those to whom the bot may write in the kf chat now."""

    async def write(self, session: AsyncSession, dues: Sequence[Due], *, now: datetime) -> Mapping[Key, str]:
        """Write to them there; the keys of the messages in the outbox."""

    def mass_message(self, due: Due) -> Message:
        """What a mass send says to everybody who has this plan, day and step."""

    async def to_do(self, session: AsyncSession, due: Due, why: str, *, now: datetime) -> str | None:
        """Ask a colleague to tell the member; the key in the outbox, None where there is nobody to ask."""


async def dispatch(session: AsyncSession, ways: Ways, *, now: datetime) -> int:
    """Put reminders that are due on their way. Returns how many were looked at."""
    if not may_remind(now):
        return 0
    await hold(session, CAMPAIGN)  # one at a time: one run for each text
    rows = await _facts(session, Reminder.status == ReminderStatus.DUE, now=now)
    moot = [one.key for one, row in rows if _is_moot(one, row, local_day(now))]
    await _end(session, moot, ReminderStatus.DROPPED)
    dropped = set(moot)
    await _send(session, ways, {one.key: (one, row) for one, row in rows if one.key not in dropped}, now=now)
    return len(rows)


async def settle(session: AsyncSession, ways: Ways, *, now: datetime) -> int:
    """See what became of those on their way; who was not reached is tried another way. Returns how many ended."""
    rows = await _facts(session, Reminder.status == ReminderStatus.QUEUED, now=now)
    known = {one.key: (one, row) for one, row in rows}
    ends = {**await _in_outbox(session, rows), **await _in_runs(session, rows)}
    sent = {key: end.at for key, end in ends.items() if end.at is not None}
    for at in sorted(set(sent.values())):
        mine = _these(session, [key for key in sent if sent[key] == at])
        done = {"status": ReminderStatus.SENT, "sent_at": at, "look_at": None}
        await session.execute(sa.update(Reminder).where(mine).values(**done), execution_options=_quiet)
    lost = {key: known[key] for key, end in ends.items() if end.why and may_remind(now)}
    for key, (due, row) in lost.items():
        row.trail = [*row.trail, {"way": row.way.value, "why": ends[key].why}]
        if _is_moot(due, row, local_day(now)):
            await _end(session, [key], ReminderStatus.FAILED, trail=row.trail)
    still = {key: one for key, one in lost.items() if not _is_moot(*one, local_day(now))}
    await _send(session, ways, still, now=now)
    waits = [key for key in known if key not in sent and key not in lost]
    later = sa.update(Reminder).where(_these(session, waits)).values(look_at=now + LOOK_AGAIN)
    await session.execute(later, execution_options=_quiet)
    return len(sent) + len(lost)


async def asked_lately(session: AsyncSession, member_id: int, *, now: datetime) -> set[str]:
    """Numbers of subscriptions whose open delivery the bot asked this member about in the chat of late."""
    rows = await session.scalars(
        sa.select(Subscription.no)
        .join(Cycle, Cycle.id == Subscription.cycle_id)
        .join(Reminder, Reminder.cycle_id == Cycle.id)
        .where(Reminder.member_id == member_id, Reminder.way == Way.KF, Reminder.remind_on >= local_day(now - LATELY))
        .where(Cycle.status == CycleStatus.ANNOUNCED)
    )
    return set(rows)


# What is said of them


async def _facts(session: AsyncSession, *where: sa.ColumnElement[bool], now: datetime) -> list[tuple[Due, Any]]:
    before, terms = aliased(Cycle), aliased(PlanTerms)
    found = await session.execute(
        sa.select(
            Reminder.cycle_id, Reminder.due_on, Reminder.step, Reminder.member_id, Reminder.remind_on, Reminder.way,
            Reminder.run_id, Reminder.outbox_key, Reminder.trail, Member.name, Subscription.no, Subscription.mode,
            SubscriptionPlan.id.label("plan_id"), SubscriptionPlan.title, Cycle.status, Cycle.quantity, Cycle.price_fen,
            Cycle.is_gift, Cycle.order_no, PlanTerms.price_fen.label("each_fen"), terms.price_fen.label("each_was_fen"),
            Cycle.due_on.label("still_on"),
        )
        .join(Cycle, Cycle.id == Reminder.cycle_id)
        .join(Subscription, Subscription.id == Cycle.subscription_id)
        .join(SubscriptionPlan, SubscriptionPlan.id == Subscription.plan_id)
        .join(PlanTerms, PlanTerms.id == Cycle.terms_id)
        .join(Member, Member.id == Reminder.member_id)
        .outerjoin(before, sa.and_(before.subscription_id == Subscription.id, before.number == Cycle.number - 1))
        .outerjoin(terms, terms.id == before.terms_id)
        .where(Reminder.look_at <= now, *where)
        .order_by(SubscriptionPlan.id, Reminder.step, Reminder.due_on, Reminder.cycle_id)
        .limit(TOGETHER)
        .with_for_update(skip_locked=True, of=Reminder)
    )  # fmt: skip
    rows = found.all()
    senders = await audience.senders(session, {row.member_id for row in rows})
    userids = await _userids(session, {one.staff_id for one in senders.values()})
    today = local_day(now)
    return [
        (
            _due(row, userids.get(senders[row.member_id].staff_id, "") if row.member_id in senders else "", today),
            _Open(row),
        )
        for row in rows
    ]


async def _userids(session: AsyncSession, staff_ids: Collection[int]) -> dict[int, str]:
    rows = await session.execute(sa.select(Staff.id, Staff.userid).where(Staff.id.in_(staff_ids)))
    return {row.id: row.userid for row in rows}


def _due(row: Any, staff: str, today: date) -> Due:
    was = None if row.each_was_fen in (None, row.each_fen) else row.each_was_fen * row.quantity
    return Due(
        (row.cycle_id, row.due_on, row.step), row.member_id, row.name, row.no, row.plan_id, row.title,
        (row.due_on - today).days, row.status, row.mode, row.quantity, row.price_fen, was, bool(row.is_gift),
        row.order_no, staff,
    )  # fmt: skip


class _Open:
    """A reminder at hand: how it stands, and the trail it leaves."""

    def __init__(self, row: Any) -> None:
        self.remind_on, self.still_on = row.remind_on, row.still_on
        self.way, self.run_id, self.outbox_key, self.trail = row.way, row.run_id, row.outbox_key, row.trail


def _is_moot(due: Due, row: _Open, today: date) -> bool:
    """Whether it need not be said any more: the member answered, or paid, or its day went by."""
    if due.step.startswith("d"):
        is_answered = due.status is not CycleStatus.ANNOUNCED or row.still_on != due.due_on
        return is_answered or today > row.remind_on
    wanted = CycleStatus.UNPAID if due.step == "gone" else CycleStatus.ORDERED
    return due.status is not wanted


# The ways


async def _send(session: AsyncSession, ways: Ways, wanted: Mapping[Key, tuple[Due, _Open]], *, now: datetime) -> None:
    """Each by the first way that was not tried yet and is open."""
    left = dict(wanted)
    tried = {key: {line["way"] for line in row.trail} for key, (_, row) in left.items()}
    fresh = [due for key, (due, _) in left.items() if not tried[key]]
    open_to = await ways.reachable(session, {due.member_id for due in fresh}, now=now)
    written = await ways.write(session, [due for due in fresh if due.member_id in open_to], now=now)
    for key, outbox_key in written.items():
        await _queue(session, [key], left.pop(key)[1].trail, Way.KF, now=now, outbox_key=outbox_key)
    groups: defaultdict[tuple[int, date, str], list[Due]] = defaultdict(list)
    for key, (due, _) in left.items():
        if due.staff and Way.BROADCAST not in tried[key]:
            groups[due.plan_id, due.due_on, due.step].append(due)
    for about, dues in groups.items():
        run_id = await _mass(session, ways, about, dues, now=now)
        alike: defaultdict[str, list[Key]] = defaultdict(list)
        for due in dues:
            alike[str(left[due.key][1].trail)].append(due.key)
        for keys in alike.values():
            trail = left[keys[0]][1].trail
            await _queue(session, keys, trail, Way.BROADCAST, now=now, run_id=run_id)
        for due in dues:
            del left[due.key]
    lost: defaultdict[str, list[Key]] = defaultdict(list)
    for key, (due, row) in left.items():
        todo = None if Way.TODO in tried[key] else await ways.to_do(session, due, _why(row), now=now)
        if todo is None:
            row.trail = [*row.trail, {"way": Way.TODO.value, "why": "nobody"}]
            lost[str(row.trail)].append(key)
        else:
            await _queue(session, [key], row.trail, Way.TODO, now=now, outbox_key=todo)
    for keys in lost.values():
        await _end(session, keys, ReminderStatus.FAILED, trail=left[keys[0]][1].trail)


def _why(row: _Open) -> str:
    return str(row.trail[-1]["why"]) if row.trail else deliveries.NO_CONTACT


async def _mass(
    session: AsyncSession, ways: Ways, about: tuple[int, date, str], dues: Sequence[Due], *, now: datetime
) -> int:
    """Hand these to the engine as one run of a campaign that always is: it asks the gate, and staff confirm."""
    plan_id, due_on, step = about
    told = definition.read(
        {
            "kind": "one_off",
            "starts_at": now.isoformat(),
            "audience": standing_runs.EVERYBODY,
            "messages": [ways.mass_message(dues[0]).model_dump(exclude_none=True)],
            "channels": ["broadcast"],
            "topic": TOPIC,
            "grace": "1d",
            "confirm_within": f"{int(CONFIRM_WITHIN.total_seconds())}s",
            "remind_after": ["1h", "3h"],
            "attribution_days": 1,
            "pause_at_failed_percent": 100,
        }
    )
    what = f"{local_day(now)}:{plan_id}:{due_on:%m%d}{step}"
    return await standing_runs.begin(session, CAMPAIGN, what, told, [due.member_id for due in dues], now=now)


@dataclass(frozen=True, slots=True)
class _End:
    """What became of one on its way. at: it was sent; why: it was not."""

    at: datetime | None = None
    why: str = ""


async def _in_outbox(session: AsyncSession, rows: Sequence[tuple[Due, _Open]]) -> dict[Key, _End]:
    mine = {row.outbox_key: due.key for due, row in rows if row.outbox_key is not None}
    found = await session.execute(
        sa.select(OutboxRow.dedupe_key, OutboxRow.status, OutboxRow.settled_at, OutboxRow.error).where(
            is_among(session, OutboxRow.dedupe_key, mine)
        )
    )
    ends: dict[Key, _End] = {}
    for row in found:
        if row.status is Status.SENT:
            ends[mine[row.dedupe_key]] = _End(at=row.settled_at)
        elif row.status not in (Status.WAITING, Status.CLAIMED):
            ends[mine[row.dedupe_key]] = _End(why=(row.error or deliveries.NOT_SENT)[:60])
    return ends


async def _in_runs(session: AsyncSession, rows: Sequence[tuple[Due, _Open]]) -> dict[Key, _End]:
    """What the deliveries say. One that the gate holds is taken back: it would come on another day."""
    by_run: defaultdict[int, dict[int, Key]] = defaultdict(dict)
    for due, row in rows:
        if row.way is Way.BROADCAST and row.run_id is not None:
            by_run[row.run_id][due.member_id] = due.key
    ends: dict[Key, _End] = {}
    for run_id, mine in by_run.items():
        held = (DeliveryStatus.HELD,)
        found = await session.execute(
            sa.select(Delivery.member_id, Delivery.status, Delivery.reason, Delivery.sent_at).where(
                Delivery.run_id == run_id, is_among(session, Delivery.member_id, mine)
            )
        )
        away: list[int] = []
        for one in found:
            if one.status is DeliveryStatus.SENT:
                ends[mine[one.member_id]] = _End(at=one.sent_at)
            elif one.status not in OPEN or one.status in held:
                ends[mine[one.member_id]] = _End(why=one.reason or deliveries.NOT_SENT)
                away.append(one.member_id)
        await deliveries.move(session, run_id, away, DeliveryStatus.SKIPPED, before=held)
    return ends


# How it is written down


def _these(session: AsyncSession, keys: Collection[Key]) -> sa.ColumnElement[bool]:
    """A delivery has few reminders, so they are found by it and told apart by the rest."""
    told = [f"{cycle_id}|{due_on}|{step}" for cycle_id, due_on, step in keys]
    name = sa.cast(Reminder.cycle_id, sa.String) + "|" + sa.cast(Reminder.due_on, sa.String) + "|" + Reminder.step
    return sa.and_(is_among(session, Reminder.cycle_id, {key[0] for key in keys}), is_among(session, name, told))


async def _queue(
    session: AsyncSession, keys: Sequence[Key], trail: list[Any], way: Way, *, now: datetime, **more: Any
) -> None:
    values = {"status": ReminderStatus.QUEUED, "way": way, "run_id": None, "outbox_key": None, "trail": trail}
    queued = sa.update(Reminder).where(_these(session, keys))
    await session.execute(queued.values(**values | more, look_at=now + timedelta(seconds=2)), execution_options=_quiet)


async def _end(session: AsyncSession, keys: Collection[Key], to: ReminderStatus, **more: Any) -> None:
    ended = sa.update(Reminder).where(_these(session, keys)).values(status=to, look_at=None, **more)
    await session.execute(ended, execution_options=_quiet)
