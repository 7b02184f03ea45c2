"""`siyu api-key …`: keys to the HTTP API, made with the scopes they need, seen once, taken back."""

import getpass
import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Annotated, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncSession

from bot import api_keys
from bot.api_keys import EVERY_SCOPE, KeyNameTaken, KeyNotFound, KeyWrong, Made
from bot.commands.database import with_session
from bot.models.api import ApiKey, Scope
from bot.settings import Settings, read_settings
from crm.base.clock import SHANGHAI, SystemClock
from crm.base.secrets import Vault

cli = typer.Typer(help="HTTP API 的钥匙：建、看、收回", no_args_is_help=True)
out = Console(highlight=False, soft_wrap=True)
Found = TypeVar("Found")
Name = Annotated[str, typer.Argument(help="给谁用的，如 收银台；建了就不能再给别的钥匙用")]
WRONG = {"name": "名字要 1 到 40 个字", "scopes": "至少给一个权限", "expires_at": "到期的时候要在以后"}


@cli.command()
def create(
    name: Name,
    scope: Annotated[list[Scope] | None, typer.Option(help="权限，可以写几次")] = None,
    every: Annotated[bool, typer.Option("--all", help="全部权限")] = False,
    days: Annotated[int | None, typer.Option(help="几天后到期；不写就不到期", min=1, max=3650)] = None,
    by: Annotated[str, typer.Option(help="谁建的")] = "",
) -> None:
    """Make a key; its secret is printed now and never again."""
    scopes = EVERY_SCOPE if every else frozenset(scope or ())

    async def work(session: AsyncSession, now: datetime, settings: Settings) -> Made:
        until = now + timedelta(days=days) if days else None
        who = by or getpass.getuser()
        return await api_keys.create(
            session, _vault(settings), name, scopes, by=who, expires_at=until, now=now, chance=secrets.SystemRandom()
        )

    made = _with_session(work)
    out.print(f"{made.key.name}：{_scopes(made.key)}。钥匙只显示这一次，请马上收好：", markup=False)
    out.print(made.secret, markup=False)


@cli.command(name="list")
def list_all() -> None:
    """All keys, who made them, what they may do, when they were last used."""

    async def work(session: AsyncSession, now: datetime, settings: Settings) -> tuple[list[ApiKey], datetime]:
        return list(await api_keys.everything(session)), now

    found, now = _with_session(work, writes=False)
    table = Table("名字", "开头", "权限", "谁建的", "建于", "上次使用", "状态")
    for key in found:
        whom = (key.name, f"{key.hint}…", _scopes(key), key.created_by)
        table.add_row(*whom, _when(key.created_at), _when(key.last_used_at), standing(key, now=now))
    out.print(table if found else "还没有建过钥匙。建一把：siyu api-key create 名字 --scope orders:write")


@cli.command()
def revoke(name: Name) -> None:
    """Take a key back, for good."""
    did = _with_session(lambda session, now, settings: api_keys.revoke(session, name, by=getpass.getuser(), now=now))
    out.print(f"{name}：已收回，下一次调用就会被拒绝。" if did else f"{name}：以前就收回了。", markup=False)


def standing(key: ApiKey, *, now: datetime) -> str:
    """Whether it works, in words."""
    if key.revoked_at is not None:
        return f"{_when(key.revoked_at)} 由 {key.revoked_by} 收回"
    if key.expires_at is None:
        return "有效"
    return f"{_when(key.expires_at)} {'已到期' if key.expires_at <= now else '到期'}"


def _scopes(key: ApiKey) -> str:
    return "全部权限" if set(key.scopes) == {scope.value for scope in Scope} else " ".join(key.scopes)


def _vault(settings: Settings) -> Vault:
    if settings.data_key is None:
        _fail("先设置 SIYU_DATA_KEY（openssl rand -base64 32）：钥匙只存用它算出来的哈希。")
    return Vault(settings.data_key.get_secret_value())


def _when(at: datetime | None) -> str:
    return f"{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}" if at else "—"


def _with_session(
    work: Callable[[AsyncSession, datetime, Settings], Awaitable[Found]], *, writes: bool = True
) -> Found:
    settings = read_settings()
    try:
        return with_session(
            lambda session: work(session, SystemClock().now(), settings), writes=writes, settings=settings
        )
    except KeyNameTaken as no:
        _fail(f"已经有过叫“{no.name}”的钥匙，换个名字。")
    except KeyNotFound as no:
        _fail(f"没有叫“{no.name}”的钥匙。")
    except KeyWrong as no:
        _fail(WRONG[no.field])


def _fail(sentence: str) -> NoReturn:
    Console(stderr=True).print(sentence, style="red", highlight=False, soft_wrap=True, markup=False)
    raise typer.Exit(2)
