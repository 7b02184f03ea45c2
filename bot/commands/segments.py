"""`siyu segment FILE`: how many members satisfy a condition, who for example, and why somebody does not."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncSession

from bot.commands.database import with_session
from crm import conditions, members, segment_words, segments
from crm.base.clock import SystemClock
from crm.conditions import Condition, DefinitionWrong
from crm.segments import Preview, Step, Verdict

out = Console()


def segment_command(
    file: Annotated[Path | None, typer.Argument(help="人群条件的 JSON 文件", exists=True, dir_okay=False)] = None,
    why: Annotated[str, typer.Option(help="这位会员（会员号）为什么不在里面")] = "",
    schema: Annotated[bool, typer.Option(help="只打印条件的 JSON Schema")] = False,
) -> None:
    """Count and preview a segment's condition; with --why, explain why a member is not in it."""
    if schema:
        out.print_json(data=conditions.schema(), ensure_ascii=False)
        return
    if file is None:
        out.print("[red]请给出条件文件，或用 --schema 看条件怎么写。[/]")
        raise typer.Exit(2)
    condition = _read(file)
    if why:
        _tell(with_session(lambda session: _explain(session, condition, why), writes=False), why)
    else:
        _show(*with_session(lambda session: _look(session, condition), writes=False))


def _read(file: Path) -> Condition:
    try:
        return conditions.read(json.loads(file.read_text(encoding="utf-8-sig")))
    except DefinitionWrong as wrong:
        out.print("[red]这份条件写得不对：[/]")
        for mistake in wrong.mistakes:
            out.print(f"  {mistake['field'] or '整份条件'}：{mistake['reason']}", markup=False)
    except (ValueError, RecursionError) as error:
        out.print(f"[red]这不是一份能读的 JSON：[/]{error}")
    raise typer.Exit(2)


async def _look(session: AsyncSession, condition: Condition) -> tuple[str, Preview, list[Step]]:
    now = SystemClock().now()
    words = segment_words.in_words(condition, await segment_words.names_in(session, condition))
    found = await segments.preview(session, condition, now=now)
    return words, found, await segments.funnel(session, condition, now=now)


async def _explain(session: AsyncSession, condition: Condition, code: str) -> Verdict | None:
    member = await members.find_by_code(session, code)
    if member is None:
        return None
    return await segments.explain(session, condition, member.id, now=SystemClock().now())


def _show(words: str, found: Preview, steps: list[Step]) -> None:
    out.print(f"{words}\n共 [bold]{found.count:,}[/] 位会员")
    funnel = Table("加上条件", "还剩")
    for step in steps:
        funnel.add_row(step.words, f"{step.left:,}")
    out.print(funnel)
    if found.people:
        people = Table("会员号", "称呼")
        for person in found.people:
            people.add_row(person.code, person.name)
        out.print(people)


def _tell(verdict: Verdict | None, code: str) -> None:
    if verdict is None:
        out.print(f"[red]没有会员号是 {code} 的会员。[/]")
        raise typer.Exit(1)
    if verdict.inside:
        out.print("在这个人群里。")
        return
    reasons = Table("不满足的条件", "实际情况")
    for reason in verdict.reasons:
        reasons.add_row(reason.words, reason.fact)
    out.print(reasons)
