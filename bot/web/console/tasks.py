"""社群任务 for managers: what runs and what it gave, a vote as it moves, reviews with their pictures to approve."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession

from bot.access.rights import Right
from bot.web.h5_tasks import shown
from bot.web.language import N_
from bot.web.screens import Screens, change, go, looking, may, render, who
from campaigns.models.review import ReviewPicture, ReviewStatus, TaskReview
from campaigns.models.task import CommunityTask, TaskEntry, TaskKind, TaskReward
from campaigns.tasks import entries, reviews, store
from campaigns.tasks.definition import Vote
from crm.models.member import Member

SCREENS = Screens()
PATH = "/console/tasks"
KINDS: Mapping[TaskKind, str] = {
    TaskKind.QUIZ: N_("答题"),
    TaskKind.VOTE: N_("投票"),
    TaskKind.STREAK: N_("连续打卡"),
    TaskKind.REVIEW: N_("晒单"),
    TaskKind.MONTHLY: N_("月度任务"),
}
STATUS: Mapping[ReviewStatus, tuple[str, str]] = {
    ReviewStatus.WAITING: (N_("待审"), "yellow"),
    ReviewStatus.APPROVED: (N_("通过"), "green"),
    ReviewStatus.REFUSED: (N_("没通过"), "red"),
}
REASONS = (N_("照片看不清"), N_("照片里没有商品"), N_("和买的商品对不上"))
DECIDED = 20


@SCREENS.get(PATH, Right.CONSOLE)
async def overview(request: web.Request) -> web.Response:
    async with looking(request) as session:
        tasks = await store.everything(session)
        waiting = await _waiting(session)
    return _render(request, "console/tasks.html", tasks=tasks, waiting=waiting, here="tasks")


@SCREENS.get(PATH + "/reviews", Right.CONSOLE)
async def queue(request: web.Request) -> web.Response:
    async with looking(request) as session:
        waiting = await reviews.listed(session, ReviewStatus.WAITING)
        decided = [
            *await reviews.listed(session, ReviewStatus.APPROVED, limit=DECIDED),
            *await reviews.listed(session, ReviewStatus.REFUSED, limit=DECIDED),
        ]
        decided.sort(key=lambda one: one.decided_at or one.sent_at, reverse=True)
        pictures = await reviews.pictures_of(session, [one.id for one in waiting])
        names = await _names(session, [*waiting, *decided])
        count = await _waiting(session)
    return _render(
        request, "console/task_reviews.html", here="reviews", open_ones=waiting, decided=decided[:DECIDED],
        pictures=pictures, names=names, waiting=count, reasons=REASONS, sees_pictures=may(request, Right.MANAGE),
    )  # fmt: skip


@SCREENS.post(PATH + "/reviews/{id:\\d+}", Right.MANAGE)
async def decide(request: web.Request) -> web.Response:
    """Approve with its reward, or refuse with a reason that the member reads; the first of two who decide counts."""
    form = await request.post()
    review_id = _number(request)
    by = who(request).account.name
    if form.get("verdict") == "approve":
        async with change(request, "review.approved", about=f"review:{review_id}") as deed:
            _, given = await reviews.approve(deed.session, review_id, by=by, now=deed.now)
            deed.facts |= {"points": given.points if given else 0, "why": given.why if given else ""}
    else:
        reason = str(form.get("reason", "")).strip() or str(form.get("common", ""))
        async with change(request, "review.refused", about=f"review:{review_id}") as deed:
            await reviews.refuse(deed.session, review_id, reason=reason, by=by, now=deed.now)
    return go(request, f"{PATH}/reviews")


@SCREENS.get(PATH + "/pictures/{id:\\d+}", Right.MANAGE)
async def picture(request: web.Request) -> web.Response:
    async with looking(request) as session:
        found = await session.get(ReviewPicture, _number(request))
    if found is None or found.content is None:
        raise web.HTTPNotFound
    return shown(found)


@SCREENS.get(PATH + "/{id:\\d+}", Right.CONSOLE)
async def task(request: web.Request) -> web.Response:
    async with looking(request) as session:
        one = await _get(session, request)
        told = store.told(one)
        tally = await entries.tally(session, one) if isinstance(told, Vote) else []
        passed = await _count(session, TaskEntry, TaskEntry.task_id == one.id, TaskEntry.is_passed.is_(True))
        coupons = await _count(session, TaskReward, TaskReward.task_id == one.id, TaskReward.coupon_id.is_not(None))
        waiting = await _waiting(session)
    is_piece = "tally" in request.query
    return _render(
        request, "console/_task_tally.html" if is_piece else "console/task.html", here="", waiting=waiting, one=one,
        told=told, tally=tally, votes=sum(line.votes for line in tally), passed=passed, coupons=coupons,
    )  # fmt: skip


@SCREENS.post(PATH + "/{id:\\d+}/close", Right.MANAGE)
async def close(request: web.Request) -> web.Response:
    async with change(request, "task.closed", about=f"task:{_number(request)}") as deed:
        one = await _get(deed.session, request)
        await store.close(deed.session, one.key, now=deed.now)
    return go(request, f"{PATH}/{one.id}")


async def _get(session: AsyncSession, request: web.Request) -> CommunityTask:
    found = await session.get(CommunityTask, _number(request))
    if found is None:
        raise web.HTTPNotFound
    return found


async def _waiting(session: AsyncSession) -> int:
    return await _count(session, TaskReview, TaskReview.status == ReviewStatus.WAITING)


async def _count(session: AsyncSession, table: type, *where: sa.ColumnElement[bool]) -> int:
    return await session.scalar(sa.select(sa.func.count()).select_from(table).where(*where)) or 0


async def _names(session: AsyncSession, found: list[TaskReview]) -> dict[int, str]:
    rows = await session.execute(
        sa.select(Member.id, Member.name).where(Member.id.in_({one.member_id for one in found}))
    )
    return {row.id: row.name for row in rows}


def stands(one: CommunityTask, now: datetime) -> tuple[str, str]:
    """Where a task is, and in which colour."""
    if one.closed_at is not None or (one.ends_at is not None and one.ends_at <= now):
        return N_("已结束"), "secondary"
    return (N_("还没开始"), "blue") if one.starts_at > now else (N_("进行中"), "green")


def _number(request: web.Request) -> int:
    told = request.match_info["id"]
    if len(told) > 15:
        raise web.HTTPNotFound
    return int(told)


def _render(request: web.Request, template: str, **facts: Any) -> web.Response:
    return render(request, template, kinds=KINDS, statuses=STATUS, stands=stands, path_here=PATH, **facts)
