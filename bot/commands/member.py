"""`siyu member …`: one person's card; all that is stored about them, to hand over or to erase; what goes by age."""

import getpass
import json
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from bot import privacy as everything
from bot import retention as shelves
from bot.commands import member_card
from bot.commands.database import with_sessions
from bot.privacy import EVERYTHING
from bot.settings import Settings, read_settings
from crm import card, lookup, phones, privacy, sight, tombstones
from crm.base.clock import SHANGHAI, SystemClock
from crm.base.db import Sessions
from crm.base.errors import Busy
from crm.base.secrets import Vault
from crm.card import Card
from crm.holds import PersonErased
from crm.models.member import Member
from crm.models.privacy import Erasure
from crm.privacy import Fate, Line, Reason
from crm.sight import MayNotReveal, Role

cli = typer.Typer(help="一位会员：会员卡、导出全部资料、抹除；按时间清理", no_args_is_help=True)
out = Console()
FATES = {Fate.GONE: "删除", Fate.BLANKED: "抹去内容", Fate.KEPT: "保留"}
EXPORTED = "export"

Found = TypeVar("Found")
Who = Annotated[
    str, typer.Argument(help="会员号、手机号、external_userid、unionid，或 来源:店铺账号", show_default=False)
]
Yes = Annotated[bool, typer.Option("--yes", help="真的做；不写就只看看会怎样")]
By = Annotated[str, typer.Option(help="谁做的，记在底账里；不写就是当前系统用户")]


@cli.command("show")
def show_card(
    who: Who,
    role: Annotated[Role, typer.Option(help="按谁的权限看")] = Role.MANAGER,
    reveal: Annotated[str, typer.Option(help="看明文手机号，写明为什么；会记一条底账", metavar="为什么")] = "",
) -> None:
    """A member's card: who, how they stand and why, what they bought, what happened."""
    settings, now = read_settings(), SystemClock().now()
    member, vault = with_sessions(lambda sessions: _find(sessions, who, settings), settings), _vault(settings)

    async def look(sessions: Sessions) -> Card:
        async with sessions.read() as session:
            return await card.read(session, member.id, role=role, vault=vault, now=now)

    async def plain(sessions: Sessions) -> list[str]:
        if vault is None:
            _fail("没有设置 SIYU_DATA_KEY，打不开手机号。")
        async with sessions.begin() as session:
            by = getpass.getuser()
            return await sight.reveal(session, vault, member.id, role=role, userid=by, because=reveal, now=now)

    member_card.show(out, with_sessions(look, settings))
    if reveal:
        try:
            out.print("明文手机号：" + "、".join(with_sessions(plain, settings)))
        except MayNotReveal:
            _fail("这个角色不能看明文手机号。")


@cli.command()
def export(
    who: Who,
    file: Annotated[Path | None, typer.Option("--out", help="写到哪里；不写就是 会员号.json")] = None,
    by: By = "",
) -> None:
    """Everything that is stored about a member, as readable JSON; phone numbers in plain text, which is logged."""
    settings = read_settings()
    member = with_sessions(lambda sessions: _find(sessions, who, settings), settings)
    target = file or Path(f"{member.code}.json")
    told = with_sessions(
        lambda sessions: _export(sessions, member, _vault(settings), by=by or getpass.getuser()), settings
    )
    target.touch(mode=0o600)
    target.write_text(json.dumps(told, ensure_ascii=False, indent=2, default=_plain) + "\n", encoding="utf-8")
    rows = sum(len(section["rows"]) for section in told["sections"])
    out.print(
        f"{target}：{len(told['sections'])} 类，共 {rows:,} 条。里面有明文手机号，交给本人后请删掉。", soft_wrap=True
    )


