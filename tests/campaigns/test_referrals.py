"""老带新: counted once and only for new people, pending until the refund window closes, taken back, held when odd."""

from contextlib import nullcontext
from datetime import timedelta
from itertools import pairwise

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import referral_checks, referral_links, referral_programmes, referral_rules
from campaigns.models.offer import Coupon, CouponStatus
from campaigns.models.referral import (
    CameBy,
    InviteStatus,
    ProgrammeStatus,
    ReferralLink,
    ReferralReward,
    RewardStatus,
    Side,
)
from campaigns.privacy import DECISIONS
from campaigns.referral_facts import LinkClosed, LinkNotFound, NothingOpen, ReviewNotOpen
from campaigns.referral_rules import ProgrammeWrong
from crm import addresses, contacts, identities, merges, orders, privacy
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.secrets import Vault
from crm.models.member import ContactEnd
from crm.order_terms import Told
from crm.privacy import Reason
from crm.privacy_tables import FACTS
from tests.campaigns.conftest import Put
from tests.campaigns.referral_street import TERMS, Street
from tests.factories import Make


@pytest.fixture
def street(sessions: Sessions, clock: FrozenClock, make: Make) -> Street:
    return Street(sessions, clock, make)


async def test_a_friend_who_buys_counts_when_the_refund_window_is_over(street: Street) -> None:
    await street.opens()
    amy = await street.make.member(name="阿美")
    friend, _ = await street.brings(amy)
    assert (await street.status(friend))[0] is InviteStatus.BOUGHT
    assert await street.points_of(friend) == 100  # for coming, at once
    assert await street.rewards(amy) == {f"each:{(await street.invitation(friend)).id}": RewardStatus.PENDING}
    await street.days(14)
    assert await street.points_of(amy) == 0
    await street.days(1)
    assert (await street.status(friend))[0] is InviteStatus.COUNTED
    assert await street.points_of(amy) == 500
    await street.days(1)
    assert await street.points_of(amy) == 500
    await street.books_agree()


async def test_a_refund_within_the_window_is_no_invitation_and_another_order_may_be(street: Street) -> None:
    await street.opens()
    amy = await street.make.member()
    friend, order = await street.brings(amy)
    await street.refunds(order)
    assert (await street.status(friend))[0] is InviteStatus.JOINED
    assert set((await street.rewards(amy)).values()) == {RewardStatus.VOID}
    assert (await street.programme()).committed_fen == 1_00  # the welcome
    await street.make.order(friend, total_fen=5000)
    await street.days(16)
    assert await street.points_of(amy) == 500
    await street.books_agree()


async def test_a_refund_after_it_counted_takes_everything_back(street: Street) -> None:
    await street.opens()
    amy = await street.make.member()
    brought = [await street.brings(amy) for _ in range(2)]
    await street.days(15)
    assert await street.points_of(amy) == 500 * 2 + 1000
    await street.refunds(brought[0][1])
    assert await street.status(brought[0][0]) == (InviteStatus.REVOKED, "refund")
    assert await street.points_of(amy) == 500  # the step went with it
    assert (await street.rewards(amy))["step:2"] is RewardStatus.TAKEN_BACK
    await street.brings(amy)
    await street.days(15)
    assert await street.points_of(amy) == 500 * 2 + 1000  # reached again, given again
    await street.books_agree()


async def test_the_ladder_is_climbed_once(street: Street) -> None:
    await street.opens()
    amy = await street.make.member()
    for _ in range(4):
        await street.brings(amy)
    await street.days(15)
    assert await street.points_of(amy) == 500 * 4 + 1000 + 1500
    assert (await street.programme()).committed_fen == 4 * 6_00 + 10_00 + 15_00
    await street.books_agree()


async def test_only_new_people_count_and_once(street: Street) -> None:
    await street.opens()
    amy, bob, old = [await street.make.member() for _ in range(3)]
    street.clock.advance(days=2)
    assert (await street.invites(amy, old)).why == "not_new"
    assert (await street.invites(amy, amy)).why == "own_link"
    friend = await street.make.member()
    await street.invites(amy, friend)
    assert (await street.invites(bob, friend)).why == "invited_before"
    again = await street.invites(amy, friend)
    assert again.status is InviteStatus.JOINED
    assert await street.points_of(friend) == 100


