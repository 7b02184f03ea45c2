"""`siyu sale …`: flash sales from files, announced and closed, how they stand, and refunds that were made."""

import random
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import sqlalchemy as sa
import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncSession

from bot.commands.database import with_session
from bot.commands.rules import rules_held
from bot.flashsale import announce_words, announcing, board, payments, sales
from bot.flashsale import files as sale_files
from bot.flashsale.announce_words import Outlook
from bot.flashsale.terms import SaleInvalid, SaleNotFound
from bot.models.sale import Sale, SaleStatus
from bot.settings import read_settings
from campaigns.group_posts import Progress
from campaigns.models.campaign import DeliveryStatus
from crm.base.clock import SHANGHAI, SystemClock

cli = typer.Typer(help="秒杀：从文件建一场，公布、结束、看进度，记下退了的款", no_args_is_help=True)
out = Console(highlight=False, soft_wrap=True)
Found = TypeVar("Found")
Code = Annotated[str, typer.Argument(help="秒杀的号，见 siyu sale list")]
STATUS = {
    SaleStatus.DRAFT: "草稿", SaleStatus.ANNOUNCED: "已公布", SaleStatus.OPEN: "开抢中", SaleStatus.SOLD_OUT: "已售罄",
    SaleStatus.CLOSED: "已结束", SaleStatus.SETTLED: "已结清",
}  # fmt: skip


@cli.command()
def create(file: Annotated[Path, typer.Argument(help="YAML 或 JSON", exists=True, dir_okay=False)]) -> None:
    """Make a draft of what a file says; prints its code and each group's link."""

    async def work(session: AsyncSession, now: datetime) -> tuple[Sale, list[board.GroupView]]:
        sale = await sales.plan(
            session, await sale_files.plan(session, sale_files.read(file)), now=now, chance=random.SystemRandom()
        )
        return sale, await board.groups(session, sale.id)

    sale, groups = _with_session(work)
    out.print(f"{sale.code} {sale.name}：草稿。公布用 siyu sale announce {sale.code}", markup=False)
    _links(sale, groups)


@cli.command()
def announce(code: Code) -> None:
    """Let members see it; the owners of its groups are asked to post it when it is time. Says which groups cannot."""
    settings = read_settings()
    held = rules_held()
    gate, words = held.gate, held.words
    url = (settings.public_url or "").rstrip("/")

    async def work(session: AsyncSession, now: datetime) -> tuple[Sale, Outlook, bool, Progress | None]:
        sale = await sales.get(session, code)
        seen = await announcing.outlook(session, sale, gate, now=now)
        done = await announcing.announce(session, sale, gate=gate, words=words, public_url=url, now=now)
        return sale, seen, done, await announcing.progress(session, sale.id)

    sale, seen, done, known = _with_session(work)
    if not done:
        _fail(f"{sale.code} 现在{STATUS[sale.status]}，做不了这件事。")
    out.print(f"{sale.code} {sale.name}：已公布", markup=False)
    for line in announce_words.outlook(seen, has_page=bool(url), is_asked=known is not None):
        out.print(line, markup=False)


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
        waiting, due = await board.waiting(session, sale.id), await board.refunds_due(session, sale.id)
        known = await announcing.progress(session, sale.id)
        items, groups = await board.items(session, sale.id), await board.groups(session, sale.id)
        return sale, items, waiting, groups, due, known

    sale, items, waiting, groups, due, known = _with_session(work, writes=False)
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
    if known is not None:
        _announced(known)
    for row in due:
        out.print(f"要退款：付款 {row.payment_id}，抢单 {row.no}，{_yuan(row.paid_fen)} 元（{row.why}）", markup=False)


@cli.command()
def refunded(payment: Annotated[int, typer.Argument(help="付款号，见 siyu sale show")]) -> None:
    """Write down that the money of a payment went back."""
    if not _with_session(lambda session, now: payments.refunded(session, payment)):
        _fail(f"付款 {payment} 没有在等退款。")
    out.print(f"付款 {payment}：已退款")


def _announced(known: Progress) -> None:
    """How far the announcement is: who has not sent it, and since when."""
    out.print(f"公告：{announce_words.headline(known)}", markup=False)
    table = Table("还没发的群", "群主", "怎么了")
    left = [one for one in known.groups if one.status is not DeliveryStatus.SENT]
    for one in left:
        table.add_row(one.group, one.staff or one.userid or "—", announce_words.stand(one))
    if left:
        out.print(table)


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


def _when(at: datetime) -> str:
    return f"{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"


def _yuan(fen: int) -> str:
    return f"{fen // 100:,}.{fen % 100:02d}"


def _with_session(work: Callable[[AsyncSession, datetime], Awaitable[Found]], *, writes: bool = True) -> Found:
    try:
        return with_session(lambda session: work(session, SystemClock().now()), writes=writes)
    except SaleNotFound as no:
        _fail(f"没有秒杀 {no.sale}")
    except SaleInvalid as no:
        _fail(no.problem)


def _fail(sentence: str) -> NoReturn:
    Console(stderr=True).print(sentence, style="red", highlight=False, soft_wrap=True, markup=False)
    raise typer.Exit(2)
