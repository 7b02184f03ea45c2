"""Whatever happens, in whatever order: what is paid stays within the budget, and each reward has its cause."""

from collections.abc import Awaitable, Callable
from random import Random

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from campaigns import referral_checks, referral_programmes, referral_rewards
from campaigns.models.offer import Coupon
from campaigns.models.referral import (
    RESERVED,
    InviteStatus,
    ReferralInvitation,
    ReferralProgramme,
    ReferralReview,
    ReferralReward,
    ReferralStanding,
    RewardStatus,
)
from campaigns.referral_facts import NothingOpen
from crm import merges
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.errors import ShopError
from crm.models.loyalty import EntryKind, PointEntry
from crm.models.member import Member
from crm.models.order import Order
from tests.campaigns.conftest import Put
from tests.campaigns.referral_street import Street
from tests.factories import Make

STEPS = 22
FEN = (3_00, 50_00, 200_00)


class World:
    """Members who invite, buy, refund, prove to be one another; managers who pause, raise and decide."""

    def __init__(self, street: Street, chance: Random, people: list[Member], offer: str) -> None:
        self.street, self.chance, self.people, self.offer = street, chance, people, offer
        self.name = f"老带新{chance.random()}"
        self.budget_fen = chance.choice((20_00, 60_00, 300_00))
        self.orders: list[Order] = []

    async def begins(self) -> None:
        await self.street.opens(
            self.name,
            budget_fen=self.budget_fen,
            inviter={
                "each": self.chance.choice(
                    ({"points": 300}, {"cash_fen": 300}, {"coupon": self.offer, "worth_fen": 500})
                ),
                "steps": [{"at": 2, "points": 500}, {"at": 4, "coupon": self.offer}],
            },
            invitee={"welcome": {"points": 100}, "back": {"percent_bp": 1000, "most_fen": 900}},
            refund_window="3d",
            cap_from=self.chance.choice((1, 5)),
        )

    async def anything(self) -> None:
        deeds: list[Callable[[], Awaitable[object]]] = [
            self.invite, self.invite, self.invite, self.buy, self.buy, self.buy, self.refund, self.some_days,
            self.some_days, self.merge, self.decide, self.pause, self.raise_budget, self.pay_cash,
        ]  # fmt: skip
        await self.chance.choice(deeds)()

    async def invite(self) -> None:
        inviter = self.chance.choice(self.people)
        known = self.chance.random() < 0.3
        invitee = self.chance.choice(self.people) if known else await self.street.make.member()
        try:
            await self.street.invites(inviter, invitee)
        except (NothingOpen, ShopError):
            return
        self.people.append(invitee)

    async def buy(self) -> None:
        one = await self.street.make.order(self.chance.choice(self.people), total_fen=self.chance.choice(FEN))
        self.orders.append(one)
        await self.street.follows()

    async def refund(self) -> None:
        if self.orders:
            order = self.orders.pop(self.chance.randrange(len(self.orders)))
            await self.street.refunds(order, order.total_fen // self.chance.choice((1, 1, 2)))

    async def some_days(self) -> None:
        await self.street.days(self.chance.choice((1, 2, 4)))

    async def merge(self) -> None:
        one, other = self.chance.sample(self.people, 2)
        async with self.street.sessions.begin() as session:
            await merges.merge(session, one.id, other.id, because="phone_hash", now=self.street.clock.now())
        await self.street.follows()

    async def decide(self) -> None:
        async with self.street.sessions.read() as session:
            waiting = (
                await session.scalars(sa.select(ReferralReview.id).where(ReferralReview.verdict.is_(None)))
            ).all()
        if waiting:
            async with self.street.sessions.begin() as session:
                yes = self.chance.random() < 0.5
                now = self.street.clock.now()
                await referral_checks.decide(session, self.chance.choice(waiting), approves=yes, by="amy", now=now)
            await self.street.follows()

    async def pause(self) -> None:
        async with self.street.sessions.begin() as session:
            programme = await referral_programmes.get(session, self.name)
            if not await referral_programmes.resume(session, programme.id):
                await referral_programmes.pause(session, programme.id, because="等等", now=self.street.clock.now())

    async def raise_budget(self) -> None:
        self.budget_fen += 10_00
        async with self.street.sessions.begin() as session:
            programme = await referral_programmes.get(session, self.name)
            terms = referral_programmes.terms_of(programme).model_copy(update={"budget_fen": self.budget_fen})
            await referral_programmes.put(session, self.name, terms, now=self.street.clock.now())

    async def pay_cash(self) -> None:
        async with self.street.sessions.begin() as session:
            waits = sa.select(ReferralReward.id).where(ReferralReward.status == RewardStatus.TO_DO).limit(1)
            if (reward_id := await session.scalar(waits)) is not None:
                await referral_rewards.cash_paid(session, reward_id, by="amy", now=self.street.clock.now())

    async def check(self) -> None:
        async with self.street.sessions.read() as session:
            programme = await referral_programmes.get(session, self.name)
            mine = sa.select(ReferralReward).where(ReferralReward.programme_id == programme.id)
            rewards = list(await session.scalars(mine))
            invitations = {one.id: one for one in await session.scalars(sa.select(ReferralInvitation))}
            standings = list(
                await session.scalars(sa.select(ReferralStanding).where(ReferralStanding.programme_id == programme.id))
            )
            earned = {
                int(entry.cause_id): entry
                for entry in await session.scalars(
                    sa.select(PointEntry).where(
                        PointEntry.cause_kind == referral_rewards.CAUSE, PointEntry.kind == EntryKind.EARNED
                    )
                )
            }
            coupons = {one.because: one for one in await session.scalars(sa.select(Coupon))}
        assert programme.committed_fen == sum(one.cost_fen for one in rewards if one.status in RESERVED)
        assert programme.committed_fen <= programme.budget_fen
        for one in rewards:
            cause = invitations[one.invitation_id]
            if one.status is RewardStatus.PAID and not one.because.startswith("welcome:") and ":kept" not in one.why:
                assert cause.status is InviteStatus.COUNTED or one.because.startswith("step:"), (one.because, cause.why)
            if one.status is RewardStatus.PAID and one.points:
                assert earned[one.id].points == one.points
            if one.status is RewardStatus.PAID and one.offer_id:
                assert coupons[f"referral:{one.id}"].id == one.coupon_id
            if one.status is RewardStatus.PAID and one.cash_fen:
                assert one.settled_by == "amy"
        paid = {one.id for one in rewards if one.status in (RewardStatus.PAID, RewardStatus.TAKEN_BACK)}
        assert {number for number in earned if number in {one.id for one in rewards}} <= paid
        for standing in standings:
            counts = [one for one in invitations.values() if one.inviter_id == standing.member_id]
            counts = [one for one in counts if one.programme_id == programme.id]
            assert standing.counted == sum(one.status is InviteStatus.COUNTED for one in counts)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
async def test_the_budget_holds_and_every_reward_has_its_cause(
    sessions: Sessions, make: Make, put_offer: Put, seed: int
) -> None:
    chance, clock = Random(seed), FrozenClock()
    make.clock = clock
    async with sessions.begin() as session:
        await session.execute(sa.update(ReferralProgramme).values(status="closed"))
    offer = await put_offer(
        f"谢礼{seed}", per_member=None, amount_fen=500, threshold_fen=0, stock=chance.choice((1, 50)), ends_at=None,
        valid_days=30,
    )  # fmt: skip
    world = World(Street(sessions, clock, make), chance, [await make.member() for _ in range(3)], offer.key)
    await world.begins()
    for _ in range(STEPS):
        await world.anything()
        await world.check()
    await world.street.days(10)
    await world.check()
