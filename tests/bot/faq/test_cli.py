import asyncio
import csv

import pytest
from typer.testing import CliRunner

from bot.cli import cli
from bot.faq import store
from bot.faq.articles import load
from crm.base.db import open_sessions

FILE = """编号,问题,相似问题,答案,状态
ship,多久发货,什么时候发货|几天能发货,48 小时内发出。,
free,满多少包邮,包邮吗|运费怎么算,满 88 元包邮。,已发布
new,有没有会员日,,每月 8 号。,草稿
bad,积分怎么用,,您有 {余额} 分,
"""


@pytest.fixture
def siyu(database_url, monkeypatch, tmp_path):
    """The command line at a fresh database, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "DATABASE_URL": database_url,
        "CORP_ID": "ww0000000000000001",
        "APPS__MAIN__AGENT_ID": "1000002",
        "APPS__MAIN__SECRET": "secret",
    }.items():
        monkeypatch.setenv(f"SIYU_{name}", value)
    monkeypatch.setenv("COLUMNS", "160")
    return lambda *words: CliRunner().invoke(cli, [str(word) for word in words])


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "faq.csv"
    path.write_text(FILE, encoding="utf-8")
    return path


def live(database_url):
    async def look():
        sessions = open_sessions(database_url)
        try:
            async with sessions.read() as session:
                return await store.published(session), await store.drafts(session)
        finally:
            await sessions.close()

    return asyncio.run(look())


def test_a_file_is_imported_its_bad_rows_are_told_and_a_second_run_changes_nothing(siyu, file, database_url):
    first = siyu("import", "faq", file)
    assert first.exit_code == 1, "a row was refused"
    assert "新增或修改 3 篇" in first.stdout
    (refused,) = csv.DictReader((file.parent / "faq.csv.errors.csv").read_text(encoding="utf-8-sig").splitlines())
    assert refused["row"] == "5" and "{余额}" in refused["reason"]
    published, drafts = live(database_url)
    assert (list(published), list(drafts)) == (["ship", "free"], ["new"])
    again = siyu("import", "faq", file)
    assert "新增或修改 0 篇，没有变化 3 篇" in again.stdout
    assert live(database_url) == (published, drafts)


@pytest.mark.parametrize("name", ["out.csv", "out.xlsx", "out.jsonl"])
def test_what_is_exported_comes_back_without_loss(siyu, file, database_url, tmp_path, name):
    siyu("import", "faq", file)
    assert siyu("export", "faq", tmp_path / name).exit_code == 0
    loaded = load(tmp_path / name)
    published, drafts = live(database_url)
    assert loaded.articles == store.contents(published) and loaded.drafts == store.contents(drafts)
    assert "新增或修改 0 篇" in siyu("import", "faq", tmp_path / name).stdout


def test_an_edit_that_makes_an_old_question_worse_fails_the_check_and_is_not_published(siyu, file, tmp_path):
    cases = tmp_path / "cases.csv"
    cases.write_text("question,expected\n运费怎么算,free\n什么时候发货,ship\n", encoding="utf-8")
    siyu("import", "faq", file)
    assert "2 个" in siyu("faq", "cases", cases).stdout
    file.write_text(FILE.replace("已发布", "").replace("48 小时", "24 小时"), encoding="utf-8")
    siyu("import", "faq", file)
    assert siyu("faq", "check").exit_code == 0

    file.write_text(FILE.replace("包邮吗|运费怎么算", ""), encoding="utf-8")
    refused = siyu("import", "faq", file)
    assert refused.exit_code == 1 and "1 个老问题会变差" in refused.stderr and "运费怎么算" in refused.stderr
    assert siyu("faq", "check").exit_code == 0, "nothing went live"
    ahead = siyu("faq", "check", "--drafts")
    assert ahead.exit_code == 1 and "运费怎么算" in ahead.stdout
    assert siyu("import", "faq", file, "--despite", "运费另写").exit_code == 1  # still the bad row
    assert "运费另写" in siyu("faq", "history", "free").stdout


def test_a_build_checks_a_file_without_any_history(siyu, file, tmp_path):
    cases = tmp_path / "cases.csv"
    cases.write_text("question,expected\n运费怎么算,free\n", encoding="utf-8")
    assert siyu("faq", "check", "--kb", file, "--cases", cases).exit_code == 0
    cases.write_text("question,expected\n运费怎么算,ship\n", encoding="utf-8")
    failed = siyu("faq", "check", "--kb", file, "--cases", cases)
    assert failed.exit_code == 1 and "答成别的" in failed.stdout


def test_articles_are_withdrawn_restored_and_published_by_hand(siyu, file, database_url):
    siyu("import", "faq", file)
    assert siyu("faq", "withdraw", "free").exit_code == 0
    assert list(live(database_url)[0]) == ["ship"]
    assert "第 1 版" in siyu("faq", "restore", "free", "1").stdout, "it says so already"
    assert siyu("faq", "publish", "free", "new").exit_code == 0
    assert list(live(database_url)[0]) == ["ship", "free", "new"]
    nobody = siyu("faq", "publish", "nobody")
    assert nobody.exit_code == 1 and "没有找到文章 nobody" in nobody.stderr


def test_an_empty_list_of_misses_says_so(siyu):
    assert "没有待写的答案" in siyu("faq", "misses").stdout
    assert "没有编号 7" in siyu("faq", "draft", "7").stderr


def test_ask_answers_from_what_is_published_else_from_the_file(siyu, file, monkeypatch):
    monkeypatch.setenv("SIYU_FAQ_FILE", str(file))
    assert "满 88 元包邮" in siyu("ask", "满多少包邮").stdout, "nothing is published yet: the file"
    siyu("import", "faq", file)
    siyu("faq", "withdraw", "free")
    assert "满 88 元包邮" not in siyu("ask", "满多少包邮").stdout
    assert "满 88 元包邮" in siyu("ask", "满多少包邮", "--faq", file).stdout
