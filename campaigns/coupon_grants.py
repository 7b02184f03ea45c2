"""Coupons for a whole audience, given window by window: who was killed in the middle goes on where the last commit is.

A window of members has its turn in one transaction, together with the cursor that says so; the grant's number is the
cause of each coupon, so that no member gets two of it, whoever works on it and however often.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import audience, coupon_batches, offers
from campaigns.coupon_terms import OfferNotOpen
from campaigns.models.coupon_grant import CouponGrant, GrantStatus
from campaigns.models.offer import Offer
from crm import conditions, segment_compiler, segments
from crm.base.db import insert, plan_afresh
from crm.base.errors import Busy, NotFound, Refused
from crm.models.audience import Segment

WINDOW = 5_000  # member ids: on SQLite nobody else writes while these have their turn
STALE_AFTER = timedelta(hours=2)  # of silence; then somebody is asked
STOPPED_BY_HAND = "stopped"
S = GrantStatus


@dataclass(eq=False)
class GrantNotFound(NotFound):
    """Nothing was given under this name."""

    code: ClassVar[str] = "grant.not_found"
    name: str


@dataclass(eq=False)
class GrantNameTaken(Refused):
    """Under this name something else is given, or to somebody else."""

    code: ClassVar[str] = "grant.name_taken"
    name: str


@dataclass(eq=False)
class GrantNobody(Refused):
    """The audience holds nobody now, so that there is nothing to give."""

    code: ClassVar[str] = "grant.nobody"
    name: str


@dataclass(eq=False)
class GrantOver(Refused):
    """It has come to its end, or does not wait for an answer."""

    code: ClassVar[str] = "grant.over"
    name: str
    stands: GrantStatus


@dataclass(eq=False)
class SegmentUnknown(NotFound):
    """No segment has this name."""

    code: ClassVar[str] = "grant.segment_unknown"
    segment: str


@dataclass(frozen=True, slots=True)
class Outlook:
    """What giving it now would do."""

    everybody: int
    selected: int
    left: int | None  # of the stock; None: no limit
    is_open: bool

    @property
    def short_of(self) -> int:
        return max(0, self.selected - self.left) if self.left is not None else 0


# Reads


async def get(session: AsyncSession, name: str) -> CouponGrant:
    """Raises GrantNotFound."""
    found: CouponGrant | None = await session.scalar(
        sa.select(CouponGrant).where(CouponGrant.name == name).execution_options(populate_existing=True)
    )
    if found is None:
        raise GrantNotFound(name)
    return found


async def newest(session: AsyncSession, *, limit: int = 50) -> Sequence[tuple[CouponGrant, Offer]]:
    """What was given, newest first, and what it is."""
    rows = await session.execute(
        sa.select(CouponGrant, Offer)
        .join(Offer, Offer.id == CouponGrant.offer_id)
        .order_by(CouponGrant.id.desc())
        .limit(limit)
    )
    return [(grant, offer) for grant, offer in rows]


async def condition_of(session: AsyncSession, segment: str) -> dict[str, Any]:
    """The condition of a named segment. Raises SegmentUnknown."""
    found: dict[str, Any] | None = await session.scalar(sa.select(Segment.condition).where(Segment.name == segment))
    if found is None:
        raise SegmentUnknown(segment)
    return found


async def outlook(session: AsyncSession, offer_key: str, told: dict[str, Any], *, now: datetime) -> Outlook:
    """What would happen. Raises OfferNotFound, DefinitionWrong."""
    offer = await offers.get(session, offer_key)
    selected = await segments.count(session, conditions.read(told), now=now)
    left = None if offer.stock is None else offer.stock - offer.issued
    return Outlook(await audience.living(session), selected, left, offers.is_open(offer, now))


# Verbs


async def begin(
    session: AsyncSession, name: str, offer_key: str, told: dict[str, Any], *, by: str, now: datetime
) -> CouponGrant:
    """Give a coupon of this offer to everybody who satisfies the condition now. The same name again is the same grant.

    Raises OfferNotFound, OfferNotOpen, DefinitionWrong, GrantNobody; GrantNameTaken when it was told otherwise before.
    """
    offer = await offers.get(session, offer_key)
    condition = conditions.write(conditions.read(told))
    known = await session.scalar(sa.select(CouponGrant).where(CouponGrant.name == name))
    if known is None:
        if not offers.is_open(offer, now):
            raise OfferNotOpen(offer.key, offer.starts_at, offer.closed_at or offer.ends_at)
        if not await segments.count(session, conditions.read(condition), now=now):
            raise GrantNobody(name)
        counts = dict.fromkeys(("cursor", "selected", "issued", "had_it", "at_limit", "missed"), 0)
        row = insert(session, CouponGrant).values(
            name=name, offer_id=offer.id, audience=condition, status=S.RUNNING, **counts, created_by=by,
            last_id=await audience.newest_member(session), ended_because="", created_at=now, ticked_at=now,
        )  # fmt: skip
        await session.execute(row.on_conflict_do_nothing(index_elements=["name"]))
    made = await get(session, name)
    if (made.offer_id, made.audience) != (offer.id, condition):
        raise GrantNameTaken(name)
    return made


async def advance(session: AsyncSession, *, now: datetime) -> bool:
    """The next window of the oldest grant that nobody else works on has its turn; False when there is none."""
    grant = await session.scalar(
        sa.select(CouponGrant)
        .where(CouponGrant.status == S.RUNNING)
        .order_by(CouponGrant.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    if grant is None:
        return False
    if now - grant.ticked_at > STALE_AFTER:
        grant.status = S.ASKS
        await session.flush()
        return True
    await plan_afresh(session)
    upto = min(grant.cursor + WINDOW, grant.last_id)
    people = segment_compiler.member_ids(conditions.read(grant.audience), now=grant.created_at)
    member_id: Any = people.selected_columns[0]
    asked = list(await session.scalars(people.where(member_id > grant.cursor, member_id <= upto)))
    try:
        shared = await coupon_batches.issue(session, grant.offer_id, asked, because=f"grant:{grant.id}", now=now)
    except Busy:
        return False  # others were quicker; in the next round it is looked at again
    except OfferNotOpen as closed:
        _end(grant, S.STOPPED, closed.code, now=now)
    else:
        _note(grant, shared)
        grant.cursor, grant.ticked_at = upto, now
        if upto >= grant.last_id:
            _end(grant, S.FINISHED, "", now=now)
    await session.flush()
    return True


def _note(grant: CouponGrant, shared: coupon_batches.Shared) -> None:
    got, had_it, at_limit, missed = map(len, (shared.got, shared.had_it, shared.at_limit, shared.missed))
    grant.issued, grant.had_it = grant.issued + got, grant.had_it + had_it
    grant.at_limit, grant.missed = grant.at_limit + at_limit, grant.missed + missed
    grant.selected += got + had_it + at_limit + missed


def _end(grant: CouponGrant, status: GrantStatus, because: str, *, now: datetime) -> None:
    grant.status, grant.ended_because, grant.ended_at = status, because, now


async def stop(session: AsyncSession, name: str, *, now: datetime) -> CouponGrant:
    """Nobody more gets one; who has it keeps it. Raises GrantNotFound, GrantOver."""
    values = {"status": S.STOPPED, "ended_because": STOPPED_BY_HAND, "ended_at": now}
    return await _move(session, name, (S.RUNNING, S.ASKS), values)


async def go_on(session: AsyncSession, name: str, *, now: datetime) -> CouponGrant:
    """What a person says to one that asks. Raises GrantNotFound, GrantOver."""
    return await _move(session, name, (S.ASKS,), {"status": S.RUNNING, "ticked_at": now})


async def _move(session: AsyncSession, name: str, may: Sequence[GrantStatus], values: dict[str, Any]) -> CouponGrant:
    moved: CouponGrant | None = await session.scalar(
        sa.update(CouponGrant)
        .where(CouponGrant.name == name, CouponGrant.status.in_(may))
        .values(**values)
        .returning(CouponGrant)
        .execution_options(populate_existing=True, synchronize_session=False)
    )
    if moved is None:
        raise GrantOver(name, (await get(session, name)).status)
    return moved
