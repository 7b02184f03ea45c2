"""`siyu sale …` from a terminal: a file becomes a sale with links, is announced and closed, and says what is wrong."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot.cli import cli
from crm.base.clock import SHANGHAI, SystemClock
from crm.base.db import open_sessions
from crm.models.group import Group

run = CliRunner()


@pytest.fixture
async def file(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    apps = {"main": {"agent_id": 1, "secret": "test"}}
    known = {"SIYU_DATABASE_URL": database_url, "SIYU_CORP_ID": "ww1", "SIYU_APPS": json.dumps(apps)}
    for name, value in {**known, "SIYU_PUBLIC_URL": "https://shop.example"}.items():
        monkeypatch.setenv(name, value)
    sessions = open_sessions(database_url)
    async with sessions.begin() as session:
        session.add(Group(chat_id="wr1", name="猫咪福利 1 群"))
    await sessions.close()
    opens = SystemClock().now().astimezone(SHANGHAI) + timedelta(days=1)
    path = tmp_path / "sale.yaml"
    path.write_text(
        f"""name: 周四秒杀
opens_at: "{opens:%Y-%m-%d %H:%M}"
closes_at: "{opens + timedelta(hours=2):%Y-%m-%d %H:%M}"
groups: [猫咪福利 1 群]
items:
  - {{code: A1, sku: SN-FD, name: 冻干鸡肉粒, price: 19.9, list_price: 39, stock: 20, shares: {{wr1: 5}}}}
""",
        encoding="utf-8",
    )
    return path


def said(*arguments: str, code: int = 0) -> str:
    ended = run.invoke(cli, ["sale", *arguments])
    assert ended.exit_code == code, ended.output
    return ended.output


def test_a_file_becomes_a_sale_that_is_announced_and_closed(file: Path) -> None:
    told = said("create", str(file))
    code = told.split()[0]
    assert f"https://shop.example/h5/sales/{code}?g=" in told
    assert "草稿" in said("list")
    told = said("announce", code)
    assert "已公布" in told and "1 个群" in told and "群主不是我们的同事" in told
    assert "做不了" in said("announce", code, code=2)
    assert "冻干鸡肉粒" in said("show", code)
    assert "已结束" in said("close", code)


def test_what_cannot_be_done_is_a_sentence(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    for old, new, words in (
        ("price: 19.9", "price: 19.999", "items.0.price：最多写到分"),
        ("stock: 20", "stock: 0", "库存要大于 0"),
        ("name: 周四秒杀", "nmae: 周四秒杀", "nmae：没有这个字段"),
        ("groups: [猫咪福利 1 群]", "groups: [没有的群]", "没有群“没有的群”"),
        ("price: 19.9", "price: 十九块九", "items.0.price：要写数字"),
        ("stock: 20", "stock: 二十", "items.0.stock：要写整数"),
        ("stock: 20", "stock: 1.5", "items.0.stock：要写整数"),
        ('opens_at: "', 'opens_at: "明天 ', "opens_at：要写时间"),
        ("items:", "pay_minutes: 0\nitems:", "pay_minutes：不能小于 1"),
        ("items:", "announce_hours: 100\nitems:", "announce_hours：不能大于 72"),
        ("items:", "honours_late: 也许\nitems:", "honours_late：写 true 或 false"),
        ("items:", "early_tags: 宝妈\nitems:", "early_tags：要写成列表"),
        ("name: 周四秒杀", "name: 20260312", "name：要写文字"),
        ("name: 周四秒杀", "name: [", "读不懂"),
    ):
        file.write_text(text.replace(old, new, 1), encoding="utf-8")
        assert words in said("create", str(file), code=2)
    file.write_text("- 只有一个列表", encoding="utf-8")
    assert "整份：要写成 名字: 值" in said("create", str(file), code=2)
    assert "还没有秒杀" in said("list")
    assert "没有秒杀 NOPE" in said("show", "NOPE", code=2)
    assert "没有在等退款" in said("refunded", "7", code=2)
