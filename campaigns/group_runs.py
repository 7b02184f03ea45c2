"""A run of a campaign into customer groups: one post, made when the run begins and followed to its end."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import experiments, group_audience, group_posts
from campaigns.definition import Definition
from campaigns.group_posts import Target, Told
from campaigns.models.campaign import Campaign, Run
from campaigns.models.group_post import GroupPost


def ref(run_id: int) -> str:
    return f"run:{run_id}"


async def plan(session: AsyncSession, run: Run, campaign: Campaign, told: Definition, *, now: datetime) -> None:
    """The post of this run, to the groups that are meant now; a group reads the same variant in every run."""
    assert told.groups is not None
    shares = [one.share for one in told.messages]
    targets = [
        Target(one.group_id, experiments.variant_of(campaign.id, shares, one.group_id))
        for one in await group_audience.select(session, told.groups)
    ]
    how = Told(
        messages=told.messages, grace=told.grace, confirm_within=told.confirm_within, remind_after=told.remind_after
    )
    await group_posts.put(session, ref(run.id), campaign.name, how, targets, due_at=run.due_at, now=now)


async def is_over(session: AsyncSession, run_id: int) -> bool:
    post = await group_posts.find(session, ref(run_id))
    return post is None or post.status not in group_posts.LIVING


async def of_campaign(session: AsyncSession, campaign_id: int) -> list[str]:
    """References of all its posts, oldest first."""
    rows = await session.scalars(sa.select(Run.id).where(Run.campaign_id == campaign_id).order_by(Run.id))
    known = [ref(one) for one in rows]
    return [one for one in known if await session.scalar(sa.select(GroupPost.id).where(GroupPost.ref == one))]
