"""Customer groups (客户群): who joined, who left, who invited, and since when.

Everybody in a group is a row of ours. Our people are staff; whoever has an external_userid becomes a member, contact of
somebody or not, because the group is where we sell: the same person opens the sale's page under that id, their limit
must hold there, and when they add one of us later, their history in the group is already theirs. Only an erased person
has no row, until they join a group by its link or its QR code.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import identities, members, staff
from crm.base import events
from crm.base.db import insert
from crm.identities import Person
from crm.models.group import Group, GroupMember, GroupTag
from crm.models.member import MemberSource, Staff

BY_THEMSELVES = frozenset({2, 3})  # join_scene: by link, by QR code
SETTLING = timedelta(minutes=5)  # a dissolved group may still be shown for some seconds; much later it is alive


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupJoined:
    """A member is in a group. Learned late when a group is first read: compare `joined_at` with the event's instant."""

    group_id: int
    member_id: int
    join_scene: int | None
    invited_by: str
    state: str
    joined_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLeft:
    """A member is no longer in a group; `quit_scene` as WeCom tells it, None when it did not."""

    group_id: int
    member_id: int
    quit_scene: int | None
    left_at: datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """A group in a list."""

    group_id: int
    chat_id: str
    name: str
    owner: str  # their name, else userid; empty: nobody of ours
    members: int
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One person in a group as WeCom lists them. person: None for staff, who are named by `userid`."""

    joined_at: datetime
    userid: str = ""
    person: Person | None = None  # its first key is the external_userid
    name: str = ""
    nickname: str = ""
    join_scene: int | None = None
    invited_by: str = ""
    state: str = ""

    @property
    def joiner(self) -> Person | None:
        """The person, with when they joined by their own act."""
        if self.person is None or self.join_scene not in BY_THEMSELVES:
            return self.person
        return replace(self.person, acted_at=self.joined_at)

    @property
    def key(self) -> str:
        return self.person.keys[0][1] if self.person is not None else staff.key(self.userid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A group as WeCom showed it when asked at `read_at`."""

    chat_id: str
    name: str
    owner: str  # userid
    created_at: datetime | None
    notice: str
    member_version: str
    seats: tuple[Seat, ...]
    read_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """What a callback told about people leaving: it knows the second and the reason, a snapshot knows neither."""

    people: frozenset[str]
    at: datetime
    quit_scene: int | None


@dataclass(frozen=True, slots=True)
class Changed:
    """What a snapshot changed: keys of the people who came and went."""

    joined: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


# Reads


async def find(session: AsyncSession, chat_id: str) -> Group | None:
    found: Group | None = await session.scalar(sa.select(Group).where(Group.chat_id == chat_id))
    return found


async def versions(session: AsyncSession, chat_ids: Collection[str]) -> dict[str, str]:
    """The member_version we last took of each of these groups."""
    rows = await session.execute(sa.select(Group.chat_id, Group.member_version).where(Group.chat_id.in_(chat_ids)))
    return {row.chat_id: row.member_version for row in rows}


async def present(session: AsyncSession, group_id: int) -> list[GroupMember]:
    """Who is in a group now, oldest first."""
    rows = await session.scalars(
        sa.select(GroupMember)
        .where(GroupMember.group_id == group_id, GroupMember.left_at.is_(None))
        .order_by(GroupMember.joined_at, GroupMember.id)
    )
    return list(rows)


async def of_member(session: AsyncSession, member_id: int) -> list[Group]:
    """The groups a member is in now."""
    rows = await session.scalars(
        sa.select(Group)
        .join(GroupMember, GroupMember.group_id == Group.id)
        .where(GroupMember.member_id == member_id, GroupMember.left_at.is_(None), Group.dismissed_at.is_(None))
        .order_by(Group.id)
    )
    return list(rows.unique())


async def called(session: AsyncSession, name: str) -> list[Group]:
    """Living groups with this name or chat_id; a name may be several groups'."""
    known = sa.or_(Group.chat_id == name, Group.name == name)
    return list(await session.scalars(sa.select(Group).where(known, Group.dismissed_at.is_(None)).order_by(Group.id)))