async def test_who_bought_before_is_not_new_even_if_that_is_told_late(street: Street) -> None:
    await street.opens()
    amy, friend = await street.make.member(), await street.make.member()
    await street.invites(amy, friend)
    await street.make.order(friend, total_fen=5000, days_ago=3)
    await street.follows()
    assert await street.status(friend) == (InviteStatus.FAILED, "not_new")
    assert await street.points_of(friend) == 0


async def test_a_shop_may_count_known_people_who_never_bought(street: Street) -> None:
    await street.opens(newcomer="bought")
    amy, known = await street.make.member(), await street.make.member()
    street.clock.advance(days=50)
    assert (await street.invites(amy, known)).status is InviteStatus.JOINED


async def test_links_that_are_unknown_closed_or_out_of_time(street: Street, sessions: Sessions) -> None:
    amy, friend = await street.make.member(), await street.make.member()
    with pytest.raises(NothingOpen):
        await street.invites(amy, friend)
    await street.opens(ends_at="2026-03-20 00:00:00")
    with pytest.raises(LinkNotFound):
        async with sessions.begin() as session:
            await referral_links.invite(
                session, "ABCDEFGH", friend.id, came_by=CameBy.CHAT, at=street.clock.now(), now=street.clock.now()
            )
    street.clock.advance(days=20)
    with pytest.raises(NothingOpen):
        await street.invites(amy, friend)
    async with sessions.begin() as session:
        link = await referral_links.link_of(session, amy.id, now=street.clock.now())
        link.closed_at = street.clock.now()
    with pytest.raises(LinkClosed):
        async with sessions.begin() as session:
            await referral_links.find_link(session, link.code)


async def test_somebody_in_two_programmes_counts_in_one(street: Street) -> None:
    first = await street.opens()
    second = await street.opens("春季老带新", starts_at="2026-03-05 00:00:00")
    amy, one, other = [await street.make.member() for _ in range(3)]
    assert (await street.invites(amy, one)).programme_id == second.id
    assert (await street.invites(amy, other, programme_id=first.id)).programme_id == first.id
    assert (await street.invites(amy, other, programme_id=second.id)).programme_id == first.id


async def test_who_came_by_a_members_code_and_leaves_soon_does_not_count(street: Street, sessions: Sessions) -> None:
    await street.opens()
    amy, staff = await street.make.member(), await street.make.staff()
    async with sessions.begin() as session:
        code = (await referral_links.link_of(session, amy.id, now=street.clock.now())).code
    contact = await street.make.contact(staff, external_userid="wm-new", state=referral_rules.state_of(code))
    await street.follows()
    async with sessions.read() as session:
        friend = await identities.find_by(session, identities.IdentityKind.EXTERNAL_USERID, "wm-new")
    assert friend is not None
    one = await street.invitation(friend)
    assert (one.came_by, one.inviter_id, one.invited_at) == (CameBy.CONTACT_WAY, amy.id, contact.added_at)
    await street.make.order(friend)
    await street.days(16)
    assert await street.points_of(amy) == 500
    async with sessions.begin() as session:
        await contacts.lost(
            session, userid=staff.userid, external_userid="wm-new", at=street.clock.now(), by=ContactEnd.CUSTOMER,
            now=street.clock.now(),
        )  # fmt: skip
    await street.follows()
    assert await street.status(friend) == (InviteStatus.REVOKED, "left")
    assert await street.points_of(amy) == 0
    await street.books_agree()


async def test_who_buys_nothing_in_time_lapses_and_an_order_told_late_still_counts(
    street: Street, sessions: Sessions
) -> None:
    await street.opens()
    amy, friend = await street.make.member(), await street.make.member()
    await street.invites(amy, friend)
    paid_at = street.clock.now() + timedelta(days=2)
    await street.days(31)
    assert await street.status(friend) == (InviteStatus.LAPSED, "lapsed")
    async with sessions.begin() as session:
        told = Told(
            source="t", external_no="L1", member_id=friend.id, placed_at=paid_at, total_fen=900, paid_at=paid_at
        )
        await orders.place(session, told, now=street.clock.now())
    await street.follows()
    await street.days(0)
    assert (await street.status(friend))[0] is InviteStatus.COUNTED


