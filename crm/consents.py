"""Consent: what a member said yes and no to, per topic and channel. The newest word counts."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm.base import events
from crm.models.consent import Consent
from crm.models.member import Member

MARKETING = "marketing"
ANY_CHANNEL = "any"
ERASURE = "erasure"  # source: they asked to be forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class OptedIn:
    """A member agreed to a topic. Appended by opt_in()."""

    member_id: int
    topic: str
    channel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OptedOut:
    """A member wants no more of a topic. Appended by opt_out()."""

    member_id: int
    topic: str
    channel: str


async def current(
    session: AsyncSession, member_id: int, *, topic: str = MARKETING, channel: str = ANY_CHANNEL
) -> Consent | None:
    """The member's newest word on a topic and channel, None if they never spoke. Defaults are the gate's business."""
    newest: Consent | None = await session.scalar(
        sa.select(Consent)
        .where(Consent.member_id == member_id, Consent.topic == topic, Consent.channel == channel)
        .order_by(Consent.said_at.desc(), Consent.id.desc())
        .limit(1)
    )
    return newest


async def opt_out(
    session: AsyncSession,
    member_id: int,
    *,
    topic: str = MARKETING,
    channel: str = ANY_CHANNEL,
    source: str,
    wording_version: str,
    now: datetime,
) -> bool:
    """No more of this topic. Returns False when that was so already: nothing is written twice."""
    said = Consent(member_id=member_id, topic=topic, channel=channel, granted=False, source=source)
    said.wording_version, said.said_at = wording_version, now
    return await _say(session, said, OptedOut(member_id=member_id, topic=topic, channel=channel), now=now)


async def opt_in(
    session: AsyncSession,
    member_id: int,
    *,
    topic: str = MARKETING,
    channel: str = ANY_CHANNEL,
    source: str,
    wording_version: str,
    now: datetime,
) -> bool:
    """Yes to this topic. Returns False when that was so already."""
    said = Consent(member_id=member_id, topic=topic, channel=channel, granted=True, source=source)
    said.wording_version, said.said_at = wording_version, now
    return await _say(session, said, OptedIn(member_id=member_id, topic=topic, channel=channel), now=now)


async def come_back(session: AsyncSession, member_ids: Collection[int], *, now: datetime) -> None:
    """New members who had themselves erased before have agreed to nothing: no marketing until they say so."""
    said = {"topic": MARKETING, "channel": ANY_CHANNEL, "granted": False, "source": ERASURE, "wording_version": ""}
    rows = [{"member_id": member_id, "said_at": now, **said} for member_id in sorted(member_ids)]
    if rows:
        await session.execute(sa.insert(Consent), rows)


async def _say(session: AsyncSession, said: Consent, event: OptedIn | OptedOut, *, now: datetime) -> bool:
    await session.execute(sa.select(Member.id).where(Member.id == said.member_id).with_for_update(key_share=True))
    before = await current(session, said.member_id, topic=said.topic, channel=said.channel)
    if before is not None and before.granted == said.granted:
        return False
    session.add(said)
    await session.flush()
    await events.append(session, event, now=now)
    return True
