"""Tags put on and taken off by a rule: at once for members whose facts changed, and for everybody by night.

A rule is a condition. It may not ask for a tag that has a rule itself, so no change of tags sets off another. In an
exclusive group the first tag whose rule holds is the one, in the order the tags were made.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import conditions, member_tags, segment_compiler
from crm.base.errors import Refused
from crm.conditions import AllOf, AnyOf, Condition, Not, Tagged
from crm.models.audience import MemberTag, Tag, TagEnd, TagGroup, TagSource


@dataclass(eq=False)
class RuleLoops(Refused):
    """A rule asks for a tag with a rule, or another rule asks for the tag that gets one."""

    code = "tag.rule_loops"
    tag_id: int
    asks_for: list[int]


@dataclass(frozen=True, slots=True)
class Ruled:
    """A tag and the condition under which it is on; in an exclusive group: and no earlier one is."""

    tag_id: int
    condition: Condition


@dataclass(frozen=True, slots=True)
class Retagged:
    """How many members a look at everybody changed."""

    tagged: int
    untagged: int


async def set_rule(session: AsyncSession, tag_id: int, definition: Any | None, *, now: datetime) -> Retagged:
    """Give a tag this rule, or none, and put it on whom it fits; raises DefinitionWrong, RuleLoops, TagNotFound.

    Without a rule, what the old one put on stays on until a person takes it off.
    """
    tag = await member_tags.get(session, tag_id)
    if definition is None:
        tag.rule = None
        await session.flush()
        return Retagged(0, 0)
    rule = conditions.read(definition)
    others = await session.execute(sa.select(Tag.id, Tag.rule).where(Tag.rule.is_not(None)).with_for_update())
    ruled = {row.id: conditions.read(row.rule) for row in others if row.id != tag_id}
    if loops := sorted(asked_tags(rule) & {*ruled, tag_id}):
        raise RuleLoops(tag_id, loops)
    if askers := sorted(other for other, condition in ruled.items() if tag_id in asked_tags(condition)):
        raise RuleLoops(tag_id, askers)
    tag.rule = conditions.write(rule)
    await session.flush()
    return await refresh(session, now=now, only=tag.group_id)


def asked_tags(condition: Condition) -> set[int]:
    return {tag_id for leaf in conditions.leaves(condition) if isinstance(leaf, Tagged) for tag_id in leaf.any_of}


async def every(session: AsyncSession, *, only: int | None = None) -> list[Ruled]:
    """All tags with a rule, or those of one group, with the condition under which they are on."""
    rows = await session.execute(
        sa.select(Tag.id, Tag.rule, Tag.group_id, TagGroup.exclusive)
        .join(TagGroup, TagGroup.id == Tag.group_id)
        .where(Tag.rule.is_not(None), *(() if only is None else (Tag.group_id == only,)))
        .order_by(Tag.id)
    )
    earlier: defaultdict[int, list[Condition]] = defaultdict(list)
    found = []
    for row in rows:
        rule = conditions.read(row.rule)
        before = tuple(earlier[row.group_id]) if row.exclusive else ()
        found.append(Ruled(row.id, AllOf(of=(rule, Not(of=AnyOf(of=before)))) if before else rule))
        earlier[row.group_id].append(rule)
    return found


async def refresh(session: AsyncSession, *, now: datetime, only: int | None = None) -> Retagged:
    """Look at everybody: for all rules, or those of one group. Only what changed is written."""
    ruled = await every(session, only=only)
    off = [await _take_off(session, one, now=now) for one in ruled]
    on = [await _put_on(session, one, now=now) for one in ruled]
    return Retagged(sum(on), sum(off))


async def _take_off(session: AsyncSession, ruled: Ruled, *, now: datetime) -> int:
    fits = segment_compiler.member_ids(ruled.condition, now=now)
    gone = sa.select(MemberTag.member_id).where(
        MemberTag.tag_id == ruled.tag_id,
        MemberTag.ended_at.is_(None),
        MemberTag.source == TagSource.RULE,
        MemberTag.member_id.not_in(fits),
    )
    ids = (await session.scalars(gone)).all()
    return len(await member_tags.untag(session, ids, ruled.tag_id, because=TagEnd.RULE, now=now))


async def _put_on(session: AsyncSession, ruled: Ruled, *, now: datetime) -> int:
    bears = sa.select(MemberTag.member_id).where(MemberTag.tag_id == ruled.tag_id, member_tags.alive(now))
    fresh = sa.except_(segment_compiler.member_ids(ruled.condition, now=now), bears)
    ids = (await session.scalars(fresh)).all()
    return len(await member_tags.tag(session, ids, ruled.tag_id, source=TagSource.RULE, now=now))


async def follow(session: AsyncSession, member_ids: Collection[int], *, now: datetime) -> Retagged:
    """These members' facts changed: put on and take off what follows. One SELECT judges all rules at once."""
    ruled = await every(session)
    if not ruled or not member_ids:
        return Retagged(0, 0)
    judged = await segment_compiler.judge(session, [one.condition for one in ruled], member_ids, now=now)
    borne = await session.execute(
        sa.select(MemberTag.member_id, MemberTag.tag_id, MemberTag.source).where(
            MemberTag.member_id.in_(judged), member_tags.alive(now)
        )
    )
    has = {(row.member_id, row.tag_id): row.source for row in borne}
    tagged = untagged = 0
    for place, one in enumerate(ruled):
        by_rule = [member for member in judged if has.get((member, one.tag_id)) is TagSource.RULE]
        gone = [member for member in by_rule if not judged[member][place]]
        untagged += len(await member_tags.untag(session, gone, one.tag_id, because=TagEnd.RULE, now=now))
    for place, one in enumerate(ruled):
        fresh = [member for member, holds in judged.items() if holds[place] and (member, one.tag_id) not in has]
        tagged += len(await member_tags.tag(session, fresh, one.tag_id, source=TagSource.RULE, now=now))
    return Retagged(tagged, untagged)
