"""`siyu api-key …` from a terminal: a key is printed once, listed by its beginning, and taken back."""

import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from bot.cli import cli
from bot.commands import api_keys as api_keys_command

run = CliRunner()


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a narrow one the tables cut names short."""
    monkeypatch.setattr(api_keys_command, "out", Console(width=160, highlight=False, soft_wrap=True))


@pytest.fixture(autouse=True)
def _settings(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    apps = {"main": {"agent_id": 1, "secret": "test"}}
    known = {"SIYU_DATABASE_URL": database_url, "SIYU_CORP_ID": "ww1", "SIYU_APPS": json.dumps(apps)}
    for name, value in {**known, "SIYU_DATA_KEY": "a" * 43 + "=", "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)


def said(*arguments: str, code: int = 0) -> str:
    ended = run.invoke(cli, ["api-key", *arguments])
    assert ended.exit_code == code, ended.output
    return ended.output


def test_a_key_is_printed_once_listed_and_taken_back() -> None:
    assert "还没有建过钥匙" in said("list")
    made = said("create", "收银台", "--scope", "orders:write", "--scope", "members:read", "--days", "30")
    secret = made.split()[-1]
    assert secret.startswith("siyu_") and len(secret) == 48
    listed = said("list")
    assert secret[:10] in listed and secret not in listed and "orders:write" in listed and "到期" in listed
    assert "已收回" in said("revoke", "收银台")
    assert "以前就收回了" in said("revoke", "收银台")
    assert "收回" in said("list")


def test_what_cannot_be_done_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "至少给一个权限" in said("create", "收银台", code=2)
    assert "没有叫“nobody”的钥匙" in said("revoke", "nobody", code=2)
    said("create", "收银台", "--all")
    assert "换个名字" in said("create", "收银台", "--all", code=2)
    monkeypatch.delenv("SIYU_DATA_KEY")
    assert "SIYU_DATA_KEY" in said("create", "另一把", "--all", code=2)
