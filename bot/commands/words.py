"""`siyu words`: which words of a marketing text should be said differently, and how."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from bot.commands.rules import rules_held
from campaigns.words import Level

out = Console(highlight=False)
LEVELS = {Level.REFUSE: "[red]不能用[/]", Level.WARN: "[yellow]留神[/]"}


def words_command(
    text: Annotated[str, typer.Argument(help="要检查的文字")] = "",
    file: Annotated[Path | None, typer.Option(help="或者一个文本文件", exists=True, dir_okay=False)] = None,
) -> None:
    """Check a marketing text for words of advertising law and of platforms; status 1 when one must go."""
    written = file.read_text(encoding="utf-8-sig", errors="replace") if file is not None else text
    if not written.strip():
        out.print("[red]没有文字可查。[/]")
        raise typer.Exit(2)
    found = rules_held().words.check(written)
    if not found:
        out.print("[green]✓[/] 没有要改的词。")
        return
    for one in found:
        place = f"第 {one.start + 1} 个字「[bold]{escape(one.text)}[/]」"
        out.print(f"{place}{LEVELS[one.level]}，{one.kind}：{one.suggest}", soft_wrap=True)
    if any(one.level is Level.REFUSE for one in found):
        raise typer.Exit(1)
