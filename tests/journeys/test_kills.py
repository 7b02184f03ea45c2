"""Killed at any instant and started again: every question is answered once, in order, and nothing is left over."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.models.conversation import Conversation
from bot.models.gateway import Handling, InboundMessage, KfAccount
from bot.models.wecom import WecomToken
from bot.simulator.faults import Fault
from bot.simulator.simulator import Simulator
from crm.base.db import Sessions
from crm.base.outbox import OutboxRow, Status
from tests.journeys.processes import Crew, Tripwire, crew
from tests.town import KF, QUESTIONS, listening, marks, new_simulator, words

pytestmark = pytest.mark.xdist_group("kills")  # processes to kill want the machine to themselves

SEND = "/cgi-bin/kf/send_msg"
SYNC = "/cgi-bin/kf/sync_msg"
STATE = "/cgi-bin/kf/service_state/get"
AT_ONCE = 3  # questions of each customer that wait before the service opens; the others come while it is killed


@dataclass
class Crowd:
    """Customers who ask the same five questions, one after the other."""

    simulator: Simulator
    wire: Tripwire
    customers: list[str]
    asked: int = 0

    def ask(self, count: int = 1) -> None:
        """Everybody asks the next question; conversations are interleaved as they would be."""
        for question in list(QUESTIONS)[self.asked : self.asked + count]:
            for customer in self.customers:
                self.simulator.world.customer_says(customer, KF, question)
        self.asked += count

    def answers(self, customer: str) -> list[str]:
        """The answers on this customer's phone, in the order they are read."""
        shown = self.simulator.world.seen_by_customer(customer, KF)
        return marks([words(one) for one in shown if one["from"]["kind"] == "bot"])

    def is_answered(self) -> bool:
        return all(len(self.answers(customer)) >= self.asked for customer in self.customers)

    async def answered(self, crew: Crew, *, seconds: float) -> None:
        """Until nobody waits for an answer, and a little longer: a wrong second answer would come now."""
        await self.until(self.is_answered, crew, "somebody still waits", seconds=seconds)
        await asyncio.sleep(0.7)

    async def until(self, condition: Callable[[], bool], crew: Crew, what: str, *, seconds: float) -> None:
        end = asyncio.get_running_loop().time() + seconds
        while not condition():
            assert asyncio.get_running_loop().time() < end, f"{what}\n{crew.said()}"
            await asyncio.sleep(0.02)


def gather(count: int) -> Crowd:
    """A crowd in front of a closed shop."""
    simulator = new_simulator()
    simulator.log = wire = Tripwire()
    crowd = Crowd(simulator, wire, [simulator.world.add_customer(f"顾客{n}").external_userid for n in range(count)])
    crowd.ask(AT_ONCE)
    return crowd


async def nothing_waits(sessions: Sessions) -> None:
    """Until the last life has tried again, and been refused, what an earlier one sent and never wrote down."""
    loose = sa.select(sa.func.count()).where(OutboxRow.status.in_((Status.WAITING, Status.CLAIMED)))
    end = asyncio.get_running_loop().time() + 30
    while asyncio.get_running_loop().time() < end:
        async with sessions.read() as session:
            if not await session.scalar(loose):
                return
        await asyncio.sleep(0.1)


async def assert_all_is_right(crowd: Crowd, sessions: Sessions) -> None:
    """What the phones show, what the tables say, what the platform saw."""
    wrong = {one: told for one in crowd.customers if (told := crowd.answers(one)) != list(QUESTIONS.values())}
    assert not wrong, f"{len(wrong)} phones are wrong, e.g. {next(iter(wrong.items()))}"
    async with sessions.read() as session:
        inbound = (await session.execute(sa.select(InboundMessage.status, InboundMessage.origin))).all()
        outbox = (await session.execute(sa.select(OutboxRow.status, OutboxRow.error))).all()
    assert Counter(row.status for row in inbound if row.origin == 3) == {Handling.DONE: 5 * len(crowd.customers)}
    assert {row.status for row in outbox} == {Status.SENT}, [row.error for row in outbox if row.status != Status.SENT]
    accepted = Counter(
        call.request["msgid"] for call in crowd.simulator.log.calls if call.path == SEND and call.errcode == 0
        and "msgid" in call.request and call.response.get("msgid")
    )  # fmt: skip
    assert set(accepted.values()) <= {1}


