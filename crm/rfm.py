"""RFM: each order moves its member's window totals and score; a nightly refresh renews cut-offs and keeps a snapshot.

The rules are in rfm_rules, the SELECT over orders in rfm_totals, past days in rfm_history.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import rfm_history
from crm.base.bulk import day_number, read_numbers, update_columns, upsert
from crm.base.clock import SHANGHAI, local_day
from crm.base.db import hold, insert, is_among
from crm.base.errors import Invalid
from crm.models.order import Order, Refund
from crm.models.rfm import MemberRfm, RfmSnapshot
from crm.order_changes import OrderChange, Standing
from crm.rfm_rules import Cutoffs, Ints, Population, Rule, Score, codes, cutoffs_of, decode, score_all, score_one, why
from crm.rfm_totals import population, totals, window_start

TOTALS = "rfm"  # held shared by who moves totals, alone by a refresh
DEFAULT = Rule()
_table: Any = MemberRfm.__table__
_OWN = ("frequency", "monetary_fen", "last_paid_day", "r", "f", "m", "segment")


@dataclass(eq=False)
class DayNotOver(Invalid):
    """A score as of a day that has not begun yet."""

    code = "rfm.day_not_over"
    as_of: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A member's score with what it rests on, and why in words."""

    score: Score
    recency_days: int
    frequency: int
    monetary_fen: int
    reasons: list[str]


async def follow(
    session: AsyncSession, changes: Sequence[OrderChange], *, now: datetime, zone: ZoneInfo = SHANGHAI
) -> None:
    """Re-score the members of these orders by the current cut-offs, in the orders' own transaction.

    Costs the same however many orders a member has: totals move by the difference. Only an order that stops counting
    makes the member's window be read again. Before the first snapshot there is nothing to move.
    """
    if not changes:
        return
    await hold(session, TOTALS, shared=True)
    rules, rows = await _standing(session, sorted({change.member_id for change in changes}))
    if rules is None:
        return
    uncertain = set()
    for change in changes:
        row = rows.setdefault(change.member_id, _Totals(0, 0, None))
        if not row.move(change, rules.since, zone):
            uncertain.add(change.member_id)
    rows |= await _counted_again(session, uncertain, rules.since)
    await _write(session, rows, rules.cutoffs, today=local_day(now, zone))


async def recount(
    session: AsyncSession, member_ids: Collection[int], *, now: datetime, zone: ZoneInfo = SHANGHAI
) -> None:
    """Make these members' totals and scores anew from their orders, as after a merge.

    The caller holds them (holds.hold), or an order that comes meanwhile would be overwritten.
    """
    await hold(session, TOTALS, shared=True)
    last = await rfm_history.newest(session)
    if last is not None:
        since = last.taken_on - timedelta(days=last.window_days)
        rows = await _counted_again(session, member_ids, since)
        await _write(session, rows, _cutoffs(last), today=local_day(now, zone))


async def refresh(
    session: AsyncSession,
    *,
    as_of: date,
    rule: Rule = DEFAULT,
    now: datetime,
    zone: ZoneInfo = SHANGHAI,
    from_scratch: bool = False,
) -> RfmSnapshot:
    """Score everybody as of the beginning of a shop-local day, and keep the snapshot.

    As of the newest day so far this also renews the cut-offs and everybody's score of now; an earlier day adds to the
    history alone. from_scratch: count the totals from the orders again instead of moving the window over them.
    Raises DayNotOver.
    """
    if as_of > local_day(now, zone):
        raise DayNotOver(as_of)
    await hold(session, TOTALS)
    last = await rfm_history.newest(session)
    if last is not None and as_of < last.taken_on:
        return await _refresh_past(session, as_of, rule, now=now)
    since = window_start(as_of, rule)
    if last is None or from_scratch or as_of == last.taken_on or last.window_days != rule.window_days:
        await _count_all(session, since)
    else:
        await _slide(session, last.taken_on - timedelta(days=last.window_days), since)
    return await _score_everybody(session, as_of, rule, last, now=now, zone=zone)


