"""Referral programmes: written down, found, paused, closed; and their budget, beyond which nothing is promised.

The budget is a counter guarded twice, by the WHERE clause and by the table's CHECK: of any number of rewards at once
none is promised beyond it.
"""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import offers, referral_rules
from campaigns.models.offer import Offer
from campaigns.models.referral import (
    InviteStatus,
    ProgrammeStatus,
    ReferralInvitation,
    ReferralProgramme,
    ReferralReward,
    RewardStatus,
)
from campaigns.referral_facts import NothingOpen, ProgrammeNotFound, ProgrammePaused
from campaigns.referral_rules import Gift, ProgrammeWrong, Terms
from crm import loyalty_rules
from crm.base import events

NO_SYNC = {"synchronize_session": False}
FRESH = {"populate_existing": True}
ACQUIRED = (InviteStatus.BOUGHT, InviteStatus.COUNTED)
BY_ITSELF = ("cap", "budget")


# Reads


async def find(session: AsyncSession, name: str) -> ReferralProgramme | None:
    found: ReferralProgramme | None = await session.scalar(
        sa.select(ReferralProgramme).where(ReferralProgramme.name == name.strip()).execution_options(**FRESH)
    )
    return found


async def get(session: AsyncSession, name: str) -> ReferralProgramme:
    """Raises ProgrammeNotFound."""
    found = await find(session, name)
    if found is None:
        raise ProgrammeNotFound(name)
    return found


async def everything(session: AsyncSession) -> list[ReferralProgramme]:
    """All programmes, the newest first."""
    newest = (ReferralProgramme.starts_at.desc(), ReferralProgramme.id.desc())
    return list(await session.scalars(sa.select(ReferralProgramme).order_by(*newest).execution_options(**FRESH)))


async def open_now(session: AsyncSession, *, at: datetime) -> list[ReferralProgramme]:
    """Those that take invitations at this instant, the newest first."""
    rows = await session.scalars(
        sa.select(ReferralProgramme)
        .where(*_open_at(at))
        .order_by(ReferralProgramme.starts_at.desc(), ReferralProgramme.id.desc())
        .execution_options(**FRESH)
    )
    return list(rows)


async def get_open(session: AsyncSession, programme_id: int | None, *, at: datetime) -> ReferralProgramme:
    """The one asked for, if it is open; without one the newest that is. Raises NothingOpen."""
    for one in await open_now(session, at=at):
        if programme_id in (None, one.id):
            return one
    raise NothingOpen


def terms_of(programme: ReferralProgramme) -> Terms:
    return Terms.model_validate(programme.terms)


async def acquired(session: AsyncSession, programme_id: int) -> int:
    """How many bought by invitation, and still count or may come to."""
    mine = (ReferralInvitation.programme_id == programme_id, ReferralInvitation.status.in_(ACQUIRED))
    return await session.scalar(sa.select(sa.func.count()).select_from(ReferralInvitation).where(*mine)) or 0


