"""`siyu loyalty [FILE]`: the rules of points and levels in force, and new ones from a JSON file."""

import getpass
import json
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncSession

from bot.commands.database import with_session
from crm import level_programme, loyalty_rules
from crm.base.clock import SystemClock
from crm.level_programme import ProgrammeTold
from crm.loyalty_rules import RulesWrong
from crm.models.loyalty import Level
from crm.point_rules import Part, PointRules

out = Console(highlight=False)
Found = TypeVar("Found")


class LoyaltyFile(Part):
    """What a file may say; what it leaves out stays as it is."""

    points: PointRules | None = None
    levels: ProgrammeTold | None = None


def loyalty_command(
    file: Annotated[Path | None, typer.Argument(help="积分和等级规则的 JSON 文件", exists=True, dir_okay=False)] = None,
    schema: Annotated[bool, typer.Option(help="只打印规则文件的 JSON Schema")] = False,
) -> None:
    """Show the rules of points and levels; with a file, put its rules in force."""
    if schema:
        out.print_json(data=LoyaltyFile.model_json_schema(), ensure_ascii=False)
        return
    if file is not None:
        told = _read(file)
        try:
            with_session(lambda session: _set(session, told))
        except RulesWrong as wrong:
            _refuse(wrong)
        out.print("规则已生效；已经发出的积分不变，等级在一分钟内按新规则重新看一遍。")
    points, ladder = with_session(_look)
    _show(points, ladder)


def _read(file: Path) -> LoyaltyFile:
    try:
        return loyalty_rules.read(LoyaltyFile, json.loads(file.read_text(encoding="utf-8-sig")))
    except RulesWrong as wrong:
        _refuse(wrong)
    except (ValueError, RecursionError) as error:
        out.print(f"[red]这不是一份能读的 JSON：[/]{error}")
    raise typer.Exit(2)


def _refuse(wrong: RulesWrong) -> None:
    out.print("[red]这份规则写得不对，什么都没有改：[/]")
    for mistake in wrong.mistakes:
        out.print(f"  {mistake['field'] or '整份规则'}：{mistake['reason']}", markup=False)
    raise typer.Exit(2) from None


async def _set(session: AsyncSession, told: LoyaltyFile) -> None:
    by, now = getpass.getuser(), SystemClock().now()
    if told.points is not None:
        await loyalty_rules.set_points(session, told.points, by=by, now=now)
    if told.levels is not None:
        await level_programme.define(session, told.levels, by=by, now=now)


async def _look(session: AsyncSession) -> tuple[PointRules | None, list[tuple[Level, int]]]:
    return await loyalty_rules.of_points(session), await level_programme.headcount(session)


def _show(points: PointRules | None, ladder: list[tuple[Level, int]]) -> None:
    out.print("积分：没有开" if points is None else "积分：")
    if points is not None:
        out.print_json(data=points.model_dump(mode="json"), ensure_ascii=False)
    if not ladder:
        out.print("等级：没有开")
        return
    table = Table("等级", "近一段时间净消费满（元）", "会员", "权益")
    for level, members in ladder:
        benefits = json.dumps(level.benefits, ensure_ascii=False) if level.benefits else ""
        table.add_row(level.name, f"{level.threshold_fen / 100:,.2f}", f"{members:,}", benefits)
    out.print(table)
