"""Orders out of a file: a row an order or a row a line, with refunds among them."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from crm import identities, order_batches, orders
from crm.base.clock import SHANGHAI
from crm.base.db import Sessions
from crm.base.errors import Busy, ShopError
from crm.identities import Key, Person, shop_account
from crm.import_cells import BadCell, Cell, fen, instant, number, text, whole
from crm.import_files import BadFile, Row, Sheet, open_sheet
from crm.imports import TOGETHER, Progress, Refusals, Report, check_columns
from crm.models.member import IdentityKind, MemberSource
from crm.order_batches import ToldRefund
from crm.order_terms import Line, Told

TRIES = 3
MAX_LINES = 2_000  # of one order
MAX_SPLIT_ROWS = 20_000  # rows of orders whose lines do not stand together wait in memory

_COLUMNS = {
    "order_no": "order_id order_no external_no 订单号 订单编号 订单id 主订单编号 交易编号",
    "refund_no": "refund_id refund_no 退款单号 退款编号 售后单号",
    "member_no": "member_id member_no buyer_id 会员号 会员编号 会员id 会员卡号 客户编号 买家账号 买家会员名 买家id",
    "external_userid": "external_userid 外部联系人id 企微客户id",
    "unionid": "unionid",
    "kind": "kind type 类型 单据类型",
    "status": "status 状态 订单状态 交易状态",
    "placed_at": "placed_at created_at 下单时间 创建时间 订单创建时间 订单时间",
    "paid_at": "paid_at 付款时间 支付时间 订单付款时间 成交时间",
    "cancelled_at": "cancelled_at 取消时间 关闭时间",
    "told_at": "updated_at told_at 更新时间 修改时间",
    "total": "total order_amount 订单金额 订单总额 应付金额 买家应付货款 总金额 总额",
    "amount": "amount 金额",
    "paid": "paid paid_amount 实付金额 实付 实收金额 买家实际支付金额 付款金额 支付金额",
    "refunded": "refunded refund_amount 退款金额 已退款金额",
    "line_no": "line line_no 行号",
    "sku": "sku 货号 商品编码 商家编码 规格编码",
    "name": "item name product 商品 商品名称 商品标题 宝贝标题 标题",
    "category": "category 类目 分类 商品分类 品类",
    "quantity": "qty quantity 数量 购买数量 件数",
    "price": "unit_price price 单价 商品单价 价格",
    "line_amount": "line_amount 小计 商品金额 商品小计",
}
COLUMNS = {name: column for column, names in _COLUMNS.items() for name in names.split()}
NEEDED = {
    ("order_no", "refund_no"): "订单号",
    ("member_no", "external_userid", "unionid"): "会员号（或 external_userid、unionid）",
    ("placed_at", "paid_at"): "下单时间或付款时间",
    ("total", "amount", "paid", "line_amount", "price"): "金额",
}
_STATUS = {
    "placed": "placed unpaid pending 待付款 未付款 待支付 等待买家付款",
    "paid": "paid shipped completed done success 已付款 已支付 待发货 已发货 待收货 已完成 交易成功 交易完成 已签收"
    " 买家已付款,等待卖家发货 卖家已发货,等待买家确认",
    "partly": "partly_refunded 部分退款",
    "refunded": "refunded 已退款 退款成功 全额退款",
    "cancelled": "cancelled canceled closed 已取消 已关闭 交易关闭 交易取消",
}
STATUS = {word: status for status, words in _STATUS.items() for word in words.split()}
KINDS = {"sale": "sale", "销售": "sale", "订单": "sale", "refund": "refund", "退款": "refund", "退货": "refund"}


@dataclass(slots=True)
class Draft:
    """One order or refund of the file, from one row or several."""

    order_no: str
    refund_no: str
    is_refund: bool
    person: Person
    placed_at: datetime
    paid_at: datetime | None
    cancelled_at: datetime | None
    told_at: datetime | None
    total_fen: int | None  # None: the sum of its lines
    paid_fen: int | None
    refunded_fen: int | None
    is_refunded: bool = False  # as much as was paid
    lines: list[Line] = field(default_factory=list)
    lines_fen: int = 0
    rows: list[Row] = field(default_factory=list)

    @property
    def fen(self) -> int:
        return self.lines_fen if self.total_fen is None else self.total_fen


async def import_orders(
    sessions: Sessions,
    path: Path,
    *,
    source: str,
    now: datetime,
    zone: ZoneInfo = SHANGHAI,
    progress: Progress = lambda _share, _report: None,
) -> Report:
    """Take in a file of orders; a second run changes nothing. Raises BadFile before anything is written.

    source: the shop system whose numbers these are. Rows: order and member number, instants (shop-local without a
    zone), amounts in yuan; lines of one order are rows of the same number.
    """
    sheet = open_sheet(path, COLUMNS)
    check_columns(sheet, NEEDED)
    parser = Parser(source=source, columns=sheet.columns, now=now, zone=zone)
    split = _split_orders(path) if parser.has_lines else frozenset()
    report = Report()
    with Refusals(path, report) as refusals:
        batch: dict[tuple[str, bool], Draft] = {}
        rows = 0
        for draft in _drafts(sheet, parser, split, report, refusals):
            key = (draft.refund_no or draft.order_no, draft.is_refund)
            if key in batch or rows >= TOGETHER:
                await _write(sessions, list(batch.values()), source, report, refusals, now=now, zone=zone)
                batch, rows = {}, 0
                progress(sheet.done, report)
            batch[key] = draft
            rows += len(draft.rows)
        await _write(sessions, list(batch.values()), source, report, refusals, now=now, zone=zone)
        progress(1.0, report)
    return report


def _drafts(
    sheet: Sheet, parser: "Parser", split: frozenset[int], report: Report, refusals: Refusals
) -> Iterator[Draft]:
    """Whole orders, in the order in which their rows end. One bad row refuses all of its order."""
    for rows in _together(sheet.rows, parser, split, report, refusals):
        drafts: list[Draft] = []
        bad = 0
        for row in rows:
            try:
                drafts.append(parser.read(row))
            except BadCell as reason:
                refusals.add(row, str(reason))
                bad = bad or row.number
        try:
            if drafts and not bad:
                yield _joined(drafts)
        except BadCell as reason:
            bad = -1
            for draft in drafts:
                refusals.add(draft.rows[0], str(reason))
        if bad > 0:
            for draft in drafts:
                refusals.add(draft.rows[0], f"同一订单的另一行有错，整单没有导入：第 {bad} 行")


def _together(
    rows: Iterator[Row], parser: "Parser", split: frozenset[int], report: Report, refusals: Refusals
) -> Iterator[list[Row]]:
    """Rows of one order at a time; orders whose rows stand apart come last."""
    group: list[Row] = []
    apart: dict[Cell, list[Row]] = {}
    waiting = 0
    for row in rows:
        report.rows += 1
        if row.broken:
            refusals.add(row, row.broken)
            continue
        if not parser.has_lines:
            yield [row]
            continue
        name = row.cells.get("order_no")
        if split and hash(name) in split:
            apart.setdefault(name, []).append(row)
            if (waiting := waiting + 1) > MAX_SPLIT_ROWS:
                raise BadFile("同一订单的行散在文件各处，请按订单号排序后再导入")
            continue
        if group and group[0].cells.get("order_no") != name:
            yield group
            group = []
        group.append(row)
        if len(group) > MAX_LINES:
            raise BadFile(f"订单 {text(name)[:40]} 超过 {MAX_LINES} 行，请检查订单号这一列")
    if group:
        yield group
    yield from apart.values()


def _split_orders(path: Path) -> frozenset[int]:
    """Hashes of the order numbers whose rows do not stand together; a first look that keeps 8 bytes an order."""
    starts, before = array("q"), None
    for row in open_sheet(path, COLUMNS).rows:
        name = row.cells.get("order_no")
        if name is not None and name != before:
            starts.append(hash(name))
            before = name
    if not starts:
        return frozenset()
    values, counts = np.unique(np.frombuffer(starts, dtype=np.int64), return_counts=True)
    return frozenset(int(value) for value in values[counts > 1])


def _joined(drafts: Sequence[Draft]) -> Draft:
    """One order of its rows. Raises BadCell when they contradict each other."""
    first = drafts[0]
    for other in drafts[1:]:
        if (other.person.keys, other.is_refund) != (first.person.keys, first.is_refund):
            raise BadCell(f"同一订单的行说的不是同一个会员或同一种单据：{first.order_no}")
        first.placed_at = min(first.placed_at, other.placed_at)
        if other.paid_at is not None:
            first.paid_at = min(first.paid_at or other.paid_at, other.paid_at)
        first.lines += other.lines
        first.lines_fen += other.lines_fen
        first.rows += other.rows
    if first.is_refund and first.fen == 0:
        raise BadCell("退款金额是 0")
    if not first.is_refund and first.fen < 0:
        raise BadCell("订单金额是负数")
    return first


class Parser:
    """Reads one row into a draft of one row; raises BadCell with a reason."""

    def __init__(self, *, source: str, columns: frozenset[str], now: datetime, zone: ZoneInfo) -> None:
        self.has_lines = not columns.isdisjoint({"sku", "line_no", "line_amount", "quantity", "price"})
        self._source, self._now, self._zone = source, now, zone
        self._says_paid = not columns.isdisjoint({"paid_at", "status"})

    def read(self, row: Row) -> Draft:
        cells = row.cells.get
        kind = text(cells("kind")).lower()
        if kind and kind not in KINDS:
            raise BadCell(f"不是订单也不是退款：{kind[:20]}")
        order_no, refund_no = number(cells("order_no"), longest=64), number(cells("refund_no"), longest=64)
        is_refund = bool(refund_no) or KINDS.get(kind) == "refund"
        if not order_no and not refund_no:
            raise BadCell("没有订单号")
        person = Person(keys=self._keys(row))
        placed_at, paid_at = self._instant(row, "placed_at"), self._instant(row, "paid_at")
        at = placed_at or paid_at
        if at is None:
            raise BadCell("没有时间")
        draft = Draft(
            order_no=order_no,
            refund_no=refund_no,
            is_refund=is_refund,
            person=person,
            placed_at=at,
            paid_at=paid_at,
            cancelled_at=self._instant(row, "cancelled_at"),
            told_at=self._instant(row, "told_at"),
            total_fen=_named("订单金额", fen, cells("total")),
            paid_fen=_named("实付金额", fen, cells("paid")),
            refunded_fen=_named("退款金额", fen, cells("refunded")),
            rows=[row],
        )
        self._take_amounts(draft, row)
        if not is_refund:
            self._take_status(draft, text(cells("status")).lower())
            self._check(draft)
        return draft

    def _take_amounts(self, draft: Draft, row: Row) -> None:
        """`amount` is the line's in a file of lines, else the order's; without a total, what was paid is the total."""
        amount = _named("金额", fen, row.cells.get("amount"))
        if self.has_lines and not draft.is_refund:
            self._take_line(draft, row, amount)
        elif self.has_lines:
            draft.lines_fen = abs(amount or 0)
        elif draft.total_fen is None:
            draft.total_fen = draft.paid_fen if amount is None else amount
        if draft.is_refund:
            if draft.refunded_fen is not None:
                draft.total_fen = draft.refunded_fen
            if draft.total_fen is not None:
                draft.total_fen = abs(draft.total_fen)
        if draft.total_fen is None and self.has_lines and draft.paid_fen is not None:
            draft.total_fen = draft.paid_fen
        if draft.total_fen is None and not self.has_lines:
            raise BadCell("没有金额")

    def _take_line(self, draft: Draft, row: Row, amount: int | None) -> None:
        cells = row.cells.get
        sku, name = number(cells("sku"), longest=64), text(cells("name"))
        quantity = _named("数量", whole, cells("quantity"))
        price = _named("单价", fen, cells("price"))
        line_fen = _named("小计", fen, cells("line_amount"))
        if line_fen is None:
            line_fen = (price or 0) * (quantity or 1) if amount is None else amount
        draft.lines_fen = line_fen
        if not sku and not name:
            return
        quantity = 1 if quantity is None else quantity
        if quantity <= 0:
            raise BadCell(f"数量要大于 0：{quantity}")
        price = round(line_fen / quantity) if price is None else price
        if price < 0:
            raise BadCell(f"单价是负数：{row.cells.get('price')}")
        category = text(cells("category"))[:64]
        draft.lines.append(Line(sku=sku or name[:64], name=name, category=category, quantity=quantity, price_fen=price))

    def _take_status(self, draft: Draft, word: str) -> None:
        status = STATUS.get(word) if word else None
        if word and status is None:
            raise BadCell(f"不认识这个订单状态：{word[:20]}")
        if status == "placed":
            draft.paid_at = None
        elif status in {"paid", "partly", "refunded"} or not self._says_paid:
            draft.paid_at = draft.paid_at or draft.placed_at
        elif status == "cancelled" and draft.paid_at is None:
            draft.cancelled_at = draft.cancelled_at or draft.placed_at
        if status == "partly" and not draft.refunded_fen:
            raise BadCell("部分退款的订单没有退款金额")
        draft.is_refunded = status == "refunded" or (status == "cancelled" and draft.paid_at is not None)

    def _check(self, draft: Draft) -> None:
        for words, value in (
            ("订单金额", draft.total_fen),
            ("实付金额", draft.paid_fen),
            ("退款金额", draft.refunded_fen),
        ):
            if value is not None and value < 0:
                raise BadCell(f"{words}是负数")
        paid = draft.paid_fen if draft.paid_fen is not None else draft.total_fen
        if draft.refunded_fen and paid is not None and draft.refunded_fen > paid:
            raise BadCell("退款金额比实付金额多")

    def _instant(self, row: Row, column: str) -> datetime | None:
        return instant(row.cells.get(column), zone=self._zone, now=self._now)

    def _keys(self, row: Row) -> tuple[Key, ...]:
        cells, keys = row.cells.get, []
        if found := number(cells("member_no"), longest=200):
            keys.append(shop_account(self._source, found))
        if found := number(cells("external_userid"), longest=64):
            keys.append((IdentityKind.EXTERNAL_USERID, found))
        if found := number(cells("unionid"), longest=64):
            keys.append((IdentityKind.UNIONID, found))
        if not keys:
            raise BadCell("没有会员")
        return tuple(keys)


def _named(words: str, read: Any, cell: Cell) -> Any:
    try:
        return read(cell)
    except BadCell as reason:
        raise BadCell(f"{words}{reason}") from None


async def _write(
    sessions: Sessions,
    drafts: Sequence[Draft],
    source: str,
    report: Report,
    refusals: Refusals,
    *,
    now: datetime,
    zone: ZoneInfo,
) -> None:
    """One transaction, tried again when another writer was in the way."""
    if not drafts:
        return
    for attempt in range(TRIES):
        try:
            async with sessions.begin() as session:
                written, refused = await _place(session, drafts, source, now=now, zone=zone)
            break
        except (Busy, DBAPIError) as error:
            if attempt == TRIES - 1 or not (isinstance(error, Busy) or "deadlock" in str(error)):
                raise
    report.added += written.added
    report.changed += written.changed
    report.unchanged += written.unchanged
    for draft, reason in refused:
        for row in draft.rows:
            refusals.add(row, reason)


async def _place(
    session: AsyncSession, drafts: Sequence[Draft], source: str, *, now: datetime, zone: ZoneInfo
) -> tuple[order_batches.Written, list[tuple[Draft, str]]]:
    members = await identities.enrol_batch(
        session, [draft.person for draft in drafts], source=MemberSource.IMPORT, now=now
    )
    told, at_large, named, by_number = [], [], [], {}
    for draft, member_id in zip(drafts, members, strict=True):
        if not draft.is_refund:
            by_number[draft.order_no] = draft
            told.append(_told(draft, source, member_id))
        elif draft.refund_no and draft.order_no:
            named.append(draft)
        else:
            at_large.append(
                ToldRefund(
                    source=source,
                    external_no=draft.refund_no or draft.order_no,
                    member_id=member_id,
                    amount_fen=draft.fen,
                    refunded_at=draft.paid_at or draft.placed_at,
                )
            )
    written = await order_batches.place_all(session, told, now=now, zone=zone)
    written += await order_batches.refund_all(session, at_large, now=now, zone=zone)
    refused = [(by_number[one.external_no], f"和已有的订单对不上：{error.code}") for one, error in written.refused]
    for draft in named:
        try:
            async with session.begin_nested():
                known = await orders.find_refund(session, source, draft.refund_no)
                await orders.refund(
                    session,
                    source,
                    draft.refund_no,
                    order_no=draft.order_no,
                    amount_fen=draft.fen,
                    refunded_at=draft.paid_at or draft.placed_at,
                    now=now,
                    zone=zone,
                )
            written += order_batches.Written(added=known is None, unchanged=known is not None)
        except ShopError as error:
            refused.append((draft, f"退款和订单对不上：{error.code}"))
    return written, refused


def _told(draft: Draft, source: str, member_id: int) -> Told:
    refunded_fen = draft.refunded_fen
    if draft.is_refunded:
        refunded_fen = draft.fen if draft.paid_fen is None else draft.paid_fen
    return Told(
        source=source,
        external_no=draft.order_no,
        member_id=member_id,
        placed_at=draft.placed_at,
        total_fen=draft.fen,
        lines=tuple(draft.lines) if draft.lines else None,
        told_at=draft.told_at,
        paid_at=draft.paid_at,
        paid_fen=draft.paid_fen,
        cancelled_at=draft.cancelled_at,
        refunded_fen=refunded_fen,
    )
