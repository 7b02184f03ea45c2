"""Webhooks: what happened is told, signed, tried again for about a day, kept in a log, sent again if asked."""

import json
import random
import re
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot.models.webhook import DeliveryState, Webhook, WebhookAttempt, WebhookDelivery
from bot.privacy import EVERYTHING
from bot.webhooks import endpoints, signing, trying
from bot.webhooks.addresses import AddressRefused
from bot.webhooks.courier import Courier, courier
from bot.webhooks.endpoints import Added, WebhookNameTaken, WebhookNotFound, WebhookWrong
from bot.webhooks.relay import relay
from bot.webhooks.sender import AT_ONCE, PATIENCE, WAITS, WebhookSender, next_at
from crm import privacy
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.outbox import OutboxRow
from crm.base.peers import Peers
from crm.privacy import Reason
from tests.bot.webhooks.ear import Ear, listening_ear
from tests.bot.whole_person import VAULT
from tests.conftest import ROOT
from tests.factories import Make


@pytest.fixture
async def ear() -> AsyncIterator[Ear]:
    async with listening_ear() as listening:
        yield listening


@pytest.fixture
async def carrier(clock: FrozenClock) -> AsyncIterator[Courier]:
    async with courier(clock, private=True, seconds=2.0) as one:
        yield one


@pytest.fixture
def sender(sessions: Sessions, clock: FrozenClock, carrier: Courier) -> WebhookSender:
    peers, chance = Peers(sessions, chance=random.Random(7)), random.Random(7)
    return WebhookSender(sessions, peers, clock, chance, carrier, VAULT, supervisors=("boss",))


async def added(sessions: Sessions, clock: FrozenClock, url: str, *names: str, name: str = "erp") -> Added:
    async with sessions.begin() as session:
        return await endpoints.add(
            session, VAULT, name, url, names, private=True, by="boss", now=clock.now(), chance=random.Random(name)
        )


async def rounds(sender: WebhookSender) -> None:
    """Until there is nothing to do at this instant."""
    while await sender.round():
        await sender.drain()


async def deliveries(sessions: Sessions) -> list[WebhookDelivery]:
    async with sessions.read() as session:
        return list(await session.scalars(sa.select(WebhookDelivery).order_by(WebhookDelivery.id)))


async def hook(sessions: Sessions) -> Webhook:
    async with sessions.read() as session:
        return (await session.scalars(sa.select(Webhook))).one()


async def test_what_happens_is_told_signed_and_once(
    sessions: Sessions, clock: FrozenClock, make: Make, ear: Ear, sender: WebhookSender
) -> None:
    await make.member(name="从前的人")
    made = await added(sessions, clock, ear.url)
    member = await make.member()
    await make.order(member)
    await rounds(sender)
    await rounds(sender)
    names = [one["name"] for one in sorted(ear.heard, key=lambda one: int(one["id"]))]
    assert names[0] == "MemberEnrolled" and "OrderPaid" in names and len(ear.ids) == len(set(ear.ids))
    paid = next(one for one in ear.heard if one["name"] == "OrderPaid")
    assert paid["member"] == member.code and paid["data"]["paid_fen"] == 8800
    assert "从前的人" not in str(ear.heard) and "wm-test" not in str(ear.heard)
    at = int(clock.now().timestamp())
    for raw, headers in zip(ear.bodies, ear.headers, strict=True):
        assert signing.is_ours(made.secret, raw, headers["Siyu-Signature"], now=at + 10)
        assert not signing.is_ours(made.secret, raw + b" ", headers["Siyu-Signature"], now=at)
        assert not signing.is_ours("whsec_other", raw, headers["Siyu-Signature"], now=at)
        assert not signing.is_ours(made.secret, raw, headers["Siyu-Signature"], now=at + 3600)
    assert {one.state for one in await deliveries(sessions)} == {DeliveryState.DELIVERED}


async def test_a_webhook_hears_only_what_it_asked_for(
    sessions: Sessions, clock: FrozenClock, make: Make, ear: Ear, sender: WebhookSender
) -> None:
    await added(sessions, clock, ear.url, "OrderPaid")
    await make.order(await make.member())
    await rounds(sender)
    assert [one["name"] for one in ear.heard] == ["OrderPaid"]


