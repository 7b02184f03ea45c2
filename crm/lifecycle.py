"""The lifecycle: each member's stage, judged again at each order and on the day silence would change it."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm.base import events
from crm.base.bulk import upsert
from crm.base.clock import SHANGHAI, local_day
from crm.base.db import insert, is_among
from crm.lifecycle_rules import USUAL, Limits, Purchase, Verdict, judge
from crm.models.lifecycle import MemberStage, MoveReason, Stage, StageMove
from crm.models.member import Member
from crm.models.order import Order
from crm.order_changes import OrderChange, counting

AT_ONCE = 100  # members whose orders change together: more come from an import and wait for the next review
REVIEWED_TOGETHER = 500
_stages: Any = MemberStage.__table__


@dataclass(frozen=True, slots=True, kw_only=True)
class StageMoved:
    """A member went from one stage to another. Appended by judge_members(); read at least once."""

    member_id: int
    from_stage: Stage | None  # None: the beginning
    to_stage: Stage
    reason: MoveReason
    moved_on: date


async def follow(
    session: AsyncSession, changes: Sequence[OrderChange], *, now: datetime, zone: ZoneInfo = SHANGHAI
) -> None:
    """Judge the members of these orders, in the orders' own transaction. An import's many wait for the next review."""
    moved = {change.member_id for change in changes if change.before.counts or change.after.counts}
    if len(moved) > AT_ONCE:
        await mark(session, moved, now=now, zone=zone)
    elif moved:
        await judge_members(session, moved, now=now, zone=zone)


async def mark(session: AsyncSession, member_ids: Collection[int], *, now: datetime, zone: ZoneInfo = SHANGHAI) -> None:
    """Have these members judged at the next review; who has no stage yet begins as a lead, without a move."""
    today = local_day(now, zone)
    columns = ("member_id", "stage", "since_on", "check_on")
    values = (sa.literal(Stage.LEAD, _stages.c.stage.type), sa.literal(today), sa.literal(today))
    told = insert(session, _stages).from_select(
        columns, sa.select(Member.id, *values).where(is_among(session, Member.id, member_ids))
    )
    await session.execute(
        told.on_conflict_do_update(index_elements=["member_id"], set_={"check_on": told.excluded.check_on})
    )


async def judge_members(
    session: AsyncSession,
    member_ids: Iterable[int],
    *,
    now: datetime,
    zone: ZoneInfo = SHANGHAI,
    limits: Limits = USUAL,
) -> int:
    """Put each of these members where their orders and today put them; returns how many moved.

    member_ids: up to a few thousand. A move is a dated row with its reason, and an event.
    """
    wanted, today = sorted(set(member_ids)), local_day(now, zone)
    before = await _held(session, wanted, today)
    bought = await _purchases(session, wanted)
    rows, moves = [], []
    for member_id in wanted:
        verdict = judge(bought[member_id], today, limits)
        stood = before.get(member_id)
        has_moved = stood is None or stood.stage is not verdict.stage
        since_on = today if has_moved or stood is None else stood.since_on
        rows.append(_row(member_id, verdict, since_on))
        if has_moved:
            moves.append(_move(member_id, stood.stage if stood else None, verdict, now))
    if rows:
        own = ("stage", "since_on", "check_on", "rhythm_days")
        await session.execute(upsert(session, _stages, "member_id", own), rows)
    await _write_moves(session, moves, today, now)
    return len(moves)


async def review(
    session: AsyncSession, *, now: datetime, zone: ZoneInfo = SHANGHAI, limit: int = REVIEWED_TOGETHER
) -> int:
    """Judge members whose day has come, up to `limit`; returns how many, so that the caller goes on until 0."""
    due = await session.scalars(
        sa.select(MemberStage.member_id)
        .where(MemberStage.check_on <= local_day(now, zone))
        .order_by(MemberStage.member_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    found = list(due)
    if found:
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
    """Give members without a stage theirs, up to `limit`; returns how many, so that the caller goes on until 0."""
    fresh = (
        sa.select(Member.id)
        .outerjoin(MemberStage, MemberStage.member_id == Member.id)
        .where(MemberStage.member_id.is_(None), Member.merged_into_id.is_(None), Member.erased_at.is_(None))
        .order_by(Member.id)
        .limit(limit)
    )
    if among is not None:
        fresh = fresh.where(Member.id.in_(among))
    found = list(await session.scalars(fresh))
    if found:
        await judge_members(session, found, now=now, zone=zone)
    return len(found)


async def follow_merge(
    session: AsyncSession, kept_id: int, absorbed_id: int, *, now: datetime, zone: ZoneInfo = SHANGHAI
) -> None:
    """One person has one stage and all the moves of both, the absorbed member none."""
    await session.execute(sa.delete(MemberStage).where(MemberStage.member_id == absorbed_id))
    await session.execute(sa.update(StageMove).where(StageMove.member_id == absorbed_id).values(member_id=kept_id))
    await judge_members(session, [kept_id], now=now, zone=zone)


async def moves_of(session: AsyncSession, member_id: int, *, limit: int = 20) -> list[StageMove]:
    """A member's moves, newest first."""
    rows = await session.scalars(
        sa.select(StageMove)
        .where(StageMove.member_id == member_id)
        .order_by(StageMove.moved_at.desc(), StageMove.id.desc())
        .limit(limit)
    )
    return list(rows)


