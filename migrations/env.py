"""Runs migrations on SQLite and PostgreSQL: short lock waits, and one process at a time."""

import asyncio
import importlib
import os
import pkgutil

import sqlalchemy as sa
from alembic import context
from sqlalchemy.ext.asyncio import AsyncConnection

from crm.base.db import Base, open_sessions

DEFAULT_URL = "sqlite+aiosqlite:///var/siyu.db"
MIGRATION_LOCK = 7_001_202  # any number, the same for every process that migrates
LOCK_WAIT = "5s"  # a migration that cannot have its lock gives way to customers and is tried again


def _metadata() -> sa.MetaData:
    for package in ("crm.models", "campaigns.models", "bot.models"):
        try:
            found = importlib.import_module(package)
        except ModuleNotFoundError:
            continue
        for module in pkgutil.iter_modules(found.__path__):
            importlib.import_module(f"{package}.{module.name}")
    for module_name in ("events", "outbox"):
        importlib.import_module(f"crm.base.{module_name}")
    return Base.metadata


def _run(connection: sa.Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=_metadata(),
        render_as_batch=True,
        transaction_per_migration=True,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def _run_on(connection: AsyncConnection) -> None:
    if connection.dialect.name == "postgresql":
        await connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_WAIT}'")
        await connection.exec_driver_sql(f"SELECT pg_advisory_lock({MIGRATION_LOCK})")
        await connection.commit()
    await connection.run_sync(_run)
    await connection.commit()


async def migrate(url: str) -> None:
    sessions = open_sessions(url)
    try:
        async with sessions.writer.connect() as connection:
            await _run_on(connection)
    finally:
        await sessions.close()


given = context.get_x_argument(as_dictionary=True).get("url")
asyncio.run(
    migrate(
        given or context.config.get_main_option("sqlalchemy.url") or os.environ.get("SIYU_DATABASE_URL", DEFAULT_URL)
    )
)
