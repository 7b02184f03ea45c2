"""The member card: all that a staff screen shows of one person, in one read of a bounded number of queries.

Every list is cut to its newest few, so a member of ten years costs what a new one does. What a role may not see is
masked here, before anybody renders it.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import lifecycle, loyalty_rules, member_dates, member_tags, members, phones, points, rfm, timeline
from crm.base.secrets import Vault
from crm.member_tags import Borne
from crm.models.consent import Consent
from crm.models.group import Group, GroupMember
from crm.models.lifecycle import DateKind, MemberStage, Stage
from crm.models.loyalty import Level, MemberLevel
from crm.models.member import Contact, Gender, Identity, IdentityKind, Member, MemberSource, Staff
from crm.models.order import MemberOrders, Order, OrderLine, OrderStatus
from crm.models.private import PrivateKind, PrivateValue
from crm.points import Balance
from crm.sight import SIGHT, Role, Sight
from crm.timeline import Moment

NEWEST = 10  # of orders, contacts, groups, identities
MOMENTS = 30


# Built once: making a statement costs more than SQLite's answer to it.
_member = sa.bindparam("member", type_=sa.BigInteger())
_STANDS = (
    sa.select(
        Member.id,
        *(MemberStage.stage, MemberStage.since_on, MemberStage.rhythm_days),
        *(MemberOrders.orders, MemberOrders.paid_fen, MemberOrders.refunded_fen),
        *(MemberOrders.first_paid_at, MemberOrders.last_paid_at),
        *(Level.name.label("level"), Level.benefits, MemberLevel.since_on.label("level_since_on")),
        *(MemberLevel.until_on, MemberLevel.grace_until_on, MemberLevel.growth_fen),
    )
    .outerjoin(MemberStage, MemberStage.member_id == Member.id)
    .outerjoin(MemberOrders, MemberOrders.member_id == Member.id)
    .outerjoin(MemberLevel, MemberLevel.member_id == Member.id)
    .outerjoin(Level, Level.id == MemberLevel.level_id)
    .where(Member.id == _member)
)
_IDENTITIES = (
    sa.select(Identity.kind, Identity.value)
    .where(Identity.member_id == _member, Identity.kind != IdentityKind.PHONE_HASH)
    .order_by(Identity.added_at.desc(), Identity.id.desc())
    .limit(NEWEST)
)
_PHONES = (
    sa.select(PrivateValue.sealed)
    .where(PrivateValue.member_id == _member, PrivateValue.kind == PrivateKind.PHONE)
    .order_by(PrivateValue.added_at.desc(), PrivateValue.id.desc())
    .limit(NEWEST)
)
_CONTACTS = (
    sa.select(Staff.name, Staff.userid, Contact.remark, Contact.added_at, Contact.ended_at)
    .join(Staff, Staff.id == Contact.staff_id)
    .where(Contact.member_id == _member)
    .order_by(Contact.ended_at.is_not(None), Contact.added_at.desc(), Contact.id.desc())
    .limit(NEWEST)
)
_GROUPS = (
    sa.select(Group.name, GroupMember.joined_at, GroupMember.left_at)
    .join(Group, Group.id == GroupMember.group_id)
    .where(GroupMember.member_id == _member)
    .order_by(GroupMember.left_at.is_not(None), GroupMember.joined_at.desc(), GroupMember.id.desc())
    .limit(NEWEST)
)
_newest_orders = (
    sa.select(Order.id)
    .where(Order.member_id == _member)
    .order_by(Order.placed_at.desc(), Order.id.desc())
    .limit(NEWEST)
)
_ORDERS = (
    sa.select(
        *(Order.id, Order.external_no, Order.status, Order.placed_at),
        *(Order.total_fen, Order.paid_fen, Order.refunded_fen),
    )
    .where(Order.id.in_(_newest_orders))
    .order_by(Order.placed_at.desc(), Order.id.desc())
)
_LINES = (
    sa.select(OrderLine.order_id, OrderLine.name, OrderLine.sku, OrderLine.quantity)
    .where(OrderLine.order_id.in_(_newest_orders))
    .order_by(OrderLine.order_id, OrderLine.line_no)
)
_said = (
    sa.select(
        *(Consent.topic, Consent.channel, Consent.granted, Consent.source, Consent.said_at),
        sa.func.row_number()
        .over(partition_by=(Consent.topic, Consent.channel), order_by=(Consent.said_at.desc(), Consent.id.desc()))
        .label("place"),
    )
    .where(Consent.member_id == _member)
    .subquery()
)
_CONSENTS = sa.select(_said).where(_said.c.place == 1).order_by(_said.c.topic, _said.c.channel).limit(NEWEST)


@dataclass(frozen=True, slots=True)
class Named:
    """One identity, masked for who looks."""

    kind: IdentityKind
    value: str


@dataclass(frozen=True, slots=True)
class Relation:
    """A member of staff whose contact they are or were."""

    staff: str
    remark: str
    added_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Seat:
    """A customer group they are or were in."""

    group: str
    joined_at: datetime
    left_at: datetime | None


@dataclass(frozen=True, slots=True)
class Standing:
    """The stage: since when, and why in words. rhythm_days: between two purchases, when there are enough."""

    stage: Stage
    since_on: date
    why: str
    rhythm_days: float | None


@dataclass(frozen=True, slots=True)
class Scored:
    """RFM of now. why: a sentence for each letter and one for the segment."""

    r: int
    f: int
    m: int
    segment: str
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rank:
    """The level: what it gives, until when, and how much of the window's spend counts towards it."""

    level: str
    since_on: date
    until_on: date | None
    grace_until_on: date | None
    growth_fen: int
    benefits: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bought:
    """One order with its articles."""

    external_no: str
    status: OrderStatus
    placed_at: datetime
    total_fen: int
    paid_fen: int
    refunded_fen: int
    articles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Over all time; orders that count, what was paid less refunds."""

    orders: int = 0
    spent_fen: int = 0
    first_paid_at: datetime | None = None
    last_paid_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """The newest word on a topic and channel."""

    topic: str
    channel: str
    granted: bool
    source: str
    said_at: datetime


@dataclass(frozen=True, slots=True)
class Day:
    """A day that comes once a year."""

    kind: DateKind
    whose: str
    month: int
    day: int
    year: int | None
    next_on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One member as `role` sees them."""

    role: Role
    may_reveal: bool
    member_id: int
    code: str
    name: str
    avatar: str
    gender: Gender
    source: MemberSource
    joined_at: datetime
    erased_at: datetime | None
    identities: tuple[Named, ...]
    phones: tuple[str, ...]  # masked
    contacts: tuple[Relation, ...]  # the present ones first
    groups: tuple[Seat, ...]
    tags: tuple[Borne, ...]
    stage: Standing | None
    rfm: Scored | None
    level: Rank | None
    points: Balance | None  # None: the shop has none
    lifetime: Lifetime
    orders: tuple[Bought, ...]  # newest first
    consents: tuple[Said, ...]
    days: tuple[Day, ...]  # the next one first
    timeline: tuple[Moment, ...]


