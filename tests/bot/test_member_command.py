"""`siyu member …` as an operator types it."""

import asyncio
import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot.commands.member import cli
from crm.base.clock import FrozenClock
from crm.base.db import open_sessions
from tests.bot.whole_person import CUSTOMER, MARKS, PHONE, told_of, whole_person
from tests.conftest import migrate
from tests.town import AES_KEY, AGENT_ID, CORP_ID, SECRET, TOKEN


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shop that knows one person, named by the environment."""
    monkeypatch.chdir(tmp_path)
    url = f"sqlite+aiosqlite:///{tmp_path / 'shop.db'}"
    migrate(url)
    named = {"DATABASE_URL": url, "CORP_ID": CORP_ID, "APPS__MAIN__AGENT_ID": str(AGENT_ID)}
    named |= {"APPS__MAIN__SECRET": SECRET, "APPS__MAIN__TOKEN": TOKEN, "APPS__MAIN__AES_KEY": AES_KEY}
    named |= {"DATA_KEY": "dGVzdC1rZXktdGVzdC1rZXktdGVzdC1rZXktdGVzdCE="}
    for name, value in named.items():
        monkeypatch.setenv(f"SIYU_{name}", value)
    in_database(tmp_path, lambda sessions: whole_person(sessions, FrozenClock()))
    return tmp_path


def in_database(folder: Path, body):  # type: ignore[no-untyped-def]
    async def run():  # type: ignore[no-untyped-def]
        sessions = open_sessions(f"sqlite+aiosqlite:///{folder / 'shop.db'}")
        try:
            return await body(sessions)
        finally:
            await sessions.close()

    return asyncio.run(run())


def run(*words: str) -> tuple[int, str]:
    ran = CliRunner().invoke(cli, list(words))
    return ran.exit_code, ran.output


@pytest.mark.parametrize("who", [CUSTOMER, "138 0013 8000", "shop:acc-marked", "un-marked"])
def test_a_person_is_exported_under_any_of_their_names(shop: Path, who: str) -> None:
    status, said = run("export", who, "--out", "她.json", "--by", "wang")
    assert status == 0, said
    written = (shop / "她.json").read_text(encoding="utf-8")
    assert [mark for mark in MARKS if mark not in written] == []
    assert {"table", "title", "rows"} == set(json.loads(written)["sections"][0])
    assert stat.S_IMODE((shop / "她.json").stat().st_mode) == 0o600
    status, said = run("export", PHONE, "--out", "再.json")
    again = json.loads((shop / "再.json").read_text(encoding="utf-8"))
    [looks] = [section["rows"] for section in again["sections"] if section["table"] == "reveals"]
    assert ("wang", "export") in [(row["userid"], row["because"]) for row in looks]  # who exports has looked


def test_without_yes_nothing_is_erased_and_it_says_what_would_be(shop: Path) -> None:
    before = in_database(shop, told_of)
    status, said = run("erase", CUSTOMER)
    assert status == 0
    assert "删除" in said and "记账要留" in said and "--yes" in said
    assert in_database(shop, told_of) == before


def test_an_erasure_gives_a_receipt_that_can_be_checked(shop: Path) -> None:
    status, said = run("erase", CUSTOMER, "--yes", "--receipt", "回执.json", "--by", "wang")
    assert status == 0, said
    receipt = json.loads((shop / "回执.json").read_text(encoding="utf-8"))
    assert receipt["number"] in said
    assert [mark for mark in MARKS if mark in json.dumps(receipt, ensure_ascii=False)] == []
    assert run("receipt", receipt["number"], "--identity", PHONE)[0] == 0
    assert run("receipt", receipt["number"], "--identity", "wm-somebody")[0] == 1
    assert run("receipt", "NOSUCHNO")[0] == 2
    assert run("erase", CUSTOMER, "--yes") == (2, f"没有找到这位会员：{CUSTOMER}\n")


def test_retention_says_what_is_too_old_and_clears_it_when_told(shop: Path) -> None:
    status, said = run("retention")
    assert status == 0 and "企业微信的回调" in said and "--yes" in said
    status, said = run("retention", "--yes")
    assert status == 0 and "清理了" in said


def test_a_card_is_shown_and_a_phone_only_for_a_reason(shop: Path) -> None:
    status, said = run("show", CUSTOMER)
    assert status == 0, said
    assert "印记姓名" in said and "138****8000" in said and "付款 ¥88.00" in said
    assert PHONE not in said
    status, said = run("show", CUSTOMER, "--reveal", "约送货")
    assert status == 0 and PHONE in said
    status, said = run("show", CUSTOMER, "--role", "auditor", "--reveal", "看看")
    assert status == 2 and PHONE not in said and "印记姓名" not in said
