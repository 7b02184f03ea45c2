"""What a member sees of the tasks: what is open, and how far they have come with each."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.models.review import TaskReview
from campaigns.models.task import CommunityTask, TaskEntry
from campaigns.tasks import entries, progress, reviews, rewards, store
from campaigns.tasks.definition import AnyTask, Monthly, Quiz, Review, Streak, Vote
from campaigns.tasks.entries import Tally
from campaigns.tasks.progress import Month
from campaigns.tasks.reviews import Article
from crm.base.clock import local_day


@dataclass(frozen=True, slots=True)
class TaskCard:
    """One task as it stands for one member."""

    task: CommunityTask
    told: AnyTask
    is_open: bool
    entry: TaskEntry | None  # of a quiz or a vote
    month: Month | None  # of a monthly task, this month
    days: int  # of a streak, in a row up to today or yesterday
    steps: frozenset[str]  # what they were rewarded for
    tally: tuple[Tally, ...]  # of a vote, as far as this member may see it

    articles: tuple[Article, ...] = ()  # of a review task: what may be reviewed
    reviews: tuple[TaskReview, ...] = ()  # what they sent, newest first

    @property
    def votes(self) -> int:
        return sum(one.votes for one in self.tally)


async def cards(session: AsyncSession, member_id: int, *, now: datetime) -> list[TaskCard]:
    """Everything that is open, what ends first at the top."""
    return [await card(session, task, member_id, now=now) for task in await store.on_now(session, now=now)]


async def card(session: AsyncSession, task: CommunityTask, member_id: int, *, now: datetime) -> TaskCard:
    told, today = store.told(task), local_day(now)
    entry, month, days = None, None, 0
    tally: tuple[Tally, ...] = ()
    if isinstance(told, Quiz | Vote):
        entry = await entries.entry_of(session, task.id, member_id)
    if isinstance(told, Monthly):
        month = await progress.month_of(session, task, told, member_id, on=today)
    if isinstance(told, Streak):
        days = await progress.run_of_days(session, task, member_id, on=today)
        days = days or await progress.run_of_days(session, task, member_id, on=today - timedelta(days=1))
    is_open = store.is_open(task, now=now)
    if isinstance(told, Vote) and sees_result(told, has_voted=entry is not None, is_open=is_open):
        tally = tuple(await entries.tally(session, task))
    steps = frozenset(await rewards.steps_of(session, task.id, member_id))
    card_ = TaskCard(task, told, is_open, entry, month, days, steps, tally)
    if not isinstance(told, Review):
        return card_
    articles = await reviews.to_review(session, told, member_id, now=now) if is_open else []
    sent = await reviews.of_member(session, task.id, member_id)
    return replace(card_, articles=tuple(articles), reviews=tuple(sent))


def sees_result(told: Vote, *, has_voted: bool, is_open: bool) -> bool:
    return not is_open or told.shows == "always" or (told.shows == "voted" and has_voted)
