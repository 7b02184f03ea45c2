"""Levels: each member's, judged again at each order and on the day a period or its grace ends; moves are history."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import loyalty_rules
from crm.base import events
from crm.base.bulk import upsert
from crm.base.clock import SHANGHAI, local_day
from crm.base.db import insert, is_among
from crm.level_rules import Held, LevelRules, Step, Verdict, judge
from crm.models.loyalty import Level, LevelMove, LevelReason, MemberLevel
from crm.models.member import Member
from crm.models.order import Order, Refund
from crm.order_changes import OrderChange

AT_ONCE = 100  # members whose orders change together: more come from an import and wait for the next review
REVIEWED_TOGETHER = 500
_held: Any = MemberLevel.__table__
_OWN = ("level_id", "since_on", "until_on", "grace_until_on", "growth_fen", "came_from_id", "check_on")


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelMoved:
    """A member's level is another. Appended by judge_members() and set_by_hand(); read at least once."""

    member_id: int
    from_level_id: int | None  # None: the beginning
    to_level_id: int
    to_level: str  # its name
    reason: LevelReason
    is_rise: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelGraceBegan:
    """A level's period ended short of its threshold; it is lost on `grace_until_on` unless made good."""

    member_id: int
    level_id: int
    growth_fen: int
    threshold_fen: int
    grace_until_on: date


# Reads


async def ladder(session: AsyncSession) -> list[Level]:
    """The shop's levels, the lowest first; none if it has none."""
    rows = await session.scalars(sa.select(Level).where(Level.retired_at.is_(None)).order_by(Level.rank))
    return list(rows)


def steps(levels: Sequence[Level]) -> list[Step]:
    """A ladder as the rules take it."""
    return [Step(level.id, level.rank, level.threshold_fen) for level in levels]


async def name_of(session: AsyncSession, member_id: int) -> str | None:
    """The name of a member's level; None: the shop has no levels, or has not looked at them yet."""
    mine = sa.select(Level.name).join(MemberLevel, MemberLevel.level_id == Level.id)
    found: str | None = await session.scalar(mine.where(MemberLevel.member_id == member_id))
    return found


async def benefits_of(session: AsyncSession, member_id: int) -> dict[str, Any]:
    """What a member's level gives them; {} without one."""
    mine = sa.select(Level.benefits).join(MemberLevel, MemberLevel.level_id == Level.id)
    found: dict[str, Any] | None = await session.scalar(mine.where(MemberLevel.member_id == member_id))
    return found or {}


async def moves_of(session: AsyncSession, member_id: int, *, limit: int = 20) -> list[LevelMove]:
    """A member's moves, newest first."""
    rows = await session.scalars(
        sa.select(LevelMove)
        .where(LevelMove.member_id == member_id)
        .order_by(LevelMove.moved_at.desc(), LevelMove.id.desc())
        .limit(limit)
    )
    return list(rows)


async def growth_of(
    session: AsyncSession, member_ids: Collection[int], rules: LevelRules, *, today: date
) -> dict[int, int]:
    """What each of these members spent in the window less refunds, in fen; never below zero."""
    after = today - timedelta(days=rules.window_days)
    paid = sa.select(Order.member_id, sa.func.sum(Order.paid_fen - Order.refunded_fen))
    back = sa.select(Refund.member_id, sa.func.sum(Refund.amount_fen)).where(Refund.order_id.is_(None))
    spent = dict.fromkeys(member_ids, 0)
    for sign, query, member_id, day in (
        (1, paid, Order.member_id, Order.paid_on),
        (-1, back, Refund.member_id, Refund.refunded_on),
    ):
        mine = query.where(is_among(session, member_id, sorted(spent)), day > after, day <= today).group_by(member_id)
        for one, fen in await session.execute(mine):
            spent[one] += sign * int(fen)
    return {one: max(fen, 0) for one, fen in spent.items()}


