"""The member card: all of it, masked by role, in as many queries for somebody of ten years as for a newcomer."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from crm import card, contacts, groups, identities, member_tags, orders, phones, rfm, sight, timeline
from crm.base import events
from crm.base.clock import FrozenClock, local_day
from crm.base.db import Sessions
from crm.consents import opt_in, opt_out
from crm.groups import Seat
from crm.identities import wechat_person
from crm.lifecycle import judge_members
from crm.member_dates import remember
from crm.members import MemberNotFound
from crm.models.audience import TagSource
from crm.models.consent import Consent
from crm.models.lifecycle import DateKind, Stage
from crm.models.private import Reveal
from crm.order_terms import Line, Told
from crm.sight import SIGHT, MayNotReveal, Role, WhyMissing
from tests.bot.whole_person import VAULT, whole_person
from tests.factories import Make

QUERIES = 28


@contextmanager
def counted(sessions: Sessions) -> Iterator[list[str]]:
    """The statements that readers send meanwhile."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        sent.append(statement)

    sa.event.listen(sessions.reader.sync_engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        sa.event.remove(sessions.reader.sync_engine, "before_cursor_execute", note)


async def read(sessions: Sessions, member_id: int, clock: FrozenClock, role: Role = Role.MANAGER) -> card.Card:
    async with sessions.read() as session:
        return await card.read(session, member_id, role=role, vault=VAULT, now=clock.now())


async def test_a_card_tells_everything(sessions: Sessions, clock: FrozenClock) -> None:
    member_id = await whole_person(sessions, clock)
    async with sessions.begin() as session:
        await rfm.refresh(session, as_of=local_day(clock.advance(days=1)), now=clock.now())
    found = await read(sessions, member_id, clock)
    assert (found.name, found.phones) == ("印记姓名", ("138****8000",))
    assert {one.kind.value for one in found.identities} == {"external_userid", "unionid", "openid", "shop_account"}
    assert [one.staff for one in found.contacts] == ["wang"]
    assert [one.group for one in found.groups] == ["群"]
    assert [one.name for one in found.tags] == ["猫"]
    assert found.stage is not None
    assert (found.stage.stage, found.stage.why) == (Stage.NEW, "首单至今 0 天")
    assert found.rfm is not None
    assert found.rfm.why[1].startswith("F=")
    assert found.level is not None
    assert (found.lifetime.orders, found.lifetime.spent_fen) == (1, 8000)
    assert [(one.external_no, one.articles) for one in found.orders] == [("T2", ()), ("T1", ("猫粮 ×1",))]
    assert [(one.granted, one.source) for one in found.consents] == [(False, "kf_chat")]
    assert [(one.kind, one.whose) for one in found.days] == [(DateKind.CHILD_BIRTHDAY, "印记孩子")]
    assert {"付款 ¥88.00", "退款 ¥8.00", "打上标签「猫」", "进群「群」"} <= {one.words for one in found.timeline}


async def test_every_event_of_crm_about_a_member_has_words(sessions: Sessions, clock: FrozenClock) -> None:
    member_id = await whole_person(sessions, clock)
    async with sessions.read() as session:
        names = set(
            await session.scalars(sa.select(events.EventRow.name).where(events.EventRow.member_id == member_id))
        )
    assert len(names) > 8
    assert names - timeline.WORDS.keys() == set()


async def test_as_many_queries_for_ten_years_as_for_a_day(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    newcomer, old = await make.member(), await make.member()
    await ten_years(sessions, old.id, clock)
    with counted(sessions) as few:
        await read(sessions, newcomer.id, clock)
    with counted(sessions) as many:
        found = await read(sessions, old.id, clock)
    assert len(few) <= len(many) <= QUERIES, "\n".join(many)
    assert len(many) - len(few) <= 6  # names of what occurs, and what a newcomer has none of
    assert (len(found.orders), len(found.contacts), len(found.groups)) == (card.NEWEST, card.NEWEST, card.NEWEST)
    assert len(found.timeline) == card.MOMENTS
    assert len(found.consents) == 1


async def ten_years(sessions: Sessions, member_id: int, clock: FrozenClock) -> None:
    now = clock.now()
    async with sessions.begin() as session:
        [name] = await identities.values_of(session, member_id, identities.IdentityKind.EXTERNAL_USERID)
        for number in range(40):
            at = now - timedelta(days=90 * number)
            lines = [Line(sku=f"S{line}", name="猫粮", category="", quantity=1, price_fen=10) for line in range(30)]
            told = Told(
                source="t",
                external_no=f"N{number}",
                member_id=member_id,
                placed_at=at,
                total_fen=300,
                lines=lines,
                paid_at=at,
            )
            await orders.place(session, told, now=now)
        shown = [
            contacts.Relation(userid=f"s{number}", person=wechat_person(name), added_at=now) for number in range(15)
        ]
        await contacts.take_batch(session, shown, read_at=now, now=now)
        for number in range(15):
            seats = (Seat(person=wechat_person(name), joined_at=now),)
            snapshot = groups.Snapshot(
                chat_id=f"wr{number}", name="群", owner="", created_at=now, notice="", member_version="1", seats=seats,
                read_at=now,
            )  # fmt: skip
            await groups.take_snapshot(session, snapshot, now=now)
        group = await member_tags.add_group(session, "兴趣")
        for number in range(20):
            tag = await member_tags.add(session, group.id, f"标签{number}", now=now)
            await member_tags.tag(session, [member_id], tag.id, source=TagSource.MANUAL, now=now)
        for number in range(20):
            say = opt_out if number % 2 else opt_in
            await say(session, member_id, source="chat", wording_version="1", now=now + timedelta(seconds=number))
        await remember(session, member_id, DateKind.BIRTHDAY, month=5, day=1, now=now)
        await judge_members(session, [member_id], now=now)
        assert await session.scalar(sa.select(sa.func.count()).select_from(Consent)) == 20


@pytest.mark.parametrize("role", list(Role))
async def test_a_role_sees_no_more_than_it_may(sessions: Sessions, clock: FrozenClock, role: Role) -> None:
    found = await read(sessions, await whole_person(sessions, clock), clock, role)
    shown, may = str(found), SIGHT[role]
    assert ("wm-marked-customer" in shown) is may.ids
    assert ("印记姓名" in shown) is may.names
    assert ("印记孩子" in shown) is may.names
    assert ("138****8000" in shown) is may.phones
    assert ("印记备注" in shown) is may.words
    assert "13800138000" not in shown
    assert found.may_reveal is (role is not Role.AUDITOR)


async def test_a_reveal_is_logged_and_needs_a_role_and_a_reason(sessions: Sessions, clock: FrozenClock) -> None:
    member_id = await whole_person(sessions, clock)
    about: dict[str, Any] = {"userid": "wang", "now": clock.now()}
    async with sessions.begin() as session:
        with pytest.raises(MayNotReveal):
            await sight.reveal(session, VAULT, member_id, role=Role.AUDITOR, because="看看", **about)
        with pytest.raises(WhyMissing):
            await sight.reveal(session, VAULT, member_id, role=Role.AGENT, because="  ", **about)
        plain = await sight.reveal(session, VAULT, member_id, role=Role.AGENT, because="约送货", **about)
        assert plain == ["+8613800138000"]
        looks = set(await session.scalars(sa.select(Reveal.because)))
    assert looks == {"印记为什么", "约送货"}


async def test_a_card_of_nobody_is_refused(sessions: Sessions, clock: FrozenClock) -> None:
    with pytest.raises(MemberNotFound):
        await read(sessions, 404, clock)


async def test_without_the_key_a_card_only_says_that_there_is_a_phone(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member = await make.member()
    async with sessions.begin() as session:
        await phones.keep(session, VAULT, {"+8613800138000": member.id}, now=clock.now())
    async with sessions.read() as session:
        found = await card.read(session, member.id, role=Role.OWNER, now=clock.now())
    assert found.phones == ("***",)
