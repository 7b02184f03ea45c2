"""Files of orders and members taken in: what comes out, what is refused, and a second run that changes nothing."""

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import openpyxl
import pytest
import sqlalchemy as sa

from crm import identities, orders, phones
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.events import EventRow
from crm.base.secrets import Vault, WrongKey
from crm.import_files import BadFile
from crm.import_members import import_members
from crm.import_orders import import_orders
from crm.imports import Report
from crm.models.member import Gender, IdentityKind, Member
from crm.models.order import MemberOrders, Order
from crm.models.private import PrivateValue, Reveal
from tests.factories import Make

VAULT = Vault("a2V5IG9mIHRoZSB0ZXN0czogMzIgYnl0ZXMgbG9uZyE=")


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="gb18030")
    return path


async def take_orders(sessions: Sessions, path: Path, clock: FrozenClock) -> Report:
    return await import_orders(sessions, path, source="shop", now=clock.now())


async def take_members(sessions: Sessions, path: Path, clock: FrozenClock) -> Report:
    return await import_members(sessions, path, source="shop", vault=VAULT, now=clock.now())


def refusals(path: Path) -> dict[int, str]:
    with path.with_name(f"{path.name}.errors.csv").open(encoding="utf-8-sig", newline="") as file:
        return {int(row["行号"]): row["原因"] for row in csv.DictReader(file)}


async def statuses(sessions: Sessions) -> dict[str, str]:
    async with sessions.read() as session:
        return {row.external_no: row.status.value for row in await session.scalars(sa.select(Order))}


ORDERS = (
    "订单编号,买家账号,下单时间,付款时间,实付金额,退款金额,订单状态",
    '="01",喵喵,2026-03-01 10:00,2026-03-01 10:05,"￥1,299.00",,交易成功',
    "02,喵喵,2026-03-02,,88,,待付款",
    "03,旺财,2026/3/3,2026/3/3,100,30,部分退款",
    "04,旺财,2026/3/4,2026/3/4,100,,交易关闭",
    "05,旺财,2026/3/5,,100,,已取消",
)


async def test_a_shops_export_becomes_orders_and_a_second_run_changes_nothing(
    sessions: Sessions, clock: FrozenClock, tmp_path: Path
) -> None:
    path = write(tmp_path / "o.csv", *ORDERS)
    first = await take_orders(sessions, path, clock)
    assert (first.rows, first.added, first.refused) == (5, 5, 0)
    assert await statuses(sessions) == {
        "01": "paid",
        "02": "placed",
        "03": "partly_refunded",
        "04": "refunded",
        "05": "cancelled",
    }
    async with sessions.read() as session:
        before = await session.scalar(sa.select(sa.func.count()).select_from(EventRow))
        dog = await identities.find_by(session, *identities.shop_account("shop", "旺财"))
        assert dog is not None
        totals = await session.get_one(MemberOrders, dog.id)
        assert (totals.orders, totals.paid_fen, totals.refunded_fen) == (1, 20000, 13000)
    clock.advance(hours=1)
    again = await take_orders(sessions, path, clock)
    assert (again.added, again.changed, again.unchanged) == (0, 0, 5)
    async with sessions.read() as session:
        assert await session.scalar(sa.select(sa.func.count()).select_from(EventRow)) == before


async def test_a_changed_row_is_an_update(sessions: Sessions, clock: FrozenClock, tmp_path: Path) -> None:
    await take_orders(sessions, write(tmp_path / "o.csv", *ORDERS), clock)
    later = [
        line.replace("02,喵喵,2026-03-02,,88,,待付款", "02,喵喵,2026-03-02,2026-03-02,88,,已付款") for line in ORDERS
    ]
    report = await take_orders(sessions, write(tmp_path / "o.csv", *later), clock)
    assert (report.added, report.changed, report.unchanged) == (0, 1, 4)
    assert (await statuses(sessions))["02"] == "paid"