async def how_it_stands(sessions: Sessions) -> str:
    """Where the messages are, for whoever reads a failure."""
    counts = {
        "inbound": sa.select(InboundMessage.status, sa.func.count()).group_by(InboundMessage.status),
        "outbox": sa.select(OutboxRow.status, OutboxRow.error, sa.func.count()).group_by(
            OutboxRow.status, OutboxRow.error
        ),
        "due": sa.select(Conversation.service_state, sa.func.count(), sa.func.min(Conversation.due_at))
        .where(Conversation.due_at.is_not(None))
        .group_by(Conversation.service_state),
        "accounts": sa.select(KfAccount.wanted_at, KfAccount.pulled_at, KfAccount.pulled_by, KfAccount.pulled_until),
        "tokens": sa.select(WecomToken.refreshing_until, WecomToken.refused_until),
    }
    async with sessions.read() as session:
        lines = [f"{name}: {(await session.execute(count)).all()}" for name, count in counts.items()]
    return "\n".join(lines)


async def killed_at_random(
    database_url: str, sessions: Sessions, folder: Path, *, customers: int, kills: int, seconds: float
) -> None:
    """The whole story: a backlog, kills spread over the work, a last life in which everything comes to its end."""
    crowd, chance = gather(customers), random.Random(20)
    processes = ["web", "worker", "worker"] if sessions.dialect == "postgresql" else ["serve"]
    async with listening(crowd.simulator), crew(database_url, crowd.simulator, folder, processes) as opened:
        for number in range(kills):
            await _a_moment(crowd, chance, kills - number)
            opened.replace(chance)
            if number in (kills // 3, 2 * kills // 3):
                await opened.ready()
                crowd.ask()
        try:
            await crowd.answered(opened, seconds=seconds)
        except AssertionError as late:
            raise AssertionError(f"{await how_it_stands(sessions)}\n{late}") from late
        assert opened.kills == kills
        await nothing_waits(sessions)
    await assert_all_is_right(crowd, sessions)


async def _a_moment(crowd: Crowd, chance: random.Random, left: int) -> None:
    """Wait for a random share of the calls that are still to come, and some milliseconds more: anywhere in the work."""
    to_come = sum(crowd.asked > len(crowd.answers(one)) for one in crowd.customers)
    calls = crowd.simulator.log.seq + chance.randrange(1, 2 + 2 * to_come // left)
    end = asyncio.get_running_loop().time() + 2.0
    while crowd.simulator.log.seq < calls and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    await asyncio.sleep(chance.choice((0.0, 0.003, 0.01, 0.03, 0.1)) * chance.random())


@dataclass(frozen=True)
class Point:
    """The service does not outlive the nth call of this path: acted on and never answered, or not even acted on."""

    what: str
    path: str
    nth: int = 1
    asks: int = 0  # questions that everybody asks before
    acted: bool = True


POINTS = (
    Point("a page was handed out and never stored", SYNC),
    Point("whose session it is was told and never stored", STATE, nth=2),
    Point("claimed, and the send never arrived", SEND, acted=False),
    Point("the first send was accepted and never settled", SEND),
    Point("the last send was accepted and never settled", SEND, nth=4),
    Point("with a new question's page, old sends open", SYNC, asks=1),
    Point("with a new question, the second send never settled", SEND, nth=2, asks=1),
)


async def test_no_instant_between_two_steps_loses_or_doubles_an_answer(
    database_url: str, sessions: Sessions, tmp_path: Path
) -> None:
    crowd = gather(4)
    simulator, wire = crowd.simulator, crowd.wire
    async with listening(simulator), crew(database_url, simulator, tmp_path, []) as opened:
        for point in POINTS:
            crowd.ask(point.asks)
            if not point.acted:
                simulator.faults.add(Fault(point.path, "drop_before"))
            wire.set(point.path, point.nth, opened.kill_first)
            opened.start("serve")
            await crowd.until(lambda: not wire.is_set, opened, point.what, seconds=15)
        opened.start("serve")
        await crowd.answered(opened, seconds=15)
        await nothing_waits(sessions)
    await assert_all_is_right(crowd, sessions)
    refused = [call for call in simulator.log.calls if call.path == SEND and call.errcode]
    assert refused, "the msgid was needed: what was sent and not settled was tried again"


async def test_four_hundred_messages_survive_nine_kills(database_url: str, sessions: Sessions, tmp_path: Path) -> None:
    await killed_at_random(database_url, sessions, tmp_path, customers=80, kills=9, seconds=60)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_two_thousand_five_hundred_messages_survive_fifteen_kills(
    database_url: str, sessions: Sessions, tmp_path: Path
) -> None:
    await killed_at_random(database_url, sessions, tmp_path, customers=500, kills=15, seconds=170)
