"""Statements that go together, compiled once: on SQLite they cross to the connection's thread once, not once each.

For batches that skip the ORM. On a busy machine a crossing waits for two switches of threads, which is more than most
statements take; building and looking up a Core statement costs 0.1–0.2 ms each time.
"""

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from crm.base.db import among, is_sqlite, to_json
from crm.base.onehop import OneHopConnection

Among = Callable[[Any, str], sa.ColumnElement[bool]]  # a column, and the name of the values it is among
Rows = list[Sequence[Any]]
Selected = sa.Select[*tuple[Any, ...]]
POSTGRES = postgresql.dialect()  # type: ignore[no-untyped-call]
Told = tuple[str, Sequence[Any]]  # SQL of the driver, and its parameters: many rows of them when it is a list of tuples


class Prepared:
    """A statement with its values left open, compiled when a dialect first asks for it."""

    def __init__(self, build: Callable[[Among], Selected | sa.CompoundSelect[*tuple[Any, ...]] | sa.Update]) -> None:
        self._build = build
        self._compiled: dict[str, tuple[str, list[str], list[Any]]] = {}

    def told(self, dialect: Dialect, values: dict[str, Any]) -> Told:
        sql, names, _ = self._on(dialect)
        return sql, tuple(values[name] for name in names)

    def read(self, dialect: Dialect, rows: Sequence[Sequence[Any]]) -> Rows:
        """The driver's rows as our types have them."""
        processors = self._on(dialect)[2]
        if not rows or not any(processors):
            return list(rows)
        columns = [
            column if process is None else list(map(process, column))
            for process, column in zip(processors, zip(*rows, strict=True), strict=True)
        ]
        return list(zip(*columns, strict=True))

    def _on(self, dialect: Dialect) -> tuple[str, list[str], list[Any]]:
        if (known := self._compiled.get(dialect.name)) is None:
            statement = self._build(lambda column, name: among(dialect.name, column, sa.bindparam(name)))
            compiled: Any = statement.compile(dialect=dialect)
            columns = () if isinstance(statement, sa.Update) else statement.selected_columns
            processors = [one.type.dialect_impl(dialect).result_processor(dialect, None) for one in columns]
            known = self._compiled[dialect.name] = compiled.string, list(compiled.positiontup), processors
        return known


async def fetch(connection: AsyncConnection, statements: Sequence[Prepared], **values: Collection[int]) -> list[Rows]:
    """The rows of each SELECT. On PostgreSQL a later one sees what was committed while an earlier one waited."""
    dialect = connection.dialect
    given: dict[str, Any] = {
        name: to_json(list(some)) if is_sqlite(connection) else list(some) for name, some in values.items()
    }
    told = [one.told(dialect, given) for one in statements]
    if is_sqlite(connection):
        found = await _cross(connection, told)
        return [one.read(dialect, rows) for one, (rows, _) in zip(statements, found, strict=True)]
    return [
        one.read(dialect, (await connection.exec_driver_sql(sql, parameters)).all())
        for one, (sql, parameters) in zip(statements, told, strict=True)
    ]


async def write(connection: AsyncConnection, statements: Sequence[Told]) -> list[int]:
    """How many rows each of them changed."""
    if is_sqlite(connection):
        return [count for _, count in await _cross(connection, statements)]
    return [(await connection.exec_driver_sql(sql, parameters)).rowcount for sql, parameters in statements]


def insert_alike(
    dialect: Dialect,
    table: Any,
    names: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
    alike: Mapping[str, Any],
    *,
    conflict: str,
) -> Told:
    """An INSERT of rows that differ in `names` only and are `alike` in the rest, which is then told once.

    The values of `names` go to the driver as they are. Of ten columns of which two differ, telling the other eight for
    every row was a third of what a batch cost on SQLite, and more on PostgreSQL, where each is an array both ways.
    """
    processors = [table.c[name].type.dialect_impl(dialect).bind_processor(dialect) for name in alike]
    same = zip(processors, alike.values(), strict=True)
    told = [value if process is None else process(value) for process, value in same]
    if dialect.name == "sqlite":
        values = ", ".join([*("?" for _ in names), *map(_literal, told)])
        return f"{_into(dialect, table, (*names, *alike))} VALUES ({values}) ON CONFLICT {conflict}", list(rows)
    return _insert_alike(table, names, tuple(alike), conflict), (*map(list, zip(*rows, strict=True)), *told)


def _into(dialect: Dialect, table: Any, names: Sequence[str]) -> str:
    quoted = dialect.identifier_preparer.quote
    return f"INSERT INTO {quoted(table.name)} ({', '.join(map(quoted, names))})"


def _literal(value: Any) -> str:
    """SQLite's way to write a value; texts are told, not bound, so they are quoted here."""
    if value is None:
        return "NULL"
    return str(int(value)) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


@lru_cache(maxsize=64)
def _insert_alike(table: Any, names: tuple[str, ...], alike: tuple[str, ...], conflict: str) -> str:
    kinds = [table.c[name].type.compile(POSTGRES) for name in (*names, *alike)]
    arrays = ", ".join(f"${place}::{kind}[]" for place, kind in enumerate(kinds[: len(names)], 1))
    same = ", ".join(f"${place}::{kind}" for place, kind in enumerate(kinds[len(names) :], len(names) + 1))
    into = _into(POSTGRES, table, (*names, *alike))
    return f"{into} SELECT one.*, {same} FROM unnest({arrays}) AS one ON CONFLICT {conflict}"


async def _cross(connection: AsyncConnection, statements: Sequence[Told]) -> list[tuple[list[Any], int]]:
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, OneHopConnection)
    try:
        return await driver.cross(_run_there, statements)  # type: ignore[no-any-return]
    except sqlite3.Error as error:  # what SQLAlchemy would have made of it
        raise DBAPIError.instance(None, None, error, sqlite3.Error, dialect=connection.dialect) from error


def _run_there(driver: sqlite3.Connection, statements: Sequence[Told]) -> list[tuple[list[Any], int]]:
    found = []
    for sql, parameters in statements:
        run = driver.executemany if isinstance(parameters, list) else driver.execute
        cursor = run(sql, parameters)
        found.append((cursor.fetchall() if cursor.description else [], cursor.rowcount))
        cursor.close()
    return found
