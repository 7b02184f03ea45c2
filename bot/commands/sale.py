"""`siyu sale …`: flash sales from files, announced and closed, how they stand, and refunds that were made."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import sqlalchemy as sa
import typer
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncSession

from bot.flashsale import board, payments, sales
from bot.flashsale.sales import ItemPlan, Plan
from bot.flashsale.terms import SaleInvalid, SaleNotFound
from bot.models.sale import Claim, PaymentOutcome, Sale, SaleItem, SalePayment, SaleStatus, Waiter, WaiterStatus
from bot.settings import read_settings
from crm.base.clock import SHANGHAI, SystemClock
from crm.base.db import open_sessions
from crm.models.group import Group

cli = typer.Typer(help="秒杀：从文件建一场，公布、结束、看进度，记下退了的款", no_args_is_help=True)
out = Console(highlight=False, soft_wrap=True)
Found = TypeVar("Found")
Code = Annotated[str, typer.Argument(help="秒杀的号，见 siyu sale list")]
Yuan = Annotated[Decimal, Field(ge=0, le=10_000_000, decimal_places=2)]
STATUS = {
    SaleStatus.DRAFT: "草稿", SaleStatus.ANNOUNCED: "已公布", SaleStatus.OPEN: "开抢中", SaleStatus.SOLD_OUT: "已售罄",
    SaleStatus.CLOSED: "已结束", SaleStatus.SETTLED: "已结清",
}  # fmt: skip
MISTAKES = {"missing": "没有写", "extra_forbidden": "没有这个字段", "decimal_max_places": "最多写到分"}


class ItemFile(BaseModel):
    """An article as a file tells it: money in yuan, shares by a group's name or chat_id."""

    model_config = ConfigDict(extra="forbid")
    code: str
    sku: str = Field(min_length=1, max_length=64)
    name: str
    price: Yuan
    list_price: Yuan
    stock: int
    limit_each: int = 1
    picture: str = ""
    shares: dict[str, int] = {}


class SaleFile(BaseModel):
    """A sale as a file tells it; an instant without an offset is the shop's local time."""

    model_config = ConfigDict(extra="forbid")
    name: str
    opens_at: datetime
    closes_at: datetime
    items: list[ItemFile]
    early_at: datetime | None = None
    early_levels: list[str] = []
    early_tags: list[str] = []
    groups: list[str] = []
    pay_minutes: int = Field(15, ge=1, le=1440)
    honours_late: bool = True
    series: str | None = Field(None, min_length=1, max_length=40)


@cli.command()
def create(file: Annotated[Path, typer.Argument(help="YAML 或 JSON", exists=True, dir_okay=False)]) -> None:
    """Make a draft of what a file says; prints its code and each group's link."""
    told = _read(file)

    async def work(session: AsyncSession, now: datetime) -> tuple[Sale, list[board.GroupView]]:
        sale = await sales.plan(session, await _plan(session, told), now=now, chance=random.SystemRandom())
        return sale, await board.groups(session, sale.id)

    sale, groups = _with_session(work)
    out.print(f"{sale.code} {sale.name}：草稿。公布用 siyu sale announce {sale.code}", markup=False)
    _links(sale, groups)


@cli.command()
def announce(code: Code) -> None:
    """Let members see it."""
    _do(code, sales.announce, "已公布")


@cli.command()
def close(
    code: Code, series: Annotated[bool, typer.Option("--series", help="每周的这一场以后也不再办")] = False
) -> None:
    """End it early: no more claims and no more offers; who holds a claim may still pay."""
    if series:
        _end_series(code)
    now = SystemClock().now()
    _do(code, lambda session, sale_id: sales.close(session, sale_id, now=now), "已结束")


def _end_series(code: str) -> None:
    async def work(session: AsyncSession, now: datetime) -> int:
        del now
        sale = await sales.get(session, code)
        return await sales.end_series(session, sale.series) if sale.series is not None else 0

    out.print("以后不再办。" if _with_session(work) else "它不是每周的秒杀。", markup=False)


@cli.command(name="list")
def list_all() -> None:
    """The last sales, the newest first."""

    async def work(session: AsyncSession, now: datetime) -> list[Sale]:
        return list(await session.scalars(sa.select(Sale).order_by(Sale.opens_at.desc()).limit(50)))

    found = _with_session(work, writes=False)
    table = Table("号", "名称", "状态", "开始", "结束")
    for one in found:
        table.add_row(one.code, one.name, STATUS[one.status], _when(one.opens_at), _when(one.closes_at))
    out.print(table if found else "还没有秒杀。")


