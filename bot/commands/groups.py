"""`siyu groups …`: the customer groups, and our tags on them."""

from collections.abc import Awaitable, Callable
from typing import Annotated, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncSession

from bot.commands.database import with_session
from crm import groups

cli = typer.Typer(help="客户群：有哪些、群主是谁，给群打标签", no_args_is_help=True)
out = Console(highlight=False, soft_wrap=True)
Found = TypeVar("Found")
Name = Annotated[str, typer.Argument(help="群名或 chat_id")]
Word = Annotated[str, typer.Argument(help="标签，最多 40 个字")]


@cli.command(name="list")
def list_all() -> None:
    """Every living group: owner, members, tags."""
    found = with_session(groups.living, writes=False)
    table = Table("群", "群主", "会员（人）", "标签", "chat_id")
    for one in found:
        table.add_row(
            one.name or "（没有名字）", one.owner or "—", f"{one.members:,}", "、".join(one.tags), one.chat_id
        )
    out.print(table if found else "还没有客户群。")


@cli.command()
def tag(name: Name, word: Word) -> None:
    """Put a tag on a group; campaigns choose groups by it."""
    word = word.strip()
    if not 0 < len(word) <= 40:
        _fail("标签要 1 到 40 个字。")
    is_new = with_session(lambda session: _on_the_one(session, name, word, groups.tag))
    out.print(f"{name}：{'打上' if is_new else '已经有'}标签“{word}”", markup=False)


@cli.command()
def untag(name: Name, word: Word) -> None:
    """Take a tag off a group."""
    was = with_session(lambda session: _on_the_one(session, name, word.strip(), groups.untag))
    out.print(f"{name}：{'摘下了' if was else '没有'}标签“{word}”", markup=False)


async def _on_the_one(
    session: AsyncSession, name: str, word: str, verb: Callable[[AsyncSession, int, str], Awaitable[bool]]
) -> bool:
    found = await groups.called(session, name)
    if len(found) != 1:
        _fail(f"有 {len(found)} 个群都叫“{name}”，请写 chat_id" if found else f"没有群“{name}”")
    return await verb(session, found[0].id, word)


def _fail(sentence: str) -> NoReturn:
    Console(stderr=True).print(sentence, style="red", highlight=False, soft_wrap=True, markup=False)
    raise typer.Exit(2)
