"""The database: declarative base, column types, engines and sessions, and every dialect-specific line."""

import enum
import json
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Dialect, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.sql.functions import FunctionElement

from crm.base import onehop

SQLITE_BUSY_MS = 10_000
WRITER_CACHE_KB = 16_000  # pages of random keys: with SQLite's own 2 MB a claim into a large table costs a third more
POSTGRES_POOL = 10
POSTGRES_TIMEOUTS_MS = {"lock_timeout": "10000", "idle_in_transaction_session_timeout": "60000"}


class UTCDateTime(sa.types.TypeDecorator[datetime]):
    """An aware instant, kept as UTC. A naive value is a bug and is refused before it reaches a row."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r}: instants carry their zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any] | None:
        """SQLite's text in one go: 0.6 µs an instant, by way of process_bind_param() 2.2."""
        return _instant_text if dialect.name == "sqlite" else super().bind_processor(dialect)


def _instant_text(value: datetime | None) -> str | None:
    if value is None:
        return None
    if value.tzinfo is not UTC:
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r}: instants carry their zone")
        value = value.astimezone(UTC)
    return value.isoformat(" ", "microseconds")[:26]  # without +00:00


BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite counts rowids only for INTEGER keys
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Words = sa.Enum(
    enum.Enum,
    native_enum=False,
    create_constraint=False,
    length=40,
    values_callable=lambda kind: [member.value for member in kind],
)


class Base(DeclarativeBase):
    """Tables of every package: names by one convention, enums by value in a wide string, instants in UTC."""

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012  (SQLAlchemy reads a plain dict here)
        int: BigInt,
        str: sa.Text(),
        datetime: UTCDateTime(),
        dict[str, Any]: Json,
        list[Any]: Json,
        list[str]: Json,
        enum.Enum: Words,
    }


class Sessions:
    """Where transactions come from: `begin()` to write, `read()` to look.

    SQLite: one writer connection, so writers queue fairly in the process instead of colliding in the file
    (colliding writers were measured to wait 0.5-1.1 s), and a pool of readers that see the last commit.
    PostgreSQL: one pool for both.
    """

    def __init__(self, writer: AsyncEngine, reader: AsyncEngine) -> None:
        self.writer, self.reader = writer, reader
        self.dialect = writer.dialect.name
        self._write = async_sessionmaker(writer, expire_on_commit=False)
        self._read = async_sessionmaker(reader, expire_on_commit=False)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """A transaction that commits at the end of the block, or rolls back when it raises."""
        async with self._write.begin() as session:
            yield session

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A transaction that only looks; on SQLite a write in it fails."""
        async with self._read() as session:
            yield session

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """A write transaction on a bare connection, for batches that skip the ORM."""
        async with self.writer.begin() as connection:
            yield connection

    async def close(self) -> None:
        await self.writer.dispose()
        if self.reader is not self.writer:
            await self.reader.dispose()


def open_sessions(url: str, *, pool_size: int = POSTGRES_POOL) -> Sessions:
    """Engines for `url`: sqlite+aiosqlite:///file or postgresql+asyncpg://… Nothing connects before the first use."""
    where = make_url(url)
    if where.get_backend_name() == "sqlite":
        if where.database:
            Path(where.database).parent.mkdir(parents=True, exist_ok=True)
        return Sessions(_sqlite_engine(where, writes=True), _sqlite_engine(where, writes=False))
    engine = create_async_engine(
        where,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        json_serializer=to_json,
        connect_args={"server_settings": {"application_name": "siyu", "timezone": "UTC", **POSTGRES_TIMEOUTS_MS}},
    )
    return Sessions(engine, engine)


def _sqlite_engine(url: URL, *, writes: bool) -> AsyncEngine:
    engine = create_async_engine(
        url,
        poolclass=sa.AsyncAdaptedQueuePool,
        pool_size=1 if writes else 4,
        max_overflow=0,
        pool_timeout=60,
        async_creator=partial(onehop.connect, url.database or ":memory:"),
        json_serializer=to_json,
    )
    sa.event.listen(engine.sync_engine, "connect", partial(_set_up_sqlite, writes=writes))
    sa.event.listen(engine.sync_engine, "begin", partial(_begin_sqlite, writes=writes))
    return engine


