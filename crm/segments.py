"""Segments: named conditions, how many satisfy one, who for example, why somebody does not, and who came and went."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from crm import conditions, members, segment_compiler, segment_facts, segment_words
from crm.base import events
from crm.base.db import insert
from crm.base.errors import NotFound, Refused
from crm.conditions import AllOf, AnyOf, Condition, Leaf, Not
from crm.models.audience import Segment, SegmentMember
from crm.models.member import Member
from crm.segment_words import Names, in_words

SHOWN = 10  # people of a preview
TOGETHER = 5000  # events appended in one statement


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentEntered:
    """A member satisfies a watched segment from now on. Nobody enters by its first filling, only by a change."""

    segment_id: int
    member_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentLeft:
    """A member no longer satisfies a watched segment, or was merged or erased."""

    segment_id: int
    member_id: int


@dataclass(eq=False)
class SegmentNotFound(NotFound):
    """No segment has this id."""

    code = "segment.not_found"
    segment_id: int


@dataclass(eq=False)
class SegmentNameTaken(Refused):
    """Another segment has this name."""

    code = "segment.name_taken"
    name: str


@dataclass(frozen=True, slots=True)
class Person:
    member_id: int
    code: str
    name: str
    avatar: str


@dataclass(frozen=True, slots=True)
class Preview:
    """How many, and some of them."""

    count: int
    people: list[Person]


@dataclass(frozen=True, slots=True)
class Step:
    """After this condition and those before it, so many are left."""

    words: str
    left: int


@dataclass(frozen=True, slots=True)
class Reason:
    """One condition that keeps a member out. fact: what is so instead, empty where yes or no says all."""

    words: str
    fact: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a member is in, and if not, every condition that would have to change."""

    member_id: int
    inside: bool
    reasons: list[Reason]


@dataclass(frozen=True, slots=True)
class Moved:
    """Who came and went."""

    entered: int
    left: int


# Reads


async def get(session: AsyncSession, segment_id: int) -> Segment:
    """Raises SegmentNotFound."""
    segment = await session.get(Segment, segment_id)
    if segment is None:
        raise SegmentNotFound(segment_id)
    return segment


async def count(session: AsyncSession, condition: Condition, *, now: datetime) -> int:
    found = segment_compiler.member_ids(condition, now=now).with_only_columns(sa.func.count())
    return int(await session.scalar(found) or 0)


async def preview(session: AsyncSession, condition: Condition, *, now: datetime, shown: int = SHOWN) -> Preview:
    """How many satisfy a condition, and ten of them: the first the database comes upon. Everybody is asked once."""
    found = segment_compiler.member_ids(condition, now=now).cte("found")  # used twice, so both databases keep it
    total = sa.select(sa.func.count()).select_from(found).scalar_subquery()
    rows = (await session.execute(sa.select(found.c.id, total.label("total")).limit(shown))).all()
    if not rows:
        return Preview(0, [])
    some = await members.get_batch(session, [row.id for row in rows])
    people = [Person(one.id, one.code, one.name, one.avatar) for _, one in sorted(some.items())]
    return Preview(rows[0].total, people)


async def funnel(session: AsyncSession, condition: Condition, *, now: datetime) -> list[Step]:
    """Everybody, then how many are left after the first condition, after the second too, … Looks at every member."""
    parts = condition.of if isinstance(condition, AllOf) else (condition,)
    people = aliased(Member, name="m")
    asked = segment_compiler.tests(parts, people, now=now)
    left = [
        sa.func.coalesce(sa.func.sum(sa.case((sa.and_(*asked[: place + 1]), 1), else_=0)), 0)
        for place in range(len(asked))
    ]
    everybody = sa.select(sa.func.count(), *left).select_from(people).where(*segment_compiler.living(people))
    total, *rest = (await session.execute(everybody)).one()
    names = await segment_words.names_in(session, condition)
    words = ["全部会员", *(in_words(part, names) for part in parts)]
    return [Step(said, int(number)) for said, number in zip(words, [total, *rest], strict=True)]


