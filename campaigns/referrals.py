"""老带新: what becomes of an invitation. It counts once the invitee's first paid order outlived its refund window.

An invitation's row is the guard: each step is an UPDATE that names the status it leaves, so it is made once however
many try. People are held before rows, the older first. What looks odd waits for a person: see referral_checks.
"""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import referral_programmes, referral_rewards
from campaigns.models.referral import (
    LIVE,
    InviteStatus,
    ReferralInvitation,
    ReferralProgramme,
    ReferralStanding,
    Side,
)
from campaigns.referral_facts import InvitationCounted, InvitationDue, InvitationEnded
from campaigns.referral_rewards import For
from campaigns.referral_rules import Terms
from crm import holds
from crm.base import events
from crm.base.db import insert
from crm.base.errors import Busy
from crm.models.order import Order

NO_SYNC = {"synchronize_session": False}
FRESH = {"populate_existing": True}
MAY_COUNT = (*LIVE, InviteStatus.LAPSED)  # an order may be told late, but paid in time


# Invitations


async def get(session: AsyncSession, invitation_id: int) -> ReferralInvitation:
    return await session.get_one(ReferralInvitation, invitation_id, populate_existing=True)


async def find_live(session: AsyncSession, invitee_id: int) -> ReferralInvitation | None:
    """The invitation by which somebody is here, if it counts or may come to."""
    mine = (ReferralInvitation.invitee_id == invitee_id, ReferralInvitation.status.in_(LIVE))
    rows = sa.select(ReferralInvitation).where(*mine).order_by(ReferralInvitation.id).limit(1)
    found: ReferralInvitation | None = await session.scalar(rows.execution_options(**FRESH))
    return found


async def of_inviter(
    session: AsyncSession, programme_id: int, inviter_id: int, *, limit: int = 50
) -> list[ReferralInvitation]:
    """Whom somebody brought in a programme, newest first; attempts are left out."""
    mine = (ReferralInvitation.programme_id == programme_id, ReferralInvitation.inviter_id == inviter_id)
    seen = sa.select(ReferralInvitation).where(*mine, ReferralInvitation.status != InviteStatus.REFUSED)
    newest = seen.order_by(ReferralInvitation.invited_at.desc(), ReferralInvitation.id.desc())
    return list(await session.scalars(newest.limit(limit).execution_options(**FRESH)))


# What becomes of one


async def welcome(session: AsyncSession, invitation: ReferralInvitation, *, now: datetime) -> None:
    """What a newcomer gets at once, unless something looks odd."""
    programme = await session.get_one(ReferralProgramme, invitation.programme_id, populate_existing=True)
    gift = referral_programmes.terms_of(programme).invitee.welcome
    if gift is None or invitation.status not in LIVE:
        return
    whom = For(invitation.invitee_id, Side.INVITEE, f"welcome:{invitation.id}")
    reward = await referral_rewards.promise(session, programme, invitation, whom, gift, now=now)
    if not invitation.is_held:
        await referral_rewards.pay(session, reward.id, now=now)


async def look(session: AsyncSession, invitation_id: int, *, now: datetime) -> None:
    """Bring an invitation to what its invitee's orders say, however often and in whatever order that is heard."""
    if (one := await _held(session, invitation_id, among=MAY_COUNT)) is None:
        return
    programme = await session.get_one(ReferralProgramme, one.programme_id, populate_existing=True)
    terms = referral_programmes.terms_of(programme)
    if one.status is not InviteStatus.COUNTED and not await _never_bought_before(session, one):
        await end(session, one, why="not_new", now=now)
        return
    first = await _first_order(session, one, terms)
    if one.status is InviteStatus.COUNTED:
        if first is None:
            await end(session, one, why="refund", now=now)
        return
    if first is None:
        if one.status is InviteStatus.BOUGHT:
            await _give_up_order(session, one, now=now)
        return
    if one.order_id != first.id:
        if one.status is InviteStatus.BOUGHT:
            await _give_up_order(session, one, now=now)
        await _bought(session, programme, one, first, now=now)


async def _never_bought_before(session: AsyncSession, one: ReferralInvitation) -> bool:
    earlier = (Order.member_id == one.invitee_id, Order.paid_at < one.invited_at, Order.paid_fen > 0)
    return await session.scalar(sa.select(Order.id).where(*earlier).limit(1)) is None


async def _first_order(session: AsyncSession, one: ReferralInvitation, terms: Terms) -> Order | None:
    """The first order in time of which enough is kept."""
    mine = (Order.member_id == one.invitee_id, Order.paid_at >= one.invited_at, Order.paid_at < one.lapses_at)
    kept = Order.paid_fen - Order.refunded_fen >= max(terms.min_order_fen, 1)
    rows = sa.select(Order).where(*mine, kept).order_by(Order.paid_at, Order.id).limit(1)
    found: Order | None = await session.scalar(rows.execution_options(**FRESH))
    return found