def _set_up_sqlite(connection: Any, _record: object, *, writes: bool) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, see _begin_sqlite
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={SQLITE_BUSY_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",  # an answered commit survives a power cut
        "foreign_keys=ON",
        "temp_store=MEMORY",
        f"query_only={'OFF' if writes else 'ON'}",
        f"cache_size={-WRITER_CACHE_KB if writes else -2_000}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection, *, writes: bool) -> None:
    # IMMEDIATE takes the write lock first: a reader that turns writer would fail at once, whatever the busy timeout.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def insert(session: AsyncSession | AsyncConnection, table: Any) -> postgresql.Insert | sqlite.Insert:
    """INSERT with `on_conflict_do_nothing` and `on_conflict_do_update`, which both dialects spell alike."""
    bind = session.get_bind() if isinstance(session, AsyncSession) else session
    return sqlite.insert(table) if bind.dialect.name == "sqlite" else postgresql.insert(table)


async def insert_new(
    connection: AsyncSession | AsyncConnection,
    rows: Sequence[Mapping[str, Any]],
    *,
    returning: Any,
) -> list[Any]:
    """Insert rows, leaving out those whose unique keys are known; returns that column of the new ones, in any order.

    returning: a mapped column, whose table the rows go to. They get their ids in the order given. Every row names the
    same columns; Python-side defaults do not apply. One statement whose text does not depend on how many rows there
    are: in batches of 64 a VALUES list was measured at 80 µs a row, this at 20.
    """
    if not rows:
        return []
    if isinstance(connection, AsyncSession):
        connection = await connection.connection()
    statement, processors = _bulk_insert(connection.dialect, returning.property.columns[0], tuple(rows[0]))
    columns = [
        [row[name] if process is None else process(row[name]) for row in rows] for name, process in processors.items()
    ]
    together = (to_json(list(zip(*columns, strict=True))),) if is_sqlite(connection) else tuple(columns)
    found = await connection.exec_driver_sql(statement, together)
    return list(found.scalars().all())


async def insert_all(
    session: AsyncSession | AsyncConnection,
    table: sa.FromClause,
    rows: Sequence[Mapping[str, Any]],
    *,
    conflict: str = "DO NOTHING",
) -> int:
    """Like `insert_new` where nobody needs to know which rows were new, but how many: on SQLite a third of its cost.

    conflict: what else to do about known rows, as SQL after ON CONFLICT.
    """
    if not rows:
        return 0
    names = tuple(rows[0])
    told = [tuple(row[name] for name in names) for row in rows]
    return await insert_rows(session, table, names, told, conflict=conflict)


async def insert_rows(
    session: AsyncSession | AsyncConnection,
    table: sa.FromClause,
    names: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
    *,
    conflict: str = "DO NOTHING",
) -> int:
    """Like `insert_all`, of values in the order of `names`."""
    if not rows:
        return 0
    connection = await session.connection() if isinstance(session, AsyncSession) else session
    statement, told = insert_told(connection, table, names, rows, conflict=conflict)
    return (await connection.exec_driver_sql(statement, told)).rowcount


def insert_told(
    connection: AsyncConnection,
    table: sa.FromClause,
    names: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
    *,
    conflict: str = "DO NOTHING",
) -> tuple[str, Any]:
    """What `insert_rows` tells the driver: the statement and its parameters."""
    made: dict[Any, dict[int, Any]] = {}  # by processor: what the driver takes for a value, told once a batch
    columns: list[Sequence[Any]] = []
    processors = _processors(connection.dialect, table, names)
    for column, process in zip(zip(*rows, strict=True), processors.values(), strict=True):
        if process is None:
            columns.append(column)
            continue
        known, spots = made.setdefault(process, {}), list(map(id, column))
        fresh = {spot: one for spot, one in zip(spots, column, strict=True) if spot not in known}
        known.update((spot, process(one)) for spot, one in fresh.items())
        columns.append([known[spot] for spot in spots])
    into = _insert_into(connection.dialect, table, names)
    if is_sqlite(connection):
        places = ", ".join("?" * len(names))
        return f"{into} VALUES ({places}) ON CONFLICT {conflict}", list(zip(*columns, strict=True))
    statement = f"{into} {_all_rows(connection.dialect, table, names)} ON CONFLICT {conflict}"
    return statement, tuple(map(list, columns))


async def next_ids(session: AsyncSession, table: sa.Table, count: int) -> list[int]:
    """Ids for rows that this transaction is about to insert, ascending: nobody has to ask for them afterwards."""
    if is_sqlite(session):  # one writer: until it commits nobody else takes any
        last = await session.scalar(sa.select(sa.func.coalesce(sa.func.max(table.c.id), 0))) or 0
        return list(range(last + 1, last + 1 + count))
    drawn = sa.text("SELECT nextval(pg_get_serial_sequence(:table, 'id')) FROM generate_series(1, :count)")
    return sorted(await session.scalars(drawn, {"table": table.name, "count": count}))


def told_rows(session: AsyncSession, **columns: tuple[sa.types.TypeEngine[Any], Sequence[Any]]) -> sa.Subquery:
    """Rows told by the caller as something to select from, each column its type and its values, all equally long.

    For INSERT … SELECT of many rows that differ in little: only what differs is told.
    """
    if is_sqlite(session):
        together = to_json(list(zip(*(values for _, values in columns.values()), strict=True)))
        rows = sa.func.json_each(sa.bindparam(None, together, sa.Text())).table_valued("value")
        picked = [
            sa.func.json_extract(rows.c.value, f"$[{place}]", type_=kind).label(name)
            for place, (name, (kind, _)) in enumerate(columns.items())
        ]
        return sa.select(*picked).select_from(rows).subquery()
    arrays = [sa.bindparam(None, list(values), postgresql.ARRAY(kind)) for kind, values in columns.values()]
    named = [sa.column(name, kind) for name, (kind, _) in columns.items()]
    told = sa.func.unnest(*arrays).table_valued(*named).render_derived()
    return sa.select(*told.c).subquery()


def json_object(session: AsyncSession, fields: Mapping[str, Any]) -> sa.ColumnElement[Any]:
    """SQL for a JSON object of these columns and values."""
    make = sa.func.json_object if is_sqlite(session) else sa.func.jsonb_build_object
    pairs = [part for name, value in fields.items() for part in (sa.literal(name, sa.Text()), value)]
    return make(*pairs, type_=Json)


@lru_cache(maxsize=64)
def _bulk_insert(
    dialect: Dialect, returning: sa.Column[Any], names: tuple[str, ...]
) -> tuple[str, dict[str, Callable[[Any], Any] | None]]:
    """The statement, and what turns a value into the driver's, by column."""
    table = returning.table
    statement = (
        f"{_insert_into(dialect, table, names)} {_all_rows(dialect, table, names)}"
        f" ON CONFLICT DO NOTHING RETURNING {dialect.identifier_preparer.quote(returning.name)}"
    )
    return statement, _processors(dialect, table, names)


def _insert_into(dialect: Dialect, table: Any, names: tuple[str, ...]) -> str:
    quoted = dialect.identifier_preparer.quote
    return f"INSERT INTO {quoted(table.name)} ({', '.join(map(quoted, names))})"


def _all_rows(dialect: Dialect, table: Any, names: tuple[str, ...]) -> str:
    """SQL for all rows at once: SQLite reads them from one JSON text, PostgreSQL one array a column."""
    if dialect.name == "sqlite":
        source = ", ".join(f"json_extract(value, '$[{place}]')" for place in range(len(names)))
        return f"SELECT {source} FROM json_each(?) WHERE true"
    kinds = (table.c[name].type.compile(dialect) for name in names)
    return f"SELECT * FROM unnest({', '.join(f'${place}::{kind}[]' for place, kind in enumerate(kinds, 1))})"


def _processors(dialect: Dialect, table: Any, names: tuple[str, ...]) -> dict[str, Callable[[Any], Any] | None]:
    return {name: table.c[name].type.dialect_impl(dialect).bind_processor(dialect) for name in names}


def is_among(session: AsyncSession | AsyncConnection, column: Any, values: Collection[Any]) -> sa.ColumnElement[bool]:
    """SQL for `column IN values`, texts or numbers, as one parameter however many they are.

    An IN list is spelled anew for each number of values: for 2,000 of them that was half the cost of the lookup.
    """
    dialect, told = ("sqlite", to_json(list(values))) if is_sqlite(session) else ("postgresql", list(values))
    return among(dialect, column, sa.bindparam(None, told))


def among(dialect: str, column: Any, values: sa.BindParameter[Any]) -> sa.ColumnElement[bool]:
    """The same of a parameter: a JSON text on SQLite, a list on PostgreSQL."""
    if dialect == "sqlite":
        told = sa.func.json_each(sa.type_coerce(values, sa.Text())).table_valued("value")
        return column.in_(sa.select(told.c.value))  # type: ignore[no-any-return]
    return column == sa.func.any(sa.type_coerce(values, postgresql.ARRAY(column.type)))  # type: ignore[no-any-return]


def not_among(session: AsyncSession | AsyncConnection, column: Any, ids: Collection[int]) -> sa.ColumnElement[bool]:
    """SQL for `column NOT IN ids`, hashed: of an array PostgreSQL would walk the whole for each row."""
    if is_sqlite(session):
        return ~is_among(session, column, ids)
    told = sa.func.unnest(sa.bindparam(None, list(ids), postgresql.ARRAY(sa.BigInteger())))
    return column.not_in(sa.select(told))  # type: ignore[no-any-return]


def is_sqlite(session: AsyncSession | AsyncConnection) -> bool:
    bind = session.get_bind() if isinstance(session, AsyncSession) else session
    return bind.dialect.name == "sqlite"


class json_put(FunctionElement[Any]):  # noqa: N801  (reads as the SQL function it becomes)
    """SQL for a JSON object with the text `value` under `key`."""

    type = Json
    inherit_cache = True

    def __init__(self, column: Any, key: str, value: str) -> None:
        super().__init__(column, sa.literal(key, sa.Text()), sa.literal(value, sa.Text()))


@compiles(json_put, "sqlite")
def _json_put_on_sqlite(element: json_put, compiler: Any, **more: Any) -> str:
    column, key, value = (compiler.process(clause, **more) for clause in element.clauses)
    return f"json_set({column}, '$.' || {key}, {value})"


@compiles(json_put, "postgresql")
def _json_put_on_postgres(element: json_put, compiler: Any, **more: Any) -> str:
    column, key, value = (compiler.process(clause, **more) for clause in element.clauses)
    return f"jsonb_set({column}, ARRAY[{key}], to_jsonb({value}))"


async def hold(session: AsyncSession | AsyncConnection, name: str, *, shared: bool = False) -> None:
    """Until this transaction ends, who else holds `name` waits, unless both share. SQLite has one writer: nothing."""
    if is_sqlite(session):
        return
    mode = "_shared" if shared else ""
    await session.execute(
        sa.text(f"SELECT pg_advisory_xact_lock{mode}(hashtextextended(:name, 0))").bindparams(name=name)
    )


async def plan_afresh(session: AsyncSession) -> None:
    """Until this transaction ends PostgreSQL plans each statement for the rows that are there now.

    For statements over thousands of rows of a table that grows from nothing within minutes: a plan kept from when it
    was empty walks the whole of it for each row (a window of 10,000 took 40 seconds).
    """
    if not is_sqlite(session):
        await session.execute(sa.text("SET LOCAL plan_cache_mode = force_custom_plan"))


def days_together(session: AsyncSession | AsyncConnection, column: Any) -> sa.ColumnElement[str]:
    """SQL for the dates of a group as one text, 2026-01-03,2026-02-01: a date each would cost a row each."""
    if is_sqlite(session):
        return sa.func.group_concat(column)
    return sa.func.string_agg(sa.cast(column, sa.Text()), ",")


def utc_hour(session: AsyncSession, column: Any) -> sa.ColumnElement[int]:
    """SQL for the hour of an instant, 0 to 23, in UTC."""
    if is_sqlite(session):
        return sa.cast(sa.func.strftime("%H", column), sa.Integer)
    return sa.cast(sa.extract("hour", sa.func.timezone("UTC", column)), sa.Integer)


def current_xid(session: AsyncSession) -> sa.ColumnElement[int]:
    """SQL for the running transaction's id on PostgreSQL; 0 on SQLite, where one writer needs none."""
    return sa.literal_column("0" if is_sqlite(session) else "pg_current_xact_id()::text::bigint", sa.BigInteger())


def oldest_running_xid(session: AsyncSession) -> sa.ColumnElement[int]:
    """SQL for the id below which no transaction is still running; 1 on SQLite: what can be seen there is complete."""
    horizon = "1" if is_sqlite(session) else "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
    return sa.literal_column(horizon, sa.BigInteger())


def to_json(value: Any) -> str:
    """Compact JSON with readable Chinese: WeCom refuses \\uXXXX escapes, and people read our rows."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
