"""The outbox: once in, in order per key, claimed by one, settled once."""

import asyncio
import random
from datetime import timedelta

import pytest
import sqlalchemy as sa

from crm.base import outbox
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.outbox import Message, OutboxRow, Settlement, Status


def message(n: int, **more: object) -> Message:
    return Message(**{"lane": "kf", "dedupe_key": f"m{n}", "body": {"n": n}, **more})  # type: ignore[arg-type]


async def put(sessions: Sessions, clock: FrozenClock, *messages: Message) -> int:
    async with sessions.begin() as session:
        return await outbox.put(session, messages, now=clock.now())


async def claim(sessions: Sessions, clock: FrozenClock, worker: int = 1, limit: int = 100) -> list[outbox.Claimed]:
    async with sessions.begin() as session:
        return await outbox.claim(session, ["kf"], worker=worker, now=clock.now(), limit=limit)


async def settle(sessions: Sessions, clock: FrozenClock, *settlements: Settlement, worker: int = 1) -> None:
    async with sessions.connect() as connection:
        await outbox.settle(connection, settlements, worker=worker, now=clock.now())


async def row(sessions: Sessions, dedupe_key: str) -> OutboxRow:
    async with sessions.read() as session:
        return (await session.scalars(sa.select(OutboxRow).where(OutboxRow.dedupe_key == dedupe_key))).one()


async def test_a_message_put_twice_waits_once(sessions: Sessions, clock: FrozenClock) -> None:
    assert await put(sessions, clock, message(1)) == 1
    assert await put(sessions, clock, message(1), message(2)) == 1
    assert [c.body["n"] for c in await claim(sessions, clock)] == [1, 2]


async def test_nothing_leaves_when_the_deciding_transaction_rolls_back(sessions: Sessions, clock: FrozenClock) -> None:
    with pytest.raises(RuntimeError):
        async with sessions.begin() as session:
            await outbox.put(session, [message(1)], now=clock.now())
            raise RuntimeError("the decision failed")
    assert await claim(sessions, clock) == []


async def test_messages_of_one_key_leave_one_after_the_other(sessions: Sessions, clock: FrozenClock) -> None:
    await put(sessions, clock, message(1, key="c1"), message(2, key="c1"), message(3, key="c2"))
    first = await claim(sessions, clock)
    assert [c.body["n"] for c in first] == [1, 3]
    assert await claim(sessions, clock) == []
    await settle(sessions, clock, Settlement(id=first[0].id, status=Status.SENT))
    assert [c.body["n"] for c in await claim(sessions, clock)] == [2]


async def test_a_message_that_is_retried_still_goes_before_its_successors(
    sessions: Sessions, clock: FrozenClock
) -> None:
    await put(sessions, clock, message(1, key="c1"), message(2, key="c1"))
    (first,) = await claim(sessions, clock)
    later = clock.now() + timedelta(seconds=5)
    await settle(sessions, clock, Settlement(id=first.id, status=Status.WAITING, not_before=later, error="busy"))
    assert await claim(sessions, clock) == []
    clock.advance(seconds=5)
    (again,) = await claim(sessions, clock)
    assert (again.body["n"], again.attempts) == (1, 2)


async def test_waiting_for_a_limit_does_not_count_as_an_attempt(sessions: Sessions, clock: FrozenClock) -> None:
    await put(sessions, clock, message(1))
    (first,) = await claim(sessions, clock)
    await settle(sessions, clock, Settlement(id=first.id, status=Status.WAITING, keep_attempt=True))
    (again,) = await claim(sessions, clock)
    assert again.attempts == 1


async def test_not_before_holds_and_a_passed_deadline_buries(sessions: Sessions, clock: FrozenClock) -> None:
    soon, late = clock.now() + timedelta(minutes=1), clock.now() + timedelta(minutes=2)
    await put(sessions, clock, message(1, not_before=soon, deadline=late))
    assert await claim(sessions, clock) == []
    clock.advance(minutes=2)  # the deadline is exclusive: at this instant it is too late
    async with sessions.begin() as session:
        assert await outbox.expire(session, now=clock.now()) == 1
    assert await claim(sessions, clock) == []
    assert (await row(sessions, "m1")).error == "deadline passed"


async def test_a_settlement_by_one_who_lost_the_message_changes_nothing(sessions: Sessions, clock: FrozenClock) -> None:
    await put(sessions, clock, message(1))
    (mine,) = await claim(sessions, clock, worker=1)
    async with sessions.begin() as session:
        assert await outbox.free(session, alive=[2], now=clock.now()) == 1
    await claim(sessions, clock, worker=2)
    await settle(sessions, clock, Settlement(id=mine.id, status=Status.DEAD, error="too slow"), worker=1)
    assert (await row(sessions, "m1")).status is Status.CLAIMED