async def refresh_once(
    session: AsyncSession, *, rule: Rule = DEFAULT, now: datetime, zone: ZoneInfo = SHANGHAI
) -> RfmSnapshot | None:
    """The night's refresh: as of today, unless today has its snapshot. Of two workers the second finds the first's."""
    await hold(session, TOTALS)
    today = local_day(now, zone)
    if await is_scored(session, today):
        return None
    return await refresh(session, as_of=today, rule=rule, now=now, zone=zone)


async def is_scored(session: AsyncSession, day: date) -> bool:
    """Whether there is a snapshot of this day or of a later one."""
    last = await rfm_history.newest(session)
    return last is not None and last.taken_on >= day


async def explain(
    session: AsyncSession, member_id: int, *, now: datetime, zone: ZoneInfo = SHANGHAI
) -> Explained | None:
    """A member's score by the current cut-offs, and why; None: no counted order in the window, or no snapshot yet."""
    row = await session.get(MemberRfm, member_id, populate_existing=True)
    last = await rfm_history.newest(session)
    cutoffs = _cutoffs(last)
    if row is None or row.last_paid_day is None or cutoffs is None or row.r is None or row.segment is None:
        return None
    score = Score(row.r, row.f or 1, row.m or 1, row.segment)
    days = max(0, day_number(local_day(now, zone)) - row.last_paid_day)
    reasons = why(score, days, row.frequency, row.monetary_fen, cutoffs)
    return Explained(
        score=score, recency_days=days, frequency=row.frequency, monetary_fen=row.monetary_fen, reasons=reasons
    )


@dataclass(slots=True)
class _Totals:
    """One member's row while it moves."""

    frequency: int
    monetary_fen: int
    last_paid_day: int | None

    def move(self, change: OrderChange, since: date, zone: ZoneInfo) -> bool:
        """Take one change in; False when the last day cannot be known without reading the orders."""
        if change.order_id is None:
            if local_day(change.at, zone) >= since:
                self.monetary_fen += change.after.net_fen - change.before.net_fen
            return True
        was, became = _inside(change.before, since), _inside(change.after, since)
        self.frequency += became.counts - was.counts
        self.monetary_fen += became.net_fen - was.net_fen
        if became.counts and became.paid_on is not None:
            self.last_paid_day = max(self.last_paid_day or 0, day_number(became.paid_on))
        return not was.counts or (became.counts and became.paid_on == was.paid_on)


_OUTSIDE = Standing()


def _inside(standing: Standing, since: date) -> Standing:
    return standing if standing.paid_on is not None and standing.paid_on >= since else _OUTSIDE


@dataclass(frozen=True, slots=True)
class _Rules:
    """By what orders are followed since the newest snapshot."""

    since: date
    cutoffs: Cutoffs | None


_newest = sa.select(RfmSnapshot.__table__).order_by(RfmSnapshot.taken_on.desc()).limit(1).subquery()
_STANDING = sa.select(
    _newest.c.taken_on,
    _newest.c.window_days,
    _newest.c.cutoffs,
    _table.c.frequency,
    _table.c.monetary_fen,
    _table.c.last_paid_day,
).select_from(_newest.outerjoin(_table, _table.c.member_id == sa.bindparam("member_id")))


async def _standing(session: AsyncSession, member_ids: Sequence[int]) -> tuple[_Rules | None, dict[int, _Totals]]:
    """The current rules and these members' totals: one query for one member, two for many.

    The order's own transaction holds the person, so nobody else moves these rows.
    """
    first, *others = member_ids
    row = (await session.execute(_STANDING, {"member_id": first})).first()
    if row is None:
        return None, {}
    cutoffs = None if row.cutoffs is None else Cutoffs.from_json(row.cutoffs)
    rules = _Rules(row.taken_on - timedelta(days=row.window_days), cutoffs)
    rows = {} if row.frequency is None else {first: _Totals(row.frequency, row.monetary_fen, row.last_paid_day)}
    if others:
        c = _table.c
        found = await session.execute(
            sa.select(c.member_id, c.frequency, c.monetary_fen, c.last_paid_day).where(
                is_among(session, c.member_id, others)
            )
        )
        rows |= {one.member_id: _Totals(one.frequency, one.monetary_fen, one.last_paid_day) for one in found}
    return rules, rows


