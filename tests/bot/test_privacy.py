"""A person's data: all of it in the export, none after an erasure, and nothing that brings them back by itself."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from bot import privacy as everything
from bot.models.gateway import InboundMessage
from bot.web.api_orders import OrdersIn, tell_orders
from bot.wecom.kf_items import parse_kf_item
from bot.wecom.puller import Pulled, store_items
from crm import (
    consents,
    contacts,
    groups,
    identities,
    members,
    merges,
    orders,
    phones,
    privacy,
    privacy_tables,
    tombstones,
)
from crm.base import events
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.events import EventRow
from crm.base.outbox import OutboxRow, Status
from crm.holds import PersonErased
from crm.identities import wechat_person
from crm.models.member import IdentityKind, Member, MemberSource
from crm.models.order import Order
from crm.models.privacy import Erasure
from crm.privacy import Fate, Reason, Section
from tests.bot.whole_person import CUSTOMER, MARKS, OTHER_ID, PHONE, VAULT, told_of, whole_person

EVERYTHING = everything.EVERYTHING
FACTS = privacy_tables.FACTS


async def erased(sessions: Sessions, clock: FrozenClock) -> int:
    """The whole person, an hour old, erased a minute ago."""
    member_id = await whole_person(sessions, clock)
    clock.advance(hours=1)
    await erase(sessions, member_id, clock)
    clock.advance(minutes=1)
    return member_id


async def erase(sessions: Sessions, member_id: int, clock: FrozenClock) -> Erasure:
    return await everything.erase(sessions, member_id, by="wang", reason=Reason.ASKED, now=clock.now())


async def read_all(sessions: Sessions, clock: FrozenClock) -> None:
    """Every reader has come to the end of the events."""
    async with sessions.begin() as session:
        for cursor in ("campaigns", "edge"):
            while await events.take(session, cursor):
                pass


async def export(sessions: Sessions, member_id: int) -> list[Section]:
    async with sessions.read() as session:
        who = await privacy.subject_of(session, member_id)
        return [section async for section in privacy.export(session, who, EVERYTHING, vault=VAULT)]


async def test_the_world_of_these_tests_speaks_of_the_person_in_every_table(
    sessions: Sessions, clock: FrozenClock
) -> None:
    member_id = await whole_person(sessions, clock)
    async with sessions.read() as session:
        lines = await privacy.plan(session, await privacy.subject_of(session, member_id), EVERYTHING)
    assert {one.name for one in FACTS} - {line.table for line in lines} == set()
    assert len({line.table for line in lines}) >= 45
    spoken: set[str] = set().union(*(await told_of(sessions)).values())
    assert set(MARKS) - spoken == {PHONE, "13800138000"}  # sealed


async def test_an_export_has_everything_in_it(sessions: Sessions, clock: FrozenClock) -> None:
    member_id = await whole_person(sessions, clock)
    found = await export(sessions, member_id)
    assert {section.table for section in found} > {one.name for one in FACTS}
    said = str([section.rows for section in found])
    assert [mark for mark in MARKS if mark not in said] == []  # the phone in plain text too


async def test_after_an_erasure_no_cell_of_the_database_speaks_of_the_person(
    sessions: Sessions, clock: FrozenClock
) -> None:
    member_id = await whole_person(sessions, clock)
    await read_all(sessions, clock)
    assert len(await told_of(sessions)) > 15
    receipt = await erase(sessions, member_id, clock)
    assert await told_of(sessions) == {}
    assert receipt.members == 2
    assert {line["fate"] for line in receipt.lines} == {"gone", "blanked", "kept"}
    assert all(line["why"] for line in receipt.lines if line["fate"] != Fate.GONE)


async def test_the_dry_run_says_what_the_erasure_does_and_does_nothing(sessions: Sessions, clock: FrozenClock) -> None:
    member_id = await whole_person(sessions, clock)
    before = await told_of(sessions)
    async with sessions.read() as session:
        lines = await privacy.plan(session, await privacy.subject_of(session, member_id), EVERYTHING)
    assert await told_of(sessions) == before
    receipt = await erase(sessions, member_id, clock)
    assert [(line.table, line.fate.value, line.rows) for line in lines] == [
        (line["table"], line["fate"], line["rows"]) for line in receipt.lines
    ]


async def test_events_that_a_reader_has_not_read_stay_until_it_has(sessions: Sessions, clock: FrozenClock) -> None:
    member_id = await whole_person(sessions, clock)
    async with sessions.begin() as session:
        await events.take(session, "campaigns", limit=2)
    await erase(sessions, member_id, clock)
    async with sessions.begin() as session:
        assert len(await events.take(session, "campaigns", limit=1000)) > 5
        assert await privacy.sweep(session, EVERYTHING, now=clock.now()) is None
        assert await session.scalar(sa.select(EventRow.id).where(EventRow.member_id == member_id)) is None
    assert await told_of(sessions) == {}


async def test_orders_stay_for_the_accounts_and_name_nobody(sessions: Sessions, clock: FrozenClock) -> None:
    member_id = await erased(sessions, clock)
    async with sessions.begin() as session:
        kept = (await session.scalars(sa.select(Order).order_by(Order.id))).all()
        assert [(one.member_id, one.paid_fen, one.refunded_fen) for one in kept] == [
            (member_id, 8800, 800),
            (member_id, 0, 0),
        ]
        await orders.refund(
            session, "shop", "R9", order_no="T1", amount_fen=8000, refunded_at=clock.now(), now=clock.now()
        )
        member = await members.get(session, member_id)
        assert (member.name, member.avatar, member.erased_at is not None) == ("", "", True)


async def test_what_waited_to_leave_does_not_leave(sessions: Sessions, clock: FrozenClock) -> None:
    await erased(sessions, clock)
    async with sessions.read() as session:
        rows = (await session.scalars(sa.select(OutboxRow).where(OutboxRow.lane != "staff"))).all()
    assert {one.status for one in rows} == {Status.CANCELLED}
    assert [one.body for one in rows] == [{}, {}]


async def test_twice_is_refused(sessions: Sessions, clock: FrozenClock) -> None:
    member_id = await erased(sessions, clock)
    with pytest.raises(PersonErased):
        await erase(sessions, member_id, clock)


async def test_nobody_becomes_one_with_an_erased_member_and_no_merge_is_undone_into_one(
    sessions: Sessions, clock: FrozenClock
) -> None:
    member_id = await erased(sessions, clock)
    async with sessions.begin() as session:
        absorbed = await session.scalar(sa.select(Member.id).where(Member.merged_into_id == member_id))
        friend = await identities.find_by(session, IdentityKind.EXTERNAL_USERID, "wm-friend")
        assert absorbed is not None
        assert friend is not None
        with pytest.raises(PersonErased):
            await merges.merge(session, friend.id, member_id, because="manual", now=clock.now())
        with pytest.raises(merges.MergeNotFound):
            await merges.undo(session, absorbed, now=clock.now())


async def test_a_receipt_can_be_checked_by_who_has_the_identity(sessions: Sessions, clock: FrozenClock) -> None:
    receipt = await erase(sessions, await whole_person(sessions, clock), clock)
    async with sessions.read() as session:
        found = await privacy.find_receipt(session, receipt.number.lower())
        assert found is not None
        assert len(found.proof) == 6
        assert await tombstones.matches(session, found.proof, [(IdentityKind.EXTERNAL_USERID, CUSTOMER)])
        assert not await tombstones.matches(session, found.proof, [(IdentityKind.EXTERNAL_USERID, "wm-somebody")])


# Nobody comes back by a listing


async def test_a_contact_sync_does_not_bring_them_back(sessions: Sessions, clock: FrozenClock) -> None:
    await erased(sessions, clock)
    now = clock.now()
    person = wechat_person(CUSTOMER, unionid="un-marked", profile=members.Profile(name="印记姓名"))
    old = contacts.Relation(userid="wang", person=person, added_at=now - timedelta(days=30), remark="印记备注")
    handed_over = contacts.Relation(userid="li", person=person, added_at=now, add_way=202)
    async with sessions.begin() as session:
        taken = await contacts.take_batch(session, [old, handed_over], read_at=now, now=now)
        await contacts.added(session, userid="wang", external_userid=CUSTOMER, at=now, now=now)
        await contacts.lost(
            session, userid="wang", external_userid=CUSTOMER, at=now, by=contacts.ContactEnd.CUSTOMER, now=now
        )
    assert taken.open == 0
    await read_all(sessions, clock)
    async with sessions.begin() as session:
        await privacy.sweep(session, EVERYTHING, now=now)
    assert await told_of(sessions) == {}


async def test_a_group_that_lists_them_does_not_bring_them_back(sessions: Sessions, clock: FrozenClock) -> None:
    await erased(sessions, clock)
    now = clock.now()
    seats = tuple(
        groups.Seat(person=wechat_person(name), joined_at=now - timedelta(days=9), join_scene=3)
        for name in (CUSTOMER, OTHER_ID, "wm-new")
    )
    snapshot = groups.Snapshot(
        chat_id="wr-2", name="", owner="wang", created_at=now, notice="", member_version="2", seats=seats, read_at=now
    )
    async with sessions.begin() as session:
        changed = await groups.take_snapshot(session, snapshot, now=now)
    assert changed.joined == ("wm-new",)


async def test_an_old_order_told_again_stays_where_it_is_and_an_unknown_one_is_refused(
    sessions: Sessions, clock: FrozenClock
) -> None:
    member_id = await erased(sessions, clock)
    at = (clock.now() - timedelta(days=1)).isoformat()
    told = [
        {
            "source": "shop",
            "external_no": number,
            "member": {"shop_account": "acc-marked"},
            "placed_at": at,
            "total_fen": 9,
        }
        for number in ("T2", "T-unknown")
    ]
    async with sessions.begin() as session:
        answer = await tell_orders(session, OrdersIn.model_validate({"orders": told}), now=clock.now())
        assert [(one.result, one.error) for one in answer.results] == [("taken", None), ("refused", "member.erased")]
        assert await session.scalar(sa.select(Order.member_id).where(Order.external_no == "T2")) == member_id


# They come back by what they do themselves


def kf_text(msgid: str, sent_at: float, origin: int = 3) -> Pulled:
    body = {
        "msgid": msgid,
        "open_kfid": "wk1",
        "external_userid": CUSTOMER,
        "send_time": int(sent_at),
        "origin": origin,
        "msgtype": "text",
        "text": {"content": "你好"},
    }
    return Pulled(parse_kf_item(body), body)


async def test_who_writes_again_is_a_new_member_who_agreed_to_nothing(sessions: Sessions, clock: FrozenClock) -> None:
    old_id = await erased(sessions, clock)
    now = clock.now()
    before = (now - timedelta(minutes=30)).timestamp()
    async with sessions.begin() as session:
        assert (
            await store_items(session, "wk1", [kf_text("old", before), kf_text("5", now.timestamp(), 5)], now=now) == 0
        )
    async with sessions.begin() as session:
        assert await store_items(session, "wk1", [kf_text("new", now.timestamp())], now=now) == 1
        assert (await session.scalars(sa.select(InboundMessage.msgid))).all() == ["new"]
        back = await identities.find_by(session, IdentityKind.EXTERNAL_USERID, CUSTOMER)
        assert back is not None
        assert back.id != old_id
        said = await consents.current(session, back.id)
        assert said is not None
        assert (said.granted, said.source) == (False, "erasure")
    async with sessions.begin() as session:  # what WeCom lists of somebody who is here again is taken in again
        person = wechat_person(CUSTOMER, unionid="un-marked")
        old = contacts.Relation(userid="wang", person=person, added_at=now - timedelta(days=30))
        assert (await contacts.take_batch(session, [old], read_at=now, now=now)).open == 1
        known = await identities.find_by(session, IdentityKind.UNIONID, "un-marked")
        assert known is not None
        assert known.id == back.id


@pytest.mark.parametrize("source", list(MemberSource))
async def test_only_a_page_they_open_is_an_act_by_its_source(
    sessions: Sessions, clock: FrozenClock, source: MemberSource
) -> None:
    old_id = await erased(sessions, clock)
    async with sessions.begin() as session:
        if source is MemberSource.H5:
            assert (
                await identities.enrol(session, wechat_person(CUSTOMER), source=source, now=clock.now())
            ).id != old_id
            return
        with pytest.raises(PersonErased):
            await identities.enrol(session, wechat_person(CUSTOMER), source=source, now=clock.now())


async def test_an_order_placed_since_makes_a_new_member(sessions: Sessions, clock: FrozenClock) -> None:
    old_id = await erased(sessions, clock)
    member = {"shop_account": "acc-marked"}
    told = {"source": "shop", "external_no": "T7", "member": member, "placed_at": clock.now(), "total_fen": 9}
    async with sessions.begin() as session:
        answer = await tell_orders(session, OrdersIn.model_validate({"orders": [told]}), now=clock.now())
        assert answer.results[0].result == "taken"
        assert await session.scalar(sa.select(Order.member_id).where(Order.external_no == "T7")) != old_id


async def test_an_old_code_leads_nowhere(sessions: Sessions, clock: FrozenClock) -> None:
    member_id = await whole_person(sessions, clock)
    async with sessions.read() as session:
        code = await session.scalar(sa.select(Member.code).where(Member.id == member_id))
    await erase(sessions, member_id, clock)
    async with sessions.read() as session:
        assert await members.find_by_code(session, code or "") is None
        assert await phones.masked_of(session, VAULT, member_id) == []