@cli.command()
def erase(
    who: Who,
    yes: Yes = False,
    reason: Annotated[Reason, typer.Option(help="asked 本人要求，duty 法律要求，mistake 本不该有")] = Reason.ASKED,
    receipt: Annotated[Path | None, typer.Option(help="把回执写到这个文件")] = None,
    by: By = "",
) -> None:
    """Erase a member, all merged ones with them. Without --yes: what would go, and what stays and why."""
    settings = read_settings()
    member = with_sessions(lambda sessions: _find(sessions, who, settings), settings)
    if not yes:
        _show_lines(with_sessions(lambda sessions: _plan(sessions, member.id), settings))
        out.print("以上是会发生的事，现在什么都没有动。确定要抹除就加 --yes，抹除以后没有办法恢复。", soft_wrap=True)
        return
    now = SystemClock().now()
    try:
        made = with_sessions(
            lambda sessions: everything.erase(sessions, member.id, by=by or getpass.getuser(), reason=reason, now=now),
            settings,
        )
    except PersonErased:
        _fail("这位会员的资料已经抹除过了。")
    except Busy:
        _fail("正好有人在写这位会员的资料，请过一会儿再试一次。")
    told = _receipt(made)
    if receipt is not None:
        receipt.write_text(json.dumps(told, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    _show_lines(
        [Line(line["table"], line["title"], Fate(line["fate"]), line["rows"], line["why"]) for line in made.lines]
    )
    out.print(f"已抹除。回执号 [bold]{made.number}[/]，不含任何个人资料，可以交给本人。", soft_wrap=True)


@cli.command("receipt")
def show_receipt(
    number: Annotated[str, typer.Argument(help="回执号", show_default=False)],
    identity: Annotated[str, typer.Option(help="核对：这个身份（手机号、external_userid……）是不是在里面")] = "",
) -> None:
    """Show the receipt of an erasure; with --identity, whether it was this one's."""
    settings = read_settings()

    async def look(sessions: Sessions) -> tuple[Erasure | None, bool]:
        async with sessions.read() as session:
            found = await privacy.find_receipt(session, number)
            keys = lookup.keys_for(identity, _vault(settings)) if identity else []
            return found, found is not None and await tombstones.matches(session, found.proof, keys)

    found, matches = with_sessions(look, settings)
    if found is None:
        _fail(f"没有回执 {number}。")
    out.print_json(json.dumps(_receipt(found), ensure_ascii=False))
    if identity:
        out.print("这个身份在这次抹除里。" if matches else "这个身份不在这次抹除里。")
        if not matches:
            raise typer.Exit(1)


@cli.command()
def retention(yes: Yes = False) -> None:
    """What is older than it is kept for. The service does this every night by itself."""
    settings, now = read_settings(), SystemClock().now()

    async def count(sessions: Sessions) -> Any:
        async with sessions.read() as session:
            return await shelves.count(session, settings.kept, now=now)

    table = Table("", "保留多少天", "已经过期")
    for title, (kept, rows) in with_sessions(count, settings).items():
        table.add_row(title, f"{kept.days:,}", f"{rows:,}")
    out.print(table)
    if not yes:
        out.print("现在什么都没有动；服务每天夜里会自己清理，要现在清理就加 --yes。", soft_wrap=True)
        return
    gone = with_sessions(lambda sessions: shelves.clear(sessions, settings.kept, now=now), settings)
    out.print(f"清理了 {sum(gone.values()):,} 条。")


async def _find(sessions: Sessions, typed: str, settings: Settings) -> Member:
    async with sessions.read() as session:
        found = await lookup.find(session, typed, _vault(settings))
    if found is None:
        _fail(f"没有找到这位会员：{typed}")
    return found


async def _plan(sessions: Sessions, member_id: int) -> list[Line]:
    async with sessions.read() as session:
        return await privacy.plan(session, await privacy.subject_of(session, member_id), EVERYTHING)


async def _export(sessions: Sessions, member: Member, vault: Vault | None, *, by: str) -> dict[str, Any]:
    now = SystemClock().now()
    if vault is not None:
        async with sessions.begin() as session:  # who reads it is in it
            await phones.reveal(session, vault, member.id, userid=by, because=EXPORTED, now=now)
    async with sessions.read() as session:
        who = await privacy.subject_of(session, member.id)
        found = [section async for section in privacy.export(session, who, EVERYTHING, vault=vault)]
    sections = [{"table": one.table, "title": one.title, "rows": one.rows} for one in found]
    return {"member": member.code, "exported_at": now, "sections": sections}


def _show_lines(lines: list[Line]) -> None:
    table = Table("", "条数", "怎么处理", "为什么")
    for line in sorted(lines, key=lambda line: list(Fate).index(line.fate)):
        table.add_row(line.title, f"{line.rows:,}", FATES[line.fate], line.why)
    out.print(table)


def _receipt(made: Erasure) -> dict[str, Any]:
    return {
        "number": made.number,
        "erased_at": _plain(made.erased_at),
        "by": made.by,
        "reason": made.reason,
        "members": made.members,
        "lines": made.lines,
        "proof": made.proof,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(SHANGHAI).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return value.value if isinstance(value, Enum) else str(value)


def _vault(settings: Settings) -> Vault | None:
    return Vault(settings.data_key.get_secret_value()) if settings.data_key is not None else None


def _fail(sentence: str) -> NoReturn:
    Console(stderr=True).print(sentence, style="red", highlight=False, soft_wrap=True)
    raise typer.Exit(2)