async def explain(session: AsyncSession, condition: Condition, member_id: int, *, now: datetime) -> Verdict:
    """Why a member is out, in words. Raises MemberNotFound; a merged one is asked as the one they became."""
    member = await members.get(session, member_id)
    if member.erased_at is not None:
        return Verdict(member.id, False, [Reason("是会员", "已注销，资料已删除")])
    asked = list(dict.fromkeys(conditions.leaves(condition)))
    judged = await segment_compiler.judge(session, asked, [member.id], now=now)
    holds = dict(zip(asked, judged[member.id], strict=True))
    against = list(dict.fromkeys(_against(condition, holds, negated=False)))
    names = await segment_words.names_in(session, condition)
    reasons = [await _reason(session, leaf, negated, member.id, names, now=now) for leaf, negated in against]
    return Verdict(member.id, not against, reasons)


def _against(condition: Condition, holds: dict[Leaf, bool], *, negated: bool) -> Iterator[tuple[Leaf, bool]]:
    """The leaves that keep somebody out, each with whether it is wanted not to hold. None: they are in."""
    if isinstance(condition, Not):
        yield from _against(condition.of, holds, negated=not negated)
    elif isinstance(condition, AllOf | AnyOf):
        inside = [list(_against(part, holds, negated=negated)) for part in condition.of]
        if isinstance(condition, AllOf) != negated or all(inside):  # one "no" is enough; or everything says no
            yield from (one for part in inside for one in part)
    elif holds[condition] == negated:
        yield condition, negated


async def _reason(
    session: AsyncSession, leaf: Leaf, negated: bool, member_id: int, names: Names, *, now: datetime
) -> Reason:
    words = in_words(Not(of=leaf) if negated else leaf, names)
    query = segment_facts.fact(leaf, member_id, now)
    if query is None:
        return Reason(words, "")
    return Reason(words, segment_facts.tell(leaf, (await session.execute(query)).first(), now))


async def holding(session: AsyncSession, member_id: int) -> list[Segment]:
    """The watched segments that hold a member."""
    rows = await session.scalars(
        sa.select(Segment)
        .join(SegmentMember, SegmentMember.segment_id == Segment.id)
        .where(SegmentMember.member_id == member_id)
        .order_by(Segment.id)
    )
    return list(rows)


# Verbs


async def save(
    session: AsyncSession,
    name: str,
    definition: Any,
    *,
    watched: bool = False,
    segment_id: int | None = None,
    now: datetime,
) -> Segment:
    """A new segment, or a new condition for an old one. Raises DefinitionWrong, SegmentNameTaken, SegmentNotFound."""
    condition = conditions.write(conditions.read(definition))
    taken = await session.scalar(sa.select(Segment.id).where(Segment.name == name))
    if taken is not None and taken != segment_id:
        raise SegmentNameTaken(name)
    if segment_id is not None:
        segment = await get(session, segment_id)
        if segment.condition != condition or not watched:
            await session.execute(sa.delete(SegmentMember).where(SegmentMember.segment_id == segment_id))
            segment.filled_at = None
        segment.name, segment.condition, segment.watched, segment.saved_at = name, condition, watched, now
        await session.flush()
        return segment
    values = {"name": name, "condition": condition, "watched": watched, "saved_at": now}
    made = insert(session, Segment).values(values).on_conflict_do_nothing().returning(Segment)
    created: Segment | None = await session.scalar(made)
    if created is None:
        raise SegmentNameTaken(name)
    return created


