"""What is stored about one person, in every layer: shown to them, or erased so that no sync brings them back.

Each layer says of its own tables which rows are somebody's and what an erasure does with them (a Holding); the layers
below do not know them. A test walks the metadata and fails when a table is neither held nor said to be about nobody.
"""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import members, tombstones
from crm.base import events
from crm.base.db import Base
from crm.base.db import hold as hold_name
from crm.base.errors import Busy
from crm.base.ids import code
from crm.base.secrets import Vault
from crm.holds import PersonErased
from crm.members import CHANCE
from crm.merges import MERGES
from crm.models.member import Identity, IdentityKind, Member
from crm.models.privacy import Erasure

Condition = sa.ColumnElement[bool]


class Fate(StrEnum):
    """What an erasure does with a row."""

    GONE = "gone"
    BLANKED = "blanked"  # stays without what tells of the person
    KEPT = "kept"  # says nothing of the person once the rest is gone


class Reason(StrEnum):
    """Why somebody is erased; no free text, so that a receipt names nobody."""

    ASKED = "asked"  # the person wants it
    DUTY = "duty"  # a court or an authority wants it
    MISTAKE = "mistake"  # was never ours to keep


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberErased:
    """A member was erased: what upper layers still mean to do for them is void. Appended by erase()."""

    member_id: int
    erased_at: datetime


@dataclass(frozen=True, slots=True)
class Subject:
    """One person: every member row they are, merged ones too, and the ids WeCom knows them by."""

    member_ids: tuple[int, ...]
    external_userids: tuple[str, ...] = ()


