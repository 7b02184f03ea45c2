"""What a condition means, in plain Python: the definition that the compiler is held to."""

from datetime import datetime, timedelta
from typing import Any

from crm.base.clock import SHANGHAI
from crm.conditions import (
    AllOf,
    AnyOf,
    CameFrom,
    Consented,
    ContactOf,
    CorpTagged,
    DateComes,
    Did,
    HasLevel,
    HasPoints,
    InBucket,
    InGroup,
    InStage,
    IsGender,
    Joined,
    Lifetime,
    Not,
    Ordered,
    Period,
    PointsExpire,
    Rfm,
    Span,
    Tagged,
)
from crm.models.loyalty import LotState
from crm.rfm_rules import TIERS
from crm.segment_leaves import bucket_of
from tests.crm.small_worlds import GROUPS, NOW, STAFF, TODAY, Somebody


def satisfies(one: Somebody, condition: Any) -> bool:
    if isinstance(condition, AllOf):
        return all(satisfies(one, part) for part in condition.of)
    if isinstance(condition, AnyOf):
        return any(satisfies(one, part) for part in condition.of)
    if isinstance(condition, Not):
        return not satisfies(one, condition.of)
    return bool(MEANINGS[type(condition)](one, condition))


def lies_in(at: datetime, when: Period) -> bool:
    day = at.astimezone(SHANGHAI).date()
    first = TODAY - timedelta(days=when.last_days) if when.last_days else when.from_on
    return (first is None or day >= first) and (when.to_on is None or day <= when.to_on)


def fits_rfm(one: Somebody, asked: Rfm) -> bool:
    if one.rfm is None:
        return False
    *scores, segment = one.rfm
    graded = all(
        wanted is None or wanted.least <= score <= wanted.most
        for score, wanted in zip(scores, (asked.r, asked.f, asked.m), strict=True)
    )
    named = not asked.segments or segment in asked.segments
    return graded and named and (not asked.tiers or TIERS[segment] in asked.tiers)


def fits_lifetime(one: Somebody, asked: Lifetime) -> bool:
    orders, paid, refunded = one.totals or (0, 0, 0)
    return inside(orders, asked.orders) and inside(paid - refunded, asked.spent_fen)


def fits_orders(one: Somebody, asked: Ordered) -> bool:
    times = spent = 0
    for paid_at, paid, refunded, lines in one.orders:
        if paid_at is None or not paid or refunded >= paid or not lies_in(paid_at, asked.when):
            continue
        matching = [line for line in lines if line[0] in asked.skus or line[1] in asked.categories]
        if not (asked.skus or asked.categories):
            times, spent = times + 1, spent + paid - refunded
        elif matching:
            times, spent = times + 1, spent + sum(line[2] * line[3] for line in matching)
    if asked.count is None and asked.spent_fen is None:
        return times > 0
    return inside(times, asked.count) and inside(spent, asked.spent_fen)


def fits_consent(one: Somebody, asked: Consented) -> bool:
    said = [
        (at, place, granted)
        for place, (topic, channel, granted, at) in enumerate(one.consents)
        if (topic, channel) == (asked.topic, asked.channel)
    ]
    if not said:
        return asked.answer == "never"
    return asked.answer == ("yes" if max(said)[2] else "no")


def inside(value: int, span: Span | None) -> bool:
    return span is None or value in span


MEANINGS: dict[type, Any] = {
    IsGender: lambda one, asked: one.gender in asked.among,
    CameFrom: lambda one, asked: one.source in asked.among,
    Joined: lambda one, asked: lies_in(one.joined_at, asked.when),
    Tagged: lambda one, asked: any(
        tag in asked.any_of and not ended and (expires_at is None or expires_at > NOW)
        for tag, expires_at, ended in one.tags
    ),
    CorpTagged: lambda one, asked: any(
        tag in asked.any_of and not unmarked and not one.contacts[place][1] for place, tag, unmarked in one.corp_tags
    ),
    Rfm: fits_rfm,
    InStage: lambda one, asked: (
        one.stage is not None
        and one.stage[0] in asked.among
        and (asked.for_days is None or (TODAY - one.stage[1]).days >= asked.for_days)
    ),
    Lifetime: fits_lifetime,
    Ordered: fits_orders,
    Did: lambda one, asked: (
        sum(name == asked.event and lies_in(at, asked.when) for name, at in one.events) in asked.count
    ),
    InGroup: lambda one, asked: any(not left and group in (asked.any_of or GROUPS) for group, left in one.groups),
    ContactOf: lambda one, asked: any(not ended and each in (asked.any_of or STAFF) for each, ended in one.contacts),
    Consented: fits_consent,
    DateComes: lambda one, asked: any(
        kind in asked.kinds and 0 <= (next_on - TODAY).days <= asked.within_days for kind, next_on in one.dates
    ),
    HasLevel: lambda one, asked: (
        one.level is not None
        and one.level[0] in asked.among
        and (asked.for_days is None or (TODAY - one.level[1]).days >= asked.for_days)
    ),
    HasPoints: lambda one, asked: (one.points or 0) in asked.active,
    PointsExpire: lambda one, asked: (
        sum(
            remaining
            for state, remaining, expires_at in one.lots
            if state is LotState.ACTIVE
            and expires_at is not None
            and NOW < expires_at <= NOW + timedelta(days=asked.within_days)
        )
        in asked.points
    ),
    InBucket: lambda one, asked: asked.first <= bucket_of(one.id, asked.salt) < asked.end,
}
