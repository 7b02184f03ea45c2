"""Offers: what the shop promises, written down once and changed only where nobody's coupon would change with it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, Self

import sqlalchemy as sa
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.models.offer import Offer, OfferKind
from campaigns.offer_rules import Terms
from crm.base.clock import SHANGHAI
from crm.base.db import insert
from crm.base.errors import NotFound, Refused

LARGEST_FEN = 10_000_000_00
TERMS = ("kind", "amount_fen", "percent_bp", "cap_fen", "gift_sku", "gift_fen", "threshold_fen", "skus", "categories",
         "stacks", "valid_days")  # fmt: skip


def _with_zone(instant: datetime) -> datetime:
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=SHANGHAI)


Fen = Annotated[int, Field(ge=0, le=LARGEST_FEN)]
Count = Annotated[int, Field(ge=0, le=10**9)]
Word = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")
]
Instant = Annotated[datetime, AfterValidator(_with_zone)]  # one without a zone is shop-local


class Draft(BaseModel):
    """An offer as somebody writes it. What is None has no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[^\s]{1,40}$")]
    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
    kind: OfferKind
    amount_fen: Fen = 0
    percent_bp: Annotated[int, Field(ge=0, le=10_000)] = 0
    cap_fen: Annotated[int, Field(ge=1, le=LARGEST_FEN)] | None = None
    gift_sku: Annotated[str, Field(max_length=64)] = ""
    gift_fen: Fen = 0
    threshold_fen: Fen = 0
    skus: Annotated[tuple[Word, ...], Field(max_length=500)] = ()
    categories: Annotated[tuple[Word, ...], Field(max_length=100)] = ()
    stacks: bool = False
    starts_at: Instant
    ends_at: Instant | None = None
    valid_days: Annotated[int, Field(ge=1, le=3650)] | None = None
    stock: Count | None = None
    per_member: Annotated[int, Field(ge=1, le=10_000)] | None = 1
    budget_fen: Annotated[int, Field(ge=0, le=LARGEST_FEN * 100)] | None = None
    points_price: Annotated[int, Field(ge=1, le=10**8)] | None = None
    claimable: bool = False

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        needs = {
            OfferKind.AMOUNT: ("amount_fen", self.amount_fen),
            OfferKind.PERCENT: ("percent_bp", self.percent_bp),
            OfferKind.GIFT: ("gift_sku", self.gift_sku),
        }.get(self.kind)
        if needs is not None and not needs[1]:
            raise ValueError(f"{self.kind.value} 要写 {needs[0]}")
        if self.kind is OfferKind.AMOUNT and 0 < self.threshold_fen < self.amount_fen:
            raise ValueError("减的比门槛还多")
        if self.ends_at is None and self.valid_days is None:
            raise ValueError("写 ends_at 或 valid_days，券要有个到期的时候")
        if self.ends_at is not None and self.ends_at <= self.starts_at:
            raise ValueError("ends_at 不在 starts_at 之后")
        return self


@dataclass(eq=False)
class OfferNotFound(NotFound):
    """No offer has this key or id."""

    code: ClassVar[str] = "offer.not_found"
    key: str


@dataclass(eq=False)
class OfferFixed(Refused):
    """Coupons of it were issued, so its terms stay, and no limit goes below what was given. `fields`: what would."""

    code: ClassVar[str] = "offer.fixed"
    key: str
    fields: tuple[str, ...]


async def find(session: AsyncSession, key: str) -> Offer | None:
    found: Offer | None = await session.scalar(sa.select(Offer).where(Offer.key == key.strip()))
    return found


async def get(session: AsyncSession, key: str) -> Offer:
    """Raises OfferNotFound."""
    found = await find(session, key)
    if found is None:
        raise OfferNotFound(key)
    return found


async def get_batch(session: AsyncSession, ids: Collection[int]) -> dict[int, Offer]:
    rows = await session.scalars(sa.select(Offer).where(Offer.id.in_(set(ids))))
    return {offer.id: offer for offer in rows}