async def test_bad_rows_are_refused_alone_with_their_reasons(
    sessions: Sessions, clock: FrozenClock, tmp_path: Path
) -> None:
    path = write(
        tmp_path / "o.csv",
        "订单号,会员号,付款时间,金额",
        "1,a,2026-03-01,1",
        "2,,2026-03-01,1",
        "3,a,2099-03-01,1",
        "4,a,2026-03-01,-1",
        "5,a,,1",
        ",a,2026-03-01,1",
        "7,a,2026-03-01",
        "8,a,2026-03-01,一块",
        "2.0E+17,a,2026-03-01,1",
        "10,a,2026-03-01,2",
    )
    report = await take_orders(sessions, path, clock)
    assert (report.added, report.refused) == (2, 8)
    found = {row: reason.partition("：")[0] for row, reason in refusals(path).items()}
    assert found == {
        3: "没有会员",
        4: "时间在未来",
        5: "订单金额是负数",
        6: "没有时间",
        7: "没有订单号",
        8: "有 3 格，第一行有 4 列",
        9: "金额不是金额",
        10: "科学计数法丢了后面的数字，请把这一列设成“文本”再导出",
    }
    await take_orders(sessions, write(path, "订单号,会员号,付款时间,金额", "1,a,2026-03-01,1"), clock)
    assert not path.with_name("o.csv.errors.csv").exists()


async def test_a_file_with_the_wrong_columns_writes_nothing(
    sessions: Sessions, clock: FrozenClock, tmp_path: Path
) -> None:
    path = write(tmp_path / "o.csv", "编码,会员号,付款时间", "1,a,2026-03-01")
    with pytest.raises(BadFile, match="缺少列：订单号；金额。文件里有：编码、会员号、付款时间"):
        await take_orders(sessions, path, clock)
    assert await statuses(sessions) == {}


LINES = (
    "订单号,会员号,付款时间,货号,标题,数量,单价",
    "A,喵喵,2026-03-01 10:00,cat-1,猫砂,2,29.90",
    "A,喵喵,2026-03-01 10:01,toy-1,逗猫棒,1,9.90",
    "B,旺财,2026-03-01,dog-1,狗粮,1,100",
    "A,喵喵,2026-03-01 10:02,can-1,罐头,3,5",
    "C,旺财,2026-03-01,dog-1,狗粮,1,100",
    "C,旺财,2026-03-01,dog-2,狗绳,0,100",
)


async def test_lines_become_whole_orders_even_where_they_do_not_stand_together(
    sessions: Sessions, clock: FrozenClock, tmp_path: Path
) -> None:
    path = write(tmp_path / "l.csv", *LINES)
    report = await take_orders(sessions, path, clock)
    assert (report.added, report.refused) == (2, 2)
    assert refusals(path) == {6: "同一订单的另一行有错，整单没有导入：第 7 行", 7: "数量要大于 0：0"}
    async with sessions.read() as session:
        order = await orders.find(session, "shop", "A")
        assert order is not None and order.total_fen == 2 * 2990 + 990 + 3 * 500
        assert [line.sku for line in await orders.lines_of(session, order.id)] == ["cat-1", "toy-1", "can-1"]
    assert (await take_orders(sessions, path, clock)).unchanged == 2


async def test_refunds_find_their_orders_in_either_order(
    sessions: Sessions, clock: FrozenClock, tmp_path: Path
) -> None:
    refund = write(
        tmp_path / "r.csv", "退款单号,订单号,会员号,付款时间,金额", "R1,X,喵,2026-03-02,40", "R2,,喵,2026-03-02,5"
    )
    order = write(tmp_path / "o.csv", "订单号,会员号,付款时间,金额", "X,喵,2026-03-01,100")
    for path in (refund, order, refund, order):
        assert (await take_orders(sessions, path, clock)).refused == 0
    assert await statuses(sessions) == {"X": "partly_refunded"}
    async with sessions.read() as session:
        [totals] = await session.scalars(sa.select(MemberOrders))
        assert (totals.paid_fen, totals.refunded_fen) == (10000, 4500)
    too_much = write(tmp_path / "t.csv", "退款单号,订单号,会员号,付款时间,金额", "R3,X,喵,2026-03-02,61")
    assert (await take_orders(sessions, too_much, clock)).refused == 1
    assert "refund_too_large" in refusals(too_much)[2]


async def test_only_recent_orders_are_news(sessions: Sessions, clock: FrozenClock, tmp_path: Path) -> None:
    await take_orders(
        sessions,
        write(tmp_path / "o.csv", "订单号,会员号,付款时间,金额", "1,a,2024-03-01,1", "2,a,2026-03-08,1"),
        clock,
    )
    async with sessions.read() as session:
        rows = await session.scalars(sa.select(EventRow).where(EventRow.name == "OrderPaid"))
        assert len(list(rows)) == 1


