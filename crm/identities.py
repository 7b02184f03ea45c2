"""Identities: external_userid, unionid, phone, shop account -> one member. Locked by holds.py, joined by merges.py."""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import consents, members, merges, tombstones
from crm.base import events
from crm.base.db import insert_rows, is_among
from crm.holds import PersonErased
from crm.members import CHANCE, MemberEnrolled, Profile
from crm.models.member import Identity, IdentityKind, Member, MemberSource

Key = tuple[IdentityKind, str]
NOTHING_SAID = Profile()


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody as one source knows them: at least one key, and what it says about them.

    acted_at: when they did something themselves: wrote, ordered, added one of us. Who was erased before that is a new
    member; a listing alone (None) brings nobody back.
    """

    keys: tuple[Key, ...]
    profile: Profile = NOTHING_SAID
    acted_at: datetime | None = None


def wechat_person(
    external_userid: str,
    *,
    unionid: str | None = None,
    profile: Profile | None = None,
    acted_at: datetime | None = None,
) -> Person:
    """A person as WeCom shows them."""
    keys = [(IdentityKind.EXTERNAL_USERID, external_userid)]
    if unionid:
        keys.append((IdentityKind.UNIONID, unionid))
    return Person(keys=tuple(keys), profile=profile or NOTHING_SAID, acted_at=acted_at)


def shop_account(source: str, number: str) -> Key:
    """A customer's number in one shop system; two systems may use the same numbers."""
    return (IdentityKind.SHOP_ACCOUNT, f"{source}:{number}")


async def find_by(session: AsyncSession, kind: IdentityKind, value: str) -> Member | None:
    """The member known under this identity."""
    found: Member | None = await session.scalar(
        sa.select(Member)
        .join(Identity, Identity.member_id == Member.id)
        .where(Identity.kind == kind, Identity.value == value)
    )
    return found


async def values_of(session: AsyncSession, member_id: int, kind: IdentityKind) -> list[str]:
    """A member's identities of one kind, newest first: a merged member may have several external_userids."""
    rows = await session.scalars(
        sa.select(Identity.value)
        .where(Identity.member_id == member_id, Identity.kind == kind)
        .order_by(Identity.added_at.desc(), Identity.id.desc())
    )
    return list(rows)


async def enrol(
    session: AsyncSession, person: Person, *, source: MemberSource, now: datetime, chance: random.Random = CHANCE
) -> Member:
    """The member this person is, becoming one if need be. One query when every key is already theirs.

    Raises PersonErased; who opens one of our pages (H5) acts at that moment.
    """
    rows = await session.execute(
        sa.select(Member, Identity.id)
        .join(Identity, Identity.member_id == Member.id)
        .where(_among(session, person.keys))
    )
    known: list[Member] = [member for member, _ in rows]
    if len(known) == len(set(person.keys)) and len({member.id for member in known}) == 1:
        return known[0]
    [member_id] = await enrol_batch(session, [person], source=source, now=now, chance=chance)
    if member_id is None:
        raise PersonErased
    return await members.get(session, member_id)


async def enrol_batch(
    session: AsyncSession,
    people: Sequence[Person],
    *,
    source: MemberSource,
    now: datetime,
    chance: random.Random = CHANCE,
) -> list[int | None]:
    """The member of each person, in order; who is unknown becomes one, and whose keys name two members merges them.

    None: they were erased and have not come back. people: one page, up to a few thousand. The unique key (kind, value)
    is the guard: of concurrent enrolments one inserts, the others take its member. The identities stay locked until
    the caller commits.
    """
    keys = {key for person in people for key in person.keys}
    owners = await owners_of(session, keys)
    if len(owners) < len(keys):
        gone = await tombstones.among(session, keys - owners.keys())
        acts = now if source is MemberSource.H5 else None  # who opens a page acts at that moment
        awake = [one for one in people if not tombstones.is_resting(one.keys, owners, gone, one.acted_at or acts)]
        fresh = await _insert_missing(session, awake, owners, source=source, now=now, chance=chance)
        if back := [key for key in gone if key in owners]:
            await tombstones.lift(session, back)
            await consents.come_back(session, {owners[key] for key in back} & fresh, now=now)
    for person in people:
        if len(person.keys) == 1 or person.keys[0] not in owners:
            continue
        first, *others = person.keys
        for other in others:
            if owners[first] != owners[other]:
                await merges.merge(session, owners[first], owners[other], because=other[0], now=now)
                owners = await owners_of(session, keys)
    return [owners.get(person.keys[0]) for person in people]


async def _insert_missing(
    session: AsyncSession,
    people: Sequence[Person],
    owners: dict[Key, int],
    *,
    source: MemberSource,
    now: datetime,
    chance: random.Random,
) -> set[int]:
    """Tells `owners` of them; returns the ids of those who became members."""
    if not people:
        return set()
    newcomers, claims = _share_out(people, owners)
    ids = await members.add_rows(
        session, [person.profile for person in newcomers], source=source, now=now, chance=chance
    )
    taken = {
        key: ids[claim.place] if claim.is_new else claim.place
        for key, claim in sorted(claims.items())  # one order for everybody, so inserts cannot deadlock
    }
    rows = [(kind, value, member_id, now) for (kind, value), member_id in taken.items()]
    enrolled = set(ids)
    if await insert_rows(session, Identity.__table__, ("kind", "value", "member_id", "added_at"), rows) < len(rows):
        taken = await owners_of(session, taken)  # somebody else enrolled them between our look and our insert
        enrolled &= set(taken.values())
        await session.execute(sa.delete(Member).where(is_among(session, Member.id, set(ids) - enrolled)))
    await events.append_all(
        session,
        [
            MemberEnrolled(member_id=member_id, source=source, joined_at=now)
            for member_id in ids
            if member_id in enrolled
        ],
        now=now,
    )
    owners |= taken
    return enrolled


@dataclass(frozen=True, slots=True)
class _Claim:
    """Whose a key is going to be: the newcomer at `place` of the list, or the member with that id."""

    place: int
    is_new: bool


def _share_out(people: Sequence[Person], owners: dict[Key, int]) -> tuple[list[Person], dict[Key, _Claim]]:
    """Who is new, and whose each unowned key shall be. People who share a key are one newcomer."""
    newcomers: list[Person] = []
    claims = {key: _Claim(member_id, is_new=False) for key, member_id in owners.items()}
    for person in people:
        claim = next((claims[key] for key in person.keys if key in claims), None)
        if claim is None:
            claim = _Claim(len(newcomers), is_new=True)
            newcomers.append(person)
        for key in person.keys:
            claims.setdefault(key, claim)
    return newcomers, {key: claim for key, claim in claims.items() if key not in owners}


async def owners_of(session: AsyncSession, keys: Collection[Key]) -> dict[Key, int]:
    """Lock the identities among `keys` that exist; returns whose each is."""
    if not keys:
        return {}
    rows = await session.execute(
        sa.select(Identity.kind, Identity.value, Identity.member_id)
        .where(_among(session, keys))
        .order_by(Identity.id)
        .with_for_update(key_share=True)  # SQLite has one writer and needs none
    )
    return {(kind, value): member_id for kind, value, member_id in rows}


def _among(session: AsyncSession, keys: Collection[Key]) -> sa.ColumnElement[bool]:
    by_kind: dict[IdentityKind, set[str]] = {}
    for kind, value in keys:
        by_kind.setdefault(kind, set()).add(value)
    return sa.or_(
        *(sa.and_(Identity.kind == kind, is_among(session, Identity.value, by_kind[kind])) for kind in sorted(by_kind))
    )