@pytest.mark.parametrize(("repeatable", "ends"), [(True, Status.WAITING), (False, Status.UNKNOWN)])
async def test_what_a_dead_sender_had_in_hand(
    sessions: Sessions, clock: FrozenClock, repeatable: bool, ends: Status
) -> None:
    await put(sessions, clock, message(1, repeatable=repeatable))
    await claim(sessions, clock, worker=1)
    async with sessions.begin() as session:
        assert await outbox.free(session, alive=[1], now=clock.now()) == 0
        assert await outbox.free(session, alive=[2], now=clock.now()) == 1
    assert (await row(sessions, "m1")).status is ends


async def test_a_lease_overrun_is_freed_though_its_holder_lives(sessions: Sessions, clock: FrozenClock) -> None:
    await put(sessions, clock, message(1))
    await claim(sessions, clock, worker=1)
    clock.advance(outbox.LEASE)
    async with sessions.begin() as session:
        assert await outbox.free(session, alive=[1], now=clock.now()) == 1


async def test_many_senders_share_the_work_and_none_gets_the_same_message(
    sessions: Sessions, clock: FrozenClock
) -> None:
    await put(sessions, clock, *[message(n) for n in range(200)])

    async def drain(worker: int) -> list[int]:
        taken: list[int] = []
        while batch := await claim(sessions, clock, worker=worker, limit=7):
            taken += [c.id for c in batch]
            await settle(sessions, clock, *[Settlement(id=c.id, status=Status.SENT) for c in batch], worker=worker)
        return taken

    hands = await asyncio.gather(*(drain(worker) for worker in range(1, 6)))
    everything = [one for hand in hands for one in hand]
    assert len(everything) == len(set(everything)) == 200


async def test_cancel_takes_back_what_waits_but_not_what_is_in_hand(sessions: Sessions, clock: FrozenClock) -> None:
    await put(sessions, clock, message(1, member_id=7))
    await claim(sessions, clock)
    await put(sessions, clock, message(2, member_id=7), message(3, member_id=8))
    async with sessions.begin() as session:
        assert await outbox.cancel(session, OutboxRow.member_id == 7, reason="opted out", now=clock.now()) == 1
    assert (await row(sessions, "m1")).status is Status.CLAIMED
    assert (await row(sessions, "m2")).status is Status.CANCELLED


def test_retries_grow_with_jitter_and_stay_below_five_minutes(clock: FrozenClock) -> None:
    chance = random.Random(7)
    waits = [(outbox.retry_at(n, now=clock.now(), chance=chance) - clock.now()).total_seconds() for n in range(12)]
    assert 0.5 <= waits[0] <= 1
    assert all(wait <= 300 for wait in waits)
    assert waits[-1] >= 150


async def test_a_claim_keeps_its_limit_when_the_planner_expects_an_empty_queue(
    sessions: Sessions, clock: FrozenClock
) -> None:
    """PostgreSQL then ran the limited subquery again for every row, and one claim took the whole queue."""
    await put(sessions, clock, *(message(n) for n in range(2_000)))
    async with sessions.begin() as session:
        await session.execute(sa.update(OutboxRow).values(status=Status.SENT))
    async with sessions.begin() as session:
        await session.execute(sa.text("ANALYZE outbox"))
    await put(sessions, clock, *(message(n) for n in range(2_000, 2_050)))
    assert [len(await claim(sessions, clock, limit=20)) for _ in range(4)] == [20, 20, 10, 0]


async def test_a_claim_reads_nothing_that_is_settled(sessions: Sessions, clock: FrozenClock) -> None:
    """SQLite's plan names the partial indexes, not the table's own key."""
    if sessions.dialect != "sqlite":
        return
    statements: list[tuple[str, object]] = []
    sa.event.listen(
        sessions.writer.sync_engine,
        "before_cursor_execute",
        lambda _c, _u, statement, parameters, *_: statements.append((statement, parameters)),
    )
    await claim(sessions, clock)
    ((statement, parameters),) = [one for one in statements if "UPDATE outbox" in one[0]]
    async with sessions.connect() as connection:
        plan = (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)).all()  # type: ignore[arg-type]
    lines = [row[-1] for row in plan]
    assert any("ix_outbox_key_open" in line for line in lines), lines
    assert not any("rowid<" in line for line in lines), lines