async def put(session: AsyncSession, draft: Draft, *, now: datetime) -> Offer:
    """Write an offer down, or change the known one of this key. The same draft again changes nothing.

    Once a coupon was issued only the title, the end and the limits move, and no limit below what was given already:
    the WHERE clause and the table's CHECKs decide. Raises OfferFixed.
    """
    values: dict[str, Any] = draft.model_dump() | {"skus": list(draft.skus), "categories": list(draft.categories)}
    fresh = insert(session, Offer).values(**values, issued=0, committed_fen=0, created_at=now)
    await session.execute(fresh.on_conflict_do_nothing(index_elements=["key"]))
    known = await get(session, draft.key)
    moved = tuple(name for name in TERMS if getattr(known, name) != values[name])
    guards = [Offer.id == known.id]
    if moved:
        guards.append(Offer.issued == 0)
    if draft.stock is not None:
        guards.append(Offer.issued <= draft.stock)
    if draft.budget_fen is not None:
        guards.append(Offer.committed_fen <= draft.budget_fen)
    changed = await session.scalar(
        sa.update(Offer)
        .where(*guards)
        .values(**values, closed_at=None)
        .returning(Offer)
        .execution_options(populate_existing=True)
    )
    if changed is None:
        raise OfferFixed(draft.key, fixed(known, draft))
    return changed


def fixed(known: Offer, draft: Draft) -> tuple[str, ...]:
    """What of this draft `put` would refuse of an offer that is out already, as it stands now."""
    values: dict[str, Any] = draft.model_dump() | {"skus": list(draft.skus), "categories": list(draft.categories)}
    moved = [name for name in TERMS if getattr(known, name) != values[name]] if known.issued else []
    tight = [name for name, used in (("stock", known.issued), ("budget_fen", known.committed_fen))
             if values[name] is not None and values[name] < used]  # fmt: skip
    return (*moved, *tight)


async def close(session: AsyncSession, key: str, *, now: datetime) -> Offer:
    """No more coupons of it; those that are out stay good. Raises OfferNotFound."""
    offer = await get(session, key)
    offer.closed_at = offer.closed_at or now
    await session.flush()
    return offer


async def on_show(session: AsyncSession, *where: sa.ColumnElement[bool], now: datetime, limit: int = 20) -> list[Offer]:
    """Open offers that still have some, those that end first at the top."""
    rows = await session.scalars(
        sa.select(Offer)
        .where(*open_at(now), sa.or_(Offer.stock.is_(None), Offer.issued < Offer.stock), *where)
        .order_by(Offer.ends_at.is_(None), Offer.ends_at, Offer.id)
        .limit(limit)
    )
    return list(rows)


def open_at(now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    """SQL for an offer of which coupons are issued at `now`."""
    return (
        Offer.closed_at.is_(None),
        Offer.starts_at <= now,
        sa.or_(Offer.ends_at.is_(None), Offer.ends_at > now),
    )


def is_open(offer: Offer, now: datetime) -> bool:
    """The same of one that was read."""
    return offer.closed_at is None and offer.starts_at <= now and (offer.ends_at is None or offer.ends_at > now)


def worth_fen(offer: Offer) -> int | None:
    """What one coupon of it can cost the shop at most; None: it does not say."""
    by_kind = {OfferKind.PERCENT: offer.cap_fen, OfferKind.GIFT: offer.gift_fen}
    return by_kind.get(offer.kind, offer.amount_fen) or None


def terms_of(offer: Offer) -> Terms:
    return Terms(
        kind=offer.kind,
        amount_fen=offer.amount_fen,
        percent_bp=offer.percent_bp,
        cap_fen=offer.cap_fen,
        gift_sku=offer.gift_sku,
        gift_fen=offer.gift_fen,
        threshold_fen=offer.threshold_fen,
        skus=frozenset(offer.skus),
        categories=frozenset(offer.categories),
        stacks=offer.stacks,
    )