async def test_coupons_for_both_and_an_unused_one_goes_back(street: Street, sessions: Sessions, put_offer: Put) -> None:
    await put_offer("新人券", per_member=1, amount_fen=1000, threshold_fen=0)
    await put_offer("谢礼券", per_member=None, amount_fen=1000, threshold_fen=0, stock=1)
    gifts = {"inviter": {"each": {"coupon": "谢礼券"}}, "invitee": {"welcome": {"coupon": "新人券"}}}
    await street.opens(**gifts, refund_window="0d")
    amy = await street.make.member()
    friend, order = await street.brings(amy)
    await street.days(0)
    async with sessions.read() as session:
        held = {one.member_id: one.status for one in await session.scalars(sa.select(Coupon))}
    assert held == {amy.id: CouponStatus.ISSUED, friend.id: CouponStatus.ISSUED}
    second, _ = await street.brings(amy)  # the stock is given out
    await street.days(0)
    stuck = f"each:{(await street.invitation(second)).id}"
    assert (await street.rewards(amy))[stuck] is RewardStatus.STUCK
    await street.refunds(order)
    await street.days(2)  # what came back is given to the one that waited
    assert (await street.rewards(amy))[stuck] is RewardStatus.PAID
    await street.books_agree()


async def test_money_back_on_the_first_order_follows_what_is_kept(street: Street, sessions: Sessions) -> None:
    back = {"percent_bp": 1000, "most_fen": 1500, "paid_in": "cash"}
    await street.opens(invitee={"back": back})
    amy = await street.make.member()
    _, order = await street.brings(amy, fen=12_000)
    assert (await street.programme()).committed_fen == 5_00 + 12_00
    await street.refunds(order, 4000)
    await street.days(15)
    async with sessions.begin() as session:
        mine = sa.select(ReferralReward).where(ReferralReward.side == Side.INVITEE)
        (cash,) = await session.scalars(mine)
        assert (cash.status, cash.cash_fen, cash.cost_fen) == (RewardStatus.TO_DO, 800, 800)
    assert (await street.programme()).committed_fen == 5_00 + 8_00
    await street.books_agree()


async def test_beyond_the_budget_nothing_is_promised_and_nobody_else_is_invited(street: Street) -> None:
    await street.opens(budget_fen=13_00)
    amy = await street.make.member()
    for _ in range(2):
        await street.brings(amy)
    await street.days(15)
    assert await street.points_of(amy) == 1000
    with pytest.raises(NothingOpen):
        await street.invites(amy, await street.make.member())
    rewards = await street.rewards(amy)
    assert rewards["step:2"] is RewardStatus.UNFUNDED
    programme = await street.programme()
    assert (programme.status, programme.paused_because, programme.committed_fen) == (
        ProgrammeStatus.PAUSED, "budget", 12_00,
    )  # fmt: skip
    await street.opens(budget_fen=50_00)
    await street.days(0)
    assert await street.points_of(amy) == 2000
    assert (await street.programme()).status is ProgrammeStatus.RUNNING
    await street.books_agree()


async def test_a_programme_whose_members_cost_too_much_pauses_itself(street: Street) -> None:
    """Welcomed and never buying: each costs, nobody is acquired."""
    await street.opens(invitee={"welcome": {"points": 1500}}, acquisition_cost_fen=68_00, cap_from=1)  # 34 yuan
    amy = await street.make.member()
    for _ in range(3):
        friend = await street.make.member()
        await street.invites(amy, friend)
    programme = await street.programme()
    assert (programme.status, programme.paused_because) == (ProgrammeStatus.PAUSED, "cap")
    with pytest.raises(NothingOpen):
        await street.invites(amy, await street.make.member())
    await street.books_agree()


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"inviter": {}}, ""),
        ({"inviter": {"each": {"points": 5, "cash_fen": 5}}}, "inviter.each"),
        ({"inviter": {"steps": [{"at": 3, "points": 1}, {"at": 2, "points": 1}]}}, "inviter"),
        ({"inviter": {"each": {"coupon": "没有的"}}}, "inviter.each.coupon"),
        ({"acquisition_cost_fen": 100}, "acquisition_cost_fen"),
        ({"ends_at": "2026-02-01 00:00:00"}, ""),
        ({"misspelt": 1}, "misspelt"),
    ],
    ids=["nothing", "two things", "downhill", "no such offer", "dearer than the cap", "ends first", "misspelt"],
)
async def test_a_programme_that_cannot_be_meant_says_where(street: Street, more: dict[str, object], field: str) -> None:
    with pytest.raises(ProgrammeWrong) as wrong:
        await street.opens(**{**TERMS, **more})
    assert any(one["field"].startswith(field) for one in wrong.value.mistakes)


