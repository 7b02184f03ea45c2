"""`siyu coupons …` as a manager types it: first what it would do, then doing it, then how far it is."""

import asyncio
import random
from datetime import UTC, datetime
from pathlib import Path

from typer.testing import CliRunner

from bot.commands.coupons import cli
from campaigns import coupon_grants, offers
from crm import segments
from crm.base.clock import FrozenClock
from crm.base.db import open_sessions
from tests.bot.test_segment_command import shop
from tests.campaigns.fixtures import EVERYBODY
from tests.factories import Make

__all__ = ["shop"]


def run(*arguments: str, status: int = 0) -> str:
    ran = CliRunner().invoke(cli, list(arguments))
    assert ran.exit_code == status, ran.output
    return ran.output


async def _stock(folder: Path, *, people: int, stock: int) -> None:
    sessions = open_sessions(f"sqlite+aiosqlite:///{folder / 'shop.db'}")
    now = datetime.now(UTC)
    try:
        make = Make(sessions, FrozenClock(now), random.Random(7))
        for _ in range(people):
            await make.member()
        async with sessions.begin() as session:
            await segments.save(session, "老客", EVERYBODY, now=now)
            terms = {"key": "减20", "title": "减20", "kind": "amount", "amount_fen": 2000, "starts_at": now}
            draft = offers.Draft.model_validate({**terms, "valid_days": 3, "stock": stock})
            await offers.put(session, draft, now=now)
    finally:
        await sessions.close()


async def _work(folder: Path) -> None:
    sessions = open_sessions(f"sqlite+aiosqlite:///{folder / 'shop.db'}")
    try:
        goes_on = True
        while goes_on:
            async with sessions.begin() as session:
                goes_on = await coupon_grants.advance(session, now=datetime.now(UTC))
    finally:
        await sessions.close()


def test_it_says_first_what_it_would_do(shop: Path) -> None:
    asyncio.run(_stock(shop, people=3, stock=2))
    assert "还没有批量发过券" in run("grants")
    said = run("give", "减20", "--segment", "老客")
    assert "有 3 人（选中了全部会员" in said and "只剩 2 张，按会员号先后发，1 人会没有" in said
    assert "什么也没发" in said and "还没有批量发过券" in run("grants")
    assert "发放中" in run("give", "减20", "--segment", "老客", "--yes")
    asyncio.run(_work(shop))
    assert "发完了" in run("give", "减20", "--segment", "老客", "--yes")  # told twice, given once
    assert "发完了" in (told := run("grants")) and "轮到 3 人，发了 2 张，1 人来时没有了" in told
    assert "做不了这件事" in run("stop", "减20·老客", status=2)


def test_what_cannot_be_given_says_why(shop: Path) -> None:
    asyncio.run(_stock(shop, people=1, stock=2))
    assert "没有叫“新客”的人群" in run("give", "减20", "--segment", "新客", status=2)
    assert "没有叫这个名字的优惠" in run("give", "减30", "--segment", "老客", status=2)
    assert "没有叫这个名字的批量发券" in run("stop", "礼", status=2)
