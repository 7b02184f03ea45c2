"""`siyu rfm` as it is typed: a file alone, the shop's own members, two days compared, and what it says of bad input."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bot.cli import cli
from bot.commands import rfm
from crm import identities, orders
from crm.base.clock import SystemClock, local_day
from crm.base.db import open_sessions
from crm.identities import wechat_person
from crm.members import Profile
from crm.models.member import MemberSource
from crm.order_terms import Told

HEADER = "order_id,member_id,paid_at,kind,amount\n"


@pytest.fixture
def shop(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, value in {
        "DATABASE_URL": database_url,
        "CORP_ID": "ww1",
        "APPS__MAIN__AGENT_ID": "1",
        "APPS__MAIN__SECRET": "s",
    }.items():
        monkeypatch.setenv(f"SIYU_{name}", value)
    yield database_url


def siyu(*words: object) -> Result:
    """The command on a terminal of the usual 80 columns, whatever the test run's own is."""
    rfm.out.width = 80
    return CliRunner().invoke(cli, ["rfm", *map(str, words)])


def test_a_file_is_scored_without_settings_or_database(tmp_path: Path) -> None:
    told, out = tmp_path / "orders.csv", tmp_path / "scores.csv"
    told.write_text(HEADER + "1,a,2026-03-01T10:00:00,sale,10.00\n2,b,2026-03-05,sale,20\n2,b,2026-03-06,refund,-5\n")
    ran = siyu("--as-of", "2026-03-09", "--orders", told, "--out", out)
    assert ran.exit_code == 0, ran.output
    assert "2 笔销售，1 笔退款；截至 2026-03-09 零点、最近 365 天有 2 位会员得分" in ran.output
    assert out.read_text().splitlines()[1:] == ["a,8,1,1000,1,1,1,一般保持", "b,4,1,1500,3,1,3,重要价值"]
    assert not list(tmp_path.glob("*.part"))


def test_refused_rows_are_told_and_the_rest_is_scored(tmp_path: Path) -> None:
    told, out = tmp_path / "orders.csv", tmp_path / "scores.csv"
    told.write_text(HEADER + "1,a,2026-03-01,sale,10\n2,a,2026-03-02,sale,ten\n", encoding="gbk")
    ran = siyu("--as-of", "2026-03-09", "--orders", told, "--out", out)
    assert ran.exit_code == 1
    assert "第 3 行：金额读不懂：“ten”" in ran.output
    assert len(out.read_text().splitlines()) == 2


def test_a_file_that_cannot_be_meant_is_answered_in_a_sentence(tmp_path: Path) -> None:
    told = tmp_path / "orders.csv"
    told.write_text("订单号,金额\n1,2\n", encoding="gbk")
    ran = siyu("--as-of", "2026-03-09", "--orders", told)
    assert ran.exit_code == 2
    assert "文件缺少这些列：order_id、member_id、paid_at、kind、amount。现有的列：订单号、金额" in ran.stderr
    told.write_bytes(b"order_id,member_id,paid_at,kind,amount\n1," + b"x" * 200_000 + b",2026-03-01,sale,1\n")
    ran = siyu("--as-of", "2026-03-09", "--orders", told)
    assert ran.exit_code == 2 and "这不是一份能读的 CSV" in ran.stderr
    told.write_text("")
    assert siyu("--orders", told).exit_code == 2
    told.write_text(HEADER)
    assert siyu("--orders", told, "--out", tmp_path / "nowhere" / "out.csv").exit_code == 2
    assert siyu("--orders", tmp_path / "missing.csv").exit_code == 2


async def _sell(url: str, *days_ago: int) -> str:
    sessions, now = open_sessions(url), SystemClock().now()
    person = wechat_person("wm-1", profile=Profile(name="小林"))
    async with sessions.begin() as session:
        member = await identities.enrol(session, person, source=MemberSource.KF, now=now)
        for days in days_ago:
            at = now - timedelta(days=days)
            told = Told(
                source="t", external_no=f"N{days}", member_id=member.id, placed_at=at, total_fen=990, paid_at=at
            )
            await orders.place(session, told, now=now)
        code = member.code
    await sessions.close()
    return code


def test_the_shops_members_are_scored_explained_compared_and_tested(shop: str, tmp_path: Path) -> None:
    code = asyncio.run(_sell(shop, 3, 40))
    today = local_day(SystemClock().now())
    out = tmp_path / "scores.csv"
    before = today - timedelta(days=30)
    ran = siyu("--out", out)
    assert ran.exit_code == 0 and f"{today}：1 位会员得分，其中 1 位和上一次快照不同" in ran.output
    assert out.read_text().splitlines()[1].endswith(",3,2,1980,1,1,1,重要价值")
    assert siyu("--as-of", before).exit_code == 0
    assert "距上次付款 3 天" in siyu("--why", code).output
    matrix = siyu("--compare", before)
    assert matrix.exit_code == 0 and matrix.output.count("重要价值") == 1  # the row; the column's head has two lines
    assert "…" not in matrix.output
    assert siyu("--compare", before - timedelta(days=1)).exit_code == 2
    tested = siyu("--as-of", before, "--back-test", 90)
    assert tested.exit_code == 0 and "9.90" in tested.output
    assert siyu("--as-of", today + timedelta(days=2)).exit_code == 2
    assert siyu("--why", "NOBODYXX").exit_code == 2