STAGE_NAMES = {
    Stage.LEAD: "潜客",
    Stage.NEW: "新客",
    Stage.ACTIVE: "活跃",
    Stage.LOYAL: "忠诚",
    Stage.AT_RISK: "有流失风险",
    Stage.LAPSED: "已流失",
    Stage.WON_BACK: "已赢回",
}


def in_words(move: StageMove) -> str:
    """Why a member moved, for a person to read."""
    facts = move.facts
    rhythm = facts.get("rhythm_days")
    usual = f"平时每 {rhythm:g} 天买一次" if rhythm else "下单不满三次"
    silence = f"已 {facts.get('silent_days')} 天没有下单，超过 {facts.get('limit_days') or 0:g} 天（{usual}）"
    return {
        MoveReason.JOINED: "已加入，还没有下单",
        MoveReason.FIRST_ORDER: f"首单至今 {facts.get('since_first_days')} 天",
        MoveReason.ON_RHYTHM: f"上次下单 {facts.get('silent_days')} 天前，节奏正常（{usual}）",
        MoveReason.OFTEN: f"一年内 {facts.get('orders')} 单，节奏正常（{usual}）",
        MoveReason.SILENT: silence,
        MoveReason.SILENT_LONG: silence,
        MoveReason.RETURNED: f"流失后在 {facts.get('returned_on')} 又下单了",
        MoveReason.REFUNDED: "订单已全部退款",
    }[move.reason]


@dataclass(frozen=True, slots=True)
class _Stood:
    stage: Stage
    since_on: date


async def _held(session: AsyncSession, member_ids: Sequence[int], today: date) -> dict[int, _Stood]:
    """Where these members stand; nobody else moves them until the transaction ends.

    Who has no row gets one here, and of two transactions that meet a newcomer the second waits and finds the first's.
    """
    stood = await _locked(session, member_ids)
    if missing := [member_id for member_id in member_ids if member_id not in stood]:
        fresh = insert(session, _stages).on_conflict_do_nothing().returning(_stages.c.member_id)
        rows = [{"member_id": member_id, "stage": Stage.LEAD, "since_on": today} for member_id in missing]
        mine = set(await session.scalars(fresh, rows))
        stood |= await _locked(session, [member_id for member_id in missing if member_id not in mine])
    return stood


async def _locked(session: AsyncSession, member_ids: Sequence[int]) -> dict[int, _Stood]:
    if not member_ids:
        return {}
    c = _stages.c
    rows = await session.execute(
        sa.select(c.member_id, c.stage, c.since_on)
        .where(is_among(session, c.member_id, member_ids))
        .order_by(c.member_id)
        .with_for_update()
    )
    return {row.member_id: _Stood(row.stage, row.since_on) for row in rows}


async def _purchases(session: AsyncSession, member_ids: Sequence[int]) -> defaultdict[int, list[Purchase]]:
    rows = await session.execute(
        sa.select(Order.member_id, Order.paid_on, sa.func.count())
        .where(is_among(session, Order.member_id, member_ids), counting())
        .group_by(Order.member_id, Order.paid_on)
        .order_by(Order.member_id, Order.paid_on)
    )
    bought: defaultdict[int, list[Purchase]] = defaultdict(list)
    for member_id, day, orders in rows:
        if day is not None:
            bought[member_id].append(Purchase(day, orders))
    return bought


def _row(member_id: int, verdict: Verdict, since_on: date) -> dict[str, Any]:
    return {
        "member_id": member_id,
        "stage": verdict.stage,
        "since_on": since_on,
        "check_on": verdict.check_on,
        "rhythm_days": verdict.rhythm_days,
    }


def _move(member_id: int, from_stage: Stage | None, verdict: Verdict, now: datetime) -> StageMove:
    was_customer = from_stage not in (None, Stage.LEAD)
    reason = MoveReason.REFUNDED if verdict.stage is Stage.LEAD and was_customer else verdict.reason
    return StageMove(
        member_id=member_id,
        from_stage=from_stage,
        to_stage=verdict.stage,
        reason=reason,
        facts=verdict.facts,
        moved_at=now,
    )


async def _write_moves(session: AsyncSession, moves: Sequence[StageMove], today: date, now: datetime) -> None:
    if not moves:
        return
    session.add_all(moves)
    await session.flush()
    told = [
        StageMoved(
            member_id=move.member_id,
            from_stage=move.from_stage,
            to_stage=move.to_stage,
            reason=move.reason,
            moved_on=today,
        )
        for move in moves
    ]
    await events.append_all(session, told, now=now)
