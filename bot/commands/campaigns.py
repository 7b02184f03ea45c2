"""`siyu campaigns …`: campaigns as files, and what runs: list, show, pause, resume, cancel, answer, calendar."""

import getpass
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncSession

from bot import texts
from bot.commands.campaign_month import summary_command
from bot.commands.database import with_session
from bot.commands.rules import rules_held
from bot.settings import Settings, read_settings
from bot.web.campaign_names import DELIVERY, ENROLMENT, RUN_STATUS, STATUS
from bot.web.campaign_names import reason as _reason
from campaigns import attribution, engine, experiments, files, playbooks, reports
from campaigns.attribution import Outcome
from campaigns.audience import Reach
from campaigns.engine import CampaignNotFound, NobodySelected, RunNotFound, SecondPersonNeeded, WrongStatus
from campaigns.files import Change, File, Step
from campaigns.models.campaign import Campaign, CampaignStatus
from crm.base.clock import SHANGHAI, SystemClock
from crm.base.errors import ShopError

cli = typer.Typer(help="活动：文件、状态、暂停、日历、月度总结", no_args_is_help=True)
cli.command("summary")(summary_command)
out = Console(highlight=False)
Found = TypeVar("Found")
Folder = Annotated[Path, typer.Argument(help="放活动 YAML 的目录", exists=True, file_okay=False)]
Name = Annotated[str, typer.Argument(help="活动的名字")]
CHANGES = {Change.NEW: "[green]新建[/]", Change.CHANGED: "[yellow]修改[/]", Change.SAME: "不变"}


@cli.command()
def validate(folder: Folder) -> None:
    """Read the files and say what is wrong with them; touches nothing."""
    found = _read(folder)
    out.print(f"{len(found)} 份活动，都能读懂。")


@cli.command()
def plan(folder: Folder) -> None:
    """What applying the files would change, and whom that would reach now."""
    found, held = _read(folder), rules_held()
    steps = _with_session(
        lambda session, now, settings: files.plan(session, found, gate=held.gate, now=now), writes=False
    )
    _show(steps)


@cli.command()
def apply(folder: Folder) -> None:
    """Make the shop's campaigns what the files say. Applying again changes nothing."""
    found, held = _read(folder), rules_held()
    steps = _with_session(
        lambda session, now, settings: files.apply(session, found, gate=held.gate, review=held.review, now=now)
    )
    _show(steps)


@cli.command(name="list")
def list_all() -> None:
    """Every campaign, where it stands and when it fires next."""
    rows = _with_session(lambda session, now, settings: engine.everything(session), writes=False)
    table = Table("活动", "状态", "下一次", "改动")
    for one in rows:
        status = STATUS[one.status] + (f"：{_why(one)}" if _why(one) else "")
        table.add_row(one.name, status, _when(one.next_fire_at), _when(one.changed_at))
    out.print(table if rows else "还没有活动。")


@cli.command()
def show(name: Name) -> None:
    """One campaign: its runs, what became of its deliveries and why, and who of the staff did what."""

    async def read(session: AsyncSession, now: datetime, settings: Settings) -> Any:
        one = await engine.get(session, name)
        return (
            one, await engine.runs_of(session, one.id), await reports.figures(session, one.id),
            await _staff(session, one), await attribution.outcome(session, one.id),
            await reports.way(session, one.id, of_groups="groups" in one.definition),
        )  # fmt: skip

    one, runs, figures, staff, outcome, way = _with_session(read, writes=False)
    out.print(f"[bold]{one.name}[/] {STATUS[one.status]} {_why(one)}")
    many = "群数" if "groups" in one.definition else "人数"
    _table(("轮次", "该发的时间", "状态"), [(str(run.id), _when(run.due_at), _run(run)) for run in runs])
    _table(("送达", many), [(DELIVERY[key], f"{count:,}") for key, count in sorted(figures["by_status"].items())])
    _table(
        ("为什么没有送到", many), [(_reason(key), f"{count:,}") for key, count in sorted(figures["reasons"].items())]
    )
    _table(
        ("员工", "要发", "已送达", "没确认", "没送到", "还在等", "确认时间", "提醒"),
        [
            (
                who.name or who.userid, f"{who.asked:,}", f"{who.sent:,}", f"{who.not_confirmed:,}", f"{who.failed:,}",
                f"{who.waiting:,}", _when(who.confirmed_at), str(who.reminders),
            )
            for who in staff
        ],
    )  # fmt: skip
    _show_way(way, one, many)
    _tell(outcome)


def _show_way(way: reports.Way, one: Campaign, many: str) -> None:
    """Of a sequence: who is where, and step by step how many had it."""
    stands = [
        (f"{ENROLMENT[status]}{f'：{_reason(why)}' if why else ''}", f"{count:,}") for status, why, count in way.stands
    ]
    _table(("序列里", many), stands)
    names = [step["name"] for step in one.definition.get("steps", [])]
    rows = [
        (names[step] if step < len(names) else str(step + 1), f"{had:,}", f"{sent:,}") for step, had, sent in way.steps
    ]
    _table(("步骤", "走到", "其中要发"), rows)