# Verbs


async def follow(
    session: AsyncSession, changes: Sequence[OrderChange], *, now: datetime, zone: ZoneInfo = SHANGHAI
) -> None:
    """Judge the members of these orders, in the orders' own transaction. An import's many wait for the next review."""
    shrunk = {change.member_id for change in changes if change.after.net_fen < change.before.net_fen}
    moved = shrunk | {change.member_id for change in changes if change.after.net_fen != change.before.net_fen}
    if len(moved) > AT_ONCE:
        await mark(session, moved, now=now, zone=zone)
    elif moved:
        await judge_members(session, moved, now=now, zone=zone, shrunk=dict.fromkeys(shrunk, LevelReason.REFUNDED))


async def mark(
    session: AsyncSession, member_ids: Collection[int] | None, *, now: datetime, zone: ZoneInfo = SHANGHAI
) -> None:
    """Have these members, or None: everybody, judged at the next review; who has no level begins with the lowest."""
    levels, today = await ladder(session), local_day(now, zone)
    if not levels:
        return
    living = (Member.merged_into_id.is_(None), Member.erased_at.is_(None))
    values = (sa.literal(levels[0].id), sa.literal(today), sa.literal(0), sa.literal(today))
    people = sa.select(Member.id, *values).where(*living)
    if member_ids is not None:
        people = people.where(is_among(session, Member.id, sorted(set(member_ids))))
    told = insert(session, _held).from_select(("member_id", "level_id", "since_on", "growth_fen", "check_on"), people)
    await session.execute(
        told.on_conflict_do_update(index_elements=["member_id"], set_={"check_on": told.excluded.check_on})
    )


async def judge_members(
    session: AsyncSession,
    member_ids: Iterable[int],
    *,
    now: datetime,
    zone: ZoneInfo = SHANGHAI,
    shrunk: Mapping[int, LevelReason] | None = None,
) -> int:
    """Put each of these members where their orders and today put them; returns how many moved.

    member_ids: up to a few thousand. shrunk: whose growth has just become less, and why. A move is a dated row with
    its reason, and an event.
    """
    levels = await ladder(session)
    if not levels:
        return 0
    rules, today, wanted = await loyalty_rules.of_levels(session), local_day(now, zone), sorted(set(member_ids))
    climb = steps(levels)
    stood = await _hold(session, wanted, climb[0], today)
    growth = await growth_of(session, wanted, rules, today=today)
    verdicts = {
        one: judge(stood[one], growth[one], climb, today, rules, shrunk=(shrunk or {}).get(one)) for one in wanted
    }
    await write(session, {one: (verdict, growth[one]) for one, verdict in verdicts.items()})
    moves = [
        LevelMove(
            member_id=one,
            from_level_id=before.level_id if (before := stood[one]) is not None else None,
            to_level_id=verdict.held.level_id or 0,
            reason=verdict.reason,
            facts={"growth_fen": growth[one]},
            moved_at=now,
        )
        for one, verdict in verdicts.items()
        if verdict.reason is not None
    ]
    await tell(session, moves, now=now)
    threshold = {step.id: step.threshold_fen for step in climb}
    graces = [
        LevelGraceBegan(
            member_id=one,
            level_id=verdict.held.level_id,
            growth_fen=growth[one],
            threshold_fen=threshold[verdict.held.level_id],
            grace_until_on=verdict.held.grace_until_on,
        )
        for one, verdict in verdicts.items()
        if verdict.in_grace and verdict.held.level_id is not None and verdict.held.grace_until_on is not None
    ]
    await events.append_all(session, graces, now=now)
    return len(moves)