async def read(session: AsyncSession, member_id: int, *, role: Role, vault: Vault | None = None, now: datetime) -> Card:
    """The card of a member, or of the one they became part of. Raises MemberNotFound.

    vault: opens phones for their mask; without it they are told by their number alone.
    """
    member, sight = await members.get(session, member_id), SIGHT[role]
    stands = (await session.execute(_STANDS, {"member": member.id})).one()
    return Card(
        role=role,
        may_reveal=sight.reveals,
        member_id=member.id,
        code=member.code,
        name=sight.name(member.name),
        avatar=member.avatar if sight.names else "",
        gender=member.gender,
        source=member.source,
        joined_at=member.joined_at,
        erased_at=member.erased_at,
        identities=await _identities(session, member, sight),
        phones=await _phones(session, member, sight, vault),
        contacts=await _contacts(session, member, sight),
        groups=await _groups(session, member),
        tags=tuple(await member_tags.borne_by(session, member.id, now=now)),
        stage=await _stage(session, stands),
        rfm=await _rfm(session, member, now=now),
        level=_level(stands),
        points=await _points(session, member, now=now),
        lifetime=_lifetime(stands),
        orders=await _orders(session, member),
        consents=await _consents(session, member),
        days=await _days(session, member, sight),
        timeline=tuple(await timeline.of(session, member.id, limit=MOMENTS)),
    )


