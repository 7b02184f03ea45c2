"""Campaigns that would reach the same members within a day of each other: said before either is sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile

from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import audience, definition, engine
from campaigns.definition import CampaignWrong, Definition
from crm import conditions, segments

LOOKED_AHEAD = timedelta(days=14)
TOO_CLOSE = timedelta(days=1)
MOST_TIMES = 20  # of one campaign that are looked at
MOST_OTHERS = 10  # that are counted


@dataclass(frozen=True, slots=True)
class Overlap:
    """Another campaign, when it fires nearest to this one, and how many members are in both."""

    campaign_id: int
    name: str
    at: datetime
    members: int


async def find(session: AsyncSession, told: Definition, *, name: str = "", now: datetime) -> Sequence[Overlap]:
    """Those that fire by time within a day of this one in the next two weeks, the most members first.

    name: this campaign's own, which does not overlap itself. Groups are not members and are left out.
    """
    if told.groups is not None:
        return []
    times = _times(told, now=now)
    near: dict[int, datetime] = {}
    for one in await engine.calendar(session, since=now - TOO_CLOSE, until=now + LOOKED_AHEAD + TOO_CLOSE):
        if one.name != name and any(abs(one.at - at) < TOO_CLOSE for at in times):
            near.setdefault(one.campaign_id, one.at)
    found = []
    mine = (await audience.look_up(session, told)).audience if near else None
    for campaign_id, at in sorted(near.items(), key=lambda one: one[1])[:MOST_OTHERS]:
        other = await engine.get(session, campaign_id)
        try:
            theirs = await audience.look_up(session, definition.read(other.definition))
        except CampaignWrong:  # its segment got another name; it is paused when it fires
            continue
        if theirs.groups is not None:
            continue
        both = conditions.read({"is": "all", "of": [mine, theirs.audience]})
        if members := await segments.count(session, both, now=now):
            found.append(Overlap(campaign_id, other.name, at, members))
    return sorted(found, key=lambda one: -one.members)


def _times(told: Definition, *, now: datetime) -> list[datetime]:
    coming = takewhile(lambda at: at < now + LOOKED_AHEAD, definition.firings(told, after=now))
    return list(islice(coming, MOST_TIMES))
