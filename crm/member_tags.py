"""Our own tags: who bears them, by whose word, since when and until when.

What a person says (manual, import, staff in WeCom) outlives what a rule says. In an exclusive group a new tag replaces
the old one, but a rule's tag never replaces a person's. The members' rows are locked first, so of two people who tag
one member at once the later word counts; the partial unique indexes hold what the locks promise.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from crm.base import events
from crm.base.db import insert, is_among
from crm.base.errors import Invalid, NotFound, Refused
from crm.models.audience import MemberTag, Tag, TagEnd, TagGroup, TagSource
from crm.models.member import Member

TOGETHER = 1000  # members in one statement
OPEN = MemberTag.ended_at.is_(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberTagged:
    """A member bears a tag from now on. Appended by tag() and, for the member who is kept, by carry()."""

    spell_id: int  # of the row in member_tags
    member_id: int
    tag_id: int
    source: TagSource


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberUntagged:
    """A member no longer bears a tag."""

    spell_id: int
    member_id: int
    tag_id: int
    because: TagEnd


@dataclass(eq=False)
class TagNotFound(NotFound):
    """No tag has this id."""

    code = "tag.not_found"
    tag_id: int


@dataclass(eq=False)
class TagNameTaken(Refused):
    """The group has a tag of this name."""

    code = "tag.name_taken"
    name: str


@dataclass(eq=False)
class TagNameWrong(Invalid):
    """A name is 1 to 30 characters, as in WeCom."""

    code = "tag.name_wrong"
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Borne:
    """A tag a member bears, for a screen."""

    tag_id: int
    group: str
    name: str
    source: TagSource
    by: str
    tagged_at: datetime
    expires_at: datetime | None


# Reads


async def get(session: AsyncSession, tag_id: int) -> Tag:
    """Raises TagNotFound."""
    tag = await session.get(Tag, tag_id)
    if tag is None:
        raise TagNotFound(tag_id)
    return tag


async def every(session: AsyncSession) -> list[tuple[TagGroup, Tag]]:
    """All tags with their groups, in the order they were made."""
    rows = await session.execute(
        sa.select(TagGroup, Tag).join(Tag, Tag.group_id == TagGroup.id).order_by(TagGroup.id, Tag.id)
    )
    return [(group, tag) for group, tag in rows]


async def borne_by(session: AsyncSession, member_id: int, *, now: datetime) -> list[Borne]:
    """The tags a member bears now."""
    rows = await session.execute(
        sa.select(MemberTag, Tag.name, TagGroup.name.label("group"))
        .join(Tag, Tag.id == MemberTag.tag_id)
        .join(TagGroup, TagGroup.id == Tag.group_id)
        .where(MemberTag.member_id == member_id, alive(now))
        .order_by(TagGroup.id, Tag.id)
    )
    return [
        Borne(
            tag_id=spell.tag_id,
            group=group,
            name=name,
            source=spell.source,
            by=spell.by,
            tagged_at=spell.tagged_at,
            expires_at=spell.expires_at,
        )
        for spell, name, group in rows
    ]


async def history_of(session: AsyncSession, member_id: int) -> list[MemberTag]:
    """Every spell of every tag, oldest first."""
    rows = await session.scalars(
        sa.select(MemberTag).where(MemberTag.member_id == member_id).order_by(MemberTag.tagged_at, MemberTag.id)
    )
    return list(rows)


def alive(now: datetime) -> sa.ColumnElement[bool]:
    """SQL: the spell is on at `now`, also when the sweep has not come by since it expired."""
    return sa.and_(OPEN, sa.or_(MemberTag.expires_at.is_(None), MemberTag.expires_at > now))


# Verbs: the tags themselves


async def add_group(session: AsyncSession, name: str, *, exclusive: bool = False) -> TagGroup:
    """The group of this name, made if need be. Raises TagNameWrong."""
    name = _checked(name)
    made = insert(session, TagGroup).values(name=name, exclusive=exclusive).on_conflict_do_nothing()
    await session.execute(made)
    return (await session.scalars(sa.select(TagGroup).where(TagGroup.name == name))).one()


async def add(
    session: AsyncSession,
    group_id: int,
    name: str,
    *,
    lasts_days: int | None = None,
    mirrored: bool = False,
    now: datetime,
) -> Tag:
    """A new tag; rule_tags.set_rule() gives it a rule. Raises TagNameTaken, TagNameWrong."""
    values = {"group_id": group_id, "name": _checked(name), "lasts_days": lasts_days, "mirrored": mirrored}
    made = insert(session, Tag).values(**values, created_at=now).on_conflict_do_nothing().returning(Tag)
    tag: Tag | None = await session.scalar(made)
    if tag is None:
        raise TagNameTaken(name)
    return tag


def _checked(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= 30:
        raise TagNameWrong(name)
    return name


# Verbs: who bears them


async def tag(
    session: AsyncSession,
    member_ids: Collection[int],
    tag_id: int,
    *,
    source: TagSource,
    by: str = "",
    expires_at: datetime | None = None,
    now: datetime,
) -> list[int]:
    """Put a tag on members; returns those who did not bear it. Again with a new expiry moves the expiry.

    Members that are merged or erased are left out. A person's word takes over a rule's spell, which no rule ends then.
    """
    found = await get(session, tag_id)
    group = await session.get_one(TagGroup, found.group_id)
    if expires_at is None and found.lasts_days is not None and source is not TagSource.RULE:
        expires_at = now + timedelta(days=found.lasts_days)
    row = {"tag_id": tag_id, "source": source, "by": by, "tagged_at": now, "expires_at": expires_at}
    row["exclusive_group_id"] = group.id if group.exclusive else None
    fresh: list[int] = []
    for chunk in _chunks(member_ids):
        fresh += await _tag_some(session, chunk, row, now=now)
    return fresh


async def _tag_some(session: AsyncSession, chunk: Sequence[int], row: dict[str, Any], *, now: datetime) -> list[int]:
    people = await _lock(session, chunk)
    await _end(session, MemberTag.member_id.in_(people), MemberTag.tag_id == row["tag_id"], _over(now), now=now)
    if row["source"] is not TagSource.RULE:
        await _take_over(session, people, row)
    if row["exclusive_group_id"] is not None:
        people = await _make_room(session, people, row, now=now)
    rows = [row | {"member_id": member_id} for member_id in people]
    if not rows:
        return []
    added = insert(session, MemberTag.__table__).on_conflict_do_nothing()
    spells = await session.execute(added.returning(MemberTag.__table__.c.id, MemberTag.__table__.c.member_id), rows)
    told = [
        MemberTagged(spell_id=spell.id, member_id=spell.member_id, tag_id=row["tag_id"], source=row["source"])
        for spell in spells
    ]
    await events.append_all(session, told, now=now)
    return [event.member_id for event in told]


async def _take_over(session: AsyncSession, people: Sequence[int], row: dict[str, Any]) -> None:
    """Who bears it already, by a rule or with another expiry, bears it by this person's word."""
    news = {name: row[name] for name in ("source", "by", "expires_at")}
    changed = sa.or_(MemberTag.source == TagSource.RULE, MemberTag.expires_at.is_distinct_from(row["expires_at"]))
    borne = (MemberTag.member_id.in_(people), MemberTag.tag_id == row["tag_id"], OPEN, changed)
    await session.execute(sa.update(MemberTag).where(*borne).values(news), execution_options=NO_SYNC)


