"""From the outbox to the phone: once, whoever dies in between; never where a person has the talk."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, time, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.models.conversation import Conversation
from bot.wecom import lanes
from bot.wecom.api.kf import ServiceState
from bot.wecom.sender import Sender
from bot.wecom.sending import Lane, Sent
from campaigns import brakes, guards
from campaigns.guard_rules import Channel, Gate, QuietHours
from campaigns.models.gate import PassState, Touch
from crm import consents, identities
from crm.base import outbox
from crm.base.outbox import Claimed, OutboxRow, Status
from crm.base.peers import Peers
from crm.models.member import MemberSource
from tests.town import KF, WORKING_TIME, Town, town

Msgid = Callable[[Claimed], str]


def of_the_row(one: Claimed) -> str:
    return one.dedupe_key


def any_new_one(_one: Claimed) -> str:
    return secrets.token_hex(16)


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    """A shop in which nobody works yet."""
    async with town(database_url, tmp_path, works=False) as opened:
        yield opened


async def put_a_message(shop: Town, customer: str, *, state: ServiceState = ServiceState.UNTREATED) -> None:
    """An answer to a customer's question, waiting in the outbox."""
    shop.says(customer, "多久发货")
    now = shop.clock.now()
    async with shop.service.app.sessions.begin() as session:
        talk = Conversation(
            open_kfid=KF, external_userid=customer, last_customer_at=now, service_state=state, created_at=now
        )
        session.add(talk)
        await session.flush()
        to = lanes.KfAddress(talk.id, KF, customer, None)
        payload = {"msgtype": "text", "text": {"content": "【发货】"}}
        await outbox.put(session, [lanes.kf_message(to, payload, because=("test",), deadline=None)], now=now)


@asynccontextmanager
async def sender(shop: Town, peers: Peers, msgid: Msgid, *, dies: bool = False) -> AsyncIterator[None]:
    """A sender at work. One that dies is gone after its first send was accepted and before it is settled."""
    app, kf = shop.service.app, shop.service.client.kf

    async def send(one: Claimed) -> Sent:
        answered = await kf.send_msg(one.body["message"], msgid=msgid(one))
        if dies:
            raise asyncio.CancelledError
        return Sent({"msgid": answered})

    working = Sender(app.sessions, peers, app.clock, random.Random(7), {lanes.KF: Lane(4, send)})
    loop = asyncio.create_task(working.run())
    try:
        yield
    finally:
        loop.cancel()
        await asyncio.wait([loop])


@pytest.mark.parametrize(("msgid", "shown"), [(of_the_row, 1), (any_new_one, 2)], ids=["same-msgid", "new-msgid"])
async def test_a_send_repeated_after_a_death_shows_twice_only_without_its_msgid(
    shop: Town, msgid: Msgid, shown: int
) -> None:
    customer = shop.customer()
    await put_a_message(shop, customer)
    gone = Peers(shop.service.app.sessions, chance=random.Random(1))  # never joined: nobody will see it alive
    async with sender(shop, gone, msgid, dies=True):
        await shop.until(lambda: shop.heard(customer))
    async with sender(shop, shop.service.app.peers, msgid):
        await shop.until(lambda: shop.calls("/cgi-bin/kf/send_msg") == 2)
        await shop.quiet()
    assert shop.heard(customer) == ["【发货】"] * shown


# Marketing asks the gate once more


GATE = Gate(quiet=QuietHours(time(22), time(8)))


async def plan_an_offer(shop: Town, customer: str, ref: str, *, deadline: datetime | None = None) -> int:
    """An offer that the gate lets through now, waiting in the outbox ahead of an answer in the same chat."""
    await put_a_message(shop, customer, state=ServiceState.BOT)
    app, now = shop.service.app, shop.clock.now()
    async with app.sessions.begin() as session:
        person = identities.wechat_person(customer)
        member = await identities.enrol(session, person, source=MemberSource.KF, now=now)
        talk = (await session.scalars(sa.select(Conversation))).one()
        decided = await guards.admit(session, GATE, {member.id: ref}, channel=Channel.KF, now=now)
        assert decided[member.id].is_allowed
        to = lanes.KfAddress(talk.id, KF, customer, member.id)
        payload = {"msgtype": "text", "text": {"content": "满 100 减 20"}}
        message = lanes.marketing(lanes.kf_message(to, payload, because=(ref,), deadline=deadline), gate_ref=ref)
        await outbox.put(session, [message], now=now)
        await session.execute(sa.update(OutboxRow).where(OutboxRow.gate_ref.is_not(None)).values(id=-1))
        return member.id


