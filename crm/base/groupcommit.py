"""One writer, many small durable writes per transaction, and nobody answered before it."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from crm.base.db import Sessions
from crm.base.errors import Busy

log = logging.getLogger(__name__)

TURNS = 3  # of the event loop, from a request's arrival to its submit()
GATHERINGS = 20

Item = TypeVar("Item")
Result = TypeVar("Result")
Write = Callable[[AsyncConnection, Sequence[Item]], Awaitable[Sequence[Result]]]


class GroupCommit(Generic[Item, Result]):
    """Gathers what waits and commits it as one transaction.

    write: given a connection inside a transaction and 1 … max_batch items, returns one result per item, in order.
    The batch is whatever gathered during the last commit and the turns of the loop after it, so its size follows the
    load and nobody waits for a timer.
    When a batch fails its items are tried alone, so that one bad item fails only its own caller; when the database
    itself does not answer, all of them get Busy.
    """

    def __init__(
        self, sessions: Sessions, write: Write[Item, Result], *, max_batch: int = 500, max_waiting: int = 20_000
    ) -> None:
        self._sessions, self._write = sessions, write
        self._max_batch, self._max_waiting = max_batch, max_waiting
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._arrived = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._stopping = False

    async def submit(self, item: Item) -> Result:
        """The item's result, after the commit that holds it. Raises Busy when too many wait or the writer has stopped.

        A caller that is cancelled gives up only its answer: the item is written all the same.
        """
        if self._stopping or self._writer is None or len(self._waiting) >= self._max_waiting:
            raise Busy(retry_after=1.0)
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        self._arrived.set()
        return await answer

    async def start(self) -> None:
        self._stopping = False
        self._writer = asyncio.create_task(self._run(), name="groupcommit")

    async def stop(self) -> None:
        """Writes what waits, then ends."""
        self._stopping = True
        self._arrived.set()
        if self._writer is not None:
            await self._writer
            self._writer = None

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            while self._waiting:
                await self._gather()
                count = min(len(self._waiting), self._max_batch)
                await self._commit([self._waiting.popleft() for _ in range(count)])
            if self._stopping:
                return
            self._arrived.clear()

    async def _gather(self) -> None:
        """Let those who are just asking share the commit: some turns of the loop while more come, and no timer.

        Without it the first of a burst is written alone and the rest after it: two commits for one.
        """
        for _ in range(GATHERINGS):
            before = len(self._waiting)
            for _ in range(TURNS):
                await asyncio.sleep(0)
            if len(self._waiting) == before or before >= self._max_batch:
                return

    async def _commit(self, batch: list[tuple[Item, "asyncio.Future[Result]"]]) -> None:
        try:
            async with self._sessions.connect() as connection:
                results = await self._write(connection, [item for item, _ in batch])
        except (OperationalError, InterfaceError) as error:  # the database, not an item: trying each alone helps nobody
            log.warning("groupcommit.database_unavailable", extra={"error": str(error.orig)})
            for _, answer in batch:
                _answer(answer, Busy(retry_after=1.0))
            return
        except Exception as error:
            if len(batch) == 1:
                _answer(batch[0][1], error)
                return
            for one in batch:
                await self._commit([one])
            return
        for (_, answer), result in zip(batch, results, strict=True):
            _answer(answer, result)


def _answer(waiting: "asyncio.Future[Result]", outcome: Result | Exception) -> None:
    if waiting.done():  # the caller went away
        return
    if isinstance(outcome, Exception):
        waiting.set_exception(outcome)
    else:
        waiting.set_result(outcome)
