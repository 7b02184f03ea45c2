"""`siyu newcomers …`: new faces that came to a sale in a burst, looked at by a person."""

import getpass
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, NoReturn, TypeVar

import sqlalchemy as sa
import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncSession

from bot.commands.database import with_session
from bot.flashsale import newcomers, notices, sales
from bot.flashsale.newcomers import Flagged
from bot.flashsale.terms import SaleNotFound
from bot.settings import read_settings
from crm.base.clock import SHANGHAI, SystemClock
from crm.models.member import Member

cli = typer.Typer(help="秒杀里扎堆来的新面孔：看证据，放行或不放行", no_args_is_help=True)
out = Console(highlight=False, soft_wrap=True)
Found = TypeVar("Found")
Code = Annotated[str, typer.Argument(help="秒杀的号，见 siyu sale list")]
Who = Annotated[list[str] | None, typer.Option("--member", help="只管这几位（会员号），可以写几次；不写就是全部")]
RULES = {
    "address": "{minutes} 分钟里同一个地址来了 {count} 个新面孔",
    "together": "{minutes} 分钟里一共来了 {count} 个新面孔",
}


@cli.command(name="list")
def list_all(code: Code) -> None:
    """Who waits to be looked at, and why."""

    async def work(session: AsyncSession, now: datetime) -> list[Flagged]:
        del now
        return await newcomers.flagged(session, (await sales.get(session, code)).id)

    found = _with_session(work)
    table = Table("会员", "名字", "加入", "来抢", "地址", "已抢到", "证据")
    for one in found:
        why = RULES[str(one.evidence["rule"])].format(**one.evidence)
        joined, asked = (f"{at.astimezone(SHANGHAI):%m-%d %H:%M}" for at in (one.joined_at, one.asked_at))
        table.add_row(one.code, one.name, joined, asked, one.address[:4], str(one.claims), why)
    out.print(table if found else "没有在等的新面孔。")


@cli.command()
def admit(code: Code, member: Who = None) -> None:
    """Let them claim; who may be written to hears of it."""

    async def work(session: AsyncSession, now: datetime) -> int:
        sale = await sales.get(session, code)
        people = await newcomers.admit(
            session, sale.id, by=getpass.getuser(), now=now, only=await _ids(session, member)
        )
        await notices.looked_at(session, sale, people, admitted=True, now=now)
        return len(people)

    out.print(f"放行了 {_with_session(work)} 位。")


@cli.command()
def refuse(code: Code, member: Who = None) -> None:
    """They get nothing of this sale; unpaid claims go on to who waits."""

    async def work(session: AsyncSession, now: datetime) -> int:
        sale = await sales.get(session, code)
        people, offers = await newcomers.refuse(
            session, sale.id, by=getpass.getuser(), now=now, only=await _ids(session, member)
        )
        await notices.looked_at(session, sale, people, admitted=False, now=now)
        await notices.offered(session, offers, public_url=read_settings().public_url or "", now=now)
        return len(people)

    out.print(f"没有放行 {_with_session(work)} 位。")


async def _ids(session: AsyncSession, codes: list[str] | None) -> list[int] | None:
    if not codes:
        return None
    found = list(await session.scalars(sa.select(Member.id).where(Member.code.in_(codes))))
    if len(found) < len(set(codes)):
        _fail("有的会员号找不到。")
    return found


def _with_session(work: Callable[[AsyncSession, datetime], Awaitable[Found]]) -> Found:
    try:
        return with_session(lambda session: work(session, SystemClock().now()))
    except SaleNotFound as no:
        _fail(f"没有秒杀 {no.sale}")


def _fail(sentence: str) -> NoReturn:
    Console(stderr=True).print(sentence, style="red", highlight=False, soft_wrap=True, markup=False)
    raise typer.Exit(2)