async def test_what_fails_is_tried_again_with_the_same_body_for_about_a_day(
    sessions: Sessions, clock: FrozenClock, make: Make, ear: Ear, sender: WebhookSender
) -> None:
    await added(sessions, clock, ear.url, "MemberEnrolled")
    ear.always, began = 500, clock.now()
    await make.member()
    await rounds(sender)
    for _ in WAITS:
        (one,) = await deliveries(sessions)
        assert one.state is DeliveryState.WAITING and one.due_at > clock.now()
        clock.advance(one.due_at - clock.now())
        async with sessions.begin() as session:  # a day without an answer switches it off, which another test sees
            await session.execute(sa.update(Webhook).values(failing_since=clock.now(), disabled_at=None))
        await rounds(sender)
    (one,) = await deliveries(sessions)
    assert (one.state, one.attempts) == (DeliveryState.GIVEN_UP, len(WAITS) + 1)
    assert timedelta(hours=20) < clock.now() - began < timedelta(hours=30)
    assert len(set(ear.bodies)) == 1 and len(ear.bodies) == len(WAITS) + 1
    assert len({headers["Siyu-Signature"] for headers in ear.headers}) == len(ear.headers)


async def test_a_failure_is_logged_and_an_answer_makes_it_well(
    sessions: Sessions, clock: FrozenClock, make: Make, ear: Ear, sender: WebhookSender
) -> None:
    await added(sessions, clock, ear.url, "MemberEnrolled")
    ear.answers, ear.words = [500, 302], "哎呀\0" * 400
    await make.member()
    await rounds(sender)
    assert (await hook(sessions)).failing_since == clock.now()
    for _ in range(2):
        clock.advance(minutes=5)
        await rounds(sender)
    async with sessions.read() as session:
        (logged,) = await endpoints.log(session, 1)
    assert [one.status for one in logged.attempts] == [500, 302, 200]  # a redirect is no answer, and is not followed
    assert logged.attempts[0].answer.startswith("哎呀") and len(logged.attempts[0].answer) <= 300
    assert (await hook(sessions)).failing_since is None


async def test_one_that_fails_does_not_hold_up_those_behind_it(
    sessions: Sessions, clock: FrozenClock, make: Make, ear: Ear, sender: WebhookSender
) -> None:
    await added(sessions, clock, ear.url, "MemberEnrolled")
    ear.answers = [500]
    for _ in range(3):
        await make.member()
    await rounds(sender)
    states = sorted(one.state for one in await deliveries(sessions))
    assert states == [DeliveryState.DELIVERED, DeliveryState.DELIVERED, DeliveryState.WAITING]


async def test_an_address_that_fails_for_a_day_is_switched_off_aloud_and_loses_nothing(
    sessions: Sessions, clock: FrozenClock, make: Make, ear: Ear, sender: WebhookSender
) -> None:
    await added(sessions, clock, ear.url, "MemberEnrolled")
    ear.always = 503
    await make.member()
    await rounds(sender)
    clock.advance(PATIENCE)
    await make.member()
    await rounds(sender)
    off = await hook(sessions)
    assert off.disabled_at == clock.now() and "503" in off.disabled_because
    async with sessions.read() as session:
        told = (await session.scalars(sa.select(OutboxRow))).one()
        assert told.body["userids"] == ["boss"] and "erp" in str(told.body)
        assert len(await endpoints.problems(session)) == 1
    heard = len(ear.heard)
    await make.member()
    clock.advance(hours=5)
    await rounds(sender)
    assert len(ear.heard) == heard
    ear.always = 200
    async with sessions.begin() as session:
        assert await endpoints.enable(session, "erp", now=clock.now()) == 3
    await rounds(sender)
    assert [one.state for one in await deliveries(sessions)] == [DeliveryState.DELIVERED] * 3


async def test_one_or_a_range_is_sent_again_as_it_was(
    sessions: Sessions, clock: FrozenClock, make: Make, ear: Ear, sender: WebhookSender
) -> None:
    await added(sessions, clock, ear.url, "MemberEnrolled")
    members = [await make.member() for _ in range(3)]
    await rounds(sender)
    first = list(ear.bodies)
    async with sessions.begin() as session:
        member = members[0]
        member.name = "后来的名字"
        assert await endpoints.replay(session, 1, now=clock.now()) == 0
        assert await endpoints.replay(session, 1, only=DeliveryState.GIVEN_UP, now=clock.now()) == 0
        assert await endpoints.replay(session, 1, ids=[1], now=clock.now()) == 1
    await rounds(sender)
    assert ear.bodies[3:] == [first[0]] or ear.bodies[3] in first
    async with sessions.begin() as session:
        since, until = clock.now() - timedelta(seconds=1), clock.now() + timedelta(seconds=1)
        assert await endpoints.replay(session, 1, since=since, until=until, now=clock.now()) == 3
    await rounds(sender)
    assert sorted(ear.bodies[4:]) == sorted(first)


