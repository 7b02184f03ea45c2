"""The migrations make exactly the tables the models describe, on both databases, and can be taken back."""

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from crm.base.db import Sessions
from tests.conftest import ROOT


def config(url: str) -> Config:
    made = Config(str(ROOT / "alembic.ini"))
    made.set_main_option("script_location", str(ROOT / "migrations"))
    made.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return made


def test_models_and_migrations_agree(database_url: str) -> None:
    command.check(config(database_url))


def test_there_is_one_line_of_migrations() -> None:
    assert len(ScriptDirectory.from_config(config("sqlite://")).get_heads()) == 1


def test_every_migration_can_be_taken_back(database_url: str) -> None:
    command.downgrade(config(database_url), "base")
    command.upgrade(config(database_url), "head")


async def test_sqlite_is_durable_and_strict(sessions: Sessions) -> None:
    if sessions.dialect != "sqlite":
        return
    async with sessions.begin() as session:
        settings = {
            name: (await session.execute(sa.text(f"PRAGMA {name}"))).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