async def review(
    session: AsyncSession, *, now: datetime, zone: ZoneInfo = SHANGHAI, limit: int = REVIEWED_TOGETHER
) -> int:
    """Judge members whose day has come, up to `limit`; returns how many, so that the caller goes on until 0."""
    due = await session.scalars(
        sa.select(MemberLevel.member_id)
        .where(MemberLevel.check_on <= local_day(now, zone))
        .order_by(MemberLevel.member_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    found = list(due)
    if not found or not await ladder(session):
        return 0
    await judge_members(session, found, now=now, zone=zone)
    return len(found)


async def begin(
    session: AsyncSession,
    *,
    now: datetime,
    among: Collection[int] | None = None,
    zone: ZoneInfo = SHANGHAI,
    limit: int = REVIEWED_TOGETHER,
) -> int:
    """Give members without a level theirs, up to `limit`; returns how many, so that the caller goes on until 0."""
    if not await ladder(session):
        return 0
    fresh = (
        sa.select(Member.id)
        .outerjoin(MemberLevel, MemberLevel.member_id == Member.id)
        .where(MemberLevel.member_id.is_(None), Member.merged_into_id.is_(None), Member.erased_at.is_(None))
        .order_by(Member.id)
        .limit(limit)
    )
    if among is not None:
        fresh = fresh.where(Member.id.in_(among))
    found = list(await session.scalars(fresh))
    await judge_members(session, found, now=now, zone=zone)
    return len(found)


# Pieces


async def _hold(session: AsyncSession, member_ids: Sequence[int], lowest: Step, today: date) -> dict[int, Held | None]:
    """Where these members stand; nobody else moves them until the transaction ends.

    Who has no row gets one here, and of two transactions that meet a newcomer the second waits and finds the first's.
    """
    stood: dict[int, Held | None] = {**await locked(session, member_ids)}
    if missing := [one for one in member_ids if one not in stood]:
        fresh = insert(session, _held).on_conflict_do_nothing().returning(_held.c.member_id)
        rows = [{"member_id": one, "level_id": lowest.id, "since_on": today, "growth_fen": 0} for one in missing]
        mine = set(await session.scalars(fresh, rows))
        stood |= dict.fromkeys(mine)
        stood |= await locked(session, [one for one in missing if one not in mine])
    return stood


async def locked(session: AsyncSession, member_ids: Sequence[int]) -> dict[int, Held]:
    if not member_ids:
        return {}
    c = _held.c
    rows = await session.execute(
        sa.select(c.member_id, c.level_id, c.since_on, c.until_on, c.grace_until_on, c.came_from_id)
        .where(c.member_id.in_(member_ids))
        .order_by(c.member_id)
        .with_for_update()
    )
    return {row.member_id: Held(*row[1:]) for row in rows}


async def write(session: AsyncSession, verdicts: Mapping[int, tuple[Verdict, int]]) -> None:
    """Where each member stands by now, with their growth."""
    rows = [
        {
            "member_id": one,
            "level_id": verdict.held.level_id,
            "since_on": verdict.held.since_on,
            "until_on": verdict.held.until_on,
            "grace_until_on": verdict.held.grace_until_on,
            "growth_fen": growth_fen,
            "came_from_id": verdict.held.came_from_id,
            "check_on": verdict.check_on,
        }
        for one, (verdict, growth_fen) in sorted(verdicts.items())
    ]
    if rows:
        await session.execute(upsert(session, _held, "member_id", _OWN), rows)


async def tell(session: AsyncSession, moves: Sequence[LevelMove], *, now: datetime) -> None:
    """Moves as history and as events."""
    if not moves:
        return
    session.add_all(moves)
    await session.flush()
    known = {level.id: level for level in await session.scalars(sa.select(Level))}
    told = []
    for move in moves:
        to, was = known[move.to_level_id], known.get(move.from_level_id or 0)
        told.append(
            LevelMoved(
                member_id=move.member_id,
                from_level_id=move.from_level_id,
                to_level_id=to.id,
                to_level=to.name,
                reason=move.reason,
                is_rise=was is not None and was.rank < to.rank,
            )
        )
    await events.append_all(session, told, now=now)
