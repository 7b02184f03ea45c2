"""The watch and the queue on a real database: every step once, whoever looks; guards that hold in a race."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from bot.app import App
from bot.handoff import queue, routing
from bot.handoff.policy import Policy
from bot.handoff.queue import TicketTaken
from bot.handoff.triggers import Reason
from bot.handoff.watch import Watch
from bot.models.conversation import Conversation
from bot.models.gateway import KfAccount
from bot.models.handoff import StepKind, Ticket, TicketStatus, TicketStep
from bot.wecom import lanes
from crm.base import outbox
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.outbox import OutboxRow
from crm.base.peers import Peers
from crm.models.member import Identity
from tests.factories import Make

KF = "wkTEST"
OPENED = datetime(2026, 3, 10, 2, 0, tzinfo=UTC)  # Tuesday 10:00 in Shanghai
POLICY = Policy(supervisors=("boss",))


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(OPENED)


@pytest.fixture
async def app(sessions: Sessions, clock: FrozenClock, chance: random.Random) -> AsyncIterator[App]:
    peers = Peers(sessions, chance=chance)
    await peers.join()
    yield App(clock=clock, chance=chance, sessions=sessions, peers=peers, handoff=POLICY)
    await peers.leave()


async def opened(app: App, make: Make, *, reason: Reason = Reason.ASKED_FOR) -> int:
    """A ticket of a new customer; returns its id."""
    member = await make.member()
    async with app.sessions.begin() as session:
        if await session.get(KfAccount, KF) is None:
            session.add(KfAccount(open_kfid=KF, app="main", name=""))
        conversation = Conversation(
            open_kfid=KF,
            external_userid=f"wm{member.id}",
            member_id=member.id,
            created_at=app.clock.now(),
            last_customer_at=app.clock.now(),
        )
        session.add(conversation)
        await session.flush()
        called = await queue.call(session, conversation, app.handoff, reason=reason, quote="你好", now=app.clock.now())
        return called.ticket.id


async def read(app: App, ticket_id: int) -> Ticket:
    async with app.sessions.read() as session:
        return await session.get_one(Ticket, ticket_id)


async def kinds(app: App) -> Counter[StepKind]:
    async with app.sessions.read() as session:
        return Counter(await session.scalars(sa.select(TicketStep.kind)))


async def staff_messages(app: App) -> list[tuple[list[str], str]]:
    async with app.sessions.read() as session:
        rows = await session.scalars(sa.select(OutboxRow).where(OutboxRow.lane == lanes.STAFF).order_by(OutboxRow.id))
        return [(row.body["userids"], row.body["message"]["text"]["content"]) for row in rows]


@pytest.mark.parametrize(
    ("reason", "first", "resolution"),
    [
        (Reason.ASKED_FOR, timedelta(minutes=15), OPENED + timedelta(days=1, hours=0)),
        (Reason.COMPLAINT, timedelta(hours=2), OPENED + timedelta(hours=48)),
        (Reason.BAD_RATING, timedelta(hours=2), OPENED + timedelta(hours=48)),
    ],
)
async def test_what_is_promised_depends_on_the_reason(
    app: App, make: Make, reason: Reason, first: timedelta, resolution: datetime
) -> None:
    ticket = await read(app, await opened(app, make, reason=reason))
    assert ticket.first_response_due_at == OPENED + first
    assert ticket.first_response_warn_at == OPENED + first * 0.8
    assert ticket.resolution_due_at == resolution


async def test_it_warns_at_four_fifths_and_escalates_once_at_the_breach(
    app: App, make: Make, clock: FrozenClock
) -> None:
    await opened(app, make)
    watch = Watch(app)
    clock.advance(minutes=11, seconds=59)
    await watch.tick()
    assert await staff_messages(app) == []
    clock.advance(seconds=1)
    await watch.tick()
    clock.advance(minutes=3)
    for _ in range(3):
        await watch.tick()
    (warned, breached) = await staff_messages(app)
    assert warned[0] == [] and "提醒" in warned[1]
    assert breached[0] == ["boss"] and "超时" in breached[1]
    assert await watch.tick() == 0, "nothing is due any more"


async def test_two_watches_do_nothing_twice(app: App, make: Make, clock: FrozenClock) -> None:
    for _ in range(5):
        await opened(app, make)
    clock.advance(minutes=20)
    await asyncio.gather(*(Watch(app).tick() for _ in range(4)))
    found = await kinds(app)
    assert (found[StepKind.BREACHED], found[StepKind.WARNED]) == (5, 0)
    assert len(await staff_messages(app)) == 5


async def test_an_answered_ticket_alarms_nobody_and_its_clock_rests(app: App, make: Make, clock: FrozenClock) -> None:
    ticket_id = await opened(app, make)
    conversation_id = (await read(app, ticket_id)).conversation_id
    clock.advance(minutes=5)
    async with app.sessions.begin() as session:
        await queue.person_spoke(session, conversation_id, POLICY, by="a", at=clock.now(), now=clock.now())
    clock.advance(days=30)
    await Watch(app).tick()
    assert await staff_messages(app) == []
    async with app.sessions.begin() as session:
        await queue.customer_spoke(session, conversation_id, POLICY, now=clock.now())
    running = await read(app, ticket_id)
    assert running.resolution_due_at == POLICY.hours.add(clock.now(), timedelta(hours=11, minutes=55))


async def test_twenty_agents_press_at_once_and_one_has_the_ticket(app: App, make: Make) -> None:
    ticket_id = await opened(app, make)

    async def press(agent: str) -> None:
        async with app.sessions.begin() as session:
            await queue.take(session, ticket_id, by=agent, now=app.clock.now())

    ended = await asyncio.gather(*(press(f"agent{number}") for number in range(20)), return_exceptions=True)
    assert sum(one is None for one in ended) == 1
    assert sum(isinstance(one, TicketTaken) for one in ended) == 19


async def test_the_race_is_real_without_the_guard(app: App, make: Make) -> None:
    """Read, wait for each other, write: all of them believe they have it."""
    ticket_id = await opened(app, make)
    gate = asyncio.Barrier(5)

    async def press(agent: str) -> bool:
        async with app.sessions.read() as session:
            free = (await session.get_one(Ticket, ticket_id)).accepted_at is None
        await gate.wait()
        async with app.sessions.begin() as session:
            values = {"accepted_at": app.clock.now(), "servicer_userid": agent}
            await session.execute(sa.update(Ticket).where(Ticket.id == ticket_id).values(**values))
        return free

    assert await asyncio.gather(*(press(f"agent{number}") for number in range(5))) == [True] * 5


async def test_tickets_reserved_at_once_never_overfill_a_servicer(app: App, make: Make) -> None:
    ids = [await opened(app, make) for _ in range(9)]
    small = Policy(capacity=2)

    async def reserve(ticket_id: int) -> str | None:
        async with app.sessions.begin() as session:
            return await routing.reserve(session, ticket_id, KF, ["a", "b", "c"], small, now=app.clock.now())

    got = Counter(await asyncio.gather(*(reserve(one) for one in ids)))
    assert got == {"a": 2, "b": 2, "c": 2, None: 3}


async def test_a_customers_own_staff_and_then_who_knows_the_topic_get_the_ticket(app: App, make: Make) -> None:
    followed, topical = await opened(app, make), await opened(app, make)
    own = await make.staff("zoe")
    external_userid = await _customer_of(app, followed)
    await make.contact(own, external_userid=external_userid)
    skilled = Policy(skills={"售后": ("yan",)})
    async with app.sessions.begin() as session:
        ticket = await session.get_one(Ticket, topical)
        ticket.skill = "售后"
    async with app.sessions.begin() as session:
        candidates = ["abe", "yan", "zoe"]
        got = [
            await routing.reserve(session, one, KF, candidates, skilled, now=app.clock.now())
            for one in (followed, topical)
        ]
    assert got == ["zoe", "yan"]


async def _customer_of(app: App, ticket_id: int) -> str:
    """The external_userid under which this ticket's member is known."""
    member_id = (await read(app, ticket_id)).member_id
    async with app.sessions.read() as session:
        found: str = (await session.scalars(sa.select(Identity.value).where(Identity.member_id == member_id))).one()
        return found


