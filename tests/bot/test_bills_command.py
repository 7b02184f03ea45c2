"""`siyu bills …` from a terminal: what fits no claim is listed, and a person says what it was for."""

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from bot.cli import cli
from bot.models.bill import StrayBill
from crm.base.db import open_sessions

run = CliRunner()
NOON = datetime(2026, 3, 9, 4, tzinfo=UTC)


@pytest.fixture
async def stray(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    apps = {"main": {"agent_id": 1, "secret": "test"}}
    known = {"SIYU_DATABASE_URL": database_url, "SIYU_CORP_ID": "ww1", "SIYU_APPS": json.dumps(apps)}
    for name, value in known.items():
        monkeypatch.setenv(name, value)
    sessions = open_sessions(database_url)
    async with sessions.begin() as session:
        session.add(
            StrayBill(
                transaction_id="4200001",
                external_userid="",
                payee="mei",
                paid_fen=1990,
                paid_at=NOON,
                words="定金",
                why="没有单号，也不知道是谁付的",
                found_at=NOON,
            )
        )
    await sessions.close()
    return "4200001"


def said(*arguments: str, code: int = 0) -> str:
    ended = run.invoke(cli, ["bills", *arguments])
    assert ended.exit_code == code, ended.output
    return ended.output


def test_money_without_a_claim_is_listed_until_a_person_has_said_what_it_is(stray: str) -> None:
    listed = said("list")
    assert all(words in listed for words in (stray, "2026-03-09 12:00", "19.9", "没有单号"))
    ended = run.invoke(cli, ["doctor"])
    assert ended.exit_code == 1 and f"收款 {stray} 对不上任何一单" in ended.output.replace("\n", "")
    assert "没有抢单 nothing" in said("claim", stray, "nothing", code=2)
    assert "记下了" in said("other", stray, "猫窝的定金")
    assert "没有对不上的收款" in said("list")
    assert "没有在等的收款" in said("other", stray, "猫窝的定金", code=2)