async def living(session: AsyncSession) -> list[Seen]:
    """Every living group with its owner, its people and our tags on it, by name."""
    here = sa.and_(GroupMember.group_id == Group.id, GroupMember.left_at.is_(None))
    rows = await session.execute(
        sa.select(Group.id, Group.chat_id, Group.name, Staff.userid, Staff.name, sa.func.count(GroupMember.member_id))
        .outerjoin(Staff, Staff.id == Group.owner_id)
        .outerjoin(GroupMember, here)
        .where(Group.dismissed_at.is_(None))
        .group_by(Group.id, Group.chat_id, Group.name, Staff.userid, Staff.name)
        .order_by(Group.name, Group.id)
    )
    tags: dict[int, list[str]] = {}
    for one in await session.scalars(sa.select(GroupTag).order_by(GroupTag.tag)):
        tags.setdefault(one.group_id, []).append(one.tag)
    return [Seen(row[0], row[1], row[2], row[4] or row[3] or "", row[5], tuple(tags.get(row[0], ()))) for row in rows]


# Verbs


async def tag(session: AsyncSession, group_id: int, name: str) -> bool:
    """Put a word of ours on a group; whether it is news."""
    row = insert(session, GroupTag).values(group_id=group_id, tag=name).on_conflict_do_nothing()
    return await session.scalar(row.returning(GroupTag.group_id)) is not None


async def untag(session: AsyncSession, group_id: int, name: str) -> bool:
    gone = sa.delete(GroupTag).where(GroupTag.group_id == group_id, GroupTag.tag == name).returning(GroupTag.group_id)
    return await session.scalar(gone) is not None


async def take_snapshot(
    session: AsyncSession, snapshot: Snapshot, *, departure: Departure | None = None, now: datetime
) -> Changed:
    """Bring one group up to a snapshot: joins and leaves become dated rows; an older one than we took is dropped.

    departure: the callback that made us look, if it told of people leaving. A person whose join time moved has left
    and come back between two looks.
    """
    group = await _lock(session, snapshot.chat_id)
    if _is_outdated(snapshot, group):
        return Changed()
    same_people = snapshot.member_version != "" and group.member_version == snapshot.member_version
    staff_ids = await _know_staff(session, snapshot)
    _describe(group, snapshot, owner_id=staff_ids.get(staff.key(snapshot.owner)))
    if same_people:
        return Changed()
    seats = {seat.key: seat for seat in snapshot.seats}
    here = {seat.person: seat for seat in await present(session, group.id)}
    back = {key for key in seats.keys() & here.keys() if seats[key].joined_at > here[key].joined_at}
    gone = [seat for key, seat in here.items() if key not in seats or key in back]
    fresh = [seat for key, seat in seats.items() if key not in here or key in back]
    for row in gone:
        _leave(row, departure, until=seats[row.person].joined_at if row.person in back else now)
    await session.flush()
    came = await _seat(session, group, fresh, staff_ids, now=now)
    await events.append_all(session, [*_as_left(gone), *_as_joined(came)], now=now)
    return Changed(tuple(row.person for row in came), tuple(row.person for row in gone))


async def dismiss(session: AsyncSession, chat_id: str, *, at: datetime, now: datetime) -> Changed:
    """The group was dissolved: everybody has left. Twice is once."""
    group = await _lock(session, chat_id)
    if group.dismissed_at is not None:
        return Changed()
    group.dismissed_at, group.read_at, group.member_version = at, now, ""
    gone = await present(session, group.id)
    for row in gone:
        _leave(row, None, until=at)
    await session.flush()
    await events.append_all(session, _as_left(gone), now=now)
    return Changed(left=tuple(row.person for row in gone))


async def list_batch(session: AsyncSession, chat_ids: Collection[str], *, now: datetime) -> None:
    """A full listing shows these groups: unknown ones get a row that a snapshot fills, and all of them live."""
    if not chat_ids:
        return
    rows = [{"chat_id": chat_id} for chat_id in sorted(set(chat_ids))]
    await session.execute(insert(session, Group.__table__).on_conflict_do_nothing(), rows)
    await session.execute(
        sa.update(Group)
        .where(Group.chat_id.in_(chat_ids), Group.dismissed_at < now - SETTLING)
        .values(dismissed_at=None, read_at=None)
    )


