"""Identities: external_userid, unionid, phone, shop account -> one member; and merging two that prove to be one.

The rows of `identities` are the lock on a person. Whoever writes facts about people locks their identities first and
keeps them to the end of the transaction, and a merge re-points identities before anything else. So a fact is written
either before a merge, which then carries it along, or after it, under the member that remained. An erasure deletes
them: a fact is written before it, and erased with the rest, or finds a tombstone.
"""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import consents, member_tags, members, order_changes, point_accounts, tombstones
from crm.base import events
from crm.base.db import hold as hold_name
from crm.base.db import insert_rows, is_among
from crm.base.errors import Busy, NotFound, Refused
from crm.base.events import EventRow
from crm.members import CHANCE, MemberEnrolled, MemberNotFound, Profile
from crm.models.consent import Consent
from crm.models.group import GroupMember
from crm.models.loyalty import CheckIn, LevelMove, PointEntry, PointLot
from crm.models.member import Contact, Gender, Identity, IdentityKind, Member, MemberMerge, MemberSource
from crm.models.order import MemberOrders, Order, Refund
from crm.models.private import PrivateValue, Reveal

Key = tuple[IdentityKind, str]
NOTHING_SAID = Profile()
MERGE_ROUNDS = 10
MERGES = "merges"
UNDO_WITHIN = timedelta(days=1)
# What a merge re-points; upper layers follow MembersMerged.
CARRIED = (
    Contact, GroupMember, Consent, Order, Refund, PrivateValue, Reveal, EventRow, PointEntry, PointLot, LevelMove,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class MembersMerged:
    """Two members proved to be one person. Appended by merge(); upper layers re-point their own rows."""

    kept_id: int
    absorbed_id: int
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeUndone:
    """Two members proved to be two after all. Appended by undo(); upper layers make their sums for both anew."""

    kept_id: int
    absorbed_id: int


@dataclass(eq=False)
class MergeNotFound(NotFound):
    """This member is not part of another one."""

    code = "merge.not_found"
    absorbed_id: int


@dataclass(eq=False)
class MergeTooOld(Refused):
    """Too much was built on it to take it apart."""

    code = "merge.too_old"
    absorbed_id: int
    merged_at: datetime


@dataclass(eq=False)
class MergeBuiltUpon(Refused):
    """The member it became part of was absorbed in turn: that merge is undone first."""

    code = "merge.built_upon"
    absorbed_id: int
    kept_id: int


@dataclass(eq=False)
class PersonErased(Refused):
    """They asked to be forgotten, and have done nothing since that makes them a member again."""

    code = "member.erased"


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
                await merge(session, owners[first], owners[other], because=other[0], now=now)
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


async def merge(session: AsyncSession, one_id: int, other_id: int, *, because: str, now: datetime) -> int:
    """Make one member of two and return its id; the older row is kept. Of racing merges the second finds it done.

    Raises MemberNotFound, and PersonErased: who was erased is nobody to become one with.
    """
    await hold_name(session, MERGES)  # one at a time: each may have to follow the one before to other people's rows
    mine = sa.select(Identity.id).where(Identity.member_id.in_([one_id, other_id]))
    await session.execute(mine.order_by(Identity.id).with_for_update(key_share=True))
    pair = await _lock_living(session, {one_id, other_id})
    if len(pair) == 1:
        return pair[0].id
    if any(member.erased_at is not None for member in pair):
        raise PersonErased
    kept, absorbed = pair
    carried: dict[str, list[int]] = {}
    await point_accounts.lock(session, [kept.id, absorbed.id])  # before their lots, as who spends does
    for table in (Identity, *CARRIED):  # identities first: see the module's first words
        went = sa.update(table).where(table.member_id == absorbed.id).values(member_id=kept.id)
        carried[table.__tablename__] = list(await session.scalars(went.returning(table.id)))
    carried["check_ins"] = await _carry_check_ins(session, kept_id=kept.id, absorbed_id=absorbed.id)
    await point_accounts.recount(session, [kept.id, absorbed.id])
    carried["member_tags"] = await member_tags.carry(session, kept_id=kept.id, absorbed_id=absorbed.id, now=now)
    await session.execute(sa.delete(MemberOrders).where(MemberOrders.member_id == absorbed.id))
    await order_changes.recount(session, [kept.id])
    followed = sa.update(Member).where((Member.id == absorbed.id) | (Member.merged_into_id == absorbed.id))
    carried["members"] = list(await session.scalars(followed.values(merged_into_id=kept.id).returning(Member.id)))
    row = MemberMerge(kept_id=kept.id, absorbed_id=absorbed.id, because=because, merged_at=now, carried=carried)
    row.profile = _complete(kept, absorbed)
    session.add(row)
    await session.flush()
    await events.append(session, MembersMerged(kept_id=kept.id, absorbed_id=absorbed.id, because=because), now=now)
    return kept.id


async def _carry_check_ins(session: AsyncSession, *, kept_id: int, absorbed_id: int) -> list[int]:
    """A day on which both checked in is one day: the absorbed member's row of it stays behind."""
    days = sa.select(CheckIn.checked_on).where(CheckIn.member_id == kept_id)
    theirs = sa.update(CheckIn).where(CheckIn.member_id == absorbed_id, CheckIn.checked_on.not_in(days))
    went = theirs.values(member_id=kept_id).returning(CheckIn.id)
    return list(await session.scalars(went.execution_options(synchronize_session=False)))


async def hold(session: AsyncSession, member_id: int) -> int:
    """Lock a person for facts about to be written; returns the member they are by now. Raises MemberNotFound."""
    return (await hold_one(session, member_id)).member_id


@dataclass(frozen=True, slots=True)
class Held:
    """A member who is locked. is_erased: only what was already known of them may still change, as a refund does."""

    member_id: int
    is_erased: bool


async def hold_one(session: AsyncSession, member_id: int) -> Held:
    """Like `hold`, and says whether they were erased. Who has no identities is locked by their own row."""
    for _ in range(MERGE_ROUNDS):
        mine = sa.select(Identity.id).where(Identity.member_id == member_id).order_by(Identity.id)
        names = (await session.scalars(mine.with_for_update(key_share=True))).all()
        row = sa.select(Member.id, Member.merged_into_id, Member.erased_at).where(Member.id == member_id)
        found = (await session.execute(row if names else row.with_for_update(key_share=True))).first()
        if found is None:
            raise MemberNotFound(member_id)
        if found.merged_into_id is None:
            return Held(member_id, found.erased_at is not None)
        member_id = found.merged_into_id
    raise Busy(retry_after=1.0)


def _complete(kept: Member, absorbed: Member) -> dict[str, list[str]]:
    """Fill what was blank; returns the fields that changed: before and after."""
    before = _profile(kept)
    kept.joined_at = min(kept.joined_at, absorbed.joined_at)
    kept.name = kept.name or absorbed.name
    kept.avatar = kept.avatar or absorbed.avatar
    kept.gender = absorbed.gender if kept.gender is Gender.UNKNOWN else kept.gender
    after = _profile(kept)
    return {field: [before[field], after[field]] for field in before if before[field] != after[field]}


def _profile(member: Member) -> dict[str, str]:
    return {
        "joined_at": member.joined_at.isoformat(),
        "name": member.name,
        "avatar": member.avatar,
        "gender": member.gender.value,
    }


async def undo(session: AsyncSession, absorbed_id: int, *, now: datetime) -> int:
    """Take a merge back within a day: what it carried over returns, what came since stays; returns the kept id.

    Raises MergeNotFound, MergeTooOld, or MergeBuiltUpon when the kept member was absorbed in turn.
    """
    standing = (MemberMerge.absorbed_id == absorbed_id, MemberMerge.undone_at.is_(None))
    told = await session.scalar(sa.select(MemberMerge).where(*standing))
    if told is None:
        raise MergeNotFound(absorbed_id)
    if now - told.merged_at > UNDO_WITHIN:
        raise MergeTooOld(absorbed_id, told.merged_at)
    await hold_name(session, MERGES)
    if await hold(session, told.kept_id) != told.kept_id:
        raise MergeBuiltUpon(absorbed_id, told.kept_id)
    undone = sa.update(MemberMerge).where(MemberMerge.id == told.id, MemberMerge.undone_at.is_(None))
    if not await session.scalar(undone.values(undone_at=now).returning(MemberMerge.id)):
        raise MergeNotFound(absorbed_id)  # somebody was quicker
    await point_accounts.lock(session, [told.kept_id, absorbed_id])
    for table in (Identity, *CARRIED, CheckIn):
        mine = is_among(session, table.id, told.carried.get(table.__tablename__, []))
        back = sa.update(table).where(mine, table.member_id == told.kept_id).values(member_id=absorbed_id)
        await session.execute(back.execution_options(synchronize_session=False))
    await point_accounts.recount(session, [told.kept_id, absorbed_id])
    await member_tags.give_back(
        session,
        told.carried.get("member_tags", []),
        kept_id=told.kept_id,
        absorbed_id=absorbed_id,
        merged_at=told.merged_at,
        now=now,
    )
    followers = [member_id for member_id in told.carried.get("members", []) if member_id != absorbed_id]
    again = sa.update(Member).where(Member.merged_into_id == told.kept_id)
    for ids, target in (([absorbed_id], None), (followers, absorbed_id)):
        if ids:
            point = again.where(is_among(session, Member.id, ids)).values(merged_into_id=target)
            await session.execute(point.execution_options(synchronize_session="fetch"))
    await _restore(session, told)
    await order_changes.recount(session, [told.kept_id, absorbed_id])
    await events.append(session, MergeUndone(kept_id=told.kept_id, absorbed_id=absorbed_id), now=now)
    return told.kept_id


async def _restore(session: AsyncSession, told: MemberMerge) -> None:
    """Give the kept member back the fields that nobody has changed since."""
    kept = await members.get(session, told.kept_id)
    now_said = _profile(kept)
    for field, (before, after) in told.profile.items():
        if now_said[field] == after:
            value = {"joined_at": datetime.fromisoformat, "gender": Gender}.get(field, str)(before)
            setattr(kept, field, value)
    await session.flush()


async def _lock_living(session: AsyncSession, ids: set[int]) -> list[Member]:
    """Lock these members, oldest first; one that was merged meanwhile stands for the member it became part of.

    Each further round follows a merge that was committed while we waited. Raises MemberNotFound, and Busy when merges
    of these members never come to rest.
    """
    for _ in range(MERGE_ROUNDS):
        rows = await session.scalars(
            sa.select(Member)
            .where(Member.id.in_(ids))
            .order_by(Member.id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
        locked = list(rows)
        if missing := ids - {member.id for member in locked}:
            raise MemberNotFound(min(missing))
        living = {member.merged_into_id or member.id for member in locked}
        if living == ids:
            return locked
        ids = living
    raise Busy(retry_after=1.0)


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
