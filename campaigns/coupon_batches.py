"""Coupons of one offer for many members at once: the same rules as for one, and a few statements however many.

Locks are taken in the order of issuing a single one: the people, the offer, how many each took. What is left of the
stock is taken in one UPDATE whose WHERE clause is the guard; of a limit per member the guard is in the upsert.
"""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import coupons, offers
from campaigns.coupon_terms import CouponIssued, OfferNotOpen
from campaigns.models.offer import Coupon, CouponStatus, Offer, OfferTaken
from crm.base import events
from crm.base.clock import SHANGHAI
from crm.base.db import insert_all, insert_rows, is_among, next_ids
from crm.base.errors import Busy
from crm.base.ids import code as fresh_code
from crm.models.member import Identity, Member

COLUMNS = ("id", "code", "offer_id", "member_id", "issued_to_id", "because", "status", "issued_at", "expires_at",
           "discount_fen")  # fmt: skip
STOCK_ATTEMPTS = 5  # each finds less than the one before


@dataclass(slots=True)
class Shared:
    """Who of the asked ended how: each is in one of these, the ids in order."""

    got: list[int] = field(default_factory=list)
    had_it: list[int] = field(default_factory=list)  # of the same cause, before
    at_limit: list[int] = field(default_factory=list)  # as many of the offer as one person may have
    missed: list[int] = field(default_factory=list)  # none was left
    gone: list[int] = field(default_factory=list)  # merged into somebody, erased or unknown


async def issue(
    session: AsyncSession,
    offer_id: int,
    member_ids: Collection[int],
    *,
    because: str,
    now: datetime,
    chance: random.Random = coupons.CHANCE,
    zone: ZoneInfo = SHANGHAI,
) -> Shared:
    """One coupon for each of these members, those of the lowest ids first when there are not enough.

    The same `because` (≤ 64 characters) gives a member the same coupon, however often. Raises OfferNotFound,
    OfferNotOpen, and Busy when others were so quick that it has to be tried again; nothing is written then.
    """
    asked = sorted(set(member_ids))
    found = Shared()
    here = await _hold(session, asked)
    had = await _had(session, offer_id, here, because)
    full = await _full(session, offer_id, here)
    found.gone = [one for one in asked if one not in here]
    found.had_it = [one for one in asked if one in had]
    found.at_limit = [one for one in asked if one in full and one not in had]
    free = [one for one in asked if one in here and one not in had and one not in full]
    offer, many = await _take(session, offer_id, len(free), now=now)
    found.got, found.missed = free[:many], free[many:]
    await _count(session, offer, found.got)
    await _write(session, offer, found.got, because, now=now, chance=chance, zone=zone)
    return found


async def _hold(session: AsyncSession, member_ids: Sequence[int]) -> set[int]:
    """Lock these people, as holds.hold_one() does each; returns those who live under these ids."""
    theirs = is_among(session, Identity.member_id, member_ids)
    names = sa.select(Identity.id).where(theirs).order_by(Identity.member_id, Identity.id)
    await session.execute(names.with_for_update(key_share=True))
    nameless = sa.select(Member.id).where(
        is_among(session, Member.id, member_ids), ~sa.exists().where(Identity.member_id == Member.id)
    )
    await session.execute(nameless.order_by(Member.id).with_for_update(key_share=True))
    living = (Member.merged_into_id.is_(None), Member.erased_at.is_(None))
    return set(await session.scalars(sa.select(Member.id).where(is_among(session, Member.id, member_ids), *living)))


async def _had(session: AsyncSession, offer_id: int, member_ids: Collection[int], because: str) -> set[int]:
    """Who has a coupon of this cause already, issued to them or to somebody they absorbed."""
    of_it = (Coupon.offer_id == offer_id, Coupon.because == because)
    under = [sa.select(who).where(*of_it, is_among(session, who, member_ids))
             for who in (Coupon.issued_to_id, Coupon.member_id)]  # fmt: skip
    return {one for (one,) in await session.execute(sa.union(*under))}