async def _bought(
    session: AsyncSession, programme: ReferralProgramme, one: ReferralInvitation, order: Order, *, now: datetime
) -> None:
    """The first order is paid: both sides' rewards are promised until its refund window is over."""
    terms = referral_programmes.terms_of(programme)
    assert order.paid_at is not None  # _first_order asks for it
    one.status, one.order_id, one.told_due_at = InviteStatus.BOUGHT, order.id, None
    one.due_at, one.why, one.ended_at = order.paid_at + terms.refund_window, "", None
    await session.flush()
    kept = order.paid_fen - order.refunded_fen
    promised = [
        (For(one.inviter_id, Side.INVITER, f"each:{one.id}"), terms.inviter.each),
        (For(one.invitee_id, Side.INVITEE, f"order:{one.id}"), terms.invitee.first_order),
        (For(one.invitee_id, Side.INVITEE, f"back:{one.id}"), terms.invitee.back),
    ]
    for whom, gift in promised:
        if gift is not None:
            await referral_rewards.promise(session, programme, one, whom, gift, base_fen=kept, now=now)


async def _give_up_order(session: AsyncSession, one: ReferralInvitation, *, now: datetime) -> None:
    """The order went back within its window: what hung on it is void, and another order may come."""
    one.status, one.order_id, one.due_at, one.told_due_at = InviteStatus.JOINED, None, None, None
    await session.flush()
    for reward in await referral_rewards.of_invitation(session, one.id):
        if not reward.because.startswith("welcome:"):
            await referral_rewards.take_back(session, reward, why="refund", now=now)


async def count(session: AsyncSession, invitation_id: int, *, now: datetime) -> bool:
    """The first order outlived its refund window: the invitation counts, and what was promised is paid.

    The WHERE clause decides who counts it; the standing's row tells each of two at once a number of its own, so every
    rung of the ladder is seen by one of them, and the reward's unique cause gives it once.
    """
    if (one := await _held(session, invitation_id)) is None:
        return False
    mine = (
        ReferralInvitation.id == one.id,
        ReferralInvitation.status == InviteStatus.BOUGHT,
        ReferralInvitation.is_held.is_(False),
        ReferralInvitation.due_at <= now,
    )
    values = {"status": InviteStatus.COUNTED, "counted_at": now}
    counted = sa.update(ReferralInvitation).where(*mine).values(**values).returning(ReferralInvitation)
    if (done := await session.scalar(counted.execution_options(**FRESH))) is None:
        return False
    programme = await session.get_one(ReferralProgramme, done.programme_id, populate_existing=True)
    terms = referral_programmes.terms_of(programme)
    so_far = await _move_standing(session, done.programme_id, done.inviter_id, 1, now=now)
    await _settle(session, done, terms, now=now)
    await _climb(session, programme, done, so_far, now=now)
    told = InvitationCounted(
        invitation_id=done.id, member_id=done.inviter_id, invitee_id=done.invitee_id, programme_id=programme.id,
        counted=so_far,
    )  # fmt: skip
    await events.append(session, told, now=now)
    return True


async def _settle(session: AsyncSession, one: ReferralInvitation, terms: Terms, *, now: datetime) -> None:
    order = await session.get_one(Order, one.order_id, populate_existing=True)
    for reward in await referral_rewards.of_invitation(session, one.id):
        if terms.invitee.back is not None:
            kept = order.paid_fen - order.refunded_fen
            await referral_rewards.recount(session, reward, terms.invitee.back, terms, kept_fen=kept)
        await referral_rewards.pay(session, reward.id, now=now)


async def _climb(
    session: AsyncSession, programme: ReferralProgramme, one: ReferralInvitation, counted: int, *, now: datetime
) -> None:
    """Every rung up to here is given, unless it was."""
    for step in referral_programmes.terms_of(programme).inviter.steps:
        if step.at <= counted:
            whom = For(one.inviter_id, Side.INVITER, f"step:{step.at}")
            reward = await referral_rewards.promise(session, programme, one, whom, step, now=now)
            await referral_rewards.pay(session, reward.id, now=now)


async def _move_standing(session: AsyncSession, programme_id: int, member_id: int, by: int, *, now: datetime) -> int:
    row = insert(session, ReferralStanding).values(
        programme_id=programme_id, member_id=member_id, counted=max(by, 0), reached_at=now
    )
    again = row.on_conflict_do_update(
        index_elements=["programme_id", "member_id"],
        set_={"counted": ReferralStanding.counted + by, "reached_at": now},
    )
    return (await session.scalars(again.returning(ReferralStanding.counted))).one()