async def _staff(session: AsyncSession, one: Campaign) -> Sequence[reports.StaffReport]:
    return await (reports.by_owner if "groups" in one.definition else reports.by_staff)(session, one.id)


def _tell(outcome: Outcome) -> None:
    """What it brought: the last touch's orders, and the difference to the holdout with how sure it is."""
    groups = [*outcome.arms, *((outcome.holdout,) if outcome.holdout.members else ())]
    rows = []
    for arm in groups:
        share = experiments.wilson(arm.buyers, arm.members)
        rows.append(
            (arm.name, f"{arm.members:,}", f"{arm.buyers:,}", f"{arm.rate:.1%}（{share.low:.1%}–{share.high:.1%}）",
             f"{arm.revenue_each / 100:,.2f}")
        )  # fmt: skip
    _table(("组", "人数", "买了的", "转化（95%）", "人均（元）"), rows)
    credit = outcome.credit
    if groups:
        out.print(f"最后触达：{credit.orders:,} 单，{credit.members:,} 人，{credit.revenue_fen / 100:,.2f} 元")
    if outcome.lift is not None and outcome.incremental_fen is not None:
        sure = "高于对照组" if outcome.lift.is_above_zero else "还看不出和对照组的差别"
        out.print(f"比对照组：{outcome.lift.low:+.1%} 到 {outcome.lift.high:+.1%}（{sure}）", markup=False)
        back = outcome.return_on_cost
        roi = f"，投入 {outcome.cost_fen / 100:,.2f} 元，回报 {back:+.0%}" if back is not None else ""
        out.print(f"增量：{outcome.incremental_fen / 100:,.2f} 元{roi}", markup=False)
    if outcome.winner:
        out.print(f"胜出的写法：{outcome.winner}", markup=False)


@cli.command()
def pause(name: Name, because: Annotated[str, typer.Option(help="为什么，给同事看")] = "手动暂停") -> None:
    """Let nothing more of a campaign leave."""
    _do(name, lambda session, one, now: engine.pause(session, one.id, because=because, by=getpass.getuser(), now=now))


@cli.command()
def resume(name: Name) -> None:
    """Go on where it was paused."""
    _do(name, lambda session, one, now: engine.resume(session, one.id, now=now))


@cli.command()
def cancel(name: Name) -> None:
    """End it for good, and take back what staff have not confirmed."""
    _do(name, lambda session, one, now: engine.cancel(session, one.id, now=now))


@cli.command()
def approve(name: Name, by: Annotated[str, typer.Option(help="谁审的（userid）")] = "") -> None:
    """Say yes to a campaign that waits for a second person."""
    who = by or getpass.getuser()
    _do(name, lambda session, one, now: engine.approve(session, one.id, by=who, now=now))


@cli.command()
def answer(
    run_id: Annotated[int, typer.Argument(help="轮次号，见 siyu campaigns show")],
    fires: Annotated[bool, typer.Option("--fire/--skip", help="照发，还是这一次不发了")],
) -> None:
    """Say to a run that is late whether it still fires."""
    run = _with_session(lambda session, now, settings: engine.answer(session, run_id, fires=fires, now=now))
    out.print(f"轮次 {run.id}：{RUN_STATUS[run.status]}")


@cli.command(name="playbooks")
def show_playbooks(
    action: Annotated[str, typer.Argument(help="copy：抄一份出来改；不写就列出全部")] = "",
    name: Annotated[str, typer.Argument(help="哪一个")] = "",
    to: Annotated[Path, typer.Argument(help="抄到哪个目录")] = Path(),
) -> None:
    """Playbooks that come with the product: list them, or copy one to edit."""
    if not action:
        table = Table("玩法", "做什么", "文件")
        for one in playbooks.everything():
            table.add_row(one.name, one.lead, "、".join(file.name for file in one.files()))
        out.print(table)
        return
    if action != "copy" or not name:
        Console(stderr=True).print("写 siyu campaigns playbooks copy 名字 目录", style="red")
        raise typer.Exit(2)
    try:
        written = playbooks.copy(name, to)
    except playbooks.PlaybookNotFound:
        Console(stderr=True).print(f"没有叫“{name}”的玩法", style="red", markup=False)
        raise typer.Exit(2) from None
    except playbooks.WouldOverwrite as there:
        Console(stderr=True).print(f"{there.path} 已经有了，什么也没抄", style="red", markup=False)
        raise typer.Exit(2) from None
    for path in written:
        out.print(str(path), markup=False)
    out.print(f"改好之后：siyu campaigns validate {to}，再 plan、apply", markup=False)


@cli.command()
def calendar(days: Annotated[int, typer.Option(help="看以后多少天", min=1, max=366)] = 14) -> None:
    """What will fire, by day and time of the shop."""
    coming = _with_session(
        lambda session, now, settings: engine.calendar(session, since=now, until=now + timedelta(days=days)),
        writes=False,
    )
    _table(("时间", "活动", "状态"), [(_when(one.at), one.name, STATUS[one.status]) for one in coming])
    if not coming:
        out.print(f"以后 {days} 天没有按时间触发的活动。")


