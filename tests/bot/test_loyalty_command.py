"""`siyu loyalty` as a manager types it."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from bot.commands.loyalty import loyalty_command
from tests.conftest import ROOT, migrate
from tests.town import AES_KEY, AGENT_ID, CORP_ID, SECRET, TOKEN

program = typer.Typer()
program.command()(loyalty_command)


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


def run(folder: Path, rules: str | None = None) -> tuple[int, str]:
    file = folder / "规则.json"
    if rules is not None:
        file.write_text(rules, encoding="utf-8-sig")
    ran = CliRunner().invoke(program, [str(file)] if rules is not None else [])
    return ran.exit_code, ran.stdout


def documented(page: str) -> str:
    """The rules a page of the docs shows as its example."""
    return (ROOT / "docs" / page).read_text(encoding="utf-8").split("```json\n")[1].split("```")[0]


def test_a_shop_begins_without_points_and_levels(shop: Path) -> None:
    status, said = run(shop)
    assert status == 0 and "积分：没有开" in said and "等级：没有开" in said


def test_the_documented_rules_can_be_put_in_force_and_read_back(shop: Path) -> None:
    for page in ("points.md", "levels.md"):
        status, said = run(shop, documented(page))
        assert status == 0 and "规则已生效" in said
    status, said = run(shop)
    assert '"points_per_100_yuan": 100' in said and "金卡" in said and "2,000.00" in said


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ("{", "JSON"),
        ('{"point": {}}', "point"),
        ('{"points": {"points_per_100_yuan": -1, "check_in": {"cycle": 0}}}', "points.check_in.cycle"),
        ('{"points": {"lasts_days": 5}}', "lasts_days must be longer"),
        ('{"levels": {"levels": [{"name": "普通", "threshold_fen": 5}]}}', "levels.0.threshold_fen"),
        ('{"levels": {"levels": [{"name": "普通", "threshold_fen": 0, "benefits": {"points_bp": 1.5}}]}}', "points_bp"),
    ],
    ids=["broken", "unknown", "below zero", "gone before it comes", "the lowest costs", "half a multiplier"],
)
def test_rules_that_cannot_be_meant_change_nothing(shop: Path, rules: str, words: str) -> None:
    run(shop, json.dumps({"points": {}}))
    status, said = run(shop, rules)
    assert status == 2 and words in said
    assert "等级：没有开" in run(shop)[1]