async def _make_room(session: AsyncSession, people: Sequence[int], row: dict[str, Any], *, now: datetime) -> list[int]:
    """End what the members bear of an exclusive group; returns whom the tag may go on."""
    others = (
        MemberTag.member_id.in_(people),
        MemberTag.exclusive_group_id == row["exclusive_group_id"],
        MemberTag.tag_id != row["tag_id"],
        OPEN,
    )
    held: set[int] = set()
    if row["source"] is TagSource.RULE:
        persons = (MemberTag.source != TagSource.RULE, alive(now))
        held = set(await session.scalars(sa.select(MemberTag.member_id).where(*others, *persons)))
    await _end(session, *others, MemberTag.member_id.not_in(held), because=TagEnd.REPLACED, now=now)
    return [member_id for member_id in people if member_id not in held]


async def untag(
    session: AsyncSession,
    member_ids: Collection[int],
    tag_id: int,
    *,
    because: TagEnd = TagEnd.UNTAGGED,
    now: datetime,
) -> list[int]:
    """Take a tag off members; returns those who bore it. A rule takes off only what a rule put on."""
    by_rule = (MemberTag.source == TagSource.RULE,) if because is TagEnd.RULE else ()
    ended: list[int] = []
    for chunk in _chunks(member_ids):
        borne = (MemberTag.member_id.in_(chunk), MemberTag.tag_id == tag_id, OPEN, *by_rule)
        ended += await _end(session, *borne, because=because, now=now)
    return ended


