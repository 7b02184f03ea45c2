"""One row of a file of orders, read into a draft: the whole of an order, a line of one, or a refund."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache, partial
from typing import Any
from zoneinfo import ZoneInfo

from crm.identities import Key, shop_account
from crm.import_cells import BadCell, Cell, Instants, fen, number, text, whole
from crm.import_files import Row
from crm.models.member import IdentityKind
from crm.order_terms import Line

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
WORDS = {
    "total": "订单金额",
    "amount": "金额",
    "paid": "实付金额",
    "refunded": "退款金额",
    "price": "单价",
    "line_amount": "小计",
    "quantity": "数量",
}
WORDS_KEPT = 4_096  # different words of a column whose reading is remembered
PAID_ONCE = frozenset({"paid", "partly", "refunded"})
KINDS = {"sale": "sale", "销售": "sale", "订单": "sale", "refund": "refund", "退款": "refund", "退货": "refund"}


@dataclass(slots=True)
class Draft:
    """One order or refund of the file, from one row or several."""

    order_no: str
    refund_no: str
    is_refund: bool
    keys: tuple[Key, ...]  # of whose it is
    placed_at: datetime
    paid_at: datetime | None
    cancelled_at: datetime | None
    told_at: datetime | None
    total_fen: int | None  # None: the sum of its lines
    paid_fen: int | None
    refunded_fen: int | None
    rows: list[Row]
    is_refunded: bool = False  # as much as was paid
    lines: list[Line] = field(default_factory=list)
    lines_fen: int = 0

    @property
    def fen(self) -> int:
        return self.lines_fen if self.total_fen is None else self.total_fen


class Parser:
    """Reads one row into a draft of one row; raises BadCell with a reason. Only columns that the file has cost time."""

    def __init__(self, *, source: str, columns: frozenset[str], now: datetime, zone: ZoneInfo) -> None:
        self.has_lines = not columns.isdisjoint({"sku", "line_no", "line_amount", "quantity", "price"})
        self._source = source
        self._says_paid = not columns.isdisjoint({"paid_at", "status"})
        at = Instants(zone=zone, now=now).read
        word = lru_cache(maxsize=WORDS_KEPT, typed=True)(text)  # a file says the same few again and again
        readers: dict[str, Callable[[Any], Any]] = {
            **dict.fromkeys(
                ("order_no", "refund_no", "external_userid", "unionid", "sku"), partial(number, longest=64)
            ),
            **dict.fromkeys(("placed_at", "paid_at", "cancelled_at", "told_at"), at),
            **dict.fromkeys(("total", "amount", "paid", "refunded", "price", "line_amount"), fen),
            **dict.fromkeys(("status", "name", "category"), word),
            "kind": lru_cache(maxsize=WORDS_KEPT, typed=True)(_kind),
            "member_no": partial(number, longest=200),
            "quantity": whole,
        }
        self._nothing: dict[str, Any] = dict.fromkeys(readers)
        self._readers = [(column, read) for column, read in readers.items() if column in columns]

    def read(self, row: Row) -> Draft:
        said, cells = self._nothing.copy(), row.cells
        for column, read in self._readers:
            cell = cells.get(column)
            if cell is None or cell == "":
                continue
            try:
                said[column] = read(cell)
            except BadCell as reason:
                raise BadCell(f"{WORDS.get(column, '')}{reason}") from None
        draft = self._draft(said, row)
        self._take_amounts(draft, said)
        if not draft.is_refund:
            if said["status"] or self._says_paid:
                self._take_status(draft, (said["status"] or "").lower())
            else:
                draft.paid_at = draft.paid_at or draft.placed_at
            _check(draft)
        return draft

    def _draft(self, said: dict[str, Any], row: Row) -> Draft:
        order_no, refund_no = said["order_no"] or "", said["refund_no"] or ""
        if not order_no and not refund_no:
            raise BadCell("没有订单号")
        keys = self._keys(said)
        at = said["placed_at"] or said["paid_at"]
        if at is None:
            raise BadCell("没有时间")
        return Draft(
            order_no,
            refund_no,
            bool(refund_no) or said["kind"] == "refund",
            keys,
            at,
            said["paid_at"],
            said["cancelled_at"],
            said["told_at"],
            said["total"],
            said["paid"],
            said["refunded"],
            [row],
        )

    def _keys(self, said: dict[str, Any]) -> tuple[Key, ...]:
        keys: list[Key] = []
        if said["member_no"]:
            keys.append(shop_account(self._source, said["member_no"]))
        if said["external_userid"]:
            keys.append((IdentityKind.EXTERNAL_USERID, said["external_userid"]))
        if said["unionid"]:
            keys.append((IdentityKind.UNIONID, said["unionid"]))
        if not keys:
            raise BadCell("没有会员")
        return tuple(keys)

    def _take_amounts(self, draft: Draft, said: dict[str, Any]) -> None:
        """`amount` is the line's in a file of lines, else the order's; without a total, what was paid is the total."""
        amount = said["amount"]
        if self.has_lines:
            if draft.is_refund:
                draft.lines_fen = abs(amount or 0)
            else:
                _take_line(draft, said, amount)
            if draft.total_fen is None:
                draft.total_fen = draft.paid_fen
        elif draft.total_fen is None:
            draft.total_fen = draft.paid_fen if amount is None else amount
        if draft.is_refund:
            told = draft.total_fen if draft.refunded_fen is None else draft.refunded_fen
            draft.total_fen = None if told is None else abs(told)
        if draft.total_fen is None and not self.has_lines:
            raise BadCell("没有金额")

    def _take_status(self, draft: Draft, word: str) -> None:
        status = STATUS.get(word) if word else None
        if word and status is None:
            raise BadCell(f"不认识这个订单状态：{word[:20]}")
        if status == "placed":
            draft.paid_at = None
        elif status in PAID_ONCE or not self._says_paid:
            draft.paid_at = draft.paid_at or draft.placed_at
        elif status == "cancelled" and draft.paid_at is None:
            draft.cancelled_at = draft.cancelled_at or draft.placed_at
        if status == "partly" and not draft.refunded_fen:
            raise BadCell("部分退款的订单没有退款金额")
        draft.is_refunded = status == "refunded" or (status == "cancelled" and draft.paid_at is not None)


def _kind(cell: Cell) -> str:
    """ "sale", "refund", or "" when it is not said."""
    found = text(cell)
    if found and found.lower() not in KINDS:
        raise BadCell(f"不是订单也不是退款：{found[:20]}")
    return KINDS.get(found.lower(), "")


def _take_line(draft: Draft, said: dict[str, Any], amount: int | None) -> None:
    quantity, price, line_fen = said["quantity"], said["price"], said["line_amount"]
    if line_fen is None:
        line_fen = (price or 0) * (quantity or 1) if amount is None else amount
    draft.lines_fen = line_fen
    sku, name = said["sku"] or "", said["name"] or ""
    if not sku and not name:
        return
    quantity = 1 if quantity is None else quantity
    if quantity <= 0:
        raise BadCell(f"数量要大于 0：{quantity}")
    price = round(line_fen / quantity) if price is None else price
    if price < 0:
        raise BadCell("单价是负数")
    category = (said["category"] or "")[:64]
    draft.lines.append(Line(sku=sku or name[:64], name=name, category=category, quantity=quantity, price_fen=price))


def _check(draft: Draft) -> None:
    total, paid, refunded = draft.total_fen, draft.paid_fen, draft.refunded_fen
    if min(total or 0, paid or 0, refunded or 0) < 0:
        for words, value in (("订单金额", total), ("实付金额", paid), ("退款金额", refunded)):
            if value is not None and value < 0:
                raise BadCell(f"{words}是负数")
    paid = total if paid is None else paid
    if refunded and paid is not None and refunded > paid:
        raise BadCell("退款金额比实付金额多")
