"""What changes a level besides orders and time: a hand, and two members who prove to be one, or two after all."""

from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import holds, levels, loyalty_rules
from crm.base.clock import SHANGHAI, local_day
from crm.base.errors import NotFound
from crm.level_rules import Held, Verdict, keep
from crm.models.loyalty import LevelMove, LevelReason, MemberLevel
from crm.points import check_words

_DAYS = ("since_on", "until_on", "grace_until_on")


class LevelNotFound(NotFound):
    """The shop has no such level."""

    code = "level.not_found"

    def __init__(self, level_id: int) -> None:
        super().__init__(level_id)
        self.level_id = level_id


async def set_by_hand(
    session: AsyncSession,
    member_id: int,
    level_id: int,
    *,
    reason: str,
    by: str,
    now: datetime,
    zone: ZoneInfo = SHANGHAI,
) -> None:
    """Give a member this level for a whole period, whatever they spent. Raises LevelNotFound, ReasonMissing."""
    check_words(reason, by)
    member_id = await holds.hold(session, member_id)
    steps = levels.steps(await levels.ladder(session))
    if level_id not in {step.id for step in steps}:
        raise LevelNotFound(level_id)
    await levels.begin(session, among=[member_id], now=now, zone=zone)
    rules, today = await loyalty_rules.of_levels(session), local_day(now, zone)
    before = (await levels.locked(session, [member_id]))[member_id]
    growth = await levels.growth_of(session, [member_id], rules, today=today)
    held = keep(level_id, steps, today, rules)
    await levels.write(session, {member_id: (Verdict(held), growth[member_id])})
    move = LevelMove(
        member_id=member_id,
        from_level_id=before.level_id,
        to_level_id=level_id,
        reason=LevelReason.MANUAL,
        facts={"growth_fen": growth[member_id], "why": reason.strip()},
        by=by,
        moved_at=now,
    )
    await levels.tell(session, [move], now=now)


async def follow_merge(
    session: AsyncSession, kept_id: int, absorbed_id: int, *, now: datetime, zone: ZoneInfo = SHANGHAI
) -> None:
    """One person has the higher of two levels, as it stands. The absorbed member's stays written, for an undo."""
    rank = {step.id: step.rank for step in levels.steps(await levels.ladder(session))}
    if not rank:
        return
    stood = await levels.locked(session, [kept_id, absorbed_id])
    mine, theirs = stood.get(kept_id), stood.get(absorbed_id)
    await session.execute(
        sa.update(MemberLevel).where(MemberLevel.member_id == absorbed_id).values(check_on=None),
        execution_options={"synchronize_session": False},
    )
    if mine is not None and theirs is not None and _rank(rank, theirs) > _rank(rank, mine):
        facts = {"absorbed_id": absorbed_id, "growth_fen": 0, "before": _as_json(mine)}
        await _go(session, kept_id, mine, theirs, LevelReason.MERGED, facts, now=now)
    await levels.judge_members(session, [kept_id], now=now, zone=zone)


async def part(
    session: AsyncSession, kept_id: int, absorbed_id: int, *, now: datetime, zone: ZoneInfo = SHANGHAI
) -> None:
    """A merge was undone: what only the other's level or orders had raised is lowered again."""
    stood = await levels.locked(session, [kept_id, absorbed_id])
    newest = next(iter(await levels.moves_of(session, kept_id, limit=1)), None)
    mine = stood.get(kept_id)
    came_so = newest is not None and newest.reason is LevelReason.MERGED
    if mine is not None and newest is not None and came_so and newest.facts["absorbed_id"] == absorbed_id:
        before, facts = _from_json(newest.facts["before"]), {"growth_fen": 0, "absorbed_id": absorbed_id}
        await _go(session, kept_id, mine, before, LevelReason.PARTED, facts, now=now)
    both = [one for one in (kept_id, absorbed_id) if one in stood]
    await levels.judge_members(session, both, now=now, zone=zone, shrunk={kept_id: LevelReason.PARTED})


def _rank(rank: dict[int, int], held: Held) -> int:
    return rank.get(held.level_id or 0, 0)


async def _go(
    session: AsyncSession,
    member_id: int,
    was: Held,
    held: Held,
    reason: LevelReason,
    facts: dict[str, Any],
    *,
    now: datetime,
) -> None:
    await levels.write(session, {member_id: (Verdict(held), 0)})
    if held.level_id is None or held.level_id == was.level_id:
        return
    move = LevelMove(
        member_id=member_id,
        from_level_id=was.level_id,
        to_level_id=held.level_id,
        reason=reason,
        facts=facts,
        moved_at=now,
    )
    await levels.tell(session, [move], now=now)


def _as_json(held: Held) -> dict[str, Any]:
    days = {name: day.isoformat() if (day := getattr(held, name)) is not None else None for name in _DAYS}
    return {"level_id": held.level_id, "came_from_id": held.came_from_id, **days}


def _from_json(body: dict[str, Any]) -> Held:
    since, until, grace = (date.fromisoformat(day) if (day := body[name]) else None for name in _DAYS)
    ids = [body[name] for name in ("level_id", "came_from_id")]
    return Held(ids[0], since or date.min, until, grace, ids[1])
