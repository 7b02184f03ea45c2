"""Reviews with pictures: sent once for each article of an order, looked at by staff, rewarded when approved."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from campaigns.models.review import ReviewPicture, ReviewStatus, TaskReview
from campaigns.models.task import CommunityTask, TaskKind
from campaigns.tasks import rewards, store
from campaigns.tasks.definition import Review
from campaigns.tasks.rewards import Given, Why, theirs
from campaigns.tasks.store import TaskNotFound
from crm.base import events
from crm.base.clock import day_start, local_day
from crm.base.db import insert
from crm.base.errors import Invalid, NotFound, Refused
from crm.models.order import Order, OrderLine

MOST_PICTURES = 6
MOST_BYTES = 8 * 1024 * 1024
MOST_CHARS = 500
KINDS = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", b"GIF8": "image/gif"}
NO_SYNC = {"synchronize_session": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewDecided:
    """Staff approved a review, or refused it. Appended by approve() and refuse()."""

    member_id: int
    review_id: int
    is_approved: bool
    points: int = 0
    coupon_id: int | None = None
    has_reward: bool = False  # the task promises one
    why: Why = ""  # there was none to give, see rewards.Given


@dataclass(eq=False)
class NotToReview(Refused):
    """Not theirs, not bought lately enough, refunded, of another kind of article, or reviewed already."""

    code: ClassVar[str] = "review.not_to_review"
    key: str


@dataclass(eq=False)
class EnoughReviews(Refused):
    """As many as one person may send in a month."""

    code: ClassVar[str] = "review.enough"
    a_month: int


@dataclass(eq=False)
class PictureWrong(Invalid):
    """No picture, too many, too large, or a file of another kind. reason: none, too_many, too_large, kind."""

    code: ClassVar[str] = "review.picture_wrong"
    reason: str


@dataclass(eq=False)
class WordsMissing(Invalid):
    """It takes some words beside the picture."""

    code: ClassVar[str] = "review.words_missing"
    min_chars: int


@dataclass(eq=False)
class ReviewNotFound(NotFound):
    """No review has this number."""

    code: ClassVar[str] = "review.not_found"
    review_id: int


@dataclass(eq=False)
class ReviewIsDecided(Refused):
    """Somebody was quicker."""

    code: ClassVar[str] = "review.decided"
    review_id: int
    ended: ReviewStatus
    by: str


@dataclass(eq=False)
class ReasonMissing(Invalid):
    """Who refuses says why: the member reads it."""

    code: ClassVar[str] = "review.reason_missing"


@dataclass(frozen=True, slots=True)
class Article:
    """Something of a member's that may be reviewed."""

    order_id: int
    sku: str
    name: str
    paid_at: datetime


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture as it comes: from a phone's page with what it shows, from the chat by its media_id."""

    content: bytes = b""
    media_id: str = ""


# Reads


async def to_review(session: AsyncSession, told: Review, member_id: int, *, now: datetime) -> list[Article]:
    """What this member bought lately and did not review, newest first."""
    standing = sa.select(sa.literal(1)).where(
        TaskReview.order_id == OrderLine.order_id,
        TaskReview.sku == OrderLine.sku,
        TaskReview.status != ReviewStatus.REFUSED,
    )
    rows = await session.execute(
        sa.select(Order.id, OrderLine.sku, sa.func.min(OrderLine.name), Order.paid_at)
        .join(OrderLine, OrderLine.order_id == Order.id)
        .where(
            Order.member_id.in_(theirs(member_id)),
            Order.paid_at > now - timedelta(days=told.within_days),
            Order.paid_fen > Order.refunded_fen,
            *((OrderLine.category.in_(told.categories),) if told.categories else ()),
            ~sa.exists(standing),
        )
        .group_by(Order.id, OrderLine.sku, Order.paid_at)
        .order_by(Order.paid_at.desc(), sa.func.min(OrderLine.line_no))
        .limit(20)
    )
    return [Article(row[0], row[1], row[2], row[3] or now) for row in rows]


async def of_member(session: AsyncSession, task_id: int, member_id: int, *, limit: int = 20) -> list[TaskReview]:
    """What this person sent, newest first."""
    mine = (TaskReview.task_id == task_id, TaskReview.member_id.in_(theirs(member_id)))
    rows = await session.scalars(sa.select(TaskReview).where(*mine).order_by(TaskReview.id.desc()).limit(limit))
    return list(rows)


