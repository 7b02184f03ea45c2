"""`siyu campaigns …` from a terminal: files in, a plan in words, and a campaign that is paused and cancelled."""

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot.cli import cli
from crm import identities
from crm.base.clock import SystemClock
from crm.base.db import open_sessions
from crm.models.member import MemberSource
from tests.campaigns.test_files import WEEKLY

run = CliRunner()


@pytest.fixture
async def shop(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    apps = {"main": {"agent_id": 1, "secret": "test"}}
    known = {"SIYU_DATABASE_URL": database_url, "SIYU_CORP_ID": "ww1", "SIYU_APPS": json.dumps(apps)}
    for name, value in known.items():
        monkeypatch.setenv(name, value)
    sessions = open_sessions(database_url)
    async with sessions.begin() as session:
        people = [identities.wechat_person(f"wm{number}") for number in range(3)]
        await identities.enrol_batch(session, people, source=MemberSource.KF, now=SystemClock().now())
    await sessions.close()
    random.seed(7)
    folder = tmp_path / "campaigns"
    folder.mkdir()
    (folder / "weekly.yaml").write_text(WEEKLY, encoding="utf-8")
    return folder


def said(*arguments: str, code: int = 0) -> str:
    ended = run.invoke(cli, ["campaigns", *arguments])
    assert ended.exit_code == code, ended.output
    return ended.output


def test_files_are_planned_applied_and_followed(shop: Path) -> None:
    assert "都能读懂" in said("validate", str(shop))
    assert "共 3 人" in said("plan", str(shop))
    assert "新建" in said("apply", str(shop))
    assert "不变" in said("apply", str(shop))
    assert "已排期" in said("list")
    assert "周末满减" in said("calendar", "--days", "8")
    assert "已暂停 错别字" in said("pause", "周末满减", "--because", "错别字")
    assert "已排期" in said("resume", "周末满减")
    assert "已取消" in said("cancel", "周末满减")
    assert "已取消" in said("show", "周末满减")


def test_what_cannot_be_done_is_a_sentence(shop: Path) -> None:
    assert "没有叫" in said("show", "没有", code=2)
    assert "没有在等人决定" in said("answer", "7", "--skip", code=2)
    (shop / "weekly.yaml").write_text(WEEKLY + "misspelt: 1", encoding="utf-8")
    assert "misspelt" in said("apply", str(shop), code=2)