async def test_a_ring_of_six_waits_for_a_person(street: Street, sessions: Sessions) -> None:
    await street.opens(budget_fen=2_000_00)
    people = [await street.make.member() for _ in range(6)]
    for one, other in pairwise(people):
        await street.invites(one, other)
        await street.make.order(other)
    assert (await street.invites(people[5], people[0])).is_held
    found = await street.reviews()
    assert {one.kind for one in found} == {"ring"} and len(found) == 6
    assert set(found[0].evidence["members"]) == {one.id for one in people}
    await street.days(15)
    assert set((await street.rewards()).values()) == {RewardStatus.PENDING, RewardStatus.PAID}
    assert [await street.points_of(one) for one in people] == [
        0,
        *([188] * 5),
    ]  # their own orders, and the welcome of before
    async with sessions.begin() as session:
        for review in found[:2]:
            await referral_checks.decide(session, review.id, approves=True, by="amy", now=street.clock.now())
        for review in found[2:]:
            await referral_checks.decide(session, review.id, approves=False, by="amy", now=street.clock.now())
    await street.follows()
    assert [await street.points_of(one) >= 500 for one in people].count(True) == 2
    with pytest.raises(ReviewNotOpen):
        async with sessions.begin() as session:
            await referral_checks.decide(session, found[0].id, approves=True, by="bob", now=street.clock.now())
    await street.books_agree()


async def test_a_burst_is_held_from_where_it_is_one(street: Street) -> None:
    await street.opens(burst={"most": 3, "within": "1h"})
    amy = await street.make.member()
    friends = [await street.make.member() for _ in range(5)]
    for friend in friends:
        await street.invites(amy, friend)
        street.clock.advance(minutes=1)
    assert [(await street.invitation(friend)).is_held for friend in friends] == [False] * 3 + [True] * 2
    assert (await street.reviews())[0].evidence["invited"] == 4
    assert await street.points_of(friends[4]) == 0


@pytest.mark.parametrize("whose", ["inviter", "friend"])
async def test_who_shares_an_address_waits_for_a_person(street: Street, sessions: Sessions, whose: str) -> None:
    await street.opens()
    vault = Vault("c2l5dS10ZXN0LWtleS0zMi1ieXRlcy1sb25nLWtleSE=")
    amy = await street.make.member()
    friend, _ = await street.brings(amy)
    other, _ = await street.brings(amy)
    far, _ = await street.brings(amy)
    written = {
        (amy if whose == "inviter" else other).id: "上海市徐汇区天平路 12 弄 3 号 401 室",
        friend.id: "上海市徐汇区天平路１２弄3号401室，13800138000",
        far.id: "上海市徐汇区天平路 12 弄 3 号 402 室",
    }
    async with sessions.begin() as session:
        for member_id, address in written.items():
            assert addresses.normalized(address) is not None
            await addresses.keep(session, vault, member_id, address, now=street.clock.now())
    await street.days(15)
    assert (await street.invitation(friend)).is_held
    assert (await street.status(far))[0] is InviteStatus.COUNTED
    found = [one for one in await street.reviews() if one.invitation_id == (await street.invitation(friend)).id]
    assert [(one.kind, one.evidence["with"]) for one in found] == [("same_address", whose)]
    async with sessions.begin() as session:
        await referral_checks.decide(session, found[0].id, approves=True, by="amy", now=street.clock.now())
    await street.follows()
    assert (await street.status(friend))[0] is InviteStatus.COUNTED
    await street.books_agree()


async def test_a_merge_shows_that_somebody_invited_themselves(street: Street, sessions: Sessions) -> None:
    await street.opens()
    amy = await street.make.member()
    friend, _ = await street.brings(amy)
    await street.days(15)
    async with sessions.begin() as session:
        await merges.merge(session, amy.id, friend.id, because="phone_hash", now=street.clock.now())
    await street.follows()
    (review,) = await street.reviews()
    assert (review.kind, review.evidence["because"]) == ("same_person", "phone_hash")
    async with sessions.begin() as session:
        await referral_checks.decide(session, review.id, approves=False, by="bob", now=street.clock.now())
    await street.follows()
    assert await street.status(friend) == (InviteStatus.REVOKED, "same_person")
    assert await street.points_of(amy) == 99  # for the order itself
    await street.books_agree()