async def _counted_again(session: AsyncSession, member_ids: Collection[int], since: date) -> dict[int, _Totals]:
    if not member_ids:
        return {}
    rows = await session.execute(totals(session, since=since, members=sorted(member_ids)))
    found = {row[0]: _Totals(row[1], row[2], row[3] or None) for row in rows}
    return {member_id: found.get(member_id) or _Totals(0, 0, None) for member_id in member_ids}


async def _write(session: AsyncSession, rows: dict[int, _Totals], cutoffs: Cutoffs | None, *, today: date) -> None:
    if not rows:
        return
    written = [
        {"member_id": member_id, "snapshot_code": 0, **_scored(rows[member_id], cutoffs, today)}
        for member_id in sorted(rows)
    ]
    await session.execute(upsert(session, _table, "member_id", _OWN), written)


def _scored(row: _Totals, cutoffs: Cutoffs | None, today: date) -> dict[str, Any]:
    last_day = row.last_paid_day if row.frequency else None
    own = {"frequency": row.frequency, "monetary_fen": row.monetary_fen, "last_paid_day": last_day}
    if last_day is None or cutoffs is None:
        return {**own, "r": None, "f": None, "m": None, "segment": None}
    score = score_one(max(0, day_number(today) - last_day), row.frequency, row.monetary_fen, cutoffs)
    return {**own, "r": score.r, "f": score.f, "m": score.m, "segment": score.segment}


def _cutoffs(snapshot: RfmSnapshot | None) -> Cutoffs | None:
    return None if snapshot is None or snapshot.cutoffs is None else Cutoffs.from_json(snapshot.cutoffs)


async def _count_all(session: AsyncSession, since: date) -> None:
    """Totals of everybody from the orders, in SQL; scores follow in _score_everybody()."""
    nothing: dict[str, Any] = dict.fromkeys(("last_paid_day", "r", "f", "m", "segment"))
    await session.execute(sa.update(_table).values(frequency=0, monetary_fen=0, **nothing))
    counted = totals(session, since=since).subquery()
    member_id, frequency, monetary_fen, last_day = counted.c
    told = insert(session, _table).from_select(
        ["member_id", "frequency", "monetary_fen", "last_paid_day", "snapshot_code"],
        sa.select(member_id, frequency, monetary_fen, sa.func.nullif(last_day, 0), sa.literal(0)).where(sa.true()),
    )
    own = ("frequency", "monetary_fen", "last_paid_day")
    await session.execute(
        told.on_conflict_do_update(index_elements=["member_id"], set_={name: told.excluded[name] for name in own})
    )


async def _slide(session: AsyncSession, was_since: date, since: date) -> None:
    """Take out of the totals what left the window between two refreshes. The window never moves back."""
    left = totals(session, since=was_since, until=since, hindsight=True).subquery()
    c = _table.c
    empty = c.frequency == left.c.frequency
    kept = {name: sa.case((empty, None), else_=c[name]) for name in ("last_paid_day", "r", "f", "m", "segment")}
    await session.execute(
        sa.update(_table)
        .where(c.member_id == left.c.member_id)
        .values(frequency=c.frequency - left.c.frequency, monetary_fen=c.monetary_fen - left.c.monetary_fen, **kept)
    )


async def _score_everybody(
    session: AsyncSession, as_of: date, rule: Rule, last: RfmSnapshot | None, *, now: datetime, zone: ZoneInfo
) -> RfmSnapshot:
    """New cut-offs from who stood where at the beginning of the day; scores of now and the snapshot written back."""
    c = _table.c
    cell = sa.func.coalesce(c.r * 100 + c.f * 10 + c.m, 0)
    everybody = await read_numbers(
        session,
        sa.select(
            c.member_id, c.frequency, c.monetary_fen, sa.func.coalesce(c.last_paid_day, 0), cell, c.snapshot_code
        ).order_by(c.member_id),
    )
    exceptions = await _totals_at(session, as_of, rule)
    known_on = max(as_of, local_day(now, zone))
    scoring = await asyncio.to_thread(_Scoring, everybody, exceptions, rule, as_of, known_on)
    await update_columns(session, c.member_id, [c.r, c.f, c.m, c.segment, c.snapshot_code], scoring.rows())
    await session.execute(sa.delete(_table).where(c.frequency == 0, c.monetary_fen == 0, c.snapshot_code == 0))
    if last is not None and as_of == last.taken_on:
        scored = scoring.codes > 0
        moved = await rfm_history.put(session, as_of, scoring.members[scored], scoring.codes[scored])
    else:
        differs = scoring.codes != scoring.codes_before
        moved = int(differs.sum())
        await rfm_history.append(session, as_of, scoring.members[differs], scoring.codes[differs])
    members = int((scoring.codes > 0).sum())
    return await rfm_history.note(session, as_of, rule, scoring.cutoffs, members=members, moved=moved, now=now)


