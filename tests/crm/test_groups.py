"""Customer groups: every stay dated, whoever the person is and in whatever order the lists arrive."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from crm import groups, identities
from crm.base import events
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.groups import Changed, Departure, Seat, Snapshot
from crm.identities import wechat_person
from crm.members import Profile
from crm.models.group import Group, GroupMember
from crm.models.member import IdentityKind, Member, MemberSource, Staff
from tests.factories import Make

START = FrozenClock().now()


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


def guest(external_userid: str, joined: int, *, name: str = "王语嫣") -> Seat:
    person = wechat_person(external_userid, profile=Profile(name=name))
    return Seat(person=person, joined_at=at(joined), name=name, join_scene=3, state="poster", invited_by="jack")


def ours(userid: str, joined: int) -> Seat:
    return Seat(userid=userid, joined_at=at(joined), name="张三丰", join_scene=1)


def shown(seats: Sequence[Seat], *, read: int, version: str = "", owner: str = "Abel") -> Snapshot:
    return Snapshot(
        chat_id="wrA",
        name="毛孩子福利群",
        owner=owner,
        created_at=at(0),
        notice="周四秒杀",
        member_version=version or f"v{read}",
        seats=tuple(seats),
        read_at=at(read),
    )


async def take(sessions: Sessions, snapshot: Snapshot, departure: Departure | None = None) -> Changed:
    async with sessions.begin() as session:
        return await groups.take_snapshot(session, snapshot, departure=departure, now=snapshot.read_at)


async def stays(sessions: Sessions, person: str = "wmA") -> list[tuple[datetime, datetime | None, int | None]]:
    async with sessions.read() as session:
        rows = await session.scalars(
            sa.select(GroupMember).where(GroupMember.person == person).order_by(GroupMember.joined_at)
        )
        return [(row.joined_at, row.left_at, row.quit_scene) for row in rows]


async def heard(sessions: Sessions) -> list[str]:
    async with sessions.begin() as session:
        return [each.name for each in await events.take(session, "test", limit=1000)]


async def test_everybody_in_a_group_becomes_a_row(sessions: Sessions) -> None:
    changed = await take(sessions, shown([ours("Abel", 0), guest("wmA", 1), guest("wmB", 2)], read=10))
    assert set(changed.joined) == {"abel", "wmA", "wmB"} and not changed.left
    async with sessions.read() as session:
        group = await groups.find(session, "wrA")
        assert group is not None
        assert (group.name, group.notice, group.member_version) == ("毛孩子福利群", "周四秒杀", "v10")
        owner = await session.get_one(Staff, group.owner_id)
        assert (owner.key, owner.name) == ("abel", "张三丰")
        lead = await identities.find_by(session, IdentityKind.EXTERNAL_USERID, "wmA")
        assert lead is not None and (lead.source, lead.name) == (MemberSource.GROUP, "王语嫣")
        assert [each.id for each in await groups.of_member(session, lead.id)] == [group.id]
        seat = next(seat for seat in await groups.present(session, group.id) if seat.person == "wmA")
        assert (seat.join_scene, seat.invited_by, seat.state) == (3, "jack", "poster")
    assert await heard(sessions) == ["MemberEnrolled", "MemberEnrolled", "GroupJoined", "GroupJoined"]


async def test_a_list_that_says_the_same_changes_nothing(sessions: Sessions) -> None:
    await take(sessions, shown([ours("Abel", 0), guest("wmA", 1)], read=10))
    assert await take(sessions, shown([ours("ABEL", 0), guest("wmA", 1)], read=20)) == Changed()
    assert await stays(sessions) == [(at(1), None, None)]


async def test_who_is_gone_from_the_list_has_left_when_the_callback_says(sessions: Sessions) -> None:
    await take(sessions, shown([guest("wmA", 1), guest("wmB", 1)], read=10))
    departure = Departure(people=frozenset({"wmA"}), at=at(12), quit_scene=1)
    changed = await take(sessions, shown([], read=15), departure)
    assert set(changed.left) == {"wmA", "wmB"}
    assert await stays(sessions, "wmA") == [(at(1), at(12), 1)]
    assert await stays(sessions, "wmB") == [(at(1), at(15), None)], "nobody told us: it is over since we looked"


async def test_who_left_and_came_back_between_two_looks_has_two_stays(sessions: Sessions) -> None:
    await take(sessions, shown([guest("wmA", 1)], read=10))
    changed = await take(sessions, shown([guest("wmA", 14)], read=20))
    assert (changed.joined, changed.left) == (("wmA",), ("wmA",))
    assert await stays(sessions) == [(at(1), at(14), None), (at(14), None, None)]


async def test_an_older_list_that_arrives_late_is_dropped(sessions: Sessions) -> None:
    await take(sessions, shown([], read=20, version="v2"))
    assert await take(sessions, shown([guest("wmA", 1)], read=10)) == Changed()
    async with sessions.read() as session:
        assert await groups.versions(session, ["wrA", "wrB"]) == {"wrA": "v2"}


async def test_a_dissolved_group_is_empty_once(sessions: Sessions) -> None:
    await take(sessions, shown([ours("Abel", 0), guest("wmA", 1)], read=10))
    for expected in ({"abel", "wmA"}, set()):
        async with sessions.begin() as session:
            assert set((await groups.dismiss(session, "wrA", at=at(30), now=at(31))).left) == expected
    assert await stays(sessions) == [(at(1), at(30), None)]
    assert (await heard(sessions)).count("GroupLeft") == 1


async def test_a_list_that_was_on_its_way_when_the_group_was_dissolved_does_not_revive_it(sessions: Sessions) -> None:
    await take(sessions, shown([guest("wmA", 1)], read=10))
    async with sessions.begin() as session:
        await groups.dismiss(session, "wrA", at=at(30), now=at(31))
    assert await take(sessions, shown([guest("wmA", 1)], read=29)) == Changed()
    assert await take(sessions, shown([guest("wmA", 1)], read=33)) == Changed()
    assert await take(sessions, shown([guest("wmA", 40)], read=60)) == Changed(joined=("wmA",)), "it is still there"


async def test_a_version_we_have_taken_is_not_compared_again(sessions: Sessions) -> None:
    await take(sessions, shown([guest("wmA", 1)], read=10, version="v"))
    assert await take(sessions, shown([], read=20, version="v")) == Changed()


async def test_the_owner_changes(sessions: Sessions) -> None:
    await take(sessions, shown([ours("Abel", 0), ours("Chen", 0)], read=10))
    await take(sessions, shown([ours("Abel", 0), ours("Chen", 0)], read=20, owner="chen"))
    async with sessions.read() as session:
        owner = sa.select(Staff.userid).join(Group, Group.owner_id == Staff.id)
        assert await session.scalar(owner) == "Chen"


async def test_two_readers_of_one_group_race_and_nobody_sits_twice(sessions: Sessions) -> None:
    snapshot = shown([ours("Abel", 0), *(guest(f"wm{number}", 1) for number in range(30))], read=10)
    changes = await asyncio.gather(*(take(sessions, snapshot) for _ in range(6)))
    assert sorted(len(each.joined) for each in changes) == [0, 0, 0, 0, 0, 31]
    async with sessions.read() as session:
        assert await session.scalar(sa.select(sa.func.count(GroupMember.id))) == 31


async def test_a_contact_in_a_group_is_the_same_member(sessions: Sessions, make: Make) -> None:
    contact = await make.contact(external_userid="wmA")
    await take(sessions, shown([guest("wmA", 1, name="群里的名字")], read=10))
    async with sessions.read() as session:
        assert await session.scalar(sa.select(sa.func.count(Member.id))) == 1
        assert await session.scalar(sa.select(GroupMember.member_id)) == contact.member_id


async def test_a_full_listing_names_the_groups_to_read(sessions: Sessions, make: Make) -> None:
    await make.group(chat_id="wrOld")
    async with sessions.begin() as session:
        await groups.list_batch(session, ["wrOld", "wrB", "wrA", "wrC"], now=at(5))
        await groups.dismiss(session, "wrC", at=at(5), now=at(5))
        assert await groups.unread(session, since=at(5), limit=2) == ["wrA", "wrB"]
        assert await groups.unread(session, since=at(5), after="wrB", limit=2) == ["wrOld"]
        await groups.list_batch(session, ["wrC"], now=at(6))
        assert await groups.unread(session, since=at(5), after="wrB", limit=2) == ["wrOld"], "dissolved a minute ago"
        await groups.list_batch(session, ["wrC"], now=at(60))
        assert await groups.unread(session, since=at(5), after="wrB", limit=2) == ["wrC", "wrOld"]
