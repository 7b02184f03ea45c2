"""`siyu newcomers …` from a terminal: who came in a burst is listed with the evidence, admitted or refused."""

import json
import random
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from bot.cli import cli
from bot.flashsale import newcomers, sales
from bot.flashsale.newcomers import Ask, Rule
from bot.flashsale.sales import ItemPlan, Plan
from crm import identities
from crm.base.clock import SystemClock
from crm.base.db import open_sessions
from crm.models.member import MemberSource

run = CliRunner()


@pytest.fixture
async def code(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of a sale to which three new faces came."""
    known = {"SIYU_DATABASE_URL": database_url, "SIYU_CORP_ID": "ww1"}
    for name, value in {**known, "SIYU_APPS": json.dumps({"main": {"agent_id": 1, "secret": "test"}})}.items():
        monkeypatch.setenv(name, value)
    sessions, now = open_sessions(database_url), SystemClock().now()
    item = ItemPlan(code="A1", sku="A1", name="冻干", price_fen=1, list_price_fen=2, stock=3)
    plan = Plan(name="周四秒杀", opens_at=now, closes_at=now + timedelta(hours=1), items=[item])
    people = [identities.wechat_person(f"wm{number}") for number in range(3)]
    async with sessions.begin() as session:
        ids = await identities.enrol_batch(session, people, source=MemberSource.KF, now=now)
        sale = await sales.plan(session, plan, now=now, chance=random.Random(7))
    async with sessions.connect() as connection:
        asks = [Ask(sale.id, one, "abcd") for one in ids if one is not None]
        await newcomers.take(connection, asks, Rule(same_address=3), now=now)
    await sessions.close()
    return sale.code


def said(*arguments: str, ends: int = 0) -> str:
    ended = run.invoke(cli, list(arguments))
    assert ended.exit_code == ends, ended.output
    return ended.output.replace("\n", "")


def test_a_burst_is_seen_and_decided(code: str) -> None:
    assert f"秒杀 {code} 周四秒杀 有 3 个新面孔等人看" in said("doctor", ends=1)
    listed = run.invoke(cli, ["newcomers", "list", code]).output
    assert "3 个新面孔" in listed
    one = listed.splitlines()[3].split("│")[1].strip()
    assert "放行了 1 位" in said("newcomers", "admit", code, "--member", one)
    assert "会员号找不到" in said("newcomers", "admit", code, "--member", "nobody", ends=2)
    assert "没有放行 2 位" in said("newcomers", "refuse", code)
    assert "没有在等的新面孔" in said("newcomers", "list", code)
    assert "没有秒杀 NOTHING" in said("newcomers", "list", "NOTHING", ends=2)
