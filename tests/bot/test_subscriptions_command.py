"""`siyu subscriptions`: a plan from a file, who has it, what is due, and what it will take."""

import asyncio
import csv
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from bot.cli import cli
from bot.commands import subscriptions as subscriptions_command
from campaigns import subscription_orders, subscriptions
from campaigns.models.subscription import Mode
from crm import addresses, identities
from crm.base.clock import SystemClock, local_day
from crm.base.db import open_sessions
from crm.base.secrets import Vault
from crm.identities import wechat_person
from crm.members import Profile
from crm.models.member import MemberSource

KEY = "dGVzdC1rZXktdGVzdC1rZXktdGVzdC1rZXktdGVzdCE="
PLAN = """
key: 猫粮
title: 猫粮月套餐
price: 99
items:
  - {sku: F1, name: 全价猫粮, category: 猫粮, price: 129, quantity: 2}
"""


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a narrow one the tables cut names short."""
    monkeypatch.setattr(subscriptions_command, "out", Console(width=160, highlight=False, soft_wrap=True))


@pytest.fixture
def folder(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    more = {"CORP_ID": "ww1", "APPS__MAIN__AGENT_ID": "1", "APPS__MAIN__SECRET": "x", "DATA_KEY": KEY}
    for name, value in {"DATABASE_URL": database_url, **more}.items():
        monkeypatch.setenv(f"SIYU_{name}", value)
    monkeypatch.setenv("COLUMNS", "220")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli, ["subscriptions", *words])
    assert done.exit_code == code, done.output
    return done.output


async def subscribe(database_url: str) -> str:
    sessions, now = open_sessions(database_url), SystemClock().now()
    async with sessions.begin() as session:
        person = wechat_person("wm-1", profile=Profile(name="陈晓"))
        member = await identities.enrol(session, person, source=MemberSource.KF, now=now)
        told = addresses.normalized("上海市浦东新区世纪大道 100 号 8 楼")
        assert told is not None
        kept = await addresses.keep(session, Vault(KEY), member.id, told, now=now)
        assert kept == await addresses.keep(session, Vault(KEY), member.id, told, now=now)
        view = await subscriptions.sign_up(
            session, member.id, "猫粮", mode=Mode.DEFAULT, quantity=3, address_id=kept, now=now,
            first_on=local_day(now) + timedelta(days=2),
        )  # fmt: skip
        order_no = view.cycle.order_no if view.cycle else ""
        await subscription_orders.pay(session, order_no, paid_fen=29_700, paid_at=now, transaction_id="t1", now=now)
    await sessions.close()
    return order_no


def test_from_the_file_to_the_parcel(folder: Path, database_url: str) -> None:
    assert "还没有套餐" in run("list")
    (folder / "plan.yaml").write_text(PLAN, encoding="utf-8")
    assert "每月一期，每期 99 元，买 3 期送 1 期，订阅期间不涨价" in run("apply", "plan.yaml")
    assert "第 1 版" in run("apply", "plan.yaml")
    order_no = asyncio.run(subscribe(database_url))
    assert "猫粮月套餐" in run("list")
    listed = run("due")
    assert "陈晓" in listed and "297" in listed and "已付款" in listed
    forecast = run("forecast", "--weeks", "9")
    assert forecast.count("F1") >= 2 and "6" in forecast
    day = local_day(SystemClock().now()) + timedelta(days=2)
    assert "1 个包裹" in run("ship", f"{day:%Y-%m-%d}", "--out", "out.csv")
    with (folder / "out.csv").open(encoding="utf-8-sig") as sheet:
        rows = list(csv.reader(sheet))
    assert rows[1] == [order_no, "陈晓", "上海市浦东新区世纪大道 100 号 8 楼", "F1", "全价猫粮", "6"]
    (folder / "plan.yaml").write_text(PLAN + "unit: days\nevery: 10\n", encoding="utf-8")
    assert "周期不能改" in run("apply", "plan.yaml", code=2)
    assert "结束了 1 个订阅" in run("close", "猫粮", "--end")
    assert "没有叫“狗粮”的套餐" in run("close", "狗粮", code=2)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("key: [", "读不懂"),
        ("key: a", "title：没有写"),
        (PLAN + "gift_every: 1\n", "每期都送"),
        (PLAN + "prize: 1\n", "没有这个字段"),
    ],
)
def test_a_file_that_cannot_be_meant_says_why(folder: Path, written: str, said: str) -> None:
    (folder / "plan.yaml").write_text(written, encoding="utf-8")
    assert said in run("apply", "plan.yaml", code=2)
