"""The shop's levels as data: which there are, what each takes and gives, and the tag that shows it to staff."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from pydantic import Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from crm import levels, loyalty_rules, member_tags, rule_tags, tag_mirror
from crm.base.clock import SHANGHAI
from crm.conditions import HasLevel, write
from crm.level_rules import LevelRules
from crm.loyalty_rules import RulesWrong
from crm.models.audience import Tag
from crm.models.loyalty import Level, MemberLevel
from crm.models.member import Member
from crm.point_rules import Part

GROUP = "会员等级"  # our tag group, and the corp tag group it is mirrored to
APART = 1_000_000  # added to the old ranks while the new ones are written


class LevelTold(Part):
    """One level, as the shop defines it."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=30)]
    threshold_fen: Annotated[int, Field(ge=0, le=10**12)]
    benefits: dict[str, Any] = Field(
        default_factory=dict
    )  # points_bp: multiplies what orders earn; the rest is for people and campaigns


class ProgrammeTold(Part):
    """All levels from the lowest upwards, and how long things last."""

    levels: list[LevelTold]
    rules: LevelRules = LevelRules()
    mirrored: bool = True  # shown to staff in WeCom as corp tags


async def headcount(session: AsyncSession) -> list[tuple[Level, int]]:
    """The levels, the lowest first, with how many living members each has."""
    living = sa.and_(Member.id == MemberLevel.member_id, Member.merged_into_id.is_(None), Member.erased_at.is_(None))
    rows = await session.execute(
        sa.select(Level, sa.func.count(Member.id))
        .outerjoin(MemberLevel, MemberLevel.level_id == Level.id)
        .outerjoin(Member, living)
        .where(Level.retired_at.is_(None))
        .group_by(Level.id)
        .order_by(Level.rank)
    )
    return [(level, count) for level, count in rows]


def check(told: ProgrammeTold) -> None:
    """Raises RulesWrong with every mistake."""
    mistakes = []
    if told.levels and told.levels[0].threshold_fen != 0:
        mistakes.append({"field": "levels.0.threshold_fen", "reason": "the lowest level takes 0"})
    for place, (lower, higher) in enumerate(zip(told.levels, told.levels[1:], strict=False), 1):
        if higher.threshold_fen <= lower.threshold_fen:
            mistakes.append({"field": f"levels.{place}.threshold_fen", "reason": "each level takes more than the last"})
    if len({level.name for level in told.levels}) < len(told.levels):
        mistakes.append({"field": "levels", "reason": "two levels of one name"})
    for place, level in enumerate(told.levels):
        times = level.benefits.get("points_bp", 0)
        if not isinstance(times, int) or isinstance(times, bool) or not 0 <= times <= 1_000_000:
            mistakes.append(
                {"field": f"levels.{place}.benefits.points_bp", "reason": "a whole number up to 1000000; 10000 is once"}
            )
    if mistakes:
        raise RulesWrong(mistakes)


async def define(
    session: AsyncSession, told: ProgrammeTold, *, by: str = "", now: datetime, zone: ZoneInfo = SHANGHAI
) -> None:
    """These are the levels from now on; everybody is looked at anew by the next review. Raises RulesWrong.

    A level keeps its members and its history by its name; who had one that is gone gets what their spend merits.
    """
    check(told)
    await loyalty_rules.set_levels(session, told.rules, by=by, now=now)
    known = {level.name: level for level in await session.scalars(sa.select(Level).with_for_update())}
    for level in known.values():
        level.rank, level.retired_at = level.rank + APART, level.retired_at or now
    await session.flush()
    for rank, one in enumerate(told.levels, 1):
        level = known.get(one.name) or Level(name=one.name)
        level.rank, level.threshold_fen, level.benefits, level.retired_at = rank, one.threshold_fen, one.benefits, None
        session.add(level)
    await session.flush()
    if not told.levels:
        await _close(session, now=now)
    await _show(session, await levels.ladder(session), mirrored=told.mirrored, now=now)
    await levels.mark(session, None, now=now, zone=zone)


async def _close(session: AsyncSession, *, now: datetime) -> None:
    """The shop has no levels any more: nobody has one, and what showed it comes off. The moves stay as history."""
    await session.execute(sa.delete(MemberLevel))
    await rule_tags.refresh(session, now=now)


async def _show(session: AsyncSession, ladder: Sequence[Level], *, mirrored: bool, now: datetime) -> None:
    """A rule tag for each level but the lowest, which everybody has: marking all customers would tell staff nothing."""
    if not ladder:
        return
    group = await member_tags.add_group(session, GROUP, exclusive=True)
    for level in ladder[1:]:
        if level.tag_id is None:
            tag: Tag | None = await session.scalar(
                sa.select(Tag).where(Tag.group_id == group.id, Tag.name == level.name)
            )
            tag = tag or await member_tags.add(session, group.id, level.name, now=now)
            level.tag_id = tag.id
            await session.flush()
        rule = write(HasLevel(among=(level.id,)))
        if (await member_tags.get(session, level.tag_id)).rule != rule:
            await rule_tags.set_rule(session, level.tag_id, rule, now=now)
        await tag_mirror.set_mirrored(session, level.tag_id, mirrored, now=now)
