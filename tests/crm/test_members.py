"""Members and identities: one person, one member, whoever asks first and however often."""

import asyncio
import random

import pytest
import sqlalchemy as sa

from crm import contacts, groups, identities, members, merges
from crm.base import events
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.identities import wechat_person
from crm.members import MemberEnrolled, MemberNotFound, Profile
from crm.merges import MembersMerged
from crm.models.consent import Consent
from crm.models.member import Contact, Identity, IdentityKind, Member, MemberMerge, MemberSource
from tests.factories import Make

EXTERNAL, UNION = IdentityKind.EXTERNAL_USERID, IdentityKind.UNIONID


async def enrol(sessions: Sessions, clock: FrozenClock, external_userid: str, unionid: str | None = None) -> int:
    async with sessions.begin() as session:
        person = wechat_person(external_userid, unionid=unionid)
        return (await identities.enrol(session, person, source=MemberSource.KF, now=clock.now())).id


async def heard(sessions: Sessions) -> list[events.Recorded]:
    async with sessions.begin() as session:
        return await events.take(session, "test", limit=10_000)


async def count(sessions: Sessions, table: type) -> int:
    async with sessions.read() as session:
        return await session.scalar(sa.select(sa.func.count()).select_from(table)) or 0


async def test_the_same_person_is_enrolled_once_and_found_under_every_name(
    sessions: Sessions, clock: FrozenClock
) -> None:
    first = await enrol(sessions, clock, "wmA", "oU")
    assert await enrol(sessions, clock, "wmA") == first
    assert await enrol(sessions, clock, "wmA", "oU") == first
    async with sessions.read() as session:
        for kind, value in ((EXTERNAL, "wmA"), (UNION, "oU")):
            found = await identities.find_by(session, kind, value)
            assert found is not None and found.id == first
        assert await identities.find_by(session, EXTERNAL, "wma") is None, "external ids compare with case"
    [event] = await heard(sessions)
    assert event.load(MemberEnrolled) == MemberEnrolled(member_id=first, source=MemberSource.KF, joined_at=clock.now())


async def test_a_page_of_people_keeps_its_order_and_counts_a_person_once(
    sessions: Sessions, clock: FrozenClock
) -> None:
    known = await enrol(sessions, clock, "wmB")
    page = [wechat_person(each) for each in ("wmC", "wmB", "wmA", "wmC")]
    async with sessions.begin() as session:
        ids = await identities.enrol_batch(session, page, source=MemberSource.CONTACT, now=clock.now())
    assert ids[1] == known and ids[0] == ids[3] and len(set(ids)) == 3
    assert await count(sessions, Member) == 3


async def test_a_shared_unionid_in_one_page_makes_one_member_of_two_accounts(
    sessions: Sessions, clock: FrozenClock
) -> None:
    page = [wechat_person("wmA", unionid="oU"), wechat_person("wmB", unionid="oU")]
    async with sessions.begin() as session:
        one, other = await identities.enrol_batch(session, page, source=MemberSource.CONTACT, now=clock.now())
    assert one == other and await count(sessions, Member) == 1


async def test_twenty_enrolments_of_one_person_race_and_make_one_member(sessions: Sessions, clock: FrozenClock) -> None:
    ids = await asyncio.gather(*(enrol(sessions, clock, "wmA", "oU") for _ in range(20)))
    assert len(set(ids)) == 1
    assert await count(sessions, Member) == 1, "losers of the race leave no row behind"
    assert [event.name for event in await heard(sessions)] == ["MemberEnrolled"]


async def test_the_race_is_real_without_the_guard(sessions: Sessions, clock: FrozenClock) -> None:
    """Look first, then write: both look before either has written, and one person becomes two members."""
    looked = asyncio.Barrier(2)

    async def enrol_unguarded() -> None:
        async with sessions.read() as session:
            found = await identities.find_by(session, EXTERNAL, "wmA")
        await looked.wait()
        if found is None:
            async with sessions.begin() as session:
                await members.add_rows(session, [Profile()], source=MemberSource.KF, now=clock.now())

    await asyncio.gather(enrol_unguarded(), enrol_unguarded())
    assert await count(sessions, Member) == 2


