"""Bad weather between WeCom and us: whatever is lost, doubled, late or refused, the phone shows the right talk."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from bot.simulator.faults import Fault, Kind
from bot.simulator.simulator import Options, Simulator
from crm.base.clock import MovableClock
from tests.town import QUESTIONS, Town, new_simulator, town

SEND = "/cgi-bin/kf/send_msg"
SYNC = "/cgi-bin/kf/sync_msg"
STATE = "/cgi-bin/kf/service_state/get"
TOKEN = "/cgi-bin/gettoken"
ASKED = list(QUESTIONS)[:3]
HASTE = 20.0  # the town's clock runs this much faster than ours: nobody sits through back-offs


@dataclass(frozen=True)
class Storm:
    """What goes wrong, from the opening on; `again` goes wrong anew before each question."""

    begins: Callable[[Simulator], None] = lambda _: None
    again: Callable[[Simulator], None] = lambda _: None
    options: Options = field(default_factory=Options)
    pushes: bool = False  # a limit's minute has to pass
    poll: float = 60.0


def roads(poll: float = 60.0, **trouble: float) -> Storm:
    return Storm(lambda simulator: simulator.roads.change(dict(trouble)), poll=poll)


def fault(path: str, kind: Kind, times: int = 1, *, errcode: int = -1, seconds: float = 0.0) -> Storm:
    """The first calls of each question meet this fault."""

    def again(simulator: Simulator) -> None:
        simulator.faults.add(Fault(path, kind, errcode=errcode, seconds=seconds, times=times))

    return Storm(again=again, pushes=errcode == 45009)


CALLS = {"send": SEND, "sync": SYNC, "state": STATE}
TROUBLES: dict[str, Callable[[str], Storm]] = {
    "busy": lambda path: fault(path, "errcode", 2, errcode=-1),
    "crowded": lambda path: fault(path, "errcode", 2, errcode=45033),
    "limited": lambda path: fault(path, "errcode", errcode=45009),
    "dropped-before": lambda path: fault(path, "drop_before", 2),
    "dropped-after": lambda path: fault(path, "drop_after", 2),
    "http500": lambda path: fault(path, "http500", 2),
    "garbage": lambda path: fault(path, "garbage", 2),
    "slow": lambda path: fault(path, "latency", 3, seconds=0.2),
}
STORMS = {
    "callbacks-twice": roads(duplicate=1),
    "callbacks-twice-in-one-envelope": roads(duplicate=1, same_envelope=1),
    "callbacks-reordered": roads(reorder=0.5, duplicate=0.5),
    "callbacks-late": roads(delay=0.2),
    "callbacks-shared": roads(coalesce=0.1),
    "half-the-callbacks-lost": roads(drop=0.5, poll=2.0),
    "all-callbacks-lost": roads(drop=1, poll=2.0),
    "token-expires": Storm(again=lambda simulator: simulator.tokens.expire()),
    "token-is-revoked": Storm(again=lambda simulator: simulator.tokens.revoke()),
    "empty-pages-with-more": Storm(options=Options(empty_page_every=2)),
    "tokenless-pulls-limited": Storm(
        lambda simulator: simulator.roads.change({"drop": 1}), options=Options(tokenless_pulls_per_minute=1),
        pushes=True, poll=2.0,
    ),
    **{f"{name}-{what}": meet(path) for name, path in CALLS.items() for what, meet in TROUBLES.items()},
    "token-busy": fault(TOKEN, "errcode", 1),
    "send-fails-six-times": fault(SEND, "drop_after", 6),
}  # fmt: skip


async def the_talk(shop: Town, storm: Storm, *, customers: int) -> list[str]:
    """Customers ask one question after the other, each after the answer; returns who they are."""
    asking = [shop.customer(f"顾客{n}") for n in range(customers)]
    for number, question in enumerate(ASKED, start=1):
        storm.again(shop.simulator)
        for customer in asking:
            shop.says(customer, question)
        await until_answered(shop, asking, number, pushes=storm.pushes)
    return asking


async def until_answered(shop: Town, asking: list[str], count: int, *, pushes: bool, seconds: float = 20) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while not all(len(shop.answers(customer)) >= count for customer in asking):
        assert asyncio.get_running_loop().time() < end, [shop.answers(customer) for customer in asking]
        await asyncio.sleep(0.05)
        if pushes:
            shop.simulator.advance(10)


def assert_each_answer_once_and_in_order(shop: Town, asking: list[str]) -> None:
    right = [QUESTIONS[question] for question in ASKED]
    assert [shop.answers(customer) for customer in asking] == [right] * len(asking)
    accepted = [call.request["msgid"] for call in shop.simulator.log.calls if call.path == SEND and not call.errcode
                and "fault" not in call.response]  # fmt: skip
    assert len(set(accepted)) == len(accepted)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("storm", STORMS.values(), ids=STORMS.keys())
async def test_after_the_storm_the_conversation_is_right(database_url: str, tmp_path: Path, storm: Storm) -> None:
    simulator = new_simulator(MovableClock(rate=HASTE), options=storm.options)
    poll = timedelta(seconds=storm.poll)
    async with town(database_url, tmp_path, simulator=simulator, kf_poll=poll) as shop:
        storm.begins(simulator)
        asking = await the_talk(shop, storm, customers=2)
        await shop.quiet(0.2)
    assert_each_answer_once_and_in_order(shop, asking)


async def test_everything_at_once(database_url: str, tmp_path: Path) -> None:
    """Every sixth call of every kind meets some fault, callbacks travel badly, the token dies between questions."""
    kinds: tuple[tuple[Kind, int], ...] = (
        ("errcode", -1), ("errcode", 45033), ("drop_before", 0), ("drop_after", 0), ("http500", 0), ("garbage", 0)
    )  # fmt: skip

    def begins(simulator: Simulator) -> None:
        simulator.roads.change(
            {"drop": 0.2, "duplicate": 0.3, "reorder": 0.3, "same_envelope": 0.5, "retry_after": 0.1}
        )
        for path in (SEND, SYNC, STATE):
            for kind, errcode in kinds:
                simulator.faults.add(Fault(path, kind, errcode=errcode, times=0, probability=0.03))

    storm = Storm(begins, again=lambda simulator: simulator.tokens.revoke(), options=Options(empty_page_every=3))
    simulator = new_simulator(MovableClock(rate=HASTE), options=storm.options)
    async with town(database_url, tmp_path, simulator=simulator, kf_poll=timedelta(seconds=2)) as shop:
        storm.begins(simulator)
        asking = await the_talk(shop, storm, customers=10)
        await shop.quiet(0.2)
    assert_each_answer_once_and_in_order(shop, asking)
