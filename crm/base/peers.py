"""The processes that share one database: which are alive, and a tap on the shoulder when there is work.

On PostgreSQL a process holds an advisory lock for as long as its connection lives, so its death is known at once,
and taps cross processes by LISTEN/NOTIFY. On SQLite there is one process, held to that by a lock on a file beside it.
A tap says "look now": who misses one looks anyway after a while, so taps may be lost but never carry facts.
"""

import asyncio
import contextlib
import fcntl
import logging
import random
from collections import defaultdict
from pathlib import Path
from typing import Any, TextIO

import asyncpg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm.base.db import Sessions, is_sqlite

log = logging.getLogger(__name__)

PRESENCE = 7_001_200  # advisory lock class of living processes; the object is the process's number
CHANNEL = "siyu"
CHECK_SECONDS = 10.0


class AlreadyRunning(RuntimeError):
    """Another process serves this SQLite file; a second one would send twice."""


class Peers:
    """This process among those that share the database. `number` marks what it has in hand."""

    def __init__(self, sessions: Sessions, *, chance: random.Random) -> None:
        self._sessions = sessions
        self.number = chance.randrange(1, 2**31 - 1)
        self._taps: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._link: asyncpg.Connection[Any] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._file: TextIO | None = None
        self._outgoing: dict[str, asyncio.Task[None]] = {}
        self._speaking = asyncio.Lock()  # a connection says one thing at a time

    async def join(self) -> None:
        """Be known as alive. Raises AlreadyRunning when this is SQLite and somebody else is at it."""
        if self._sessions.dialect == "sqlite":
            self._lock_file()
            return
        await self._connect()
        self._keeper = asyncio.create_task(self._keep(), name="peers")

    async def leave(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        if self._link is not None:
            await self._link.close()
        if self._file is not None:
            self._file.close()

    async def alive(self, session: AsyncSession) -> list[int]:
        """Numbers of the living processes, this one included."""
        if is_sqlite(session):
            return [self.number]
        rows = await session.scalars(
            sa.text(
                "SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = :presence"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            ),
            {"presence": PRESENCE},
        )
        return list({self.number, *rows.all()})

    def tap(self, topic: str) -> None:
        """There is work on `topic`: wakes who waits for it, here and in the other processes."""
        self._taps[topic].set()
        if self._link is not None and topic not in self._outgoing:
            self._outgoing[topic] = asyncio.create_task(self._notify(topic))

    async def wait(self, topic: str, *, seconds: float) -> None:
        """Until somebody taps, or `seconds` of real time at most. One waiter a topic and process."""
        tapped = self._taps[topic]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # wait_for loses a cancellation that comes together with a tap
                await tapped.wait()
        tapped.clear()

    async def _notify(self, topic: str) -> None:
        try:
            async with self._speaking:
                del self._outgoing[topic]  # a tap from here on needs a word of its own
                if self._link is not None:
                    await self._link.execute("SELECT pg_notify($1, $2)", CHANNEL, f"{self.number}:{topic}")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.info("peers.tap_lost", extra={"topic": topic, "error": str(error)})

    def _heard(self, _link: object, _pid: int, _channel: str, payload: object) -> None:
        number, _, topic = str(payload).partition(":")
        if number != str(self.number):
            self._taps[topic].set()

    async def _connect(self) -> None:
        url = self._sessions.writer.url.set(drivername="postgresql").render_as_string(hide_password=False)
        link = await asyncpg.connect(url)
        await link.execute("SELECT pg_advisory_lock($1, $2)", PRESENCE, self.number)
        await link.add_listener(CHANNEL, self._heard)
        self._link = link

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            if self._link is not None and not self._link.is_closed():
                continue
            try:
                await self._connect()
            except (OSError, asyncpg.PostgresError) as error:
                log.warning("peers.link_lost", extra={"error": str(error)})

    def _lock_file(self) -> None:
        database = self._sessions.writer.url.database
        if not database or database == ":memory:":
            return
        self._file = Path(f"{database}.lock").open("w")  # noqa: SIM115  (held open for the life of the process)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            self._file = None
            raise AlreadyRunning(f"{database} is already served by another process") from error