def _read(folder: Path) -> list[File]:
    found = files.read_folder(folder, rules_held().words)
    wrong = [one for one in found if one.mistakes]
    for one in wrong:
        out.print(f"[red]{one.path.name}[/]")
        for mistake in one.mistakes:
            out.print(f"  {mistake['field'] or '整份'}：{mistake['reason']}", markup=False)
    if wrong or not found:
        out.print("" if wrong else f"{folder} 里没有 .yaml 文件。")
        raise typer.Exit(2)
    return found


def _show(steps: list[Step]) -> None:
    for step in steps:
        fields = f"（{'、'.join(step.fields)}）" if step.fields else ""
        out.print(f"{CHANGES[step.change]} {step.name}{fields}")
        if step.reach is not None:
            out.print(f"    {_reach(step.reach)}", markup=False)
        for close in step.overlaps:
            both = f"与『{close.name}』（{_when(close.at)}）重叠 {close.members:,} 人"
            out.print(f"    {both}", style="yellow", markup=False)
        for caution in step.cautions:
            out.print(f"    留神：{caution}", style="yellow", markup=False)
        if step.wrong:
            out.print(f"    {step.wrong}", style="red", markup=False)
    if any(step.wrong for step in steps):
        raise typer.Exit(1)


def _reach(reach: Reach) -> str:
    """For example: 现在能触达 8,412 人，共 10,000 人：1,203 人 …，385 人 …"""
    if reach.are_groups:
        return _reach_of_groups(reach)
    out_of = [f"{count:,} 人{_reason(code)}" for code, count in sorted(reach.refused.items(), key=lambda one: -one[1])]
    out_of += [f"{reach.holdout:,} 人是对照组"] if reach.holdout else []
    out_of += [f"{reach.without_contact:,} 人不是任何员工的联系人"] if reach.without_contact else []
    odd = {"nobody": "（这个人群现在一个人也没有）", "everybody": "（选中了全部会员，确认不是写错了？）", "": ""}
    words = f"现在能触达 {reach.reached:,} 人，共 {reach.selected:,} 人{odd[reach.oddity]}"
    return f"{words}：{'，'.join(out_of)}" if out_of else words


def _reach_of_groups(reach: Reach) -> str:
    out_of = [
        f"{count:,} 个群{_reason(code)}" for code, count in sorted(reach.refused.items(), key=lambda one: -one[1])
    ]
    out_of += [f"{reach.without_contact:,} 个群{_reason('no_owner')}"] if reach.without_contact else []
    odd = {"nobody": "（现在没有这样的群）", "everybody": "（选中了全部客户群）", "": ""}[reach.oddity]
    words = f"现在能发到 {reach.reached:,} 个群，共 {reach.selected:,} 个{odd}"
    return f"{words}：{'，'.join(out_of)}" if out_of else words


def _why(one: Campaign) -> str:
    if one.status is CampaignStatus.PAUSED:
        return "失败太多，自己停下了" if one.paused_because == engine.ERRORS else one.paused_because
    return f"要第二个人看（{one.review_because}）" if one.status is CampaignStatus.IN_REVIEW else ""


def _run(run: Any) -> str:
    late = {engine.LATE: "过点了", "stale": "停了太久，可能是恢复的备份"}
    because = late.get(run.asks_because, run.asks_because)
    return RUN_STATUS[run.status] + (f"：{because}" if because else "")


def _when(at: datetime | None) -> str:
    return f"{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}" if at else "—"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    if rows:
        table = Table(*head)
        for row in rows:
            table.add_row(*row)
        out.print(table)


def _do(name: str, verb: Callable[[AsyncSession, Campaign, datetime], Awaitable[Campaign]]) -> None:
    async def work(session: AsyncSession, now: datetime, settings: Settings) -> Campaign:
        return await verb(session, await engine.get(session, name), now)

    one = _with_session(work)
    out.print(f"{one.name}：{STATUS[one.status]} {_why(one)}")


def _with_session(
    work: Callable[[AsyncSession, datetime, Settings], Awaitable[Found]], *, writes: bool = True
) -> Found:
    settings = read_settings()
    try:
        return with_session(
            lambda session: work(session, SystemClock().now(), settings), writes=writes, settings=settings
        )
    except CampaignNotFound as no:
        words = f"没有叫“{no.campaign}”的活动"
    except RunNotFound as no:
        words = f"轮次 {no.run_id} 没有在等人决定"
    except WrongStatus as no:
        words = f"“{no.name}”现在{STATUS[no.stands]}，做不了这件事"
    except SecondPersonNeeded as no:
        words = f"“{no.name}”是 {no.by} 自己做的，要另一个人来审"
    except NobodySelected as no:
        words = f"“{no.name}”的人群现在一个人也没有，只发一次等于没发：改人群，或者等有人了再提交。什么也没改"
    except ShopError as no:
        words = str(no) or texts.refusal(no)
    Console(stderr=True).print(words, style="red", markup=False)
    raise typer.Exit(2)
