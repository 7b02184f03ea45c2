"""One member's level as a screen shows it: since when, until when, how far to the next, and why. Six queries."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import levels, loyalty_rules
from crm.base.clock import SHANGHAI, local_day
from crm.models.loyalty import LevelMove, LevelReason, MemberLevel
from crm.segment_words import yuan


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelStanding:
    """Where a member stands at one moment. Days are the shop's."""

    level_id: int
    name: str
    benefits: dict[str, Any]
    since_on: date
    until_on: date | None  # the period ends before this day; None: the lowest level has no end
    grace_until_on: date | None  # the period ended short: lost on this day unless made good
    growth_fen: int  # net spend in the window, now
    window_days: int
    keeps_with_fen: int  # what is missing to keep the level when its period ends; 0: it would be kept
    next_name: str | None  # None: it is the highest
    next_in_fen: int  # what is missing to the next level
    reason: str  # why they have it, in words


async def standing_of(
    session: AsyncSession, member_id: int, *, now: datetime, zone: ZoneInfo = SHANGHAI
) -> LevelStanding | None:
    """None: the shop has no levels, or has not looked at this member yet."""
    ladder = await levels.ladder(session)
    row = await session.scalar(sa.select(MemberLevel).where(MemberLevel.member_id == member_id))
    mine = next((level for level in ladder if row is not None and level.id == row.level_id), None)
    if row is None or mine is None:
        return None
    rules, today = await loyalty_rules.of_levels(session), local_day(now, zone)
    growth = (await levels.growth_of(session, [member_id], rules, today=today))[member_id]
    above = next((level for level in ladder if level.rank > mine.rank), None)
    move = next(iter(await levels.moves_of(session, member_id, limit=1)), None)
    return LevelStanding(
        level_id=mine.id,
        name=mine.name,
        benefits=mine.benefits,
        since_on=row.since_on,
        until_on=row.until_on,
        grace_until_on=row.grace_until_on,
        growth_fen=growth,
        window_days=rules.window_days,
        keeps_with_fen=max(mine.threshold_fen - growth, 0),
        next_name=above.name if above is not None else None,
        next_in_fen=max(above.threshold_fen - growth, 0) if above is not None else 0,
        reason=in_words(move, zone) if move is not None else "从最低等级开始",
    )


def in_words(move: LevelMove, zone: ZoneInfo = SHANGHAI) -> str:
    """Why a member's level became another, for a person to read."""
    spent = f"窗口内净消费 {yuan(move.facts.get('growth_fen', 0))}"
    why = {
        LevelReason.JOINED: f"入会，{spent}",
        LevelReason.REACHED: f"{spent}，达到门槛",
        LevelReason.FELL: f"有效期和缓冲期结束，{spent}，没有达到门槛",
        LevelReason.REFUNDED: f"刚升级的订单退款了，{spent}",
        LevelReason.MANUAL: f"{move.by or '同事'}手工设定：{move.facts.get('why', '')}",
        LevelReason.MERGED: "合并会员，取较高的等级",
        LevelReason.PARTED: "合并已撤销，恢复原来的等级",
        LevelReason.REDEFINED: f"店铺调整了等级，{spent}",
    }[move.reason]
    return f"{local_day(move.moved_at, zone)} {why}"
