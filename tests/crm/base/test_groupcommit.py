"""Group commit: many writers, few transactions, nobody answered before the commit."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from crm.base.db import Sessions
from crm.base.errors import Busy
from crm.base.groupcommit import GroupCommit

notes = sa.Table("notes", sa.MetaData(), sa.Column("n", sa.Integer, primary_key=True))


class Notebook:
    """Writes numbers into a table and remembers how they were batched."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def write(self, connection: AsyncConnection, items: Sequence[int]) -> Sequence[int]:
        await self.gate.wait()
        self.batches.append(len(items))
        await connection.execute(sa.insert(notes), [{"n": n} for n in items])
        return [n * 10 for n in items]


@pytest.fixture
async def notebook() -> Notebook:
    return Notebook()


@pytest.fixture
async def commit(sessions: Sessions, notebook: Notebook) -> AsyncIterator[GroupCommit[int, int]]:
    async with sessions.connect() as connection:
        await connection.run_sync(notes.create)
    group = GroupCommit[int, int](sessions, notebook.write, max_batch=100, max_waiting=300)
    await group.start()
    yield group
    await group.stop()


async def stored(sessions: Sessions) -> set[int]:
    async with sessions.read() as session:
        return set((await session.scalars(sa.select(notes.c.n))).all())


async def test_each_caller_gets_its_own_result(commit: GroupCommit[int, int], notebook: Notebook) -> None:
    assert await asyncio.gather(*(commit.submit(n) for n in range(250))) == [n * 10 for n in range(250)]
    assert len(notebook.batches) <= 4


async def test_nobody_is_answered_before_the_commit(
    commit: GroupCommit[int, int], sessions: Sessions, notebook: Notebook
) -> None:
    notebook.gate.clear()
    waiting = [asyncio.create_task(commit.submit(n)) for n in range(5)]
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in waiting)
    notebook.gate.set()
    for task in asyncio.as_completed(waiting):
        n = (await task) // 10
        assert n in await stored(sessions)


async def test_one_bad_item_fails_alone(commit: GroupCommit[int, int], sessions: Sessions) -> None:
    await commit.submit(3)
    outcomes = await asyncio.gather(*(commit.submit(n) for n in range(6)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [int, int, int, sa.exc.IntegrityError, int, int]
    assert await stored(sessions) == set(range(6))


async def test_a_cancelled_caller_does_not_disturb_the_others(
    commit: GroupCommit[int, int], sessions: Sessions, notebook: Notebook
) -> None:
    notebook.gate.clear()
    tasks = [asyncio.create_task(commit.submit(n)) for n in range(3)]
    await asyncio.sleep(0.01)
    tasks[1].cancel()
    notebook.gate.set()
    assert await tasks[0] == 0
    assert await tasks[2] == 20
    assert await stored(sessions) == {0, 1, 2}


async def test_too_many_waiting_are_refused_and_stop_writes_what_waits(
    commit: GroupCommit[int, int], sessions: Sessions, notebook: Notebook
) -> None:
    notebook.gate.clear()
    tasks = [asyncio.create_task(commit.submit(n)) for n in range(301)]
    outcome = await asyncio.wait_for(tasks[300], 5) if tasks[300].done() else None
    assert outcome is None
    await asyncio.sleep(0.01)
    with pytest.raises(Busy):
        await asyncio.gather(*(commit.submit(n) for n in range(1000, 1200)))
    notebook.gate.set()
    await commit.stop()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    accepted = {n for n, outcome in enumerate(done) if isinstance(outcome, int)}
    assert accepted <= await stored(sessions)
    with pytest.raises(Busy):
        await commit.submit(9_999)