async def test_codes_that_are_taken_are_drawn_again(sessions: Sessions, clock: FrozenClock) -> None:
    for _ in range(2):  # the same chance draws the same codes
        async with sessions.begin() as session:
            ids = await members.add_rows(
                session,
                [Profile(name=name) for name in ("甲", "乙", "丙")],
                source=MemberSource.IMPORT,
                now=clock.now(),
                chance=random.Random(7),
            )
    async with sessions.read() as session:
        people = await members.get_batch(session, ids)
        assert [people[each].name for each in ids] == ["甲", "乙", "丙"]
        typed = await members.find_by_code(session, f" {people[ids[0]].code.lower()} ")
        assert typed is not None and typed.id == ids[0]
    assert await count(sessions, Member) == 6


async def test_a_unionid_shows_that_two_members_are_one_person(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    older = await make.member(external_userid="wmOld", unionid="oU", name="")
    contact = await make.contact(external_userid="wmNew")
    group = await make.group(None, "wmNew")
    async with sessions.begin() as session:
        session.add(
            Consent(
                member_id=contact.member_id,
                topic="marketing",
                channel="any",
                granted=False,
                source="chat",
                wording_version="1",
                said_at=clock.now(),
            )
        )
        (await members.get(session, contact.member_id)).name = "阿黄妈妈"
    assert contact.member_id != older.id

    assert await enrol(sessions, clock, "wmNew", "oU") == older.id

    async with sessions.read() as session:
        kept = await members.get(session, contact.member_id)
        assert kept.id == older.id and kept.name == "阿黄妈妈"
        assert [each.id for each in await contacts.open_of(session, kept.id)] == [contact.id]
        assert [each.id for each in await groups.of_member(session, kept.id)] == [group.id]
        assert await session.scalar(sa.select(Consent.member_id)) == kept.id
        assert set(await identities.values_of(session, kept.id, EXTERNAL)) == {"wmOld", "wmNew"}
        history = (await session.scalars(sa.select(MemberMerge))).one()
        assert (history.kept_id, history.absorbed_id, history.because) == (kept.id, contact.member_id, "unionid")
    last = (await heard(sessions))[-1].load(MembersMerged)
    assert (last.kept_id, last.absorbed_id) == (older.id, contact.member_id)


async def test_merges_that_race_end_in_one_member(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    ids = [(await make.member()).id for _ in range(4)]

    async def merge(one: int, other: int) -> None:
        async with sessions.begin() as session:
            await merges.merge(session, one, other, because="manual", now=clock.now())

    await asyncio.gather(*(merge(ids[-1], each) for each in (*ids[:-1], *ids[:-1])))
    async with sessions.read() as session:
        assert {(await members.get(session, each)).id for each in ids} == {ids[0]}
        assert set(await session.scalars(sa.select(Identity.member_id))) == {ids[0]}
    assert await count(sessions, MemberMerge) == 3


async def test_a_member_that_is_not_there_cannot_be_merged(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member = await make.member()
    with pytest.raises(MemberNotFound):
        async with sessions.begin() as session:
            await merges.merge(session, member.id, 404, because="manual", now=clock.now())


async def test_a_contact_added_while_its_member_is_merged_lands_with_the_one_that_remains(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    older, younger = await make.member(), await make.member(external_userid="wmY")
    await make.staff("lin")

    async def add() -> None:
        async with sessions.begin() as session:
            await contacts.added(session, userid="lin", external_userid="wmY", at=clock.now(), now=clock.now())

    async def merge() -> None:
        async with sessions.begin() as session:
            await merges.merge(session, older.id, younger.id, because="manual", now=clock.now())

    await asyncio.gather(add(), merge())
    async with sessions.read() as session:
        assert await session.scalar(sa.select(Contact.member_id)) == older.id


async def test_an_erased_member_stays_blank_when_a_listing_names_them(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member = await make.member(name="")
    async with sessions.begin() as session:
        row = await members.get(session, member.id)
        row.erased_at = clock.now()
        members.describe(row, Profile(name="不该回来"))
    async with sessions.read() as session:
        assert (await members.get(session, member.id)).name == ""


async def test_a_member_that_never_was_is_not_found(sessions: Sessions) -> None:
    async with sessions.read() as session:
        with pytest.raises(MemberNotFound) as refused:
            await members.get(session, 404)
    assert refused.value.member_id == 404