async def listed(
    session: AsyncSession, status: ReviewStatus, *, task_id: int | None = None, limit: int = 50
) -> list[TaskReview]:
    """Reviews of one status: those that wait, the oldest first; else the newest first."""
    order = TaskReview.sent_at if status is ReviewStatus.WAITING else TaskReview.decided_at.desc()
    of_task = () if task_id is None else (TaskReview.task_id == task_id,)
    rows = await session.scalars(
        sa.select(TaskReview).where(TaskReview.status == status, *of_task).order_by(order, TaskReview.id).limit(limit)
    )
    return list(rows)


async def pictures_of(session: AsyncSession, review_ids: Sequence[int]) -> dict[int, list[ReviewPicture]]:
    """Their pictures, without what they show."""
    rows = await session.scalars(
        sa.select(ReviewPicture)
        .options(defer(ReviewPicture.content))
        .where(ReviewPicture.review_id.in_(review_ids))
        .order_by(ReviewPicture.id)
    )
    found: dict[int, list[ReviewPicture]] = {review_id: [] for review_id in review_ids}
    for row in rows:
        found[row.review_id].append(row)
    return found


async def is_of(session: AsyncSession, picture: ReviewPicture, member_id: int) -> bool:
    """Whether a picture is of a review of this person's."""
    mine = (TaskReview.id == picture.review_id, TaskReview.member_id.in_(theirs(member_id)))
    return await session.scalar(sa.select(TaskReview.id).where(*mine)) is not None


async def get(session: AsyncSession, review_id: int) -> TaskReview:
    """Raises ReviewNotFound."""
    found = await session.get(TaskReview, review_id, populate_existing=True)
    if found is None:
        raise ReviewNotFound(review_id)
    return found


def kind_of(content: bytes) -> str:
    """What the first bytes say it is. Raises PictureWrong."""
    if len(content) > MOST_BYTES:
        raise PictureWrong("too_large")
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    for begins, kind in KINDS.items():
        if content.startswith(begins):
            return kind
    raise PictureWrong("kind")


# Verbs


async def send(
    session: AsyncSession,
    key: str,
    member_id: int,
    order_id: int,
    sku: str,
    pictures: Sequence[Picture],
    *,
    words: str = "",
    channel: str,
    now: datetime,
) -> TaskReview:
    """A review, to be looked at. The unique key (order, article) is the guard: of any number at once one is written.

    Raises TaskNotFound, TaskNotOpen, NotToReview, EnoughReviews, PictureWrong, WordsMissing, PersonErased.
    """
    words = " ".join(words.split())[:MOST_CHARS]
    async with session.begin_nested():
        member_id = await rewards.hold(session, member_id)
        task = await store.get(session, key)
        told = store.told(task)
        if not isinstance(told, Review):
            raise TaskNotFound(key)
        _check(told, pictures, words)
        await _still_open(session, task, now=now)
        articles = {(one.order_id, one.sku): one for one in await to_review(session, told, member_id, now=now)}
        article = articles.get((order_id, sku))
        if article is None:
            raise NotToReview(key)
        if await _this_month(session, task, member_id, now=now) >= told.a_month:
            raise EnoughReviews(told.a_month)
        row = insert(session, TaskReview).values(
            task_id=task.id, member_id=member_id, order_id=order_id, sku=sku, article=article.name, words=words,
            status=ReviewStatus.WAITING, reason="", by="", channel=channel, sent_at=now, decided_at=None,
        )  # fmt: skip
        review: TaskReview | None = await session.scalar(row.on_conflict_do_nothing().returning(TaskReview))
        if review is None:
            raise NotToReview(key)
        for picture in pictures:
            _add(session, review.id, picture, now=now)
        await session.flush()
    return review


async def add_picture(
    session: AsyncSession, review_id: int, member_id: int, picture: Picture, *, now: datetime
) -> bool:
    """One more picture to a review of theirs that still waits; False: it is decided, not theirs, or has enough."""
    review = await session.scalar(
        sa.select(TaskReview)
        .where(
            TaskReview.id == review_id,
            TaskReview.member_id.in_(theirs(member_id)),
            TaskReview.status == ReviewStatus.WAITING,
        )
        .with_for_update()
    )
    if review is None or len((await pictures_of(session, [review_id]))[review_id]) >= MOST_PICTURES:
        return False
    _add(session, review_id, picture, now=now)
    await session.flush()
    return True