@cli.command()
def show(code: Code) -> None:
    """One sale: its articles, what came by each group, and money that has to go back."""

    async def work(session: AsyncSession, now: datetime) -> Any:
        sale = await sales.get(session, code)
        mine = sa.select(SaleItem.id).where(SaleItem.sale_id == sale.id)
        waits = await session.execute(
            sa.select(Waiter.item_id, sa.func.count())
            .where(Waiter.item_id.in_(mine), Waiter.status == WaiterStatus.WAITING)
            .group_by(Waiter.item_id)
        )
        due = await session.execute(
            sa.select(SalePayment.id, Claim.no, SalePayment.paid_fen, SalePayment.why)
            .join(Claim, Claim.id == SalePayment.claim_id)
            .where(Claim.item_id.in_(mine), SalePayment.outcome == PaymentOutcome.REFUND_DUE)
            .order_by(SalePayment.id)
        )
        waiting = {row[0]: row[1] for row in waits}
        return sale, await board.items(session, sale.id), waiting, await board.groups(session, sale.id), due.all()

    sale, items, waiting, groups, due = _with_session(work, writes=False)
    when = f"{_when(sale.opens_at)} – {_when(sale.closes_at)}"
    out.print(f"{sale.code} {sale.name} {STATUS[sale.status]} {when}", markup=False)
    table = Table("商品", "名称", "库存", "剩余", "待付款", "已售", "排队（人）")
    for one in items:
        counts = (one.stock, one.left, one.held, one.sold, waiting.get(one.item_id, 0))
        table.add_row(one.code, one.name, *(f"{count:,}" for count in counts))
    out.print(table)
    if groups:
        table = Table("群", "抢到（份）", "付款（份）", "付款（元）")
        for each in groups:
            table.add_row(each.name, f"{each.claimed:,}", f"{each.paid:,}", _yuan(each.paid_fen))
        out.print(table)
        _links(sale, groups)
    for row in due:
        out.print(f"要退款：付款 {row.id}，抢单 {row.no}，{_yuan(row.paid_fen)} 元（{row.why}）", markup=False)


@cli.command()
def refunded(payment: Annotated[int, typer.Argument(help="付款号，见 siyu sale show")]) -> None:
    """Write down that the money of a payment went back."""
    if not _with_session(lambda session, now: payments.refunded(session, payment)):
        _fail(f"付款 {payment} 没有在等退款。")
    out.print(f"付款 {payment}：已退款")


def _read(file: Path) -> SaleFile:
    """JSON is YAML too, but says its own mistakes better."""
    try:
        text = file.read_text(encoding="utf-8-sig")
        return SaleFile.model_validate(json.loads(text) if file.suffix == ".json" else yaml.safe_load(text))
    except (yaml.YAMLError, UnicodeDecodeError, json.JSONDecodeError) as wrong:
        _fail(f"{file.name} 读不懂：{wrong}")
    except ValidationError as wrong:
        told = (
            (".".join(str(part) for part in each["loc"]) or "整份", MISTAKES.get(each["type"], each["msg"]))
            for each in wrong.errors()
        )
        _fail("\n".join(f"{field}：{why}" for field, why in told))


async def _plan(session: AsyncSession, told: SaleFile) -> Plan:
    names = {name for item in told.items for name in item.shares} | set(told.groups)
    ids = {name: await _group(session, name) for name in sorted(names)}
    items = [
        ItemPlan(
            price_fen=int(one.price * 100),
            list_price_fen=int(one.list_price * 100),
            shares={ids[name]: units for name, units in one.shares.items()},
            **one.model_dump(exclude={"price", "list_price", "shares"}),
        )
        for one in told.items
    ]
    return Plan(
        opens_at=_local(told.opens_at),
        closes_at=_local(told.closes_at),
        early_at=_local(told.early_at) if told.early_at else None,
        items=items,
        group_ids=[ids[name] for name in told.groups],
        pay_window=timedelta(minutes=told.pay_minutes),
        **told.model_dump(include={"name", "early_levels", "early_tags", "honours_late", "series"}),
    )


async def _group(session: AsyncSession, name: str) -> int:
    known = sa.or_(Group.chat_id == name, Group.name == name)
    found = list(await session.scalars(sa.select(Group.id).where(known, Group.dismissed_at.is_(None)).limit(2)))
    if len(found) != 1:
        _fail(f"groups：有几个群都叫“{name}”，请写 chat_id" if found else f"groups：没有群“{name}”")
    return found[0]


def _links(sale: Sale, groups: list[board.GroupView]) -> None:
    url = read_settings().public_url
    if url is None:
        return
    page = f"{url.rstrip('/')}/h5/sales/{sale.code}"
    for each in groups:
        out.print(f"{each.name}：{page}?g={each.link_code}", markup=False)
    if not groups:
        out.print(page, markup=False)


def _do(code: str, verb: Callable[[AsyncSession, int], Awaitable[bool]], done: str) -> None:
    async def work(session: AsyncSession, now: datetime) -> tuple[Sale, bool]:
        sale = await sales.get(session, code)
        moved = await verb(session, sale.id)
        await session.refresh(sale)
        return sale, moved

    sale, moved = _with_session(work)
    if not moved:
        _fail(f"{sale.code} 现在{STATUS[sale.status]}，做不了这件事。")
    out.print(f"{sale.code} {sale.name}：{done}", markup=False)


def _local(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=SHANGHAI)


def _when(at: datetime) -> str:
    return f"{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"


def _yuan(fen: int) -> str:
    return f"{fen // 100:,}.{fen % 100:02d}"


def _with_session(work: Callable[[AsyncSession, datetime], Awaitable[Found]], *, writes: bool = True) -> Found:
    async def run() -> Found:
        sessions = open_sessions(read_settings().database_url)
        try:
            async with sessions.begin() if writes else sessions.read() as session:
                return await work(session, SystemClock().now())
        finally:
            await sessions.close()

    try:
        return asyncio.run(run())
    except SaleNotFound as no:
        _fail(f"没有秒杀 {no.sale}")
    except SaleInvalid as no:
        _fail(no.problem)


def _fail(sentence: str) -> NoReturn:
    Console(stderr=True).print(sentence, style="red", highlight=False, soft_wrap=True, markup=False)
    raise typer.Exit(2)