async def unread(session: AsyncSession, *, since: datetime, after: str = "", limit: int) -> list[str]:
    """Living groups of which we took no snapshot since `since`, in the order of their chat_ids, behind `after`."""
    rows = await session.scalars(
        sa.select(Group.chat_id)
        .where(Group.chat_id > after, Group.dismissed_at.is_(None))
        .where(sa.or_(Group.read_at.is_(None), Group.read_at < since))
        .order_by(Group.chat_id)
        .limit(limit)
    )
    return list(rows)


async def _lock(session: AsyncSession, chat_id: str) -> Group:
    """The group's row, made if need be; one snapshot of a group at a time."""
    await session.execute(insert(session, Group.__table__).on_conflict_do_nothing(), [{"chat_id": chat_id}])
    row = sa.select(Group).where(Group.chat_id == chat_id).with_for_update()
    return (await session.scalars(row, execution_options={"populate_existing": True})).one()


async def _know_staff(session: AsyncSession, snapshot: Snapshot) -> dict[str, int]:
    ours = {staff.key(seat.userid): seat.name for seat in snapshot.seats if seat.person is None}
    spelled = [seat.userid for seat in snapshot.seats if seat.person is None]
    ids = await staff.know(session, [*spelled, snapshot.owner] if snapshot.owner else spelled)
    nameless = sa.select(Staff).where(Staff.id.in_(ids.values()), Staff.name == "")
    for one in await session.scalars(nameless):
        one.name = ours.get(one.key, "")
    return ids


def _is_outdated(snapshot: Snapshot, group: Group) -> bool:
    if group.read_at is None:
        return False
    settled = SETTLING if group.dismissed_at is not None else timedelta()
    return snapshot.read_at < group.read_at + settled


def _describe(group: Group, snapshot: Snapshot, *, owner_id: int | None) -> None:
    group.name, group.notice, group.owner_id = snapshot.name, snapshot.notice, owner_id
    group.dismissed_at = None
    group.created_at = snapshot.created_at or group.created_at
    group.member_version, group.read_at = snapshot.member_version, snapshot.read_at


def _leave(row: GroupMember, departure: Departure | None, *, until: datetime) -> None:
    if departure is not None and row.person in departure.people:
        until, row.quit_scene = departure.at, departure.quit_scene
    row.left_at = max(row.joined_at, until)


async def _seat(
    session: AsyncSession, group: Group, fresh: Sequence[Seat], staff_ids: Mapping[str, int], *, now: datetime
) -> list[GroupMember]:
    people = [person for seat in fresh if (person := seat.joiner) is not None]
    enrolled = await identities.enrol_batch(session, people, source=MemberSource.GROUP, now=now)
    member_ids = {
        person.keys[0][1]: member_id
        for person, member_id in zip(people, enrolled, strict=True)
        if member_id is not None
    }
    known = await members.get_batch(session, member_ids.values())
    for seat in fresh:
        member = known.get(member_ids.get(seat.key, 0))
        if member is not None and not member.name and seat.person is not None:
            members.describe(member, seat.person.profile)  # a contact's own profile says more than a seat
    rows = [
        {
            "group_id": group.id,
            "person": seat.key,
            "member_id": member_ids[seat.key] if seat.person is not None else None,
            "staff_id": staff_ids[seat.key] if seat.person is None else None,
            "joined_at": seat.joined_at,
            "join_scene": seat.join_scene,
            "invited_by": seat.invited_by,
            "state": seat.state,
            "nickname": seat.nickname,
        }
        for seat in fresh
        if seat.person is None or seat.key in member_ids
    ]
    await session.flush()
    return list(await session.scalars(sa.insert(GroupMember).returning(GroupMember), rows)) if rows else []


def _as_joined(rows: Sequence[GroupMember]) -> list[GroupJoined]:
    return [
        GroupJoined(
            group_id=row.group_id,
            member_id=row.member_id,
            join_scene=row.join_scene,
            invited_by=row.invited_by,
            state=row.state,
            joined_at=row.joined_at,
        )
        for row in rows
        if row.member_id is not None
    ]


def _as_left(rows: Sequence[GroupMember]) -> list[GroupLeft]:
    return [
        GroupLeft(group_id=row.group_id, member_id=row.member_id, quit_scene=row.quit_scene, left_at=row.left_at)
        for row in rows
        if row.member_id is not None and row.left_at is not None
    ]
