"""Tiered offers (阶梯优惠): a member gets the best tier that fits, once for each cause, with the reason in words."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, Self

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import coupons, offers
from campaigns.coupon_terms import OfferNotOpen, OfferSoldOut
from campaigns.models.offer import Coupon, Ladder, LadderGift, Offer
from crm import conditions, holds, points, segment_compiler, segment_words, segments
from crm.base.db import insert
from crm.base.errors import Invalid, NotFound, Refused
from crm.conditions import Condition, DefinitionWrong
from crm.models.member import Member
from crm.point_ledger import Cause
from crm.segments import Reason

EVERYBODY = "所有会员"
JUDGED_TOGETHER = 500


class Tier(BaseModel):
    """Who it is for, and what it gives: a coupon of an offer, or points. Without a condition it is for everybody."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=40)]
    audience: dict[str, Any] | None = None
    offer: Annotated[str, Field(max_length=40)] | None = None  # its key
    points: Annotated[int, Field(ge=1, le=10**6)] | None = None

    @model_validator(mode="after")
    def _gives_one_thing(self) -> Self:
        if (self.offer is None) == (self.points is None):
            raise ValueError("写 offer 或 points，只写一个")
        return self

    @property
    def condition(self) -> Condition | None:
        return None if self.audience is None else conditions.read(self.audience)


