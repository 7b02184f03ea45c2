"""A SQLite connection that crosses to its thread once a statement.

aiosqlite crosses for the cursor, the statement, its rows and the closing: four times for a SELECT, each a switch of
threads that waits for the interpreter's lock. On a busy machine that was most of what a statement cost.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

import aiosqlite


class OneHopCursor:
    """Runs a statement and fetches what it returns in one go; the part of a cursor that SQLAlchemy uses."""

    def __init__(self, connection: "OneHopConnection") -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def execute(self, sql: str, parameters: Iterable[Any] = ()) -> Self:
        return await self._run(sqlite3.Cursor.execute, sql, parameters)

    async def executemany(self, sql: str, parameters: Iterable[Iterable[Any]]) -> Self:
        return await self._run(sqlite3.Cursor.executemany, sql, parameters)

    async def _run(self, how: Any, sql: str, parameters: Iterable[Any]) -> Self:
        await self._connection.cross(self._run_there, how, sql, parameters)
        return self

    def _run_there(self, driver: sqlite3.Connection, how: Any, sql: str, parameters: Iterable[Any]) -> None:
        cursor = driver.cursor()
        try:
            how(cursor, sql, parameters)
            self.description = cursor.description
            self._rows = cursor.fetchall() if cursor.description else []
            self.rowcount, self.lastrowid = cursor.rowcount, cursor.lastrowid
        finally:
            cursor.close()

    async def fetchall(self) -> Sequence[Any]:
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        self._rows = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()


class OneHopConnection(aiosqlite.Connection):
    """aiosqlite's connection and thread with cursors of our own."""

    def cursor(self) -> OneHopCursor:  # type: ignore[override]
        return OneHopCursor(self)

    async def rollback(self) -> None:
        """Nothing to cross for when nothing is open: the pool rolls back whatever comes back to it."""
        if self.in_transaction:
            await super().rollback()

    async def cross(self, function: Any, *arguments: Any) -> Any:
        """Call `function(driver, …)` on the connection's thread."""
        return await self._execute(function, self._conn, *arguments)  # type: ignore[no-untyped-call]


async def connect(path: str) -> OneHopConnection:
    """An open connection whose thread does not keep the process alive."""
    connection = OneHopConnection(partial(sqlite3.connect, path), iter_chunk_size=64)
    connection._thread.daemon = True
    await connection
    return connection
