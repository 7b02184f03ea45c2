"""Referral raced for: a rung reached by friends at once is given once, the budget holds; unguarded both break."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import sqlalchemy as sa

from campaigns import referral_checks, referral_links, referral_rewards, referrals
from campaigns.models.referral import (
    CameBy,
    InviteStatus,
    ReferralInvitation,
    ReferralProgramme,
    ReferralReview,
    ReferralReward,
    ReferralStanding,
    RewardStatus,
    Side,
)
from campaigns.referral_facts import ReviewNotOpen
from campaigns.referral_rewards import For
from campaigns.referral_rules import Gift
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.models.member import Member
from tests.campaigns.referral_street import Street
from tests.factories import Make

AT_ONCE = 5


async def race(run: Callable[[int], Awaitable[object]]) -> list[object]:
    return await asyncio.gather(*map(run, range(AT_ONCE)), return_exceptions=True)


@pytest.fixture
def street(sessions: Sessions, clock: FrozenClock, make: Make) -> Street:
    return Street(sessions, clock, make)


async def due(street: Street, amy: Member, count: int) -> list[int]:
    """So many invitations of hers whose refund window is over and that nobody has counted yet."""
    friends = [await street.brings(amy) for _ in range(count)]
    street.clock.advance(days=16)
    return [(await street.invitation(friend)).id for friend, _ in friends]


async def steps_given(sessions: Sessions) -> dict[str, int]:
    async with sessions.read() as session:
        rows = sa.select(ReferralReward.because, sa.func.count()).where(ReferralReward.because.like("step:%"))
        return {row[0]: row[1] for row in await session.execute(rows.group_by(ReferralReward.because))}


async def test_friends_who_finish_the_same_rungs_at_once_give_each_rung_once(
    street: Street, sessions: Sessions
) -> None:
    await street.opens(budget_fen=500_00)
    amy = await street.make.member()
    ids = await due(street, amy, AT_ONCE)

    async def count(number: int) -> bool:
        async with sessions.begin() as session:
            return await referrals.count(session, ids[number], now=street.clock.now())

    assert await race(count) == [True] * AT_ONCE
    await street.follows()
    assert await steps_given(sessions) == {"step:2": 1, "step:3": 1}
    async with sessions.read() as session:
        assert await session.scalar(sa.select(ReferralStanding.counted)) == AT_ONCE
    assert await street.points_of(amy) == 500 * AT_ONCE + 1000 + 1500
    await street.books_agree()


async def test_one_invitation_counted_five_times_at_once_counts_once(street: Street, sessions: Sessions) -> None:
    await street.opens()
    amy = await street.make.member()
    (only,) = await due(street, amy, 1)

    async def count(number: int) -> bool:
        async with sessions.begin() as session:
            return await referrals.count(session, only, now=street.clock.now())

    assert sorted(map(bool, await race(count))) == [False] * 4 + [True]
    assert await street.points_of(amy) == 500


async def test_a_rung_is_missed_when_friends_are_counted_by_looking(street: Street, sessions: Sessions) -> None:
    """The losing twin: look how many count, wait until the others have looked as well, then count one's own."""
    await street.opens(budget_fen=500_00)
    amy = await street.make.member()
    ids = await due(street, amy, AT_ONCE)
    looked, reached = asyncio.Barrier(AT_ONCE), list[int]()

    async def finish(number: int) -> None:
        async with sessions.read() as session:
            done = sa.select(sa.func.count()).where(ReferralInvitation.status == InviteStatus.COUNTED)
            counted = await session.scalar(done) or 0
        await looked.wait()
        async with sessions.begin() as session:
            mine = sa.update(ReferralInvitation).where(ReferralInvitation.id == ids[number])
            await session.execute(mine.values(status=InviteStatus.COUNTED))
        reached.append(counted + 1)

    await race(finish)
    assert reached == [1] * AT_ONCE, "five count, and nobody saw the rungs at two and three"


async def test_more_is_promised_than_there_is_when_the_budget_is_looked_at(street: Street, sessions: Sessions) -> None:
    """The losing twin: look whether there is room, wait until the others have looked as well, then promise."""
    await street.opens(budget_fen=25_00)
    looked, promised = asyncio.Barrier(AT_ONCE), list[int]()

    async def promise(number: int) -> None:
        async with sessions.read() as session:
            seen = (await session.scalars(sa.select(ReferralProgramme))).one()
        await looked.wait()
        if seen.committed_fen + 10_00 <= seen.budget_fen:
            async with sessions.begin() as session:
                await session.execute(sa.update(ReferralProgramme).values(committed_fen=seen.committed_fen + 10_00))
            promised.append(10_00)

    await race(promise)
    assert sum(promised) > 25_00 >= (await street.programme()).committed_fen, "and the counter does not even show it"


async def test_rewards_race_for_the_last_of_the_budget(street: Street, sessions: Sessions) -> None:
    programme = await street.opens(budget_fen=25_00)
    amy, friend = await street.make.member(), await street.make.member()
    one = await street.invites(amy, friend)  # 1 yuan of welcome is spoken for

    async def promise(number: int) -> RewardStatus:
        async with sessions.begin() as session:
            fresh = await session.get_one(ReferralProgramme, programme.id)
            whom = For(amy.id, Side.INVITER, f"each:9{number}")
            made = await referral_rewards.promise(session, fresh, one, whom, Gift(points=1000), now=street.clock.now())
            return made.status

    ended = await race(promise)
    assert sorted(map(str, ended)) == ["pending"] * 2 + ["unfunded"] * 3
    assert (await street.programme()).committed_fen == 21_00
    await street.books_agree()


async def test_two_links_race_for_one_friend(street: Street, sessions: Sessions) -> None:
    await street.opens()
    inviters = [await street.make.member() for _ in range(AT_ONCE)]
    friend = await street.make.member()
    codes = []
    for one in inviters:
        async with sessions.begin() as session:
            codes.append((await referral_links.link_of(session, one.id, now=street.clock.now())).code)

    async def come(number: int) -> InviteStatus:
        async with sessions.begin() as session:
            now = street.clock.now()
            made = await referral_links.invite(session, codes[number], friend.id, came_by=CameBy.CHAT, at=now, now=now)
            return made.status

    ended = await race(come)
    assert [str(end) for end in ended].count("joined") == 1
    await street.follows()
    assert await street.points_of(friend) == 100


async def test_two_colleagues_decide_at_once_and_one_is_told_so(street: Street, sessions: Sessions) -> None:
    await street.opens(burst={"most": 1, "within": "1h"})
    amy = await street.make.member()
    for _ in range(2):
        await street.brings(amy)
    (review,) = await street.reviews()

    async def decide(number: int) -> None:
        async with sessions.begin() as session:
            await referral_checks.decide(
                session, review.id, approves=bool(number % 2), by=f"staff{number}", now=street.clock.now()
            )

    ended = await race(decide)
    assert sum(isinstance(end, ReviewNotOpen) for end in ended) == AT_ONCE - 1, ended
    async with sessions.read() as session:
        assert (await session.scalars(sa.select(ReferralReview.verdict))).all() != [None]
    await street.days(16)
    await street.books_agree()