async def _identities(session: AsyncSession, member: Member, sight: Sight) -> tuple[Named, ...]:
    """Without the phone's hash, which tells nobody anything."""
    rows = await session.execute(_IDENTITIES, {"member": member.id})
    return tuple(Named(row.kind, sight.id(row.value)) for row in rows)


async def _phones(session: AsyncSession, member: Member, sight: Sight, vault: Vault | None) -> tuple[str, ...]:
    rows = await session.scalars(_PHONES, {"member": member.id})
    if vault is None:
        return tuple("***" for _ in rows)
    return tuple(sight.phone(vault.open(sealed, about=phones.PURPOSE)) for sealed in rows)


async def _contacts(session: AsyncSession, member: Member, sight: Sight) -> tuple[Relation, ...]:
    rows = await session.execute(_CONTACTS, {"member": member.id})
    return tuple(Relation(row.name or row.userid, sight.said(row.remark), row.added_at, row.ended_at) for row in rows)


async def _groups(session: AsyncSession, member: Member) -> tuple[Seat, ...]:
    rows = await session.execute(_GROUPS, {"member": member.id})
    return tuple(Seat(row.name or "群聊", row.joined_at, row.left_at) for row in rows)


async def _stage(session: AsyncSession, row: sa.Row[Any]) -> Standing | None:
    if row.stage is None:
        return None
    moves = await lifecycle.moves_of(session, row.id, limit=1)
    why = lifecycle.in_words(moves[0]) if moves else ""
    return Standing(row.stage, row.since_on, why, row.rhythm_days)


async def _rfm(session: AsyncSession, member: Member, *, now: datetime) -> Scored | None:
    found = await rfm.explain(session, member.id, now=now)
    if found is None:
        return None
    score = found.score
    return Scored(score.r, score.f, score.m, score.segment.value, tuple(found.reasons))


def _level(row: sa.Row[Any]) -> Rank | None:
    if row.level is None:
        return None
    return Rank(row.level, row.level_since_on, row.until_on, row.grace_until_on, row.growth_fen, row.benefits)


async def _points(session: AsyncSession, member: Member, *, now: datetime) -> Balance | None:
    if await loyalty_rules.of_points(session) is None:
        return None
    return await points.balance_of(session, member.id, now=now)


def _lifetime(row: sa.Row[Any]) -> Lifetime:
    if row.orders is None:
        return Lifetime()
    return Lifetime(row.orders, row.paid_fen - row.refunded_fen, row.first_paid_at, row.last_paid_at)


async def _orders(session: AsyncSession, member: Member) -> tuple[Bought, ...]:
    articles: defaultdict[int, list[str]] = defaultdict(list)
    for line in await session.execute(_LINES, {"member": member.id}):
        if len(articles[line.order_id]) < NEWEST:
            articles[line.order_id].append(f"{line.name or line.sku} ×{line.quantity}")
    return tuple(
        Bought(
            row.external_no,
            row.status,
            row.placed_at,
            row.total_fen,
            row.paid_fen,
            row.refunded_fen,
            tuple(articles[row.id]),
        )
        for row in await session.execute(_ORDERS, {"member": member.id})
    )


async def _consents(session: AsyncSession, member: Member) -> tuple[Said, ...]:
    rows = await session.execute(_CONSENTS, {"member": member.id})
    return tuple(Said(row.topic, row.channel, row.granted, row.source, row.said_at) for row in rows)


async def _days(session: AsyncSession, member: Member, sight: Sight) -> tuple[Day, ...]:
    found = await member_dates.of(session, member.id)
    return tuple(
        Day(one.kind, sight.name(one.whose), one.month, one.day, one.year if sight.names else None, one.next_on)
        for one in found
    )