class LadderDraft(BaseModel):
    """A tiered offer as somebody writes it, the best tier first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[^\s]{1,40}$")]
    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
    tiers: Annotated[tuple[Tier, ...], Field(min_length=1, max_length=20)]
    claimable: bool = False


@dataclass(eq=False)
class LadderWrong(Invalid):
    """A tiered offer cannot be meant; each mistake is {"field": "tiers.0.audience.of.1", "reason": …}."""

    code: ClassVar[str] = "ladder.wrong"
    mistakes: list[dict[str, str]]


@dataclass(eq=False)
class LadderNotFound(NotFound):
    """No tiered offer has this key, or it is closed."""

    code: ClassVar[str] = "ladder.not_found"
    key: str


@dataclass(eq=False)
class NoTierFits(Refused):
    """None of the tiers is for this member, or what they give is given."""

    code: ClassVar[str] = "ladder.no_tier"
    key: str


@dataclass(frozen=True, slots=True)
class Given:
    """What a member got. passed_over: better tiers that fit too and had nothing left to give."""

    tier: str
    reason: str
    coupon: Coupon | None = None
    offer: Offer | None = None
    points: int = 0
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rung:
    """One tier as a member stands to it: it fits, or what would have to change."""

    tier: Tier
    words: str
    fits: bool
    against: tuple[Reason, ...] = ()


async def put(session: AsyncSession, draft: LadderDraft, *, now: datetime) -> Ladder:
    """Write a tiered offer down, or change the known one of this key. Raises LadderWrong with every mistake."""
    wrong: list[dict[str, str]] = []
    for place, tier in enumerate(draft.tiers):
        try:
            tier.condition  # noqa: B018  (reading it is the check)
        except DefinitionWrong as refused:
            wrong += [{"field": f"tiers.{place}.audience.{one['field']}", "reason": one["reason"]}
                      for one in refused.mistakes]  # fmt: skip
        if tier.offer is not None and await offers.find(session, tier.offer) is None:
            wrong.append({"field": f"tiers.{place}.offer", "reason": f"没有叫 {tier.offer} 的优惠"})
        if tier.audience is None and place < len(draft.tiers) - 1:
            wrong.append(
                {"field": f"tiers.{place}.audience", "reason": "对所有会员的一档只能放在最后，后面的永远轮不到"}
            )
    if wrong:
        raise LadderWrong(wrong)
    values: dict[str, Any] = {
        "title": draft.title,
        "tiers": [tier.model_dump(mode="json", exclude_none=True) for tier in draft.tiers],
        "claimable": draft.claimable,
        "closed_at": None,
        "saved_at": now,
    }
    row = insert(session, Ladder).values(key=draft.key, **values)
    await session.execute(row.on_conflict_do_update(index_elements=["key"], set_=values))
    return await get(session, draft.key)


async def close(session: AsyncSession, key: str, *, now: datetime) -> None:
    """Nobody gets anything of it any more. Raises LadderNotFound."""
    (await get(session, key)).closed_at = now
    await session.flush()


async def find(session: AsyncSession, key: str) -> Ladder | None:
    """The open tiered offer of this key."""
    mine = sa.select(Ladder).where(Ladder.key == key.strip(), Ladder.closed_at.is_(None))
    found: Ladder | None = await session.scalar(mine, execution_options={"populate_existing": True})
    return found


async def get(session: AsyncSession, key: str) -> Ladder:
    """Raises LadderNotFound."""
    found = await find(session, key)
    if found is None:
        raise LadderNotFound(key)
    return found


def tiers_of(ladder: Ladder) -> list[Tier]:
    return [Tier.model_validate(one) for one in ladder.tiers]


async def fitting(
    session: AsyncSession, ladder: Ladder, member_ids: Collection[int], *, now: datetime
) -> dict[int, list[int]]:
    """Which tiers fit each of these members, by their places, the best first. Who is merged or erased is left out."""
    tiers, asked = tiers_of(ladder), sorted(set(member_ids))
    told = [one for one in (tier.condition for tier in tiers) if one is not None]
    found: dict[int, list[int]] = {}
    for start in range(0, len(asked), JUDGED_TOGETHER):
        some = asked[start : start + JUDGED_TOGETHER]
        judged = await segment_compiler.judge(session, told, some, now=now)
        if not told:
            alive = sa.select(Member.id).where(Member.id.in_(some), *segment_compiler.living(Member))
            judged = {member_id: [] for member_id in await session.scalars(alive)}
        for member_id, answers_of in judged.items():
            answers = iter(answers_of)
            found[member_id] = [place for place, tier in enumerate(tiers) if tier.audience is None or next(answers)]
    return found


async def explain(session: AsyncSession, ladder: Ladder, member_id: int, *, now: datetime) -> list[Rung]:
    """How a member stands to every tier, and what keeps them out. Raises MemberNotFound."""
    rungs: list[Rung] = []
    for tier in tiers_of(ladder):
        if tier.condition is None:
            rungs.append(Rung(tier, EVERYBODY, True))
            continue
        verdict = await segments.explain(session, tier.condition, member_id, now=now)
        words = await _in_words(session, tier)
        rungs.append(Rung(tier, words, verdict.inside, tuple(verdict.reasons)))
    return rungs


async def give(session: AsyncSession, key: str, member_id: int, *, because: str, now: datetime) -> Given:
    """The best tier that fits and still has something; the same `because` (≤ 48 characters) gives once and the same.

    Raises LadderNotFound, NoTierFits, and what coupons.issue() raises but for what is given out: then the next tier
    that fits is given.
    """
    member_id = await holds.hold(session, member_id)
    ladder = await get(session, key)
    if (known := await _given(session, ladder, member_id, because)) is not None:
        return known
    tiers, passed = tiers_of(ladder), list[str]()
    for place in (await fitting(session, ladder, [member_id], now=now)).get(member_id, []):
        try:
            async with session.begin_nested():
                return await _give(session, ladder, tiers[place], member_id, because, passed, now=now)
        except (OfferSoldOut, OfferNotOpen):
            passed.append(tiers[place].name)
    raise NoTierFits(ladder.key)


async def _give(
    session: AsyncSession, ladder: Ladder, tier: Tier, member_id: int, because: str, passed: Sequence[str], *,
    now: datetime,
) -> Given:  # fmt: skip
    gift = LadderGift(ladder_id=ladder.id, member_id=member_id, because=because, tier=tier.name, given_at=now)
    gift.reason, gift.points, coupon, offer = await _in_words(session, tier), tier.points or 0, None, None
    if tier.offer is not None:
        offer = await offers.get(session, tier.offer)
        cause = f"ladder:{ladder.id}:{because}"
        coupon = await coupons.issue(session, offer.id, member_id, because=cause, now=now)
        gift.coupon_id = coupon.id
    session.add(gift)
    await session.flush()
    if gift.points:
        told = Cause("ladder", str(gift.id))
        await points.grant(session, member_id, gift.points, cause=told, reason=ladder.title, by="ladder", now=now)
    return Given(tier.name, gift.reason, coupon, offer, gift.points, tuple(passed))


async def _given(session: AsyncSession, ladder: Ladder, member_id: int, because: str) -> Given | None:
    """What this person, or somebody who was merged into them, got for the same cause."""
    theirs = sa.select(Member.id).where(sa.or_(Member.id == member_id, Member.merged_into_id == member_id))
    same = (LadderGift.ladder_id == ladder.id, LadderGift.because == because, LadderGift.member_id.in_(theirs))
    gift = await session.scalar(sa.select(LadderGift).where(*same).order_by(LadderGift.id).limit(1))
    if gift is None:
        return None
    coupon = await session.get(Coupon, gift.coupon_id) if gift.coupon_id is not None else None
    offer = await session.get(Offer, coupon.offer_id) if coupon is not None else None
    return Given(gift.tier, gift.reason, coupon, offer, gift.points)


async def _in_words(session: AsyncSession, tier: Tier) -> str:
    condition = tier.condition
    if condition is None:
        return EVERYBODY
    return segment_words.in_words(condition, await segment_words.names_in(session, condition))