async def test_of_two_calls_one_opens_a_ticket(app: App, make: Make) -> None:
    ticket_id = await opened(app, make)
    conversation_id = (await read(app, ticket_id)).conversation_id
    async with app.sessions.begin() as session:
        conversation = await session.get_one(Conversation, conversation_id)
        again = await queue.call(session, conversation, POLICY, reason=Reason.ANGRY, quote="!", now=app.clock.now())
    assert (again.is_new, again.ticket.id, again.messages) == (False, ticket_id, ())


async def test_answers_that_wait_are_taken_back_when_a_person_is_called(app: App, make: Make) -> None:
    ticket_id = await opened(app, make)
    async with app.sessions.begin() as session:
        conversation = await session.get_one(Conversation, (await read(app, ticket_id)).conversation_id)
        closed = await queue.close(session, conversation, now=app.clock.now())
        assert closed is not None and closed.status is TicketStatus.CLOSED
        to = queue.address(conversation)
        answer = {"msgtype": "text", "text": {"content": "旧答案"}}
        await outbox.put(session, [lanes.kf_message(to, answer, because=("x",), deadline=None)], now=app.clock.now())
        await queue.call(session, conversation, POLICY, reason=Reason.ASKED_FOR, quote="", now=app.clock.now())
    async with app.sessions.read() as session:
        row = (await session.scalars(sa.select(OutboxRow).where(OutboxRow.lane == lanes.KF))).one()
    assert row.status == "cancelled"


async def test_a_try_of_which_nothing_is_heard_is_made_again(app: App, make: Make, clock: FrozenClock) -> None:
    """The sender gave up while WeCom was down: the customer is not left with a silent bot."""
    ticket_id = await opened(app, make)
    clock.advance(minutes=4)
    await Watch(app).tick()
    clock.advance(minutes=1)
    await asyncio.gather(*(Watch(app).tick() for _ in range(3)))
    async with app.sessions.read() as session:
        rows = await session.scalars(sa.select(OutboxRow).where(OutboxRow.lane == lanes.KF_HANDOFF))
        assert [(row.body["ticket_id"], row.body["round"]) for row in rows] == [(ticket_id, 2)]
