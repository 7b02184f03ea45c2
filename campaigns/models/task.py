"""Tables of community tasks: what the shop asks its community to do, who did it, and what each got for it."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class TaskKind(StrEnum):
    QUIZ = "quiz"  # 答题
    VOTE = "vote"  # 投票
    STREAK = "streak"  # 连续打卡
    REVIEW = "review"  # 晒单
    MONTHLY = "monthly"  # 月度任务：n 件里做 k 件


class CommunityTask(Base):
    """One task, for as long as it is open. The counters and their CHECKs keep what is given within the budget."""

    __tablename__ = "community_tasks"
    __table_args__ = (
        sa.CheckConstraint("most_rewards IS NULL OR rewarded <= most_rewards", name="rewards_within_limit"),
        sa.CheckConstraint("budget_points IS NULL OR spent_points <= budget_points", name="points_within_budget"),
        sa.CheckConstraint("entered >= 0 AND rewarded >= 0 AND spent_points >= 0", name="never_below_zero"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(sa.String(40), unique=True)  # the shop's own name for it, and what members type
    title: Mapped[str] = mapped_column(sa.String(60))
    kind: Mapped[TaskKind]
    body: Mapped[dict[str, Any]]  # tasks.definition.Task
    version: Mapped[int] = mapped_column(default=1)  # of what is asked: an answer says which one it answers
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]  # exclusive
    most_rewards: Mapped[int | None]
    budget_points: Mapped[int | None]
    entered: Mapped[int] = mapped_column(default=0)  # answers, votes and reviews that came
    rewarded: Mapped[int] = mapped_column(default=0)
    spent_points: Mapped[int] = mapped_column(default=0)
    closed_at: Mapped[datetime | None]  # ended by hand
    changed_at: Mapped[datetime]


class TaskEntry(Base):
    """A member answered a quiz or voted, once. A merge leaves it with whom it was; readers ask for the person."""

    __tablename__ = "task_entries"
    __table_args__ = (sa.UniqueConstraint("task_id", "member_id"), sa.Index(None, "member_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    task_id: Mapped[int] = mapped_column(sa.ForeignKey("community_tasks.id"))
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    version: Mapped[int]
    choices: Mapped[list[Any]]  # of each question the option's number, from 1; of a vote the one chosen
    choice: Mapped[int] = mapped_column(default=0)  # of a vote, for counting
    score: Mapped[int] = mapped_column(default=0)  # right answers
    is_passed: Mapped[bool] = mapped_column(default=False)
    channel: Mapped[str] = mapped_column(sa.String(20))  # "chat", "h5"
    entered_at: Mapped[datetime]


class TaskReward(Base):
    """What a member got for a task, once for each step of it: the cause of the points and of the coupon."""

    __tablename__ = "task_rewards"
    __table_args__ = (sa.UniqueConstraint("task_id", "member_id", "step"), sa.Index(None, "member_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    task_id: Mapped[int] = mapped_column(sa.ForeignKey("community_tasks.id"))
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))  # as whom; a merge leaves it
    step: Mapped[str] = mapped_column(sa.String(80))  # "done", "days:7", "month:2026-03", "review:12"
    points: Mapped[int] = mapped_column(default=0)  # that came; a day's cap may have left less than was promised
    coupon_id: Mapped[int | None] = mapped_column(sa.ForeignKey("coupons.id"))
    given_at: Mapped[datetime]