async def expire(session: AsyncSession, *, now: datetime, limit: int = 5000) -> int:
    """End up to `limit` spells whose time has come; returns how many."""
    due = sa.select(MemberTag.id).where(OPEN, MemberTag.expires_at <= now).order_by(MemberTag.expires_at).limit(limit)
    return len(await _end(session, MemberTag.id.in_(due.scalar_subquery()), _over(now), now=now))


async def carry(session: AsyncSession, *, kept_id: int, absorbed_id: int, now: datetime) -> list[int]:
    """Tags of a member who is merged go to the one who is kept, whose own word counts where both cannot be.

    Called by merges.merge(), which holds both members' rows; returns the ids of the spells that went over.
    """
    mine, theirs = aliased(MemberTag), MemberTag
    clash = sa.exists().where(
        mine.member_id == kept_id,
        mine.ended_at.is_(None),
        sa.or_(mine.tag_id == theirs.tag_id, mine.exclusive_group_id == theirs.exclusive_group_id),
    )
    await _end(session, theirs.member_id == absorbed_id, OPEN, clash, because=TagEnd.MERGED, now=now)
    return await _move(session, theirs.member_id == absorbed_id, to=kept_id, now=now)


async def give_back(
    session: AsyncSession,
    spell_ids: Collection[int],
    *,
    kept_id: int,
    absorbed_id: int,
    merged_at: datetime,
    now: datetime,
) -> None:
    """A merge is undone: its spells are the absorbed member's again, and what it ended is on again."""
    went = (MemberTag.member_id == kept_id, is_among(session, MemberTag.id, spell_ids))
    await _move(session, *went, to=absorbed_id, now=now)
    its = (MemberTag.ended_because == TagEnd.MERGED, MemberTag.ended_at == merged_at)
    await session.execute(
        sa.update(MemberTag).where(MemberTag.member_id == absorbed_id, *its).values(ended_at=None, ended_because=None),
        execution_options=NO_SYNC,
    )


async def _move(session: AsyncSession, *where: sa.ColumnElement[bool], to: int, now: datetime) -> list[int]:
    """Spells change hands, and who has them now is told to bear the open ones."""
    moved = await session.execute(
        sa.update(MemberTag)
        .where(*where)
        .values(member_id=to)
        .returning(MemberTag.id, MemberTag.tag_id, MemberTag.source, MemberTag.ended_at),
        execution_options=NO_SYNC,
    )
    rows = moved.all()
    told = [
        MemberTagged(spell_id=row.id, member_id=to, tag_id=row.tag_id, source=row.source)
        for row in rows
        if row.ended_at is None
    ]
    await events.append_all(session, told, now=now)
    return [row.id for row in rows]


NO_SYNC = {"synchronize_session": False}


async def _end(
    session: AsyncSession, *where: sa.ColumnElement[bool], because: TagEnd = TagEnd.EXPIRED, now: datetime
) -> list[int]:
    """End spells; an expired one ends when it expired, not when somebody looked."""
    ended = await session.execute(
        sa.update(MemberTag)
        .where(OPEN, *where)
        .values(
            ended_at=MemberTag.expires_at if because is TagEnd.EXPIRED else now,
            ended_because=because,
        )
        .returning(MemberTag.id, MemberTag.member_id, MemberTag.tag_id),
        execution_options=NO_SYNC,
    )
    told = [
        MemberUntagged(spell_id=row.id, member_id=row.member_id, tag_id=row.tag_id, because=because) for row in ended
    ]
    await events.append_all(session, told, now=now)
    return [event.member_id for event in told]


def _over(now: datetime) -> sa.ColumnElement[bool]:
    return MemberTag.expires_at <= now


async def _lock(session: AsyncSession, member_ids: Sequence[int]) -> list[int]:
    living = (Member.merged_into_id.is_(None), Member.erased_at.is_(None))
    rows = await session.scalars(
        sa.select(Member.id)
        .where(Member.id.in_(member_ids), *living)
        .order_by(Member.id)
        .with_for_update(key_share=True)
    )
    return list(rows)


def _chunks(member_ids: Collection[int]) -> Iterator[list[int]]:
    ids = sorted(set(member_ids))
    for start in range(0, len(ids), TOGETHER):
        yield ids[start : start + TOGETHER]
