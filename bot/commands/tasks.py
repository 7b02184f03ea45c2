"""`siyu tasks …`: community tasks as they stand, and reviews that wait for somebody to look."""

import getpass
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncSession

from bot.commands.database import with_session
from campaigns.models.review import ReviewPicture, ReviewStatus, TaskReview
from campaigns.models.task import CommunityTask, TaskKind
from campaigns.tasks import entries, reviews, store
from campaigns.tasks.definition import Vote
from campaigns.tasks.reviews import ReasonMissing, ReviewIsDecided, ReviewNotFound
from campaigns.tasks.store import TaskNotFound
from crm.base.clock import SHANGHAI, SystemClock
from crm.base.errors import ShopError

cli = typer.Typer(help="社群任务：看进展、投票结果，审晒单，提前结束", no_args_is_help=True)
out = Console(highlight=False, soft_wrap=True)
Found = TypeVar("Found")
Key = Annotated[str, typer.Argument(help="任务的名字")]
Number = Annotated[int, typer.Argument(help="晒单的号，见 siyu tasks reviews")]
KINDS = {
    TaskKind.QUIZ: "答题", TaskKind.VOTE: "投票", TaskKind.STREAK: "连续打卡", TaskKind.REVIEW: "晒单",
    TaskKind.MONTHLY: "月度任务",
}  # fmt: skip
STATUS = {ReviewStatus.WAITING: "待审", ReviewStatus.APPROVED: "通过", ReviewStatus.REFUSED: "没通过"}
SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif", "image/webp": ".webp"}


@cli.command(name="list")
def list_all() -> None:
    """Every task, how many took part and what was given of what was set aside."""
    rows, now = _with_session(_list, writes=False)
    table = Table("任务", "种类", "状态", "参加", "奖励（份）", "积分")
    for one in rows:
        table.add_row(
            one.key, KINDS[one.kind], _stands(one, now), f"{one.entered:,}", _of(one.rewarded, one.most_rewards),
            _of(one.spent_points, one.budget_points),
        )  # fmt: skip
    out.print(table if rows else "还没有社群任务：写一个 YAML，用 siyu campaigns apply 建。")


@cli.command()
def show(key: Key) -> None:
    """One task; of a vote the result as it stands."""

    async def read(session: AsyncSession, now: datetime) -> Any:
        task = await store.get(session, key)
        told = store.told(task)
        return task, await entries.tally(session, task) if isinstance(told, Vote) else [], now

    task, tally, now = _with_session(read, writes=False)
    out.print(f"{task.title}（{KINDS[task.kind]}）：{_stands(task, now)}，{task.entered:,} 人次参加", markup=False)
    out.print(f"奖励 {_of(task.rewarded, task.most_rewards)} 份，积分 {_of(task.spent_points, task.budget_points)}")
    votes = sum(one.votes for one in tally)
    for one in tally:
        out.print(f"  {one.name}  {one.votes:,} 票  {one.votes / votes if votes else 0:.1%}", markup=False)


@cli.command()
def close(key: Key) -> None:
    """End a task now: no more answers, no more rewards."""
    task = _with_session(lambda session, now: store.close(session, key, now=now))
    out.print(f"{task.title}：已结束", markup=False)


@cli.command(name="reviews")
def list_reviews(
    status: Annotated[ReviewStatus, typer.Option(help="看哪一种")] = ReviewStatus.WAITING,
    to: Annotated[Path | None, typer.Option(help="把照片存进这个目录")] = None,
) -> None:
    """Reviews with their words; those that wait, the oldest first."""

    async def read(session: AsyncSession, now: datetime) -> Any:
        del now
        found = await reviews.listed(session, status)
        shots = await reviews.pictures_of(session, [one.id for one in found])
        if to is not None:
            for one in (one for some in shots.values() for one in some):
                await session.refresh(one, ["content"])
        return found, shots

    found, shots = _with_session(read, writes=False)
    table = Table("号", "时间", "商品", "说了什么", "照片", "状态")
    for one in found:
        table.add_row(
            str(one.id), _when(one.sent_at), one.article, one.words, _pictures(shots[one.id]),
            STATUS[one.status] + (f"：{one.reason}" if one.reason else ""),
        )  # fmt: skip
        if to is not None:
            _save(to, one, shots[one.id])
    out.print(table if found else "没有这样的晒单。")


@cli.command()
def approve(review_id: Number, by: Annotated[str, typer.Option(help="谁审的（userid）")] = "") -> None:
    """Say yes to a review, and give its reward."""
    who = by or getpass.getuser()
    review, given = _with_session(lambda session, now: reviews.approve(session, review_id, by=who, now=now))
    won = "" if given is None else "，奖励已发完" if given.why else f"，{given.points} 积分"
    out.print(f"晒单 {review.id} 通过{won}")


@cli.command()
def refuse(
    review_id: Number,
    reason: Annotated[str, typer.Option(help="为什么，会员会看到")],
    by: Annotated[str, typer.Option(help="谁审的（userid）")] = "",
) -> None:
    """Say no to a review, and why; the member may send another."""
    who = by or getpass.getuser()
    review = _with_session(lambda session, now: reviews.refuse(session, review_id, reason=reason, by=who, now=now))
    out.print(f"晒单 {review.id} 没有通过：{review.reason}", markup=False)


async def _list(session: AsyncSession, now: datetime) -> tuple[list[CommunityTask], datetime]:
    return await store.everything(session), now


def _save(folder: Path, review: TaskReview, shots: list[ReviewPicture]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for place, shot in enumerate(shots, 1):
        if shot.content is not None:
            (folder / f"{review.id}-{place}{SUFFIXES.get(shot.content_type, '')}").write_bytes(shot.content)


def _pictures(shots: list[ReviewPicture]) -> str:
    here = sum(bool(one.content_type) for one in shots)
    lost = sum(bool(one.error) for one in shots)
    coming = len(shots) - here - lost
    words = ((f"{here} 张", here), (f"{coming} 张还在取", coming), (f"{lost} 张取不到", lost))
    return "，".join(said for said, count in words if count)


def _stands(task: CommunityTask, now: datetime) -> str:
    if task.closed_at is not None or (task.ends_at is not None and task.ends_at <= now):
        return f"{_when(task.closed_at or task.ends_at)} 结束"
    if task.starts_at > now:
        return f"{_when(task.starts_at)} 开始"
    return f"进行中，{_when(task.ends_at)} 结束" if task.ends_at else "进行中"


def _of(used: int, limit: int | None) -> str:
    return f"{used:,}/{limit:,}" if limit is not None else f"{used:,}"


def _when(at: datetime | None) -> str:
    return f"{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}" if at else "—"


def _with_session(work: Callable[[AsyncSession, datetime], Awaitable[Found]], *, writes: bool = True) -> Found:
    try:
        return with_session(lambda session: work(session, SystemClock().now()), writes=writes)
    except TaskNotFound as no:
        words = f"没有叫“{no.key}”的任务"
    except ReviewNotFound as no:
        words = f"没有晒单 {no.review_id}"
    except ReviewIsDecided as no:
        words = f"晒单 {no.review_id} 已经由 {no.by or '别人'} 定了：{STATUS[no.ended]}"
    except ReasonMissing:
        words = "写一句为什么，会员会看到"
    except ShopError as no:
        words = str(no) or no.code
    Console(stderr=True).print(words, style="red", markup=False)
    raise typer.Exit(2)