def _open_at(at: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    one = ReferralProgramme
    ends = sa.or_(one.ends_at.is_(None), one.ends_at > at)
    return one.status == ProgrammeStatus.RUNNING, one.starts_at <= at, ends


# Writing one down


async def check(session: AsyncSession, terms: Terms, *, committed_fen: int = 0) -> list[dict[str, str]]:
    """What keeps a programme from being meant, beyond what its own words show."""
    wrong: list[dict[str, str]] = []
    costs: dict[str, int] = {}
    for place, gift in terms.gifts():
        offer = await offers.find(session, gift.coupon) if gift.coupon is not None else None
        wrong += _of_coupon(place, gift, offer)
        costs[place] = referral_rules.worth_of(gift, offer, terms) or 0
    uses_points = any(gift.points is not None for _, gift in terms.gifts())
    uses_points |= terms.invitee.back is not None and terms.invitee.back.paid_in == "points"
    if uses_points and await loyalty_rules.of_points(session) is None:
        wrong.append({"field": "", "reason": "店里没有积分规则，不能用积分奖励"})
    steps = [(step.at, costs[f"inviter.steps.{place}"]) for place, step in enumerate(terms.inviter.steps)]
    for_invitee = sum(cost for place, cost in costs.items() if place.startswith("invitee."))
    for_invitee += terms.invitee.back.most_fen if terms.invitee.back is not None else 0
    dearest = referral_rules.dearest(costs.get("inviter.each", 0), steps, for_invitee)
    if dearest > terms.cap_fen:
        reason = f"全部兑现时拉新一位要 {_yuan(dearest)} 元，超过上限 {_yuan(terms.cap_fen)} 元"
        wrong.append({"field": "acquisition_cost_fen", "reason": reason})
    if terms.budget_fen < committed_fen:
        wrong.append({"field": "budget_fen", "reason": f"已经许诺和发出 {_yuan(committed_fen)} 元，不能再低"})
    return wrong


def _of_coupon(place: str, gift: Gift, offer: Offer | None) -> list[dict[str, str]]:
    if gift.coupon is None:
        return []
    field = f"{place}.coupon"
    if offer is None:
        return [{"field": field, "reason": f"没有叫 {gift.coupon} 的优惠"}]
    if gift.worth_fen is None and not (offer.amount_fen or offer.gift_fen or offer.cap_fen):
        return [{"field": f"{place}.worth_fen", "reason": "这个优惠自己说不出最多值多少，请写 worth_fen"}]
    if place == "inviter.each" and offer.per_member is not None:
        return [{"field": field, "reason": f"每人限领 {offer.per_member} 张，邀请多了发不出：优惠里 per_member 写空"}]
    return []


async def put(session: AsyncSession, name: str, terms: Terms, *, now: datetime) -> ReferralProgramme:
    """Write a programme down, or change the known one of this name; what was promised stays as it was promised.

    One that paused itself goes on when the change is what it waited for; one that somebody paused does not.
    Raises ProgrammeWrong with every mistake.
    """
    known = await find(session, name)
    if wrong := await check(session, terms, committed_fen=known.committed_fen if known is not None else 0):
        raise ProgrammeWrong(wrong)
    values: dict[str, Any] = {
        "terms": referral_rules.write(terms),
        "starts_at": terms.starts,
        "ends_at": terms.ends,
        "budget_fen": terms.budget_fen,
        "saved_at": now,
    }
    if known is None:
        fresh = ReferralProgramme(name=name.strip(), committed_fen=0, **values)
        fresh.status, fresh.paused_because = ProgrammeStatus.RUNNING, ""
        session.add(fresh)
        await session.flush()
        return fresh
    if known.paused_because in BY_ITSELF:
        values |= {"status": ProgrammeStatus.RUNNING, "paused_because": ""}
    mine = (ReferralProgramme.id == known.id, ReferralProgramme.committed_fen <= terms.budget_fen)
    changed = await session.scalar(
        sa.update(ReferralProgramme)
        .where(*mine)
        .values(**values)
        .returning(ReferralProgramme)
        .execution_options(**FRESH)
    )
    if changed is None:
        raise ProgrammeWrong([{"field": "budget_fen", "reason": "刚刚又许诺出去一些，低于已许诺的了"}])
    waits = (ReferralReward.programme_id == changed.id, ReferralReward.status == RewardStatus.UNFUNDED)
    await session.execute(sa.update(ReferralReward).where(*waits).values(retry_at=now), execution_options=NO_SYNC)
    await watch_cost(session, changed.id, now=now)
    return changed


# Verbs


async def pause(session: AsyncSession, programme_id: int, *, because: str, now: datetime) -> bool:
    """No new invitations. False: it was not running."""
    mine = (ReferralProgramme.id == programme_id, ReferralProgramme.status == ProgrammeStatus.RUNNING)
    values = {"status": ProgrammeStatus.PAUSED, "paused_because": because[:200]}
    done = sa.update(ReferralProgramme).where(*mine).values(**values).returning(ReferralProgramme.id)
    if await session.scalar(done, execution_options=NO_SYNC) is None:
        return False
    await events.append(session, ProgrammePaused(programme_id=programme_id, because=because[:200]), now=now)
    return True


async def resume(session: AsyncSession, programme_id: int) -> bool:
    """Take invitations again. False: it was not paused. Above its cap it pauses itself again with the next reward."""
    mine = (ReferralProgramme.id == programme_id, ReferralProgramme.status == ProgrammeStatus.PAUSED)
    values = {"status": ProgrammeStatus.RUNNING, "paused_because": ""}
    done = sa.update(ReferralProgramme).where(*mine).values(**values).returning(ReferralProgramme.id)
    return await session.scalar(done, execution_options=NO_SYNC) is not None


async def close(session: AsyncSession, programme_id: int) -> bool:
    """For good; what was promised goes on. False: it was closed before."""
    mine = (ReferralProgramme.id == programme_id, ReferralProgramme.status != ProgrammeStatus.CLOSED)
    done = sa.update(ReferralProgramme).where(*mine).values(status=ProgrammeStatus.CLOSED, paused_because="")
    return await session.scalar(done.returning(ReferralProgramme.id), execution_options=NO_SYNC) is not None


async def reserve(session: AsyncSession, programme_id: int, fen: int) -> bool:
    """Promise so much more, if the budget has it."""
    one = ReferralProgramme
    mine = sa.update(one).where(one.id == programme_id, one.committed_fen + fen <= one.budget_fen)
    done = mine.values(committed_fen=one.committed_fen + fen).returning(one.id)
    return await session.scalar(done, execution_options=NO_SYNC) is not None


async def give_back(session: AsyncSession, programme_id: int, fen: int) -> None:
    """So much of what was promised will not be paid."""
    mine = sa.update(ReferralProgramme).where(ReferralProgramme.id == programme_id)
    less = mine.values(committed_fen=ReferralProgramme.committed_fen - fen)
    await session.execute(less, execution_options=NO_SYNC)


async def watch_cost(session: AsyncSession, programme_id: int, *, now: datetime) -> None:
    """Pause a programme whose acquired members cost more than its cap."""
    one = await session.get_one(ReferralProgramme, programme_id, populate_existing=True)
    if one.status is not ProgrammeStatus.RUNNING:
        return
    if referral_rules.is_over_cap(terms_of(one), one.committed_fen, await acquired(session, programme_id)):
        await pause(session, programme_id, because="cap", now=now)


def _yuan(fen: int) -> str:
    return f"{fen / 100:.2f}".rstrip("0").rstrip(".")
