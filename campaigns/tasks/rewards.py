"""Rewards of tasks: each once for its cause, and never more than the task's budget.

Who gives holds the person, then takes room in the task, then gives: the CHECKs on the task and the unique key (task,
member, step) are the guards. What cannot be given whole is not given, and says why.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import coupons, offers
from campaigns.models.offer import Coupon, Offer
from campaigns.models.task import CommunityTask, TaskReward
from campaigns.tasks.definition import Reward
from crm import holds, points
from crm.base.db import insert
from crm.base.errors import ShopError
from crm.holds import PersonErased
from crm.models.member import Member
from crm.point_ledger import Cause

NO_SYNC = {"synchronize_session": False}
Why = Literal["", "spent", "offer"]


@dataclass(frozen=True, slots=True)
class Given:
    """What a step brought. why: "spent" where the task's budget is, "offer" where its coupon cannot be had."""

    step: str
    points: int = 0
    coupon: Coupon | None = None
    offer: Offer | None = None
    why: Why = ""


def theirs(member_id: int) -> sa.Select[int]:
    """Every row a person is: this member, and whoever was merged into them."""
    return sa.select(Member.id).where(sa.or_(Member.id == member_id, Member.merged_into_id == member_id))


async def hold(session: AsyncSession, member_id: int) -> int:
    """Lock the person who takes part; returns the member they are by now. Raises PersonErased, MemberNotFound."""
    held = await holds.hold_one(session, member_id)
    if held.is_erased:
        raise PersonErased
    return held.member_id


async def steps_of(session: AsyncSession, task_id: int, member_id: int) -> set[str]:
    """The steps that this person was rewarded for."""
    mine = (TaskReward.task_id == task_id, TaskReward.member_id.in_(theirs(member_id)))
    return set(await session.scalars(sa.select(TaskReward.step).where(*mine)))


async def give(
    session: AsyncSession, task: CommunityTask, reward: Reward, member_id: int, *, step: str, now: datetime
) -> Given | None:
    """The reward of this step for a member who is held; None: this person had it already."""
    if step in await steps_of(session, task.id, member_id):
        return None
    try:
        async with session.begin_nested():
            return await _give(session, task, reward, member_id, step=step, now=now)
    except _NoRoom:
        return Given(step, why="spent")
    except _Had:
        return None
    except (PersonErased, points.NoPoints):
        raise
    except ShopError:  # the offer is sold out, closed, or this person took as many of it as one may
        return Given(step, why="offer")


async def _give(
    session: AsyncSession, task: CommunityTask, reward: Reward, member_id: int, *, step: str, now: datetime
) -> Given:
    promised = reward.points or 0
    room = (
        sa.update(CommunityTask)
        .where(
            CommunityTask.id == task.id,
            _under(CommunityTask.rewarded, 1, CommunityTask.most_rewards),
            _under(CommunityTask.spent_points, promised, CommunityTask.budget_points),
        )
        .values(rewarded=CommunityTask.rewarded + 1, spent_points=CommunityTask.spent_points + promised)
        .returning(CommunityTask.id)
    )
    if await session.scalar(room, execution_options=NO_SYNC) is None:
        raise _NoRoom
    row = insert(session, TaskReward).values(
        task_id=task.id, member_id=member_id, step=step, points=0, coupon_id=None, given_at=now
    )
    reward_id = await session.scalar(row.on_conflict_do_nothing().returning(TaskReward.id))
    if reward_id is None:
        raise _Had
    coupon, offer, came = None, None, 0
    if reward.offer is not None:
        offer = await offers.get(session, reward.offer)
        coupon = await coupons.issue(session, offer.id, member_id, because=f"task:{reward_id}", now=now)
    if promised:
        cause, facts = Cause("task", str(reward_id)), {"task": task.key, "step": step}
        came = (await points.earn(session, member_id, promised, cause=cause, facts=facts, now=now)).points
    told = {"points": came, "coupon_id": coupon.id if coupon is not None else None}
    mine = sa.update(TaskReward).where(TaskReward.id == reward_id).values(**told)
    await session.execute(mine, execution_options=NO_SYNC)
    if came < promised:  # the day's cap was reached: the rest is there for others
        less = sa.update(CommunityTask).where(CommunityTask.id == task.id)
        back = less.values(spent_points=CommunityTask.spent_points - (promised - came))
        await session.execute(back, execution_options=NO_SYNC)
    return Given(step, came, coupon, offer)


def _under(column: Any, more: int, limit: Any) -> sa.ColumnElement[bool]:
    return sa.or_(limit.is_(None), column + more <= limit)


class _NoRoom(Exception):
    """The task's budget is spent."""


class _Had(Exception):
    """Somebody was quicker with the same step."""
