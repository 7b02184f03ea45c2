"""`siyu rules …`: the shop's rules as they hold now, how they came to be, and the way back."""

import getpass
from typing import Annotated, NoReturn

import sqlalchemy as sa
import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncSession

from bot.access import audit
from bot.commands.database import with_session
from bot.models.shop_rules import RuleVersion
from bot.settings import Settings, read_settings
from bot.shop_rules import sheet, store
from bot.shop_rules.sheet import InForce, RulesWrong
from bot.shop_rules.store import RulesNotFound
from crm.base.clock import SHANGHAI, SystemClock

cli = typer.Typer(help="规则：现在按什么办、谁改的、放回从前", no_args_is_help=True)
out = Console(highlight=False, soft_wrap=True)
Version = Annotated[int, typer.Argument(help="放回哪一版，见 siyu rules history；0 是服务器的设置", min=0)]


def rules_held(settings: Settings | None = None) -> InForce:
    """The rules in force, for a command; without a database that can be read, those of the server's settings."""
    settings = settings or read_settings()
    try:
        return with_session(lambda session: store.in_force(session, settings), writes=False, settings=settings)
    except (sa.exc.SQLAlchemyError, OSError):
        note = "读不到数据库，只按服务器的设置办；管理台上改过的没有算进来。"
        Console(stderr=True).print(note, style="yellow", highlight=False)
        return sheet.read(settings, {})


@cli.command()
def show() -> None:
    """What holds now, and what the server's settings say where the console says otherwise."""
    settings = read_settings()
    newest = with_session(store.newest, writes=False, settings=settings)
    said, texts = sheet.usual(settings), dict(newest.texts) if newest is not None else {}
    table = Table("规则", "现在", "服务器的设置", "名字")
    for one in sheet.ENTRIES:
        mine = texts.get(one.name, said[one.name])
        differs = said[one.name] if one.name in texts else ""
        table.add_row(one.name, mine or "—", differs, f"SIYU_{one.setting}" if one.setting else "只在管理台")
    out.print(table)


@cli.command()
def history() -> None:
    """Who changed which rules when, the newest first."""
    found = with_session(store.history, writes=False)
    table = Table("版本", "什么时候", "谁", "改了", "放回")
    for one in found:
        back = "" if one.back_to is None else str(one.back_to)
        made = f"{one.made_at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
        table.add_row(str(one.version), made, one.made_by, " ".join(one.changed), back)
    out.print(table if found else "管理台上还没有改过规则，按服务器的设置办。")


@cli.command()
def back(version: Version) -> None:
    """Let hold what held at a version; in every process within seconds."""
    settings, now, by = read_settings(), SystemClock().now(), getpass.getuser()

    async def work(session: AsyncSession) -> RuleVersion | None:
        seen = await store.version_of(session)
        made = await store.put_back(session, settings, version, seen=seen, by=by, now=now)
        if made is not None:
            facts = {"rules": list(made.changed), "back_to": version}
            await audit.append(session, "rules.put_back", by=by, about=f"rules:{made.version}", facts=facts, now=now)
        return made

    try:
        made = with_session(work, settings=settings)
    except RulesNotFound:
        _fail(f"没有第 {version} 版。")
    except RulesWrong as wrong:
        _fail(f"第 {version} 版和服务器现在的设置合不起来：{'、'.join(sorted(wrong.by_rule))}")
    out.print("本来就是这样，没有改。" if made is None else f"放回了，现在是第 {made.version} 版。")


def _fail(sentence: str) -> NoReturn:
    Console(stderr=True).print(sentence, style="red", highlight=False, soft_wrap=True, markup=False)
    raise typer.Exit(2)
