"""Coupons of one offer for many members at once: the same rules as for one, and a few statements however many.

Locks are taken in the order of issuing a single one: the people, the offer, how many each took. What is left of the
stock is taken in one UPDATE whose WHERE clause is the guard; the limit per member is one too.
"""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import coupons, offers
from campaigns.coupon_terms import CouponIssued, OfferNotOpen
from campaigns.models.offer import Coupon, CouponStatus, Offer, OfferTaken
from crm import holds
from crm.base import events
from crm.base.clock import SHANGHAI
from crm.base.db import BigInt, is_among, next_ids, told_rows
from crm.base.errors import Busy
from crm.base.ids import code as fresh_code

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
    here = await holds.hold_all(session, asked)
    had, taken = await _had(session, offer_id, here, because), await _taken(session, offer_id, here)
    found.gone = [one for one in asked if one not in here]
    found.had_it = [one for one in asked if one in had]
    full = {one for one, is_full in taken.items() if is_full} - had
    found.at_limit = [one for one in asked if one in full]
    free = [one for one in asked if one in here and one not in had and one not in full]
    try:
        async with session.begin_nested():
            offer, many = await _take(session, offer_id, len(free), now=now)
            found.got, found.missed = free[:many], free[many:]
            if found.got:
                await _count(session, offer, found.got, taken.keys())
                await _write(session, offer, found.got, because, now=now, chance=chance, zone=zone)
    except IntegrityError:  # a code, or somebody's first of this offer, written since we looked
        raise Busy(retry_after=1.0) from None
    return found


async def _had(session: AsyncSession, offer_id: int, member_ids: Collection[int], because: str) -> set[int]:
    """Who has a coupon of this cause already, issued to them or to somebody they absorbed."""
    of_it = (Coupon.offer_id == offer_id, Coupon.because == because)
    under = [sa.select(who).where(*of_it, is_among(session, who, member_ids))
             for who in (Coupon.issued_to_id, Coupon.member_id)]  # fmt: skip
    return {one for (one,) in await session.execute(sa.union(*under))}


async def _taken(session: AsyncSession, offer_id: int, member_ids: Collection[int]) -> dict[int, bool]:
    """Who took some of this offer before, and whether that is as many as one person may."""
    is_full = sa.func.coalesce(OfferTaken.taken >= Offer.per_member, sa.false())
    mine = (OfferTaken.offer_id == offer_id, is_among(session, OfferTaken.member_id, member_ids))
    found = sa.select(OfferTaken.member_id, is_full).join(Offer, Offer.id == OfferTaken.offer_id).where(*mine)
    return {member_id: bool(full) for member_id, full in await session.execute(found)}


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


async def _count(session: AsyncSession, offer: Offer, member_ids: Sequence[int], known: Collection[int]) -> None:
    """One more that each took, if that is within the limit. known: who took some before."""
    fresh = told_rows(session, member_id=(BigInt, [one for one in member_ids if one not in known]))
    first = sa.select(sa.literal(offer.id, BigInt), fresh.c.member_id, sa.literal(1, BigInt))
    await session.execute(sa.insert(OfferTaken).from_select(["offer_id", "member_id", "taken"], first))
    again = [one for one in member_ids if one in known]
    within = [] if offer.per_member is None else [OfferTaken.taken < offer.per_member]
    more = sa.update(OfferTaken).where(OfferTaken.offer_id == offer.id, is_among(session, OfferTaken.member_id, again))
    counted = await session.execute(
        more.where(*within).values(taken=OfferTaken.taken + 1), execution_options=coupons.NO_SYNC
    )
    if counted.rowcount != len(again):  # type: ignore[attr-defined]
        raise Busy(retry_after=1.0)  # somebody took one since we looked: look again


async def _write(
    session: AsyncSession, offer: Offer, member_ids: Sequence[int], because: str, *,
    now: datetime, chance: random.Random, zone: ZoneInfo,
) -> None:  # fmt: skip
    table = Coupon.__table__
    assert isinstance(table, sa.Table)
    ids, codes = await next_ids(session, table, len(member_ids)), await _new_codes(session, len(member_ids), chance)
    rows = told_rows(session, id=(BigInt, ids), code=(sa.Text(), codes), member_id=(BigInt, member_ids))
    member_id, ends = rows.c.member_id, coupons.ends(offer, now, zone)
    alike = {"offer_id": offer.id, "because": because, "status": CouponStatus.ISSUED, "issued_at": now,
             "expires_at": ends, "discount_fen": 0}  # fmt: skip
    same = {name: sa.literal(value, table.c[name].type) for name, value in alike.items()}
    columns = {"id": rows.c.id, "code": rows.c.code, "member_id": member_id, "issued_to_id": member_id, **same}
    await session.execute(sa.insert(table).from_select(list(columns), sa.select(*columns.values())))
    told = {"coupon_id": rows.c.id, "member_id": member_id, "offer_id": same["offer_id"], "because": same["because"]}
    await events.append_each(session, CouponIssued, rows, told, now=now)


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
