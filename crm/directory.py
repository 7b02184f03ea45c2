"""The list of members a screen shows: found by name, tag, stage, level or RFM cell, a page at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import lookup, member_tags, merges
from crm.base.secrets import Vault
from crm.models.audience import MemberTag
from crm.models.lifecycle import MemberStage, Stage
from crm.models.loyalty import Level, MemberLevel
from crm.models.member import Member, MemberMerge
from crm.models.order import MemberOrders
from crm.models.rfm import MemberRfm, Segment

PAGE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to look for; everything given must fit. words: part of a name, or a code, phone or id in full."""

    words: str = ""
    tag_id: int | None = None
    stage: Stage | None = None
    r: int | None = None
    f: int | None = None
    rfm: Segment | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the list."""

    id: int
    code: str
    name: str
    joined_at: datetime
    stage: Stage | None
    level: str
    r: int | None
    f: int | None
    m: int | None
    rfm: Segment | None
    orders: int
    spent_fen: int
    last_paid_at: datetime | None


async def page(
    session: AsyncSession, wanted: Wanted, *, vault: Vault | None = None, before_id: int | None = None, now: datetime
) -> Sequence[Row]:
    """The next members, the newest first; one more than PAGE when there are more."""
    named = await lookup.find(session, wanted.words, vault) if wanted.words.strip() else None
    rows = await session.execute(_rows(wanted, named, now).where(*_before(before_id)).limit(PAGE + 1))
    return [
        Row(
            row.id,
            row.code,
            row.name,
            row.joined_at,
            row.stage,
            row.level or "",
            row.r,
            row.f,
            row.m,
            row.segment,
            row.orders or 0,
            (row.paid_fen or 0) - (row.refunded_fen or 0),
            row.last_paid_at,
        )
        for row in rows
    ]


def _before(before_id: int | None) -> tuple[sa.ColumnElement[bool], ...]:
    return (Member.id < before_id,) if before_id is not None else ()


def _rows(wanted: Wanted, named: Member | None, now: datetime) -> sa.Select[Any]:
    listed: Any = (  # more columns than the types of a select can count
        sa.select(
            *(Member.id, Member.code, Member.name, Member.joined_at, MemberStage.stage),
            *(Level.name.label("level"), MemberRfm.r, MemberRfm.f, MemberRfm.m, MemberRfm.segment),
            *(MemberOrders.orders, MemberOrders.paid_fen, MemberOrders.refunded_fen, MemberOrders.last_paid_at),
        )
        .outerjoin(MemberStage, MemberStage.member_id == Member.id)
        .outerjoin(MemberLevel, MemberLevel.member_id == Member.id)
        .outerjoin(Level, Level.id == MemberLevel.level_id)
        .outerjoin(MemberRfm, MemberRfm.member_id == Member.id)
        .outerjoin(MemberOrders, MemberOrders.member_id == Member.id)
        .where(Member.merged_into_id.is_(None), Member.erased_at.is_(None), *_fits(wanted, named, now))
        .order_by(Member.id.desc())
    )
    return listed  # type: ignore[no-any-return]


def _fits(wanted: Wanted, named: Member | None, now: datetime) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if named is not None:
        found.append(Member.id == named.id)
    elif wanted.words.strip():
        found.append(Member.name.contains(wanted.words.strip(), autoescape=True))
    if wanted.tag_id is not None:
        bearers = sa.select(MemberTag.member_id).where(MemberTag.tag_id == wanted.tag_id, member_tags.alive(now))
        found.append(Member.id.in_(bearers))
    if wanted.stage is not None:
        found.append(MemberStage.stage == wanted.stage)
    for column, grade in ((MemberRfm.r, wanted.r), (MemberRfm.f, wanted.f)):
        if grade is not None:
            found.append(column == grade)
    if wanted.rfm is not None:
        found.append(MemberRfm.segment == wanted.rfm)
    return found


async def undoable_merges(session: AsyncSession, member_id: int, *, now: datetime) -> Sequence[tuple[int, str]]:
    """Members that became part of this one lately enough to be taken back: id and name."""
    rows = await session.execute(
        sa.select(Member.id, Member.name)
        .join(MemberMerge, MemberMerge.absorbed_id == Member.id)
        .where(
            MemberMerge.kept_id == member_id,
            MemberMerge.undone_at.is_(None),
            MemberMerge.merged_at >= now - merges.UNDO_WITHIN,
        )
        .order_by(MemberMerge.merged_at.desc())
    )
    return [(row.id, row.name) for row in rows]
