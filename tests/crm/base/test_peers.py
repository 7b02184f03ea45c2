"""Peers: who is alive, and taps on the shoulder."""

import asyncio
import random

import pytest

from crm.base.db import Sessions, open_sessions
from crm.base.peers import AlreadyRunning, Peers


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_sqlite_file_is_served_by_one_process(sessions: Sessions) -> None:
    first, second = Peers(sessions, chance=random.Random(1)), Peers(sessions, chance=random.Random(2))
    await first.join()
    with pytest.raises(AlreadyRunning):
        await second.join()
    await first.leave()
    await second.join()
    await second.leave()


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_the_death_of_a_process_is_known_at_once(sessions: Sessions) -> None:
    first, second = Peers(sessions, chance=random.Random(1)), Peers(sessions, chance=random.Random(2))
    await first.join()
    await second.join()
    async with sessions.read() as session:
        assert set(await first.alive(session)) == {first.number, second.number}
    await second.leave()
    async with sessions.read() as session:
        assert await first.alive(session) == [first.number]
    await first.leave()


async def test_a_tap_wakes_who_waits_and_is_not_forgotten_meanwhile(sessions: Sessions) -> None:
    peers = Peers(sessions, chance=random.Random(1))
    await peers.join()
    peers.tap("pull")
    await asyncio.wait_for(peers.wait("pull", seconds=30), 1)
    waiter = asyncio.create_task(peers.wait("pull", seconds=30))
    await asyncio.sleep(0)
    peers.tap("pull")
    await asyncio.wait_for(waiter, 1)
    await peers.wait("pull", seconds=0.01)
    await peers.leave()


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_a_tap_crosses_processes(sessions: Sessions, database_url: str) -> None:
    elsewhere = open_sessions(database_url)
    here, there = Peers(sessions, chance=random.Random(1)), Peers(elsewhere, chance=random.Random(2))
    await here.join()
    await there.join()
    waiter = asyncio.create_task(there.wait("send", seconds=30))
    for _ in range(20):
        here.tap("send")
    await asyncio.wait_for(waiter, 5)
    await here.leave()
    await there.leave()
    await elsewhere.close()
