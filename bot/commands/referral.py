"""`siyu referral …`: programmes of 老带新, what they bring and cost, what looks odd, and cash that has to be paid."""

import getpass
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncSession

from bot import referral_words as words
from bot.commands.database import with_session
from bot.texts import yuan
from campaigns import referral_checks, referral_programmes, referral_reports, referral_rewards
from campaigns.models.referral import ReferralInvitation, ReferralProgramme
from campaigns.referral_facts import ProgrammeNotFound, ReviewNotOpen, RewardNotToDo
from campaigns.referral_reports import Figures
from crm.base.clock import SHANGHAI, SystemClock

cli = typer.Typer(help="老带新：进度、成本、要复核的、要转账的", no_args_is_help=True)
out = Console(highlight=False, soft_wrap=True)
Found = TypeVar("Found")
Name = Annotated[str, typer.Argument(help="活动的名字，见 siyu referral list")]
Review = Annotated[int, typer.Argument(help="复核号，见 siyu referral reviews")]
By = Annotated[str, typer.Option(help="谁做的（userid）；不写就是当前系统用户")]


@cli.command(name="list")
def list_all() -> None:
    """Every programme: where it stands, whom it brought, what each cost."""

    async def work(session: AsyncSession, now: datetime) -> list[tuple[ReferralProgramme, Figures]]:
        del now
        found = await referral_programmes.everything(session)
        return [(one, await referral_reports.figures(session, one)) for one in found]

    rows = _with_session(work, writes=False)
    table = Table("活动", "状态", "拉新（人）", "每位成本 / 上限（元）", "已许诺 / 预算（元）", "待复核")
    for one, told in rows:
        cost = f"{_yuan(told.cost_each_fen)} / {yuan(told.cap_fen)}"
        money = f"{yuan(told.committed_fen)} / {yuan(told.budget_fen)}"
        table.add_row(one.name, _status(one), f"{told.acquired:,}", cost, money, f"{told.waiting_reviews:,}")
    out.print(table if rows else "还没有老带新的活动。写一个 kind: referral 的文件，siyu campaigns apply 目录。")


@cli.command()
def show(name: Name) -> None:
    """One programme: invitations by status and reason, money, and the ranking."""

    async def work(session: AsyncSession, now: datetime) -> Any:
        del now
        one = await referral_programmes.get(session, name)
        told = await referral_reports.figures(session, one)
        return one, told, await referral_reports.ranking(session, one.id, limit=10)

    one, told, ranked = _with_session(work, writes=False)
    out.print(f"[bold]{one.name}[/] {_status(one)}")
    table = Table("邀请", "人数")
    for status, count in told.by_status.items():
        table.add_row(words.INVITATION[status], f"{count:,}")
    out.print(table)
    for code, count in told.reasons.items():
        out.print(f"  {words.why(code)}：{count:,} 人", markup=False)
    out.print(f"拉新 {told.acquired:,} 人，每位 {_yuan(told.cost_each_fen)} 元，上限 {yuan(told.cap_fen)} 元")
    out.print(
        f"预算 {yuan(told.budget_fen)} 元：许诺和发出 {yuan(told.committed_fen)} 元，其中已发 {yuan(told.paid_fen)} 元"
    )
    out.print(f"待复核 {told.waiting_reviews:,} 件，待转账 {yuan(told.waiting_cash_fen)} 元，发不出 {told.stuck:,} 笔")
    for each in ranked:
        out.print(f"  第 {each.place} 名 {each.code} {words.masked(each.name)}：{each.counted:,} 位", markup=False)


@cli.command()
def reviews() -> None:
    """What looks odd and waits for a person, with the evidence."""

    async def work(session: AsyncSession, now: datetime) -> Any:
        del now
        return await referral_checks.open_reviews(session)

    found = _with_session(work, writes=False)
    for review, invitation in found:
        said = words.evidence(review.kind, review.evidence)
        people = f"会员 {invitation.inviter_id} 邀请会员 {invitation.invitee_id}"
        out.print(f"{review.id}  {words.REVIEW.get(review.kind, review.kind)}：{people}。{said}", markup=False)
    if not found:
        out.print("没有要复核的邀请。")


