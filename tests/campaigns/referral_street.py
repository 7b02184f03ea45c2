"""A street of members who invite each other: programmes, invitations, orders and days in a line each."""

from dataclasses import dataclass
from random import Random
from typing import Any

import sqlalchemy as sa

from campaigns import (
    every_reaction,
    referral_links,
    referral_programmes,
    referral_rewards,
    referral_rules,
    referrals,
)
from campaigns.models.referral import (
    RESERVED,
    CameBy,
    InviteStatus,
    ReferralInvitation,
    ReferralProgramme,
    ReferralReview,
    ReferralReward,
    RewardStatus,
    Side,
)
from campaigns.reactions import Reader
from crm import loyalty_rules, orders, points
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.events import EventFailure
from crm.base.peers import Peers
from crm.models.member import Member
from crm.models.order import Order
from crm.point_rules import PointRules
from tests.factories import Make

TERMS: dict[str, Any] = {
    "title": "邀请好友一起养猫",
    "starts_at": "2026-03-01 00:00:00",
    "inviter": {"each": {"points": 500}, "steps": [{"at": 2, "points": 1000}, {"at": 3, "points": 1500}]},
    "invitee": {"welcome": {"points": 100}},
    "budget_fen": 1_000_00,
    "acquisition_cost_fen": 60_00,
}


@dataclass
class Street:
    """Plays what happens, and lets the reactions follow."""

    sessions: Sessions
    clock: FrozenClock
    make: Make
    name: str = "老带新"

    async def opens(self, name: str = "老带新", **more: Any) -> ReferralProgramme:
        async with self.sessions.begin() as session:
            if await loyalty_rules.of_points(session) is None:
                await loyalty_rules.set_points(session, PointRules(), now=self.clock.now())
            terms = referral_rules.read({**TERMS, **more})
            return await referral_programmes.put(session, name, terms, now=self.clock.now())

    async def invites(
        self, inviter: Member, invitee: Member, *, by: CameBy = CameBy.CHAT, programme_id: int | None = None
    ) -> ReferralInvitation:
        async with self.sessions.begin() as session:
            link = await referral_links.link_of(session, inviter.id, now=self.clock.now(), chance=Random(inviter.id))
            made = await referral_links.invite(
                session, link.code, invitee.id, came_by=by, at=self.clock.now(), programme_id=programme_id,
                now=self.clock.now(),
            )  # fmt: skip
        await self.follows()
        return await self.fresh(made.id)

    async def fresh(self, invitation_id: int) -> ReferralInvitation:
        async with self.sessions.read() as session:
            return await referrals.get(session, invitation_id)

    async def brings(self, inviter: Member, fen: int = 9900) -> tuple[Member, Order]:
        """A new friend who comes and buys."""
        friend = await self.make.member(name="朋友")
        await self.invites(inviter, friend)
        order = await self.make.order(friend, total_fen=fen)
        await self.follows()
        return friend, order

    async def refunds(self, order: Order, fen: int | None = None) -> None:
        async with self.sessions.begin() as session:
            await orders.refund(
                session, order.source, f"R{order.id}/{fen}", amount_fen=fen or order.total_fen,
                refunded_at=self.clock.now(), order_no=order.external_no, now=self.clock.now(),
            )  # fmt: skip
        await self.follows()

    async def days(self, count: float) -> None:
        """Time goes by, and the night's steps are made."""
        await self.follows()
        self.clock.advance(days=count)
        for step in (referrals.ripen, referrals.lapse, referral_rewards.ripen):
            async with self.sessions.begin() as session:
                await step(session, now=self.clock.now())
        await self.follows()

    async def follows(self) -> None:
        reader = Reader(
            self.sessions, Peers(self.sessions, chance=Random(7)), self.clock, cursor="test", table=every_reaction.table
        )
        while (await reader.round())[0]:
            pass
        async with self.sessions.read() as session:
            assert (await session.scalars(sa.select(EventFailure.error))).all() == []

    # What there is

    async def invitation(self, invitee: Member) -> ReferralInvitation:
        async with self.sessions.read() as session:
            mine = sa.select(ReferralInvitation).where(ReferralInvitation.invitee_as_id == invitee.id)
            return (await session.scalars(mine.order_by(ReferralInvitation.id))).first() or _nobody()

    async def status(self, invitee: Member) -> tuple[InviteStatus, str]:
        one = await self.invitation(invitee)
        return one.status, one.why

    async def rewards(self, member: Member | None = None) -> dict[str, RewardStatus]:
        """By cause, the newest of each; without the invitation's number."""
        async with self.sessions.read() as session:
            rows = sa.select(ReferralReward).order_by(ReferralReward.turn, ReferralReward.id)
            if member is not None:
                rows = rows.where(ReferralReward.member_id == member.id)
            return {one.because: one.status for one in await session.scalars(rows)}

    async def points_of(self, member: Member) -> int:
        async with self.sessions.read() as session:
            found = await points.balance_of(session, member.id, now=self.clock.now())
        return found.active - found.owed

    async def programme(self, name: str = "老带新") -> ReferralProgramme:
        async with self.sessions.read() as session:
            return await referral_programmes.get(session, name)

    async def reviews(self) -> list[ReferralReview]:
        async with self.sessions.read() as session:
            return list(await session.scalars(sa.select(ReferralReview).order_by(ReferralReview.id)))

    async def books_agree(self) -> None:
        """What is reserved is the sum of its rewards, is within the budget, and each has an invitation as its cause."""
        async with self.sessions.read() as session:
            for programme in await session.scalars(sa.select(ReferralProgramme)):
                mine = (ReferralReward.programme_id == programme.id, ReferralReward.status.in_(RESERVED))
                total = await session.scalar(
                    sa.select(sa.func.coalesce(sa.func.sum(ReferralReward.cost_fen), 0)).where(*mine)
                )
                assert programme.committed_fen == total <= programme.budget_fen
            paid = sa.select(ReferralReward, ReferralInvitation).join(
                ReferralInvitation, ReferralInvitation.id == ReferralReward.invitation_id
            )
            for reward, invitation in await session.execute(paid.where(ReferralReward.status == RewardStatus.PAID)):
                whom = invitation.inviter_id if reward.side is Side.INVITER else invitation.invitee_id
                assert reward.member_id == whom


def _nobody() -> ReferralInvitation:
    raise AssertionError("nobody invited them")
