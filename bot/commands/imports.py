"""`siyu import orders FILE`: a file's rows into the shop's database, with progress, and what was refused beside it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from bot.settings import read_settings
from crm.base.clock import SystemClock
from crm.base.db import Sessions, open_sessions
from crm.base.secrets import Vault
from crm.import_files import BadFile
from crm.import_members import import_members
from crm.import_orders import import_orders
from crm.imports import Progress as Told
from crm.imports import Report

cli = typer.Typer(help="把表格里的订单和会员导进来：CSV、XLSX、JSONL，可以反复导", no_args_is_help=True)
out = Console()
REASONS_SHOWN = 8

File = Annotated[Path, typer.Argument(help="CSV（UTF-8 或 GBK）、XLSX 或 JSONL 文件", show_default=False)]
Source = Annotated[str, typer.Option(help="这些编号属于哪个店铺系统，例如 taobao、youzan", min=1)]
Taking = Callable[[Sessions, datetime, Told], Awaitable[Report]]


@cli.command()
def orders(file: File, source: Source = "shop") -> None:
    """Orders and refunds: a row an order, or a row a line; a second run changes nothing."""
    _take(file, lambda sessions, now, told: import_orders(sessions, file, source=source, now=now, progress=told))


@cli.command()
def members(file: File, source: Source = "shop") -> None:
    """Members: a row a person; what is known already is completed, never overwritten."""
    key = read_settings().data_key
    vault = Vault(key.get_secret_value()) if key is not None else None

    def taking(sessions: Sessions, now: datetime, told: Told) -> Awaitable[Report]:
        return import_members(sessions, file, source=source, vault=vault, now=now, progress=told)

    _take(file, taking)


def _take(file: Path, taking: Taking) -> None:
    """Run one import with a progress bar; status 2 when the file cannot be meant, 1 when rows were refused."""
    url = read_settings().database_url
    bar = Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[said]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    with bar:
        task = bar.add_task(file.name, total=1.0, said="")

        def told(share: float, report: Report) -> None:
            bar.update(task, completed=share, said=f"{report.rows:,} 行，拒绝 {report.refused:,}")

        try:
            report = asyncio.run(_open_and_take(url, taking, told))
        except BadFile as bad:
            bar.stop()
            Console(stderr=True).print(f"{file.name}：{bad}", style="red", highlight=False, soft_wrap=True)
            raise typer.Exit(2) from None
    _show(file, report)
    if report.refused:
        raise typer.Exit(1)


async def _open_and_take(url: str, taking: Taking, told: Told) -> Report:
    sessions = open_sessions(url)
    try:
        return await taking(sessions, SystemClock().now(), told)
    finally:
        await sessions.close()


def _show(file: Path, report: Report) -> None:
    out.print(
        f"{file.name}：读了 {report.rows:,} 行；新增 {report.added:,}，更新 {report.changed:,}，"
        f"没有变化 {report.unchanged:,}，拒绝 {report.refused:,} 行。",
        highlight=False,
    )
    if not report.refused:
        return
    table = Table("为什么拒绝", "行数")
    for reason, count in report.reasons.most_common(REASONS_SHOWN):
        table.add_row(reason, f"{count:,}")
    out.print(table)
    out.print(f"每一行的原因：{file.name}.errors.csv", highlight=False)
