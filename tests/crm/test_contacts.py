"""Contacts: dated spells that come out right however the callbacks are doubled, delayed and shuffled."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from crm import contacts, staff, tags
from crm.base import events
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.contacts import Relation
from crm.identities import wechat_person
from crm.members import Profile
from crm.models.member import Contact, ContactEnd, Member, Staff
from tests.factories import Make

START = FrozenClock().now()


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


async def hear(sessions: Sessions, news: Sequence[tuple[str, int]], *, external_userid: str = "wmA") -> None:
    """Callbacks about one pair, in this order: ("+", minute) added, ("-", minute) deleted by the customer."""
    for place, (sign, minute) in enumerate(news):
        now = at(1000 + place)
        async with sessions.begin() as session:
            if sign == "+":
                await contacts.added(
                    session, userid="Lin", external_userid=external_userid, at=at(minute), state="qr", now=now
                )
            else:
                await contacts.lost(
                    session,
                    userid="lin",
                    external_userid=external_userid,
                    at=at(minute),
                    by=ContactEnd.CUSTOMER,
                    now=now,
                )


async def spells(sessions: Sessions) -> list[tuple[int, int | None]]:
    """Every spell as (first minute, last minute)."""

    def minute(instant: datetime) -> int:
        return round((instant - START) / timedelta(minutes=1))

    async with sessions.read() as session:
        rows = await session.scalars(sa.select(Contact).order_by(Contact.added_at, Contact.id))
        return [(minute(row.added_at), minute(row.ended_at) if row.ended_at else None) for row in rows]


async def heard(sessions: Sessions) -> list[str]:
    async with sessions.begin() as session:
        recorded = await events.take(session, "test", limit=1000)
    return [each.name for each in recorded if each.name != "MemberEnrolled"]


CASES = {
    "added": ([("+", 1)], [(1, None)]),
    "added twice": ([("+", 1), ("+", 1)], [(1, None)]),
    "half, then confirmed": ([("+", 1), ("+", 2)], [(1, None)]),
    "added and lost": ([("+", 1), ("-", 5)], [(1, 5)]),
    "lost twice": ([("+", 1), ("-", 5), ("-", 5)], [(1, 5)]),
    "lost, then the adding is told again": ([("+", 1), ("-", 5), ("+", 1)], [(1, 5)]),
    "lost overtakes added": ([("-", 5), ("+", 1)], [(1, 5)]),
    "lost without a beginning": ([("-", 5)], [(5, 5)]),
    "added again": ([("+", 1), ("-", 5), ("+", 9)], [(1, 5), (9, None)]),
    "added again in the second it ended": ([("+", 1), ("-", 5), ("+", 5)], [(1, 5), (5, None)]),
    "that end told once more": ([("+", 1), ("-", 5), ("+", 5), ("-", 5)], [(1, 5), (5, None)]),
    "the second adding overtakes the end": ([("+", 1), ("+", 9), ("-", 5)], [(1, 5), (9, None)]),
    "an end from before the first spell we know": ([("+", 9), ("-", 5)], [(5, 5), (9, None)]),
    "two spells, all ends late": ([("+", 1), ("+", 9), ("-", 5), ("-", 12)], [(1, 5), (9, 12)]),
    "two spells, told backwards": ([("-", 12), ("+", 9), ("-", 5), ("+", 1)], [(1, 5), (9, 12)]),
    "two spells, told backwards, the second open": ([("+", 9), ("-", 5), ("+", 1)], [(1, 5), (9, None)]),
    "added and lost in one second": ([("+", 1), ("-", 1)], [(1, 1)]),
    "and told again": ([("+", 1), ("-", 1), ("+", 1)], [(1, 1)]),
}


@pytest.mark.parametrize(("news", "expected"), CASES.values(), ids=CASES)
async def test_news_of_a_relation(
    sessions: Sessions, news: list[tuple[str, int]], expected: list[tuple[int, int | None]]
) -> None:
    await hear(sessions, news)
    assert await spells(sessions) == expected


async def test_any_order_of_added_and_lost_ends_in_the_same_state(sessions: Sessions) -> None:
    """One spell, its news doubled: whatever arrives first, it is over. Two callbacks are never told apart by luck."""
    news = [("+", 1), ("-", 5), ("+", 1), ("-", 5)]
    for number, order in enumerate(sorted(set(itertools.permutations(news)))):
        await hear(sessions, order, external_userid=f"wm{number}")
    assert set(await spells(sessions)) == {(1, 5)}


async def test_each_spell_is_told_once_as_an_event(sessions: Sessions) -> None:
    await hear(sessions, [("+", 1), ("+", 1), ("-", 5), ("-", 5), ("+", 9)])
    assert await heard(sessions) == ["ContactAdded", "ContactLost", "ContactAdded"]


async def test_callbacks_of_one_pair_race_and_open_one_relation(sessions: Sessions) -> None:
    await asyncio.gather(*(hear(sessions, [("+", 1)]) for _ in range(10)))
    assert await spells(sessions) == [(1, None)]
    assert await heard(sessions) == ["ContactAdded"]


async def test_the_database_refuses_a_second_open_relation(sessions: Sessions, make: Make) -> None:
    contact = await make.contact(external_userid="wmA")
    with pytest.raises(sa.exc.IntegrityError):
        async with sessions.begin() as session:
            session.add(
                Contact(
                    staff_id=contact.staff_id,
                    member_id=contact.member_id,
                    external_userid="wmA",
                    added_at=at(1),
                    told_at=at(1),
                    seen_at=at(1),
                )
            )


# Listings


def listed(
    external_userid: str, added: int, *, userid: str = "lin", name: str = "阿黄妈妈", tag: str = "etA"
) -> Relation:
    person = wechat_person(external_userid, profile=Profile(name=name))
    return Relation(
        userid=userid, person=person, added_at=at(added), state="qr", add_way=1, remark="常客", tag_ids=(tag,)
    )


async def take(sessions: Sessions, page: Sequence[Relation], *, read: int, taken: int | None = None) -> contacts.Taken:
    async with sessions.begin() as session:
        return await contacts.take_batch(session, page, read_at=at(read), now=at(taken or read))


async def test_a_page_is_taken_once_however_often_it_is_read(sessions: Sessions) -> None:
    page = [listed("wmA", 1), listed("wmB", 2), listed("wmA", 3, userid="chen"), listed("wmA", 1, userid="LIN")]
    assert await take(sessions, page, read=10) == contacts.Taken(added=3, reopened=0, open=3)
    assert await take(sessions, page, read=20) == contacts.Taken(added=0, reopened=0, open=3)
    async with sessions.read() as session:
        assert await session.scalar(sa.select(sa.func.count(Member.id))) == 2
        rows = list(await session.scalars(sa.select(Contact)))
        assert {row.remark for row in rows} == {"常客"} and {row.seen_at for row in rows} == {at(20)}
    assert await heard(sessions) == ["ContactAdded"] * 3


async def test_a_listing_updates_what_changed(sessions: Sessions) -> None:
    await take(sessions, [listed("wmA", 1, name="旧名", tag="etA")], read=10)
    await take(sessions, [listed("wmA", 1, name="新名", tag="etB")], read=20)
    async with sessions.begin() as session:
        tag = tags.TagListing(wecom_id="etB", name="金卡")
        await tags.take_listing(
            session, [tags.TagGroupListing(wecom_id="egA", name="会员等级", tags=(tag,))], now=at(30)
        )
        contact = (await session.scalars(sa.select(Contact))).one()
        assert await tags.names_of(session, contact.id) == ["金卡"]
        assert await session.scalar(sa.select(Member.name)) == "新名"


async def test_an_end_that_came_while_the_listing_travelled_stays(sessions: Sessions) -> None:
    await hear(sessions, [("+", 1), ("-", 12)])
    assert (await take(sessions, [listed("wmA", 1)], read=10, taken=15)).open == 0
    assert (await take(sessions, [listed("wmA", 1)], read=20)).open == 0, "the customer left; the listing still shows"
    assert (await take(sessions, [listed("wmA", 18)], read=20)).added == 1, "a newer creation time is a new relation"
    assert await spells(sessions) == [(1, 12), (18, None)]


async def test_who_was_not_shown_is_named_to_be_asked_for(sessions: Sessions) -> None:
    page = [listed("wmA", 1), listed("wmB", 2), listed("wmC", 2), listed("wmC", 3, userid="chen")]
    await take(sessions, page, read=10)
    await take(sessions, page[:1], read=30)
    await hear(sessions, [("+", 31)], external_userid="wmD")
    async with sessions.read() as session:
        lin, chen = [await session.scalar(sa.select(Staff.id).where(Staff.key == key)) for key in ("lin", "chen")]
        assert lin is not None and chen is not None
        assert await contacts.unseen(session, [lin, chen], since=at(30), limit=9) == ["wmB", "wmC"]
        assert await contacts.unseen(session, [lin, chen], since=at(30), after="wmB", limit=9) == ["wmC"]
        assert await contacts.unseen(session, [chen], since=at(30), limit=9) == ["wmC"]
        assert await contacts.unseen_staff(session, [lin, chen], since=at(30)) == ["chen"]


async def test_who_no_longer_follows_a_customer_is_ended_by_the_sync(sessions: Sessions) -> None:
    await take(sessions, [listed("wmB", 2), listed("wmB", 3, userid="chen"), listed("wmC", 4)], read=10)
    assert await follow(sessions, "wmB", ["Chen"], read=30) == 0, "lin is not among those WeCom lists"
    async with sessions.begin() as session:
        await staff.set_following(session, ["LIN", "chen"])
    assert await follow(sessions, "wmB", ["Chen"], read=30) == 1
    assert await spells(sessions) == [(2, 40), (3, None), (4, None)]
    await hear_lost_late(sessions, minute=25)
    assert await spells(sessions) == [(2, 25), (3, None), (4, None)], "the callback knows the second and who it was"
    async with sessions.read() as session:
        assert await session.scalar(sa.select(Contact.ended_by).where(Contact.ended_at.is_not(None))) == "customer"
    assert await heard(sessions) == ["ContactAdded"] * 3 + ["ContactLost"]


async def test_what_a_listing_ended_by_mistake_a_newer_listing_opens_again(sessions: Sessions) -> None:
    await take(sessions, [listed("wmA", 1)], read=10)
    async with sessions.begin() as session:
        await staff.set_following(session, ["lin"])
    assert await follow(sessions, "wmA", [], read=30) == 1
    assert (await take(sessions, [listed("wmA", 1)], read=50)).reopened == 1
    assert await spells(sessions) == [(1, None)]


async def test_a_contact_added_while_the_list_travelled_is_not_ended_by_it(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        await staff.set_following(session, ["lin"])
    await hear(sessions, [("+", 31)])
    assert await follow(sessions, "wmA", [], read=30) == 0


async def follow(sessions: Sessions, external_userid: str, followers: Sequence[str], *, read: int) -> int:
    """Ten minutes after `read` we learn that these follow the customer; returns how many relations that ended."""
    async with sessions.begin() as session:
        gone = await contacts.end_unlisted(
            session, external_userid, followers=followers, read_at=at(read), now=at(read + 10)
        )
    return len(gone)


async def hear_lost_late(sessions: Sessions, *, minute: int) -> None:
    async with sessions.begin() as session:
        await contacts.lost(
            session, userid="lin", external_userid="wmB", at=at(minute), by=ContactEnd.CUSTOMER, now=at(60)
        )


# A page costs the same number of statements whatever its size


async def test_the_statements_of_a_page_do_not_grow_with_it(sessions: Sessions, statements: Callable[[], int]) -> None:
    await take(sessions, [listed("wm0", 1)], read=5)
    before = statements()
    await take(sessions, [listed(f"wmS{number}", 1) for number in range(3)], read=10)
    small = statements() - before
    await take(sessions, [listed(f"wmL{number}", 1) for number in range(100)], read=10)
    assert statements() - before - small <= small + 2
    assert small < 25


@pytest.fixture
def statements(sessions: Sessions) -> Callable[[], int]:
    """How many statements went to the database so far."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    sa.event.listen(sessions.writer.sync_engine, "before_cursor_execute", note)
    return lambda: len(sent)