@cli.command()
def approve(review: Review, note: Annotated[str, typer.Option(help="为什么")] = "", by: By = "") -> None:
    """It is all right: the invitation goes on."""
    _decide(review, True, note, by)


@cli.command()
def refuse(review: Review, note: Annotated[str, typer.Option(help="为什么")] = "", by: By = "") -> None:
    """It is not: the invitation ends, what was given for it is taken back."""
    _decide(review, False, note, by)


@cli.command()
def cash() -> None:
    """Cash that was promised and that somebody has to pay by hand."""
    found = _with_session(lambda session, now: referral_reports.cash_due(session), writes=False)
    for one in found:
        when = f"{one.promised_at.astimezone(SHANGHAI):%Y-%m-%d}"
        out.print(
            f"{one.reward_id}  {one.member_code} {one.member_name}  {yuan(one.cash_fen)} 元  {when}", markup=False
        )
    if not found:
        out.print("没有要转账的。")


@cli.command()
def paid(reward: Annotated[int, typer.Argument(help="奖励号，见 siyu referral cash")], by: By = "") -> None:
    """Write down that it was paid."""
    who = by or getpass.getuser()
    one = _with_session(lambda session, now: referral_rewards.cash_paid(session, reward, by=who, now=now))
    out.print(f"奖励 {one.id}：{yuan(one.cash_fen)} 元已转账")


@cli.command()
def pause(name: Name, because: Annotated[str, typer.Option(help="为什么，给同事看")] = "手动暂停") -> None:
    """No new invitations; what was promised goes on."""

    async def work(session: AsyncSession, programme_id: int, now: datetime) -> bool:
        return await referral_programmes.pause(session, programme_id, because=because, now=now)

    _do(name, work)


@cli.command()
def resume(name: Name) -> None:
    """Take invitations again."""
    _do(name, lambda session, programme_id, now: referral_programmes.resume(session, programme_id))


@cli.command()
def close(name: Name) -> None:
    """End it for good; what was promised goes on."""
    _do(name, lambda session, programme_id, now: referral_programmes.close(session, programme_id))


def _decide(review_id: int, approves: bool, note: str, by: str) -> None:
    async def work(session: AsyncSession, now: datetime) -> ReferralInvitation:
        who = by or getpass.getuser()
        return await referral_checks.decide(session, review_id, approves=approves, by=who, note=note, now=now)

    one = _with_session(work)
    out.print(f"复核 {review_id}：{'通过' if approves else '不通过'}，邀请{words.INVITATION[one.status]}")


def _do(name: str, verb: Callable[[AsyncSession, int, datetime], Awaitable[bool]]) -> None:
    async def work(session: AsyncSession, now: datetime) -> tuple[ReferralProgramme, bool]:
        one = await referral_programmes.get(session, name)
        moved = await verb(session, one.id, now)
        return await referral_programmes.get(session, name), moved

    one, moved = _with_session(work)
    if not moved:
        _fail(f"“{one.name}”现在{_status(one)}，做不了这件事。")
    out.print(f"{one.name}：{_status(one)}", markup=False)


def _status(one: ReferralProgramme) -> str:
    because = words.PAUSED.get(one.paused_because, one.paused_because)
    return words.PROGRAMME[one.status] + (f"：{because}" if because else "")


def _yuan(fen: int | None) -> str:
    return "—" if fen is None else yuan(fen)


def _with_session(work: Callable[[AsyncSession, datetime], Awaitable[Found]], *, writes: bool = True) -> Found:
    try:
        return with_session(lambda session: work(session, SystemClock().now()), writes=writes)
    except ProgrammeNotFound as no:
        _fail(f"没有叫“{no.name}”的老带新活动")
    except ReviewNotOpen as no:
        _fail(f"复核 {no.review_id} 没有在等人决定")
    except RewardNotToDo as no:
        _fail(f"奖励 {no.reward_id} 没有在等转账")


def _fail(sentence: str) -> NoReturn:
    Console(stderr=True).print(sentence, style="red", highlight=False, soft_wrap=True, markup=False)
    raise typer.Exit(2)