async def approve(session: AsyncSession, review_id: int, *, by: str, now: datetime) -> tuple[TaskReview, Given | None]:
    """Say yes, and give what was promised. Raises ReviewNotFound, ReviewIsDecided."""
    async with session.begin_nested():
        known = await get(session, review_id)
        member_id = await rewards.hold(session, known.member_id)
        review = await _decide(session, review_id, ReviewStatus.APPROVED, reason="", by=by, now=now)
        task = await session.get_one(CommunityTask, review.task_id)
        told, given = store.told(task), None
        if isinstance(told, Review) and told.reward is not None:
            step = f"{review.order_id}:{review.sku}"
            given = await rewards.give(session, task, told.reward, member_id, step=step, now=now)
        news = ReviewDecided(
            member_id=member_id, review_id=review_id, is_approved=True, points=given.points if given else 0,
            coupon_id=given.coupon.id if given and given.coupon else None, has_reward=given is not None,
            why=given.why if given else "",
        )  # fmt: skip
        await events.append(session, news, now=now)
    return review, given


async def refuse(session: AsyncSession, review_id: int, *, reason: str, by: str, now: datetime) -> TaskReview:
    """Say no, and why; the member may send another. Raises ReviewNotFound, ReviewIsDecided, ReasonMissing."""
    reason = " ".join(reason.split())[:MOST_CHARS]
    if not reason:
        raise ReasonMissing
    review = await _decide(session, review_id, ReviewStatus.REFUSED, reason=reason, by=by, now=now)
    news = ReviewDecided(member_id=review.member_id, review_id=review_id, is_approved=False)
    await events.append(session, news, now=now)
    return review


async def _decide(
    session: AsyncSession, review_id: int, status: ReviewStatus, *, reason: str, by: str, now: datetime
) -> TaskReview:
    """The WHERE clause is the guard: of two who decide one is first."""
    decided: TaskReview | None = await session.scalar(
        sa.update(TaskReview)
        .where(TaskReview.id == review_id, TaskReview.status == ReviewStatus.WAITING)
        .values(status=status, reason=reason, by=by, decided_at=now)
        .returning(TaskReview)
        .execution_options(populate_existing=True)
    )
    if decided is None:
        known = await get(session, review_id)
        raise ReviewIsDecided(review_id, known.status, known.by)
    return decided


def _check(told: Review, pictures: Sequence[Picture], words: str) -> None:
    if not pictures:
        raise PictureWrong("none")
    if len(pictures) > MOST_PICTURES:
        raise PictureWrong("too_many")
    for picture in pictures:
        if not picture.media_id:
            kind_of(picture.content)
    if len(words) < told.min_chars:
        raise WordsMissing(told.min_chars)


async def _still_open(session: AsyncSession, task: CommunityTask, *, now: datetime) -> None:
    """Counts one more; raises TaskNotOpen."""
    one_more = sa.update(CommunityTask).where(CommunityTask.id == task.id, *store.open_at(now))
    counted = one_more.values(entered=CommunityTask.entered + 1).returning(CommunityTask.id)
    if task.kind is not TaskKind.REVIEW or await session.scalar(counted, execution_options=NO_SYNC) is None:
        raise store.not_open(task)


async def _this_month(session: AsyncSession, task: CommunityTask, member_id: int, *, now: datetime) -> int:
    mine = sa.select(sa.func.count()).where(
        TaskReview.task_id == task.id,
        TaskReview.member_id.in_(theirs(member_id)),
        TaskReview.status != ReviewStatus.REFUSED,
        TaskReview.sent_at >= day_start(local_day(now).replace(day=1)),
    )
    return await session.scalar(mine) or 0


def _add(session: AsyncSession, review_id: int, picture: Picture, *, now: datetime) -> None:
    content = picture.content or None
    session.add(
        ReviewPicture(
            review_id=review_id,
            media_id=picture.media_id,
            content=content,
            tries=0,
            error="",
            sent_at=now,
            content_type=kind_of(content) if content else "",
            fetch_at=None if content else now,
        )
    )
