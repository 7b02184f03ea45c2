"""What a person is told of a campaign before it goes out that is no mistake, and may still not be what they mean.

Hours in which nothing leaves, days on which nobody is there to tap, days that some months do not have, and coupons
that a text promises and nobody can take.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice, takewhile

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import audience, definition, offers
from campaigns.definition import Definition, Step, Tier
from campaigns.guard_rules import Channel, Gate
from campaigns.models.offer import Ladder, Offer
from crm.base.calendar import is_holiday
from crm.base.clock import SHANGHAI, local_day

LOOKED_AT = 60  # times that it fires
LOOKED_AHEAD = timedelta(days=62)
FAR = timedelta(days=62)
TAKEN = re.compile(r"领(?:优惠)?券\s*([^\s，。！？；、」”\"'（）]{1,40})」?")
QUIET = "{at} 在免打扰的时间里，要等到 {until} 才发；想准时发就换个钟点"
HOLIDAY = "{day} 放假：企业群发要员工点「发送」，没人上班就发不出去；换一天，或者先安排好人"
LONG = "下一次要到 {day}，还有 {days} 天"
SHORT_MONTHS = "没有 {day} 日的月份不发；想每个月都发，写 28 日以前"
FEW = "“{key}”只剩 {left:,} 张，人群里有 {wanted:,} 人：按会员号先后，没有券的人不发；加张数，或者缩小人群"
NO_OFFER = "文字里请会员回复「领券 {key}」，可是{why}：先建好，或者改文字"


async def find(
    session: AsyncSession, told: Definition, *, gate: Gate, also: Collection[str] = (), now: datetime
) -> Sequence[str]:
    """Sentences, the most pressing first. also: names of offers that come with it in the same folder."""
    times = _times(told, now=now)
    at = times[0] if times else now
    return [
        *await _too_few(session, told, now=now),
        *await _promises(session, told, also, at),
        *_schedule(told, times, gate, now=now),
    ]


def _times(told: Definition, *, now: datetime) -> list[datetime]:
    """The next one, however far it is, and those that follow it soon."""
    coming = definition.firings(told, after=now)
    return [*islice(coming, 1), *islice(takewhile(lambda at: at < now + LOOKED_AHEAD, coming), LOOKED_AT - 1)]


def _schedule(told: Definition, times: Sequence[datetime], gate: Gate, *, now: datetime) -> Iterator[str]:
    for at in times:
        if gate.quiet is not None and (until := gate.quiet.until(at, zone=gate.zone)) is not None:
            yield QUIET.format(at=_clock(at), until=_clock(until))
            break
    days = [local_day(at) for at in times]
    if Channel.BROADCAST in told.channels and (closed := next((day for day in days if is_holiday(day)), None)):
        yield HOLIDAY.format(day=closed.isoformat())
    if days and told.cron is not None and times[0] - now > FAR:
        yield LONG.format(day=days[0].isoformat(), days=(days[0] - local_day(now)).days)
    if told.every is not None and (last := _late_day(told.every.split()[2])) is not None:
        yield SHORT_MONTHS.format(day=last)


def _late_day(days: str) -> int | None:
    told = [int(one) for one in days.split(",") if one.isdigit()]
    return max(told) if told and len(told) == len(days.split(",")) and max(told) > 28 else None


def _clock(at: datetime) -> str:
    return f"{at.astimezone(SHANGHAI):%m-%d %H:%M}"


async def _promises(session: AsyncSession, told: Definition, also: Collection[str], at: datetime) -> list[str]:
    """Coupons that the texts tell members to take and that nobody can take then."""
    wanted = dict.fromkeys(key for text in _texts(told) for key in TAKEN.findall(text) if key not in also)
    if not wanted:
        return []
    known = {one.key: one for one in await session.scalars(sa.select(Offer).where(Offer.key.in_(wanted)))}
    open_ladders = sa.select(Ladder.key).where(Ladder.key.in_(wanted), Ladder.closed_at.is_(None), Ladder.claimable)
    ladders = set(await session.scalars(open_ladders))
    reasons = {key: _why_not(known.get(key), at) for key in wanted if key not in ladders}
    return [NO_OFFER.format(key=key, why=why) for key, why in reasons.items() if why]


async def _too_few(session: AsyncSession, told: Definition, *, now: datetime) -> list[str]:
    """Fewer coupons than members whom the campaign would give one."""
    offer = await offers.find(session, told.gives) if told.gives else None
    if offer is None or offer.stock is None or told.groups is not None:
        return []
    left, wanted = offer.stock - offer.issued, await audience.size(session, told, now=now)
    return [FEW.format(key=offer.key, left=left, wanted=wanted)] if wanted > left else []


def _texts(told: Definition) -> Iterator[str]:
    parts: list[Definition | Step | Tier] = [told, *told.tiers, *told.steps]
    parts += [tier for step in told.steps for tier in step.tiers]
    for part in parts:
        yield from (message.text for message in part.messages)


def _why_not(offer: Offer | None, at: datetime) -> str:
    if offer is None:
        return "没有叫这个名字的优惠"
    if not offer.claimable:
        return "这个优惠会员不能自己领（claimable）"
    if offer.closed_at is not None or (offer.ends_at is not None and offer.ends_at <= at):
        return "到那时这个优惠已经停发了"
    if offer.starts_at > at:
        return "到那时这个优惠还没开始"
    return "这个优惠已经发完了" if offer.stock is not None and offer.issued >= offer.stock else ""