async def _totals_at(session: AsyncSession, as_of: date, rule: Rule) -> Ints:
    """Totals as of the beginning of the day, of members with something on that day or later."""
    busy = sa.union(
        sa.select(Order.member_id).where(Order.paid_on >= as_of),
        sa.select(Refund.member_id).where(Refund.refunded_on >= as_of),
    ).subquery()
    busy_ids = sa.select(busy.c.member_id)
    then = await read_numbers(session, totals(session, since=window_start(as_of, rule), until=as_of, members=busy_ids))
    ids = await read_numbers(session, busy_ids)
    rows = np.zeros((len(ids), 4), np.int64)
    rows[:, 0] = np.sort(ids[:, 0])
    rows[np.searchsorted(rows[:, 0], then[:, 0])] = then
    return rows


class _Scoring:
    """The refresh between reading and writing: pure arithmetic on columns, one place a member."""

    def __init__(self, everybody: Ints, exceptions: Ints, rule: Rule, as_of: date, known_on: date) -> None:
        self.members, self.cell_before, self.codes_before = everybody[:, 0], everybody[:, 4], everybody[:, 5]
        then = everybody[:, :4].copy()
        exceptions = exceptions[np.isin(exceptions[:, 0], self.members)]
        then[np.searchsorted(self.members, exceptions[:, 0])] = exceptions
        people = self._population(then, as_of)
        self.cutoffs = cutoffs_of(people, rule)
        self.codes = self._codes(then, people)
        self.now = self._codes(everybody, self._population(everybody, known_on))

    def rows(self) -> list[tuple[int, int | None, int | None, int | None, str | None, int]]:
        """What changed: member, r, f, m and segment of now, and the snapshot's code."""
        changed = (self.now % 1000 != self.cell_before) | (self.codes != self.codes_before)
        return [
            (member_id, *_SCORED[now], code)
            for member_id, now, code in zip(
                self.members[changed].tolist(), self.now[changed].tolist(), self.codes[changed].tolist(), strict=True
            )
        ]

    def _population(self, rows: Ints, day: date) -> Population:
        mine = rows[rows[:, 1] > 0]
        recency = np.maximum(day_number(day) - mine[:, 3], 0)
        return Population(mine[:, 0], recency, mine[:, 1], mine[:, 2])

    def _codes(self, rows: Ints, people: Population) -> Ints:
        found = np.zeros(len(rows), np.int64)
        if self.cutoffs is not None:
            found[rows[:, 1] > 0] = codes(score_all(people, self.cutoffs))
        return found


class _Columns(dict[int, tuple[int | None, int | None, int | None, str | None]]):
    """The columns that a code stands for; a few hundred codes, met a million times."""

    def __missing__(self, code: int) -> tuple[int | None, int | None, int | None, str | None]:
        score = decode(code)
        self[code] = (None, None, None, None) if score is None else (score.r, score.f, score.m, score.segment.value)
        return self[code]


_SCORED = _Columns()


async def _refresh_past(session: AsyncSession, as_of: date, rule: Rule, *, now: datetime) -> RfmSnapshot:
    people = await population(session, as_of, rule)
    cutoffs = cutoffs_of(people, rule)
    scored = codes(score_all(people, cutoffs)) if cutoffs is not None else people.member_id
    moved = await rfm_history.put(session, as_of, people.member_id, scored)
    return await rfm_history.note(session, as_of, rule, cutoffs, members=len(people), moved=moved, now=now)
