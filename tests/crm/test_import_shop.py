"""A real shop's transactions, all of them, taken in and checked against the facts its collectors published."""

import csv
import lzma
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from crm import order_changes
from crm.base.db import Sessions
from crm.import_orders import import_orders
from crm.models.member import Identity
from crm.models.order import MemberOrders, Order, OrderLine, Refund
from tests.conftest import ROOT

DATA = ROOT.parent / "shared" / "data" / "orders"
LONDON = ZoneInfo("Europe/London")
NOW = datetime(2026, 3, 9, 2, 0, tzinfo=UTC)

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the shop's transactions are not beside the repository")


async def counts(sessions: Sessions) -> Mapping[str, Any]:
    async with sessions.read() as session:
        gross = sa.select(sa.func.count(), sa.func.sum(Order.paid_fen), sa.func.count(Order.member_id.distinct()))
        orders, paid_fen, members = (await session.execute(gross.where(Order.paid_fen > 0))).one()
        return {
            "orders above zero": orders,
            "paid_fen": paid_fen,
            "members": members,
            "orders of zero": await session.scalar(
                sa.select(sa.func.count()).select_from(Order).where(Order.paid_fen == 0)
            ),
            "refunds": await session.scalar(sa.select(sa.func.count()).select_from(Refund)),
            "refunded_fen": await session.scalar(sa.select(sa.func.sum(Refund.amount_fen))),
            "lines": await session.scalar(sa.select(sa.func.count()).select_from(OrderLine)),
            "known members": await session.scalar(sa.select(sa.func.count()).select_from(Identity)),
        }


def refunded_fen() -> int:
    with (DATA / "online_retail_orders.csv").open(encoding="utf-8") as file:
        return sum(int(-Decimal(row["amount"]) * 100) for row in csv.DictReader(file) if row["kind"] == "refund")


async def test_all_orders_of_the_shop_come_in_once(sessions: Sessions, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    shutil.copy(DATA / "online_retail_orders.csv", path)
    report = await import_orders(sessions, path, source="retail", now=NOW, zone=LONDON)
    assert (report.rows, report.added, report.refused) == (22190, 22190, 0)
    first = await counts(sessions)
    assert first == {
        "orders above zero": 18532,
        "paid_fen": 891140790,
        "members": 4338,
        "orders of zero": 4,
        "refunds": 3654,
        "refunded_fen": refunded_fen(),
        "lines": 0,
        "known members": 4372,
    }
    async with sessions.begin() as session:
        kept = (await session.execute(sa.select(MemberOrders.__table__).order_by("member_id"))).all()
        await order_changes.recount(session, [row.member_id for row in kept])
        assert (await session.execute(sa.select(MemberOrders.__table__).order_by("member_id"))).all() == kept
    again = await import_orders(sessions, path, source="retail", now=NOW, zone=LONDON)
    assert (again.added, again.changed, again.unchanged, again.refused) == (0, 0, 22190, 0)
    assert not (tmp_path / "orders.csv.errors.csv").exists()


@pytest.mark.timeout(400)  # half a million rows, on a busy machine
async def test_all_lines_of_the_shop_come_in_once(sessions: Sessions, tmp_path: Path) -> None:
    path = tmp_path / "lines.csv"
    with lzma.open(DATA / "online_retail_lines.csv.xz") as packed, path.open("wb") as file:
        shutil.copyfileobj(packed, file)
    report = await import_orders(sessions, path, source="retail", now=NOW, zone=LONDON)
    assert (report.rows, report.added, report.refused) == (541909, 22190, 135080)
    assert set(report.reasons) <= {"没有会员", "不是订单也不是退款", "数量要大于 0"}
    found = await counts(sessions)
    assert found["lines"] == 397924
    assert (found["orders above zero"], found["paid_fen"], found["members"]) == (18532, 891140790, 4338)
    assert (found["refunds"], found["refunded_fen"]) == (3654, refunded_fen())