async def refresh(session: AsyncSession, segment_id: int, *, now: datetime) -> Moved:
    """Compare everybody with a watched segment; set-based. The first time fills it without a word."""
    segment = await session.scalar(
        sa.select(Segment).where(Segment.id == segment_id).with_for_update().execution_options(populate_existing=True)
    )
    if segment is None:
        raise SegmentNotFound(segment_id)
    fits = segment_compiler.member_ids(conditions.read(segment.condition), now=now)
    inside = sa.select(SegmentMember.member_id).where(SegmentMember.segment_id == segment_id)
    gone = sa.select(SegmentMember.member_id).where(
        SegmentMember.segment_id == segment_id, SegmentMember.member_id.not_in(fits)
    )
    left = (await session.scalars(gone)).all()
    if segment.filled_at is None:
        row = sa.select(sa.literal(segment_id), fits.subquery().c[0], sa.literal(now, Segment.saved_at.type))
        filled = sa.insert(SegmentMember).from_select(["segment_id", "member_id", "entered_at"], row)
        await session.execute(filled)
        entered: Sequence[int] = []
    else:
        entered = (await session.scalars(sa.except_(fits, inside))).all()
    segment.filled_at = now
    await _move(session, segment_id, entered=entered, left=left, now=now)
    return Moved(len(entered), len(left))


async def refresh_all(session: AsyncSession, *, now: datetime) -> Moved:
    """Every watched segment."""
    ids = await session.scalars(sa.select(Segment.id).where(Segment.watched).order_by(Segment.id))
    moved = [await refresh(session, segment_id, now=now) for segment_id in ids.all()]
    return Moved(sum(one.entered for one in moved), sum(one.left for one in moved))


async def follow(session: AsyncSession, member_ids: Collection[int], *, now: datetime) -> Moved:
    """These members' facts changed: who enters and leaves which filled segment. One SELECT judges all segments."""
    rows = await session.execute(
        sa.select(Segment.id, Segment.condition)
        .where(Segment.watched, Segment.filled_at.is_not(None))
        .order_by(Segment.id)
        .with_for_update(read=True)
    )
    watched = [(row.id, conditions.read(row.condition)) for row in rows]
    if not watched or not member_ids:
        return Moved(0, 0)
    judged = await segment_compiler.judge(session, [condition for _, condition in watched], member_ids, now=now)
    held = await session.execute(
        sa.select(SegmentMember.segment_id, SegmentMember.member_id).where(SegmentMember.member_id.in_(set(member_ids)))
    )
    inside = {(row.segment_id, row.member_id) for row in held}
    entered = left = 0
    for place, (segment_id, _) in enumerate(watched):
        fits = {member_id for member_id, holds in judged.items() if holds[place]}
        had = {member_id for at, member_id in inside if at == segment_id}
        await _move(session, segment_id, entered=sorted(fits - had), left=sorted(had - fits), now=now)
        entered, left = entered + len(fits - had), left + len(had - fits)
    return Moved(entered, left)


async def leave(session: AsyncSession, whose: sa.ColumnElement[bool], *, now: datetime) -> None:
    """Take rows of segment_members out of their segments aloud: the members are erased."""
    held = sa.select(SegmentMember.segment_id, SegmentMember.member_id).where(whose)
    found = (await session.execute(held.order_by(SegmentMember.segment_id, SegmentMember.member_id))).all()
    await session.execute(sa.delete(SegmentMember).where(whose), execution_options={"synchronize_session": False})
    told = [SegmentLeft(segment_id=row.segment_id, member_id=row.member_id) for row in found]
    await events.append_all(session, told, now=now)


async def _move(
    session: AsyncSession, segment_id: int, *, entered: Sequence[int], left: Sequence[int], now: datetime
) -> None:
    for start in range(0, len(left), TOGETHER):
        some = left[start : start + TOGETHER]
        gone = (SegmentMember.segment_id == segment_id, SegmentMember.member_id.in_(some))
        await session.execute(sa.delete(SegmentMember).where(*gone), execution_options={"synchronize_session": False})
        told = [SegmentLeft(segment_id=segment_id, member_id=one) for one in some]
        await events.append_all(session, told, now=now)
    for start in range(0, len(entered), TOGETHER):
        some = entered[start : start + TOGETHER]
        rows = [{"segment_id": segment_id, "member_id": one, "entered_at": now} for one in some]
        await session.execute(insert(session, SegmentMember.__table__).on_conflict_do_nothing(), rows)
        come = [SegmentEntered(segment_id=segment_id, member_id=one) for one in some]
        await events.append_all(session, come, now=now)