async def _full(session: AsyncSession, offer_id: int, member_ids: Collection[int]) -> set[int]:
    mine = (OfferTaken.offer_id == offer_id, is_among(session, OfferTaken.member_id, member_ids))
    full = sa.select(OfferTaken.member_id).join(Offer, Offer.id == OfferTaken.offer_id)
    return set(await session.scalars(full.where(*mine, OfferTaken.taken >= Offer.per_member)))


async def _take(session: AsyncSession, offer_id: int, wanted: int, *, now: datetime) -> tuple[Offer, int]:
    """Count as many as are wanted, or as are left, against the stock; returns how many that are."""
    for _ in range(STOCK_ATTEMPTS):
        offer = await session.scalar(
            sa.update(Offer)
            .where(
                Offer.id == offer_id,
                *offers.open_at(now),
                sa.or_(Offer.stock.is_(None), Offer.issued + wanted <= Offer.stock),
            )
            .values(issued=Offer.issued + wanted)
            .returning(Offer)
            .execution_options(populate_existing=True)
        )
        if offer is not None:
            return offer, wanted
        seen = await session.get(Offer, offer_id, populate_existing=True)
        if seen is None:
            raise offers.OfferNotFound(str(offer_id))
        if not offers.is_open(seen, now):
            raise OfferNotOpen(seen.key, seen.starts_at, seen.closed_at or seen.ends_at)
        wanted = min(wanted, (seen.stock or 0) - seen.issued)
    raise Busy(retry_after=1.0)


async def _count(session: AsyncSession, offer: Offer, member_ids: Sequence[int]) -> None:
    """One more that each took, if that is within the limit."""
    rows = [{"offer_id": offer.id, "member_id": one, "taken": 1} for one in member_ids]
    under = "" if offer.per_member is None else f" WHERE offer_taken.taken < {int(offer.per_member)}"
    again = f"(offer_id, member_id) DO UPDATE SET taken = offer_taken.taken + 1{under}"
    if await insert_all(session, OfferTaken.__table__, rows, conflict=again) != len(rows):
        raise Busy(retry_after=1.0)  # somebody took one since we looked: look again


async def _write(
    session: AsyncSession, offer: Offer, member_ids: Sequence[int], because: str, *,
    now: datetime, chance: random.Random, zone: ZoneInfo,
) -> None:  # fmt: skip
    if not member_ids:
        return
    table = Coupon.__table__
    assert isinstance(table, sa.Table)
    ids, codes = await next_ids(session, table, len(member_ids)), await _new_codes(session, len(member_ids), chance)
    ends, status = coupons.ends(offer, now, zone), CouponStatus.ISSUED
    rows = [(number, code, offer.id, one, one, because, status, now, ends, 0)
            for number, code, one in zip(ids, codes, member_ids, strict=True)]  # fmt: skip
    if await insert_rows(session, table, COLUMNS, rows) != len(rows):
        raise Busy(retry_after=1.0)  # a code that somebody drew at the same instant
    told = [CouponIssued(coupon_id=number, offer_id=offer.id, member_id=one, because=because)
            for number, one in zip(ids, member_ids, strict=True)]  # fmt: skip
    await events.append_all(session, told, now=now)


async def _new_codes(session: AsyncSession, many: int, chance: random.Random) -> list[str]:
    """Codes that nobody has: of a million in use one in a million that is drawn is known."""
    codes: dict[str, None] = {}
    for _ in range(coupons.CODE_ATTEMPTS):
        while len(codes) < many:
            codes.setdefault(fresh_code(chance))
        known = list(await session.scalars(sa.select(Coupon.code).where(is_among(session, Coupon.code, codes))))
        if not known:
            return list(codes)
        for one in known:
            del codes[one]
    raise Busy
