"""Plans: what the shop offers by subscription, its terms in versions, and what a change does to who has it already."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Self

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.models.subscription import (
    CycleUnit,
    OnHoliday,
    PlanTerms,
    Subscription,
    SubscriptionPlan,
    SubscriptionStatus,
)
from campaigns.offers import LARGEST_FEN, Fen, Word
from campaigns.subscription_rules import Rhythm
from campaigns.subscription_terms import PlanClosed, PlanFixed, PlanNotFound
from crm.base.db import hold, insert


class Item(BaseModel):
    """An article of each delivery. price_fen: of one piece, as it would cost alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sku: Word
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
    category: Annotated[str, StringConstraints(strip_whitespace=True, max_length=64)] = ""
    quantity: Annotated[int, Field(ge=1, le=999)] = 1
    price_fen: Fen


class PlanDraft(BaseModel):
    """A plan as somebody writes it. price_fen None: what its articles cost."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[^\s]{1,40}$")]
    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
    items: Annotated[tuple[Item, ...], Field(min_length=1, max_length=20)]
    price_fen: Fen | None = None
    unit: CycleUnit = CycleUnit.MONTHS
    every: Annotated[int, Field(ge=1, le=365)] = 1
    gift_every: Annotated[int, Field(ge=0, le=100)] = 4
    locks_price: bool = True
    on_holiday: OnHoliday = OnHoliday.BEFORE

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        if self.gift_every == 1:
            raise ValueError("gift_every 写 1 就是每期都送；不送写 0，买3送1 写 4")
        if self.unit is CycleUnit.MONTHS and self.every > 24:
            raise ValueError("周期最长 24 个月")
        if self.fen > LARGEST_FEN:
            raise ValueError("每期的价格太大")
        return self

    @property
    def fen(self) -> int:
        told = self.price_fen
        return sum(item.quantity * item.price_fen for item in self.items) if told is None else told


@dataclass(frozen=True, slots=True)
class PlanView:
    """A plan with its terms of now."""

    plan: SubscriptionPlan
    terms: PlanTerms

    @property
    def rhythm(self) -> Rhythm:
        return rhythm_of(self.plan)


def rhythm_of(plan: SubscriptionPlan) -> Rhythm:
    return Rhythm(plan.unit, plan.every, plan.on_holiday)


def terms_for() -> sa.ColumnElement[Any]:
    """SQL for the terms a subscription's next delivery is under; Subscription and SubscriptionPlan are joined."""
    return sa.case((SubscriptionPlan.locks_price, Subscription.terms_id), else_=SubscriptionPlan.terms_id)


# Reads


async def find(session: AsyncSession, key: str) -> PlanView | None:
    found = await views(session, SubscriptionPlan.key == key.strip())
    return found[0] if found else None


async def get(session: AsyncSession, key: str) -> PlanView:
    """Raises PlanNotFound."""
    found = await find(session, key)
    if found is None:
        raise PlanNotFound(key[:40])
    return found


async def get_open(session: AsyncSession, key: str) -> PlanView:
    """One that can be signed up for. Raises PlanNotFound, PlanClosed."""
    found = await get(session, key)
    if found.plan.closed_at is not None:
        raise PlanClosed(found.plan.key)
    return found


async def on_show(session: AsyncSession) -> list[PlanView]:
    """What can be signed up for, the newest last."""
    return await views(session, SubscriptionPlan.closed_at.is_(None))


async def views(session: AsyncSession, *where: sa.ColumnElement[bool]) -> list[PlanView]:
    rows = await session.execute(
        sa.select(SubscriptionPlan, PlanTerms)
        .join(PlanTerms, PlanTerms.id == SubscriptionPlan.terms_id)
        .where(*where)
        .order_by(SubscriptionPlan.id)
        .execution_options(populate_existing=True)
    )
    return [PlanView(plan, terms) for plan, terms in rows]


async def headcount(session: AsyncSession) -> dict[tuple[int, SubscriptionStatus], int]:
    """How many have each plan, by how they stand. Counts them all."""
    alive = Subscription.status != SubscriptionStatus.CANCELLED
    rows = await session.execute(
        sa.select(Subscription.plan_id, Subscription.status, sa.func.count())
        .where(alive)
        .group_by(Subscription.plan_id, Subscription.status)
    )
    return {(plan_id, status): count for plan_id, status, count in rows}


async def history(session: AsyncSession, plan_id: int) -> Sequence[PlanTerms]:
    """Its terms, the newest first."""
    rows = sa.select(PlanTerms).where(PlanTerms.plan_id == plan_id).order_by(PlanTerms.version.desc())
    return (await session.scalars(rows)).all()


# Verbs


async def put(session: AsyncSession, draft: PlanDraft, *, now: datetime) -> PlanView:
    """Write a plan down, or give the known one of this key other terms; the same draft again changes nothing.

    Who has it keeps their terms where the plan locks them; else the new ones hold from the next delivery that is not
    announced yet. Raises PlanFixed when the rhythm would change under somebody.
    """
    await hold(session, f"subscription-plan:{draft.key}")
    values = {"title": draft.title, "on_holiday": draft.on_holiday, "locks_price": draft.locks_price}
    rhythm = {"unit": draft.unit, "every": draft.every}
    fresh = insert(session, SubscriptionPlan).values(key=draft.key, **values, **rhythm, created_at=now)
    await session.execute(fresh.on_conflict_do_nothing(index_elements=["key"]))
    plan = await session.scalar(
        sa.select(SubscriptionPlan)
        .where(SubscriptionPlan.key == draft.key)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    assert plan is not None  # inserted above, or there before
    if (plan.unit, plan.every) != (draft.unit, draft.every) and (count := await _subscribers(session, plan.id)):
        raise PlanFixed(draft.key, count)
    for name, value in (values | rhythm).items():
        setattr(plan, name, value)
    plan.closed_at = None
    await _set_terms(session, plan, draft, now=now)
    return await get(session, draft.key)


async def _set_terms(session: AsyncSession, plan: SubscriptionPlan, draft: PlanDraft, *, now: datetime) -> None:
    items = [item.model_dump() for item in draft.items]
    known = await session.get(PlanTerms, plan.terms_id) if plan.terms_id is not None else None
    if known is not None and (known.items, known.price_fen, known.gift_every) == (items, draft.fen, draft.gift_every):
        await session.flush()
        return
    terms = PlanTerms(
        plan_id=plan.id,
        version=known.version + 1 if known is not None else 1,
        items=items,
        price_fen=draft.fen,
        gift_every=draft.gift_every,
        set_at=now,
    )
    session.add(terms)
    await session.flush()
    plan.terms_id = terms.id
    await session.flush()


async def close(session: AsyncSession, key: str, *, now: datetime) -> PlanView:
    """Nobody can sign up any more; who has it keeps it, see subscriptions.end_plan(). Raises PlanNotFound."""
    found = await get(session, key)
    found.plan.closed_at = found.plan.closed_at or now
    await session.flush()
    return found


async def _subscribers(session: AsyncSession, plan_id: int) -> int:
    alive = (Subscription.plan_id == plan_id, Subscription.status != SubscriptionStatus.CANCELLED)
    return await session.scalar(sa.select(sa.func.count()).select_from(Subscription).where(*alive)) or 0
