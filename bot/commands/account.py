"""`siyu account …` and `siyu audit`: who may sign in to the staff's browser, and the log of what was done there."""

import getpass
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncSession

from bot.access import accounts, audit
from bot.commands.database import with_session
from bot.web.formats import full
from bot.web.language import translations
from bot.web.names import ROLES
from bot.web.refusals import in_words
from crm.base.clock import SystemClock
from crm.base.errors import ShopError
from crm.sight import Role

cli = typer.Typer(help="谁可以登录工作台和管理台", no_args_is_help=True)
out = Console(highlight=False)
Name = Annotated[str, typer.Argument(help="登录名：小写字母和数字")]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="从标准输入读密码，不问")]


@cli.command("make")
def make_command(
    name: Name,
    role: Annotated[Role, typer.Option(help="owner 店主、manager 运营、agent 客服、auditor 审计")] = Role.OWNER,
    title: Annotated[str, typer.Option(help="同事看到的名字")] = "",
    userid: Annotated[str, typer.Option(help="企业微信账号；填了就能扫码登录")] = "",
    no_password: Annotated[bool, typer.Option("--no-password", help="只用扫码登录")] = False,
    password_stdin: FromStdin = False,
) -> None:
    """Make an account; asks for its password."""
    password = None if no_password else _password(password_stdin)

    async def make(session: AsyncSession) -> str:
        now = SystemClock().now()
        made = await accounts.make(
            session, name, role=role, title=title, password=password, userid=userid or None, now=now
        )
        await _note(session, "account.made", made.id, name=made.name, role=made.role)
        return f"账号 {made.name} 已建好，角色：{ROLES[made.role]}。"

    _change(make)


@cli.command("password")
def password_command(name: Name, password_stdin: FromStdin = False) -> None:
    """A new password; every browser of this account is signed out."""
    password = _password(password_stdin)

    async def change(session: AsyncSession) -> str:
        account = await accounts.named(session, name)
        await accounts.set_password(session, account.id, password, now=SystemClock().now())
        await accounts.drop_second_factor(session, account.id)
        await _note(session, "account.password", account.id)
        return f"{account.name} 的密码已换，两步验证已关，所有浏览器都已退出。"

    _change(change)


@cli.command("role")
def role_command(name: Name, role: Role) -> None:
    """Another role."""

    async def change(session: AsyncSession) -> str:
        account = await accounts.named(session, name)
        await accounts.set_role(session, account.id, role)
        await _note(session, "account.changed", account.id, role=role)
        return f"{account.name} 现在是{ROLES[role]}。"

    _change(change)


@cli.command("disable")
def disable_command(name: Name) -> None:
    """They cannot sign in any more, and are signed out everywhere."""

    async def disable(session: AsyncSession) -> str:
        account = await accounts.named(session, name)
        await accounts.disable(session, account.id, now=SystemClock().now())
        await _note(session, "account.changed", account.id, disabled=True)
        return f"{account.name} 已停用。"

    _change(disable)


@cli.command("list")
def list_command() -> None:
    """Everybody who has an account."""

    async def show(session: AsyncSession) -> str:
        table = Table("登录名", "名字", "角色", "企业微信", "两步验证", "状态")
        for one in await accounts.everybody(session):
            factor, state = "开" if one.totp_secret else "关", "停用" if one.disabled_at else "正常"
            table.add_row(one.name, one.title, ROLES[one.role], one.userid or "—", factor, state)
        out.print(table if table.row_count else "还没有账号：siyu account make 名字")
        return ""

    _change(show)


def audit_command(
    verify: Annotated[bool, typer.Option("--verify", help="核对整条链；断了以状态 1 结束")] = False,
    lines: Annotated[int, typer.Option(help="最近多少条")] = 20,
) -> None:
    """What staff did, the newest first; with --verify, whether anybody rewrote it."""
    broken = False

    async def show(session: AsyncSession) -> str:
        nonlocal broken
        if verify:
            verdict = await audit.verify(session)
            broken = verdict.broken_at is not None
            if broken:
                return f"第 {verdict.broken_at} 条与它前面的对不上：有人改过记录。"
            return f"{verdict.entries} 条记录首尾相接，没有被改过。链头：{verdict.head}"
        for one in await audit.page(session, size=lines):
            facts = " ".join(f"{key}={value}" for key, value in one.facts.items())
            out.print(f"{full(one.at)}  {one.by}  {one.action}  {one.about}  {facts}", markup=False, soft_wrap=True)
        return ""

    _change(show)
    if broken:
        raise typer.Exit(1)


async def _note(session: AsyncSession, action: str, account_id: int, **facts: object) -> None:
    by, now = f"{audit.COMMAND_LINE}:{getpass.getuser()}"[:40], SystemClock().now()
    await audit.append(session, action, by=by, about=f"account:{account_id}", facts=facts, now=now)


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    return str(typer.prompt("密码", hide_input=True, confirmation_prompt="再输一次"))


def _change(work: Callable[[AsyncSession], Awaitable[str]]) -> None:
    try:
        said = with_session(work)
    except ShopError as refusal:
        out.print(in_words(refusal, translations("zh")), style="red", markup=False)
        raise typer.Exit(1) from None
    if said:
        out.print(said, markup=False)