@asynccontextmanager
async def gated_sender(shop: Town) -> AsyncIterator[None]:
    app, kf = shop.service.app, shop.service.client.kf

    async def send(one: Claimed) -> Sent:
        return Sent({"msgid": await kf.send_msg(one.body["message"], msgid=one.dedupe_key)})

    working = Sender(app.sessions, app.peers, app.clock, random.Random(7), {lanes.KF: Lane(4, send)}, gate=lambda: GATE)
    loop = asyncio.create_task(working.run())
    try:
        yield
    finally:
        loop.cancel()
        await asyncio.wait([loop])


async def offer_row(shop: Town) -> OutboxRow:
    async with shop.service.app.sessions.read() as session:
        return (await session.scalars(sa.select(OutboxRow).where(OutboxRow.gate_ref.is_not(None)))).one()


async def test_an_offer_that_the_gate_lets_through_is_a_touch_once_it_left(shop: Town) -> None:
    customer = shop.customer()
    await plan_an_offer(shop, customer, "d1")
    async with gated_sender(shop):
        await shop.until(lambda: len(shop.heard(customer)) == 2)
        await shop.quiet()
    async with shop.service.app.sessions.read() as session:
        touch = (await session.scalars(sa.select(Touch))).one()
    assert touch.state is PassState.SENT and WORKING_TIME < touch.at <= shop.clock.now()


async def test_an_offer_waits_out_the_night_and_holds_up_no_answer(shop: Town) -> None:
    customer = shop.customer()
    await plan_an_offer(shop, customer, "d1")
    shop.clock.advance(hours=12.5)  # 22:30
    async with gated_sender(shop):
        await shop.until(lambda: shop.heard(customer) == ["【发货】"])
        await shop.quiet()
    row = await offer_row(shop)
    assert (row.status, row.error, row.not_before) == (
        Status.WAITING, "gate.quiet_hours", WORKING_TIME + timedelta(hours=22),
    )  # fmt: skip
    shop.clock.advance(hours=10)
    async with gated_sender(shop):
        await shop.until(lambda: len(shop.heard(customer)) == 2)


@pytest.mark.parametrize("why", ["opted_out", "complaint", "deadline"])
async def test_an_offer_is_taken_back_with_its_reason(shop: Town, why: str) -> None:
    customer, now = shop.customer(), shop.clock.now()
    deadline = now + timedelta(hours=20) if why == "deadline" else None
    member_id = await plan_an_offer(shop, customer, "d1", deadline=deadline)
    async with shop.service.app.sessions.begin() as session:
        if why == "opted_out":
            await consents.opt_out(session, member_id, source="test", wording_version="1", now=now)
        elif why == "complaint":
            await brakes.hold_member(session, member_id, ref="ticket:1", reason=brakes.COMPLAINT, now=now)
    if why == "deadline":
        shop.clock.advance(hours=12.5)  # 22:30: it could go at 08:00, and that is too late
    async with gated_sender(shop):
        await shop.until(lambda: shop.heard(customer) == ["【发货】"])
        await shop.quiet()
    row = await offer_row(shop)
    assert row.status is Status.CANCELLED
    assert row.error == ("gate.quiet_hours" if why == "deadline" else f"gate.{why}")


async def test_while_the_brake_is_pulled_offers_stay_and_answers_go(shop: Town) -> None:
    customer, app = shop.customer(), shop.service.app
    await plan_an_offer(shop, customer, "d1")
    async with app.sessions.begin() as session:
        await brakes.stop(session, by="adou", reason="写错了价", now=shop.clock.now())
    async with gated_sender(shop):
        await shop.until(lambda: shop.heard(customer) == ["【发货】"])
        await shop.quiet()
        assert (await offer_row(shop)).attempts == 0
        async with app.sessions.begin() as session:
            await brakes.resume(session, by="adou", now=shop.clock.now())
        await shop.until(lambda: len(shop.heard(customer)) == 2)