async def test_one_person_invited_as_two_counts_once(street: Street, sessions: Sessions) -> None:
    await street.opens()
    amy, bob = await street.make.member(), await street.make.member()
    one, _ = await street.brings(amy)
    other, _ = await street.brings(bob)
    await street.days(15)
    assert await street.points_of(bob) == 500
    async with sessions.begin() as session:
        await merges.merge(session, one.id, other.id, because="unionid", now=street.clock.now())
    await street.follows()
    assert await street.status(other) == (InviteStatus.REVOKED, "invited_before")
    assert (await street.points_of(amy), await street.points_of(bob)) == (500, 0)
    await street.books_agree()


async def test_two_inviters_who_are_one_person_climb_one_ladder(street: Street, sessions: Sessions) -> None:
    await street.opens()
    amy, also_amy = await street.make.member(), await street.make.member()
    await street.brings(amy)
    await street.brings(also_amy)
    await street.days(15)
    async with sessions.begin() as session:
        await merges.merge(session, amy.id, also_amy.id, because="unionid", now=street.clock.now())
    await street.follows()
    await street.brings(amy)
    await street.days(15)
    assert await street.points_of(amy) == 500 * 3 + 1000 + 1500
    await street.books_agree()


async def test_programmes_are_paused_resumed_and_closed(street: Street, sessions: Sessions) -> None:
    programme = await street.opens()
    now = street.clock.now()
    async with sessions.begin() as session:
        assert await referral_programmes.pause(session, programme.id, because="春节", now=now)
        assert not await referral_programmes.pause(session, programme.id, because="春节", now=now)
        assert await referral_programmes.resume(session, programme.id)
        assert not await referral_programmes.resume(session, programme.id)
        assert await referral_programmes.close(session, programme.id)
        assert not await referral_programmes.close(session, programme.id)
    assert (await street.programme()).status is ProgrammeStatus.CLOSED


async def test_a_merge_undone_gives_each_their_friends_again(street: Street, sessions: Sessions) -> None:
    await street.opens()
    amy, also = await street.make.member(), await street.make.member()
    mine, _ = await street.brings(amy)
    theirs, _ = await street.brings(also)
    await street.days(15)
    async with sessions.begin() as session:
        await merges.merge(session, amy.id, also.id, because="manual", now=street.clock.now())
    await street.follows()
    assert (await street.invitation(theirs)).inviter_id == amy.id
    async with sessions.begin() as session:
        await merges.undo(session, also.id, now=street.clock.now())
    await street.follows()
    assert [(await street.invitation(one)).inviter_id for one in (mine, theirs)] == [amy.id, also.id]
    assert (await street.points_of(amy), await street.points_of(also)) == (500, 500)
    await street.brings(also)  # the rung at two is reached by two of one's own
    await street.days(15)
    assert (await street.points_of(amy), await street.points_of(also)) == (500, 500 * 2 + 1000)
    await street.books_agree()


@pytest.mark.parametrize("who", ["inviter", "friend"])
async def test_of_an_erased_person_nothing_more_is_paid_to_them(street: Street, sessions: Sessions, who: str) -> None:
    await street.opens(invitee={"welcome": {"points": 100}, "first_order": {"points": 200}})
    amy = await street.make.member()
    friend, _ = await street.brings(amy)
    gone = amy if who == "inviter" else friend
    async with sessions.begin() as session:
        await privacy.erase(
            session, gone.id, [*FACTS, *DECISIONS], by="test", reason=Reason.ASKED, now=street.clock.now()
        )
    await street.days(15)
    rewards = await street.rewards()
    each, order = (
        next(status for because, status in rewards.items() if because.startswith(kind)) for kind in ("each", "order")
    )
    if who == "inviter":  # the friend bought, and gets what they were promised
        assert (each, order) == (RewardStatus.VOID, RewardStatus.PAID)
        assert await street.points_of(friend) == 300 + 99
    else:
        assert (each, order) == (RewardStatus.VOID, RewardStatus.VOID)
        assert await street.status(friend) == (InviteStatus.FAILED, "erased")
    await street.books_agree()
    async with sessions.read() as session:
        with pytest.raises(LinkClosed) if who == "inviter" else nullcontext():
            await referral_links.find_link(session, await _code_of(session, amy.id))


async def _code_of(session: AsyncSession, member_id: int) -> str:
    return (await session.scalars(sa.select(ReferralLink.code).where(ReferralLink.member_id == member_id))).one()