async def test_an_xlsx_of_members_with_phones_that_excel_turned_into_floats(
    sessions: Sessions, clock: FrozenClock, tmp_path: Path
) -> None:
    book, path = openpyxl.Workbook(), tmp_path / "m.xlsx"
    assert book.active is not None
    for row in (
        ["会员编号", "姓名", "手机号", "性别", "注册时间", "生日"],
        [10001.0, "林喵喵", 13800138000.0, "女", datetime(2024, 5, 1, 9, 30), "1985-06-01"],  # noqa: DTZ001
        ["10002", "王旺财", "+86 139-1234-5678", "男", 45000, None],
        ["10003", "短号", "12345", "", None, None],
        ["10004", "妹妹", "138 0013 8000", "", None, None],
        [None, "没有号码", None, "", None, None],
        ["10006", "外星人", None, "ET", None, None],
    ):
        book.active.append(row)
    book.save(path)
    report = await take_members(sessions, path, clock)
    assert (report.added, report.refused) == (2, 4)
    assert {row: reason.partition("：")[0] for row, reason in refusals(path).items()} == {
        4: "不是手机号",
        5: "这个手机号已经属于另一个会员号",
        6: "没有会员号，也没有手机号",
        7: "不认识这个性别",
    }
    async with sessions.begin() as session:
        lin = await identities.find_by(session, *phones.key(VAULT, "+8613800138000"))
        assert lin is not None
        assert (lin.name, lin.gender) == ("林喵喵", Gender.FEMALE)
        assert lin.joined_at == datetime(2024, 5, 1, 1, 30, tzinfo=UTC)
        assert await phones.masked_of(session, VAULT, lin.id) == ["138****8000"]
        shown = await phones.reveal(session, VAULT, lin.id, userid="adou", because="回访", now=clock.now())
        assert shown == ["+8613800138000"]
        [seen] = await session.scalars(sa.select(Reveal))
        assert (seen.member_id, seen.userid, seen.because) == (lin.id, "adou", "回访")
        assert all("13800138000" not in row.sealed for row in await session.scalars(sa.select(PrivateValue)))
    again = await take_members(sessions, path, clock)
    assert (again.added, again.changed, again.unchanged) == (0, 0, 2)


async def test_a_member_file_joins_what_wecom_knows_and_overwrites_nothing(
    sessions: Sessions, make: Make, clock: FrozenClock, tmp_path: Path
) -> None:
    known = await make.member(external_userid="wm-1", name="喵喵妈")
    path = write(tmp_path / "m.csv", "会员号,外部联系人ID,姓名,注册时间", "10001,wm-1,林女士,2020-01-01")
    assert (await take_members(sessions, path, clock)).changed == 1
    async with sessions.read() as session:
        [one] = await session.scalars(sa.select(Member))
        assert (one.id, one.name) == (known.id, "喵喵妈")
        assert one.joined_at < clock.now() - timedelta(days=2000)
        assert await identities.values_of(session, one.id, IdentityKind.SHOP_ACCOUNT) == ["shop:10001"]


async def test_phones_are_not_taken_in_without_a_key(sessions: Sessions, clock: FrozenClock, tmp_path: Path) -> None:
    path = write(tmp_path / "m.csv", "会员号,手机号", "1,13800138000")
    with pytest.raises(BadFile, match="SIYU_DATA_KEY"):
        await import_members(sessions, path, source="shop", vault=None, now=clock.now())


def test_what_is_sealed_opens_only_with_its_key_and_for_its_purpose() -> None:
    sealed = VAULT.seal("13800138000", about="phone")
    assert VAULT.open(sealed, about="phone") == "13800138000"
    assert sealed != VAULT.seal("13800138000", about="phone")
    other = Vault("b3RoZXIga2V5IG9mIHRoZSB0ZXN0cywgMzIgYnl0ZXM=")
    for vault, about in ((other, "phone"), (VAULT, "address")):
        with pytest.raises(WrongKey):
            vault.open(sealed, about=about)
    with pytest.raises(WrongKey):
        VAULT.open(sealed[:-6] + "AAAA==", about="phone")
    with pytest.raises(WrongKey):
        Vault("c2hvcnQ=")
