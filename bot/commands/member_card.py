"""A member card on a terminal."""

from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table

from crm.base.clock import SHANGHAI
from crm.card import Bought, Card
from crm.lifecycle import STAGE_NAMES
from crm.models.lifecycle import DateKind
from crm.models.order import OrderStatus
from crm.timeline import yuan

STATUS = {
    OrderStatus.PLACED: "待付款",
    OrderStatus.PAID: "已付款",
    OrderStatus.PARTLY_REFUNDED: "部分退款",
    OrderStatus.REFUNDED: "已退款",
    OrderStatus.CANCELLED: "已取消",
}
DAYS = {
    DateKind.BIRTHDAY: "生日",
    DateKind.CHILD_BIRTHDAY: "孩子生日",
    DateKind.PET_BIRTHDAY: "宠物生日",
    DateKind.ANNIVERSARY: "纪念日",
}


def show(out: Console, card: Card) -> None:
    """Facts first, then what they bought, then what happened."""
    facts = Table(box=None, show_header=False, pad_edge=False)
    for name, value in _facts(card):
        if value:
            facts.add_row(f"[bold]{name}[/]", value)
    out.print(facts)
    if card.orders:
        out.print(_orders(card.orders))
    if card.timeline:
        happened = Table("时间", "发生了什么", box=None)
        for moment in card.timeline:
            happened.add_row(_when(moment.at), moment.words or moment.event)
        out.print(happened)


def _facts(card: Card) -> Sequence[tuple[str, str]]:
    life, level, balance = card.lifetime, card.level, card.points
    score = card.rfm
    return [
        ("会员", f"{card.code} {card.name}" + ("（已抹除）" if card.erased_at else "")),
        ("加入", _day(card.joined_at)),
        ("手机", "、".join(card.phones)),
        ("身份", "、".join(f"{one.kind.value} {one.value}" for one in card.identities)),
        ("员工", "、".join(one.staff for one in card.contacts if one.ended_at is None)),
        ("客户群", "、".join(one.group for one in card.groups if one.left_at is None)),
        ("阶段", f"{STAGE_NAMES[card.stage.stage]}：{card.stage.why}" if card.stage else ""),
        ("RFM", f"{score.r}-{score.f}-{score.m} {score.segment}\n" + "\n".join(score.why) if score else ""),
        ("等级", f"{level.level}，{level.since_on} 起" if level else ""),
        ("积分", f"可用 {balance.active:,}，待生效 {balance.pending:,}" if balance else ""),
        ("累计", f"{life.orders:,} 单，净消费 {yuan(life.spent_fen)}" if life.orders else ""),
        ("标签", "、".join(one.name for one in card.tags)),
        ("表态", "、".join(f"{one.topic} {'同意' if one.granted else '拒绝'}" for one in card.consents)),
        ("日子", "、".join(f"{DAYS[one.kind]} {one.month} 月 {one.day} 日" for one in card.days)),
    ]


def _orders(orders: Sequence[Bought]) -> Table:
    table = Table("下单", "订单号", "状态", "金额", "退款", "商品", box=None)
    for one in orders:
        refunded = yuan(one.refunded_fen) if one.refunded_fen else ""
        articles = "；".join(one.articles)
        table.add_row(_day(one.placed_at), one.external_no, STATUS[one.status], yuan(one.total_fen), refunded, articles)
    return table


def _day(at: datetime) -> str:
    return f"{at.astimezone(SHANGHAI):%Y-%m-%d}"


def _when(at: datetime) -> str:
    return f"{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
