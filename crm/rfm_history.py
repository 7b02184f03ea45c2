"""RFM snapshots: what each day's scoring changed, who stood where on a day, how they moved, and what it was worth.

A snapshot keeps only the members whose code differs from the one before: of a million about three in a hundred.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm.base.bulk import insert_columns, read_numbers
from crm.base.db import insert, is_sqlite
from crm.base.errors import NotFound
from crm.models.rfm import RfmChange, RfmSnapshot, Segment
from crm.rfm_rules import Cutoffs, Ints, Rule, Score, codes, cutoffs_of, decode, score_all
from crm.rfm_totals import population, totals

Matrix = dict[tuple[Segment | None, Segment | None], int]


@dataclass(eq=False)
class SnapshotNotFound(NotFound):
    """No snapshot was taken on this day."""

    code = "rfm.snapshot_not_found"
    taken_on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """What the members of one R-F-M cell did in the days after the snapshot."""

    score: Score
    members: int
    buyers: int  # with at least one counted order afterwards
    orders: int
    spent_fen: int  # paid less refunds, all members together

    @property
    def spent_each_fen(self) -> int:
        return self.spent_fen // self.members


async def newest(session: AsyncSession) -> RfmSnapshot | None:
    found: RfmSnapshot | None = await session.scalar(
        sa.select(RfmSnapshot).order_by(RfmSnapshot.taken_on.desc()).limit(1)
    )
    return found


async def note(
    session: AsyncSession,
    taken_on: date,
    rule: Rule,
    cutoffs: Cutoffs | None,
    *,
    members: int,
    moved: int,
    now: datetime,
) -> RfmSnapshot:
    """Write down that the snapshot of this day was taken, or taken again."""
    row = {
        "window_days": rule.window_days,
        "members": members,
        "moved": moved,
        "cutoffs": None if cutoffs is None else cutoffs.as_json(),
        "taken_at": now,
    }
    told = insert(session, RfmSnapshot).values(taken_on=taken_on, **row)
    await session.execute(told.on_conflict_do_update(index_elements=["taken_on"], set_=row))
    return await session.get_one(RfmSnapshot, taken_on, populate_existing=True)


async def append(session: AsyncSession, taken_on: date, members: Ints, changed: Ints) -> None:
    """Codes that differ from the snapshot before, on a day later than all others."""
    day: Any = taken_on.isoformat() if is_sqlite(session) else taken_on
    table: Any = RfmChange.__table__
    rows = [(member_id, day, code) for member_id, code in zip(members.tolist(), changed.tolist(), strict=True)]
    await insert_columns(session, [table.c.member_id, table.c.taken_on, table.c.code], rows)


async def put(session: AsyncSession, taken_on: date, members: Ints, scored: Ints) -> int:
    """Codes of a day that may lie between others or be scored again; returns how many differ from the day before.

    The snapshot after it keeps saying what it said.
    """
    following = await session.scalar(
        sa.select(sa.func.min(RfmSnapshot.taken_on)).where(RfmSnapshot.taken_on > taken_on)
    )
    new = dict(zip(members.tolist(), scored.tolist(), strict=True))
    before = await state(session, taken_on - timedelta(days=1))
    after = await state(session, following) if following else {}
    await session.execute(sa.delete(RfmChange).where(RfmChange.taken_on.in_([taken_on, following or taken_on])))
    moved = _differences(before, new)
    await append(session, taken_on, *moved)
    if following:
        await append(session, following, *_differences(new, after))
    return len(moved[0])


async def matrix(session: AsyncSession, earlier_on: date, later_on: date) -> Matrix:
    """How many members went from which segment to which between two snapshots; None: without a score then."""
    states = []
    for day in (earlier_on, later_on):
        if await session.get(RfmSnapshot, day) is None:
            raise SnapshotNotFound(day)
        states.append(await state(session, day))
    earlier, later = states
    pairs = Counter((earlier.get(member, 0), later.get(member, 0)) for member in earlier.keys() | later.keys())
    moves: Matrix = {}
    for (one, other), count in pairs.items():
        move = (_segment(one), _segment(other))
        moves[move] = moves.get(move, 0) + count
    return moves


async def back_test(session: AsyncSession, as_of: date, rule: Rule, *, days: int = 90) -> list[CellResult]:
    """What the members of each cell of `as_of` spent in the `days` from that day on, best spenders first."""
    people = await population(session, as_of, rule)
    cutoffs = cutoffs_of(people, rule)
    if cutoffs is None:
        return []
    spent = await read_numbers(session, totals(session, since=as_of, until=as_of + timedelta(days=days)))
    orders, fen = (
        _matched(people.member_id, spent[:, 0], spent[:, 1]),
        _matched(people.member_id, spent[:, 0], spent[:, 2]),
    )
    cells, place = np.unique(codes(score_all(people, cutoffs)), return_inverse=True)
    results = []
    for index, code in enumerate(cells.tolist()):
        mine = place == index
        score = decode(code)
        assert score is not None
        results.append(
            CellResult(
                score=score,
                members=int(mine.sum()),
                buyers=int((orders[mine] > 0).sum()),
                orders=int(orders[mine].sum()),
                spent_fen=int(fen[mine].sum()),
            )
        )
    return sorted(results, key=lambda cell: -cell.spent_each_fen)


async def history_of(session: AsyncSession, member_id: int) -> list[tuple[date, Score | None]]:
    """A member's scores by snapshot, each on the day it changed, newest first; None: left the window."""
    rows = await session.execute(
        sa.select(RfmChange.taken_on, RfmChange.code)
        .where(RfmChange.member_id == member_id)
        .order_by(RfmChange.taken_on.desc())
    )
    return [(row.taken_on, decode(row.code)) for row in rows]


async def state(session: AsyncSession, day: date) -> dict[int, int]:
    """The code of every member who had a score on `day`."""
    latest = (
        sa.select(RfmChange.member_id, sa.func.max(RfmChange.taken_on).label("taken_on"))
        .where(RfmChange.taken_on <= day)
        .group_by(RfmChange.member_id)
        .subquery()
    )
    rows = await read_numbers(
        session,
        sa.select(RfmChange.member_id, RfmChange.code)
        .join(latest, sa.and_(latest.c.member_id == RfmChange.member_id, latest.c.taken_on == RfmChange.taken_on))
        .where(RfmChange.code != 0),
    )
    return dict(zip(rows[:, 0].tolist(), rows[:, 1].tolist(), strict=True))


def _differences(before: dict[int, int], after: dict[int, int]) -> tuple[Ints, Ints]:
    members = [
        member for member in sorted(before.keys() | after.keys()) if before.get(member, 0) != after.get(member, 0)
    ]
    return np.array(members, np.int64), np.array([after.get(member, 0) for member in members], np.int64)


def _matched(wanted: Ints, members: Ints, values: Ints) -> Ints:
    """For each wanted member their value, or 0."""
    if not len(members):
        return np.zeros(len(wanted), np.int64)
    order = np.argsort(members)
    place = np.minimum(np.searchsorted(members, wanted, sorter=order), len(members) - 1)
    found = order[place]
    return np.where(members[found] == wanted, values[found], 0)


def _segment(code: int) -> Segment | None:
    score = decode(code)
    return None if score is None else score.segment
