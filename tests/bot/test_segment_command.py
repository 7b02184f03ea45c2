"""`siyu segment` as a manager types it."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from bot.commands.segments import segment_command
from tests.conftest import migrate
from tests.town import AES_KEY, AGENT_ID, CORP_ID, SECRET, TOKEN

program = typer.Typer()
program.command()(segment_command)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty shop's database, named by the environment."""
    monkeypatch.chdir(tmp_path)
    url = f"sqlite+aiosqlite:///{tmp_path / 'shop.db'}"
    migrate(url)
    named = {"DATABASE_URL": url, "CORP_ID": CORP_ID, "APPS__MAIN__AGENT_ID": str(AGENT_ID)}
    named |= {"APPS__MAIN__SECRET": SECRET, "APPS__MAIN__TOKEN": TOKEN, "APPS__MAIN__AES_KEY": AES_KEY}
    for name, value in named.items():
        monkeypatch.setenv(f"SIYU_{name}", value)
    return tmp_path


def run(folder: Path, definition: str, *options: str) -> tuple[int, str]:
    file = folder / "条件.json"
    file.write_text(definition, encoding="utf-8-sig")
    ran = CliRunner().invoke(program, [str(file), *options])
    return ran.exit_code, ran.stdout


def test_it_counts_and_shows_the_funnel(shop: Path) -> None:
    status, said = run(shop, json.dumps({"is": "ordered", "when": {"last_days": 30}}))
    assert status == 0 and "共 0 位会员" in said and "近 30 天下过单" in said


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ("{", "JSON"),
        ('{"is": "rich"}', "写得不对"),
        ('{"is": "gender", "among": []}', "among"),
        ("[" * 99_999, "JSON"),
    ],
    ids=["broken", "unknown", "empty", "endless"],
)
def test_a_file_that_cannot_be_meant_gets_a_sentence(shop: Path, definition: str, words: str) -> None:
    status, said = run(shop, definition)
    assert status == 2 and words in said


def test_a_member_nobody_knows_gets_a_sentence(shop: Path) -> None:
    status, said = run(shop, '{"is": "joined", "when": {}}', "--why", "ABCD2345")
    assert status == 1 and "没有会员号" in said


def test_the_schema_needs_no_database() -> None:
    ran = CliRunner().invoke(program, ["--schema"])
    assert ran.exit_code == 0 and "date_comes" in ran.stdout
