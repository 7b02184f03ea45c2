"""`siyu campaigns summary`: what a month of campaigns cost and brought, on the screen or as a file."""

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bot import month_words
from bot.commands.database import with_session
from campaigns import month_reports
from campaigns.month_reports import Month
from crm.base.clock import SystemClock, local_day

out = Console(highlight=False)


def summary_command(
    month: Annotated[str, typer.Option(help="哪个月，如 2026-10；不写就是上个月")] = "",
    file: Annotated[Path | None, typer.Option("--out", help="写成 .xlsx 或 .md 文件")] = None,
) -> None:
    """What the month's campaigns cost and brought, what stood in the way, and what the rules suggest."""
    first_day = _first_day(month)
    if file is not None and file.suffix not in {".xlsx", ".md"}:
        raise typer.BadParameter("文件名以 .xlsx 或 .md 结尾")
    found = with_session(lambda session: month_reports.summary(session, first_day), writes=False)
    if file is not None:
        said = month_words.as_workbook(found) if file.suffix == ".xlsx" else month_words.as_markdown(found).encode()
        try:
            file.write_bytes(said)
        except OSError as wrong:
            out.print(f"写不了 {file}：{wrong.strerror}", style="red", markup=False)
            raise typer.Exit(1) from None
        out.print(f"写好了：{file}", markup=False)
        return
    _show(found)


def _first_day(month: str) -> date:
    today = local_day(SystemClock().now())
    if not month:
        return (today.replace(day=1) - timedelta(days=1)).replace(day=1)
    parts = re.fullmatch(r"(\d{4})-(\d{1,2})", month.strip())
    if parts is None or not 1 <= int(parts[2]) <= 12 or int(parts[1]) < 2000:
        raise typer.BadParameter(f"“{month}”不是月份，写成 2026-10")
    first = date(int(parts[1]), int(parts[2]), 1)
    if first > today:
        raise typer.BadParameter(f"{month} 还没有到")
    return first


def _show(month: Month) -> None:
    out.print(f"[bold]{month.first_day:%Y 年 %-m 月}活动总结[/]")
    for sheet in month_words.sheets(month):
        if not sheet.rows:
            out.print(f"{sheet.title}：{sheet.empty}", markup=False)
            continue
        table = Table(*sheet.heads, title=sheet.title, title_justify="left")
        for row in sheet.rows:
            table.add_row(*map(month_words.shown, row))
        out.print(table)
