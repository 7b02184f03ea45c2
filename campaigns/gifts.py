"""The coupon that a campaign gives with its message: in the wallet before it leaves, one for each run and member.

Who cannot have one is not told that they have: they are left out with that reason.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import coupon_batches, deliveries, offers
from campaigns.coupon_terms import OfferNotOpen
from campaigns.definition import Definition, next_fire
from campaigns.guard_rules import Decision, held, refused
from campaigns.models.offer import Offer
from crm.base.errors import Busy


async def check(
    session: AsyncSession, told: Definition, *, also: Collection[str] = (), now: datetime
) -> list[dict[str, str]]:
    """What is wrong with the offers it gives of. also: names of those that come with it in the same folder."""
    at = next_fire(told, after=now) or now if not told.listens else now
    places = [("gives", told.gives), *((f"steps.{number}.gives", one.gives) for number, one in enumerate(told.steps))]
    found = [(place, key, await offers.find(session, key)) for place, key in places if key and key not in also]
    return [{"field": place, "reason": why} for place, key, offer in found if (why := _why_not(key or "", offer, at))]


def _why_not(key: str, offer: Offer | None, at: datetime) -> str:
    if offer is None:
        return f"没有叫“{key}”的优惠：先建好，或者和活动放在同一个目录"
    if offer.closed_at is not None or (offer.ends_at is not None and offer.ends_at <= at):
        return f"到发的时候“{key}”已经停发了"
    return "" if offer.starts_at <= at else f"到发的时候“{key}”还没开始"


async def worth_fen(session: AsyncSession, told: Definition) -> int:
    """What one delivery gives away at most: as it was told, or as the offers say; of a sequence all of them."""
    if told.worth_fen:
        return told.worth_fen
    keys = [key for key in (told.gives, *(step.gives for step in told.steps)) if key]
    found = [await offers.find(session, key) for key in keys]
    return sum(offers.worth_fen(one) or 0 for one in found if one is not None)


async def give(
    session: AsyncSession, told: Definition, run_id: int, member_ids: Collection[int], *, now: datetime
) -> dict[int, Decision]:
    """A coupon for each of these, who are about to be written to; returns those who get none, and why."""
    if told.gives is None or not member_ids:
        return {}
    try:
        offer = await offers.get(session, told.gives)
        shared = await coupon_batches.issue(session, offer.id, member_ids, because=f"run:{run_id}", now=now)
    except (offers.OfferNotFound, OfferNotOpen):
        return dict.fromkeys(member_ids, refused(deliveries.NO_COUPON))
    except Busy:  # looked at again in a moment
        return dict.fromkeys(member_ids, held(deliveries.NO_COUPON, None))
    return dict.fromkeys((*shared.at_limit, *shared.missed, *shared.gone), refused(deliveries.NO_COUPON))