async def test_killed_after_the_claim_it_is_sent_when_the_lease_ends(
    sessions: Sessions, clock: FrozenClock, make: Make, ear: Ear, sender: WebhookSender
) -> None:
    await added(sessions, clock, ear.url, "MemberEnrolled")
    await make.member()
    async with sessions.begin() as session:
        await relay(session, now=clock.now())
    assert len(await sender._take()) == 1  # a process that dies right here never calls
    await rounds(sender)
    assert ear.heard == []
    clock.advance(minutes=3)
    await rounds(sender)
    assert len(ear.heard) == 1


async def test_an_answer_that_comes_after_the_lease_settles_nothing_newer(
    sessions: Sessions, clock: FrozenClock, make: Make, ear: Ear, sender: WebhookSender
) -> None:
    await added(sessions, clock, ear.url, "MemberEnrolled")
    await make.member()
    async with sessions.begin() as session:
        await relay(session, now=clock.now())
    ((letter, webhook_id, attempt),) = await sender._take()
    clock.advance(minutes=3)
    ((_, _, second),) = await sender._take()
    assert second == attempt + 1
    ear.always = 500
    await sender._carry(letter, webhook_id, attempt)
    (one,) = await deliveries(sessions)
    assert (one.state, one.attempts) == (DeliveryState.WAITING, second) and one.due_at > clock.now()


async def test_erasing_a_member_takes_what_was_told_of_them(
    sessions: Sessions, clock: FrozenClock, make: Make, ear: Ear, sender: WebhookSender
) -> None:
    await added(sessions, clock, ear.url, "MemberEnrolled")
    gone, _ = await make.member(), await make.member()
    await rounds(sender)
    async with sessions.begin() as session:
        await privacy.erase(session, gone.id, EVERYTHING, by="boss", reason=Reason.ASKED, now=clock.now())
    assert [gone.code in one.body for one in await deliveries(sessions)] == [False]
    async with sessions.read() as session:
        assert await session.scalar(sa.select(sa.func.count()).select_from(WebhookAttempt)) == 1


async def test_a_test_event_says_what_came_back(
    sessions: Sessions, clock: FrozenClock, ear: Ear, carrier: Courier
) -> None:
    await added(sessions, clock, ear.url)
    ear.always, ear.words = 418, "teapot"
    answer = await trying.ping(sessions, carrier, VAULT, "erp", now=clock.now())
    assert (answer.status, answer.answer, answer.is_taken) == (418, "teapot", False)
    assert ear.heard[0]["name"] == "Ping" and json.loads(ear.bodies[0])["data"] == {"webhook": "erp"}
    (one,) = await deliveries(sessions)
    assert one.state is DeliveryState.GIVEN_UP
    with pytest.raises(WebhookNotFound):
        await trying.ping(sessions, carrier, VAULT, "nobody", now=clock.now())


async def test_mistakes_are_told_and_names_given_once(sessions: Sessions, clock: FrozenClock) -> None:
    await added(sessions, clock, "http://127.0.0.1/hook")
    with pytest.raises(WebhookNameTaken):
        await added(sessions, clock, "http://127.0.0.1/hook")
    with pytest.raises(WebhookWrong):
        await added(sessions, clock, "http://127.0.0.1/hook", "NoSuchEvent", name="b")
    with pytest.raises(AddressRefused):
        await added(sessions, clock, "ftp://127.0.0.1/hook", name="b")
    async with sessions.begin() as session:
        await endpoints.remove(session, "erp", now=clock.now())
        with pytest.raises(WebhookNotFound):
            await endpoints.get(session, "erp")


def test_waiting_grows_with_some_jitter_and_ends() -> None:
    clock, chance = FrozenClock(), random.Random(7)
    for attempts, wait in enumerate(WAITS, start=1):
        at = next_at(attempts, now=clock.now(), chance=chance)
        assert at is not None and 0.9 * wait <= at - clock.now() <= 1.1 * wait
    assert next_at(len(WAITS) + 1, now=clock.now(), chance=chance) is None
    assert timedelta(hours=23) < sum(WAITS, timedelta()) < timedelta(hours=26)
    assert AT_ONCE > 1


def test_the_receiver_in_the_docs_knows_what_is_ours() -> None:
    """The example that people copy is run as it stands."""
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.S)
    there: dict[str, Any] = {}
    exec(example, there)
    header = signing.sign("whsec_x", b'{"id":1}', at=int(time.time()))
    assert there["is_ours"]("whsec_x", b'{"id":1}', header)
    assert not there["is_ours"]("whsec_x", b'{"id":2}', header)
    assert not there["is_ours"]("whsec_x", b'{"id":1}', signing.sign("whsec_x", b'{"id":1}', at=1))