async def end(session: AsyncSession, one: ReferralInvitation, *, why: str, now: datetime) -> None:
    """It will not count, or counts no longer: what was promised is void, what was paid is taken back."""
    was = one.status
    if was not in LIVE:
        return
    ends_as = InviteStatus.REVOKED if was is InviteStatus.COUNTED else InviteStatus.FAILED
    one.status, one.why, one.ended_at, one.is_held = ends_as, why, now, False
    await session.flush()
    for reward in await referral_rewards.of_invitation(session, one.id):
        if not reward.because.startswith("step:"):
            await referral_rewards.take_back(session, reward, why=why, now=now)
    if was is InviteStatus.COUNTED:
        left = await _move_standing(session, one.programme_id, one.inviter_id, -1, now=now)
        await _step_down(session, one.programme_id, one.inviter_id, left, why=why, now=now)
    told = InvitationEnded(invitation_id=one.id, member_id=one.inviter_id, why=why)
    await events.append(session, told, now=now)


async def end_held(session: AsyncSession, invitation_id: int, *, why: str, now: datetime) -> None:
    """Like `end`, holding its people first."""
    if (one := await _held(session, invitation_id)) is not None:
        await end(session, one, why=why, now=now)


async def _step_down(
    session: AsyncSession, programme_id: int, inviter_id: int, counted: int, *, why: str, now: datetime
) -> None:
    """Rungs above what counts now are taken back."""
    for reward in await referral_rewards.of_member(session, programme_id, inviter_id, side=Side.INVITER):
        kind, _, rung = reward.because.partition(":")
        if kind == "step" and int(rung) > counted:
            await referral_rewards.take_back(session, reward, why=why, now=now)


async def _held(
    session: AsyncSession, invitation_id: int, *, among: Sequence[InviteStatus] = LIVE
) -> ReferralInvitation | None:
    """An invitation with both people held. None: it is over. Raises Busy when one of them is merged meanwhile."""
    one = await get(session, invitation_id)
    if one.status not in among:
        return None
    people = {(await holds.hold_one(session, each)).member_id for each in sorted({one.inviter_id, one.invitee_id})}
    one = await session.get_one(ReferralInvitation, invitation_id, populate_existing=True, with_for_update=True)
    if not {one.inviter_id, one.invitee_id} <= people:
        raise Busy(retry_after=0.1)
    return one if one.status in among else None


# By the clock


async def ripen(session: AsyncSession, *, now: datetime, limit: int = 500) -> int:
    """Say of each invitation once that its refund window is over; the reaction counts it. Returns how many."""
    due = (
        ReferralInvitation.status == InviteStatus.BOUGHT,
        ReferralInvitation.is_held.is_(False),
        ReferralInvitation.due_at <= now,
        ReferralInvitation.told_due_at.is_(None),
    )
    some = sa.select(ReferralInvitation.id).where(*due).order_by(ReferralInvitation.due_at)
    some = some.limit(limit).with_for_update(skip_locked=True)
    told = sa.update(ReferralInvitation).where(ReferralInvitation.id.in_(some), *due).values(told_due_at=now)
    facts = told.returning(ReferralInvitation.id, ReferralInvitation.invitee_id)
    rows = (await session.execute(facts, execution_options=NO_SYNC)).all()
    await events.append_all(session, [InvitationDue(invitation_id=row[0], member_id=row[1]) for row in rows], now=now)
    return len(rows)


async def lapse(session: AsyncSession, *, now: datetime, limit: int = 500) -> int:
    """Who bought nothing in time does not count; what they got for coming is theirs. Returns how many."""
    over = (ReferralInvitation.status == InviteStatus.JOINED, ReferralInvitation.lapses_at <= now)
    some = sa.select(ReferralInvitation.id).where(*over).order_by(ReferralInvitation.lapses_at)
    some = some.limit(limit).with_for_update(skip_locked=True)
    ended = sa.update(ReferralInvitation).where(ReferralInvitation.id.in_(some), *over)
    values = {"status": InviteStatus.LAPSED, "why": "lapsed", "ended_at": now, "is_held": False}
    facts = ended.values(**values).returning(ReferralInvitation.id, ReferralInvitation.inviter_id)
    rows = (await session.execute(facts, execution_options=NO_SYNC)).all()
    told = [InvitationEnded(invitation_id=row[0], member_id=row[1], why="lapsed") for row in rows]
    await events.append_all(session, told, now=now)
    return len(rows)


async def counted_of(session: AsyncSession, programme_id: int, member_id: int) -> int:
    mine = (ReferralStanding.programme_id == programme_id, ReferralStanding.member_id == member_id)
    return await session.scalar(sa.select(ReferralStanding.counted).where(*mine)) or 0