Prepare = Callable[[AsyncSession, Condition, datetime], Awaitable[None]]
Show = Callable[[Any, Vault | None], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Rows of one table that are about people. Listed parents before children: they are deleted in reverse."""

    model: type[Base]
    title: str  # in the words of the person's export
    whose: Callable[[Subject], Condition]  # which rows are this person's
    fate: Fate
    why: str = ""  # the reason for what stays
    blank: Mapping[str, Any] = field(default_factory=dict)  # BLANKED: what the columns become
    ripe: Callable[[], Condition] | None = None  # GONE: only these rows may go now, a later sweep takes the others
    locked_first: bool = False  # somebody works on these rows and locks the person after them: so do we
    prepare: Prepare | None = None  # what has to be done before, given the rows
    show: Show | None = None  # a row for the export; else its columns

    @property
    def name(self) -> str:
        return self.model.__table__.name  # type: ignore[attr-defined,no-any-return]


@dataclass(frozen=True, slots=True)
class Line:
    """What happens, or happened, to some rows of a table."""

    table: str
    title: str
    fate: Fate
    rows: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Part of an export: rows of one table, as a person may read them."""

    table: str
    title: str
    rows: list[dict[str, Any]]


def of_member(model: Any, title: str, fate: Fate, why: str = "", **more: Any) -> Holding:
    """Rows that carry the person's member_id."""
    column = model.member_id
    return Holding(model=model, title=title, whose=lambda who: column.in_(who.member_ids), fate=fate, why=why, **more)


def through(column: Any, parent: Any, whose: Callable[[Subject], Condition]) -> Callable[[Subject], Condition]:
    """Rows whose `column` names a row of `parent` that is the person's."""
    return lambda who: column.in_(sa.select(parent).where(whose(who)))


# Reads


async def subject_of(session: AsyncSession, member_id: int) -> Subject:
    """Everybody this member is. Raises MemberNotFound."""
    member = await members.get(session, member_id)
    same = sa.select(Member.id).where(sa.or_(Member.id == member.id, Member.merged_into_id == member.id))
    ids = tuple((await session.scalars(same.order_by(Member.id))).all())
    names = sa.select(Identity.value).where(Identity.member_id.in_(ids), Identity.kind == IdentityKind.EXTERNAL_USERID)
    return Subject(ids, tuple((await session.scalars(names.order_by(Identity.id))).all()))


async def export(
    session: AsyncSession, who: Subject, holdings: Sequence[Holding], *, vault: Vault | None = None
) -> AsyncIterator[Section]:
    """All that is stored about a person, table by table; nothing is left out because it would stay in an erasure.

    vault: opens what is sealed; without it the export says that there is something.
    """
    for holding in holdings:
        rows = await session.scalars(sa.select(holding.model).where(holding.whose(who)).order_by(*_key(holding)))
        show = holding.show or (lambda row, _vault: _columns(row))
        found = [show(row, vault) for row in rows]
        if found:
            yield Section(holding.name, holding.title, found)


async def plan(session: AsyncSession, who: Subject, holdings: Sequence[Holding]) -> list[Line]:
    """What an erasure would do: per table what goes, and what stays and why."""
    lines = []
    for holding in holdings:
        whose = holding.whose(who)
        rows = await _count(session, holding, whose)
        unripe = await _count(session, holding, whose, ~holding.ripe()) if holding.ripe and rows else 0
        if rows - unripe:
            why = "" if holding.fate is Fate.GONE else holding.why
            lines.append(Line(holding.name, holding.title, holding.fate, rows - unripe, why))
        if unripe:
            lines.append(Line(holding.name, holding.title, Fate.KEPT, unripe, holding.why))
    return lines


async def find_receipt(session: AsyncSession, number: str) -> Erasure | None:
    found: Erasure | None = await session.scalar(sa.select(Erasure).where(Erasure.number == number.strip().upper()))
    return found


# Verbs


async def erase(
    session: AsyncSession,
    member_id: int,
    holdings: Sequence[Holding],
    *,
    by: str,
    reason: Reason = Reason.ASKED,
    now: datetime,
    chance: random.Random = CHANCE,
) -> Erasure:
    """Erase a person, all merged members with them; returns the receipt. Irreversible.

    Who writes about them at this moment has either committed, and goes with the rest, or finds the tombstones.
    Raises MemberNotFound, PersonErased when it is done already, and Busy when a merge came in between.
    """
    who = await _lock(session, member_id, holdings)
    names = sa.select(Identity.kind, Identity.value).where(Identity.member_id.in_(who.member_ids))
    keys = [(row.kind, row.value) for row in await session.execute(names)]
    lines = await plan(session, who, holdings)
    proof = await tombstones.bury(session, keys, now=now)
    for one in await session.scalars(sa.select(Member).where(Member.id.in_(who.member_ids))):
        one.erased_at, one.code = now, code(chance)  # the old code leads nowhere
    receipt = Erasure(
        number=code(chance),
        erased_at=now,
        by=by,
        reason=reason.value,
        members=len(who.member_ids),
        lines=[asdict(line) for line in lines],
        proof=proof,
    )
    session.add(receipt)
    await session.flush()
    await _carry_out(session, who, holdings, now=now)
    living = await members.get(session, member_id)
    await events.append(session, MemberErased(member_id=living.id, erased_at=now), now=now)
    await session.refresh(receipt)
    return receipt


async def sweep(
    session: AsyncSession, holdings: Sequence[Holding], *, now: datetime, after: int = 0, limit: int = 500
) -> int | None:
    """Erase what came to erased members since, such as events that are read by now; goes on behind `after`.

    Returns where to go on, None at the end.
    """
    rows = sa.select(Member.id).where(Member.erased_at.is_not(None), Member.id > after).order_by(Member.id).limit(limit)
    ids = tuple((await session.scalars(rows)).all())
    if not ids:
        return None
    await _carry_out(session, Subject(ids), holdings, now=now)
    return ids[-1] if len(ids) == limit else None


async def _lock(session: AsyncSession, member_id: int, holdings: Sequence[Holding]) -> Subject:
    """The person, with everything locked that somebody else might be writing about them."""
    who = await subject_of(session, member_id)
    for holding in holdings:
        if holding.locked_first:
            await session.execute(sa.select(*_key(holding)).where(holding.whose(who)).with_for_update())
    names = sa.select(Identity.id).where(Identity.member_id.in_(who.member_ids)).order_by(Identity.id)
    await session.execute(names.with_for_update())
    await hold_name(session, MERGES)
    rows = sa.select(Member).where(Member.id.in_(who.member_ids)).order_by(Member.id).with_for_update()
    found = list(await session.scalars(rows, execution_options={"populate_existing": True}))
    if all(one.erased_at is not None for one in found):
        raise PersonErased
    if await subject_of(session, member_id) != who:
        raise Busy(retry_after=0.1)
    return who


async def _carry_out(session: AsyncSession, who: Subject, holdings: Sequence[Holding], *, now: datetime) -> None:
    """Blank first, because it may look at what goes; then delete, the last listed first."""
    for holding in holdings:
        if holding.prepare is not None:
            await holding.prepare(session, holding.whose(who), now)
    for holding in holdings:
        if holding.fate is Fate.BLANKED:
            blanked = sa.update(holding.model).where(holding.whose(who)).values(**holding.blank)
            await session.execute(blanked.execution_options(synchronize_session=False))
    for holding in reversed(holdings):
        if holding.fate is Fate.GONE:
            ripe = () if holding.ripe is None else (holding.ripe(),)
            gone = sa.delete(holding.model).where(holding.whose(who), *ripe)
            await session.execute(gone.execution_options(synchronize_session=False))
    session.expire_all()


async def _count(session: AsyncSession, holding: Holding, *where: Condition) -> int:
    return await session.scalar(sa.select(sa.func.count()).select_from(holding.model).where(*where)) or 0


def _key(holding: Holding) -> list[Any]:
    return list(holding.model.__table__.primary_key)


def _columns(row: Any) -> dict[str, Any]:
    return {column.key: getattr(row, column.key) for column in sa.inspect(type(row)).mapper.column_attrs}
