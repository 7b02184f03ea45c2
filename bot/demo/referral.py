"""The demo's 老带新: under way for weeks, with friends who count, who wait, and three who invited one another."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from bot.simulator.simulator import Simulator
from campaigns import referral_links, referral_programmes, referral_rules
from campaigns.models.referral import CameBy
from crm import identities, orders
from crm.base.db import Sessions
from crm.members import Profile
from crm.models.member import MemberSource
from crm.order_terms import Told

NAME = "老带新"
TERMS = {
    "title": "邀请好友一起养猫",
    "starts_at": "2026-01-01 00:00:00",
    "staff": ["yuanyuan"],
    "inviter": {"each": {"points": 300}, "steps": [{"at": 3, "points": 600}, {"at": 5, "points": 1200}]},
    "invitee": {"welcome": {"points": 100}, "back": {"percent_bp": 500, "most_fen": 1000}},
    "budget_fen": 5_000_00,
    "acquisition_cost_fen": 60_00,
}
# who is invited, by which of the shop's members, days ago, days ago of the first order
FRIENDS = (
    ("豆豆妈", 0, 40, 38), ("汤圆的家长", 0, 33, 30), ("芝麻糊", 0, 25, 24), ("奶茶", 0, 6, 4), ("布丁", 0, 1, None),
    ("小鱼干", 1, 35, 31), ("馒头", 1, 12, 10), ("花卷", 2, 28, 26),
)  # fmt: skip
RING = ("猫友甲", "猫友乙", "猫友丙")
FEN = 12_900


async def begin(simulator: Simulator, sessions: Sessions, members: Sequence[int], *, now: datetime) -> None:
    """What happened before the shop opens today; the rest follows from it."""
    async with sessions.begin() as session:
        terms = referral_rules.read({**TERMS, "starts_at": (now - timedelta(days=60)).isoformat()})
        await referral_programmes.put(session, NAME, terms, now=now)
        for number, (name, inviter, came, bought) in enumerate(FRIENDS):
            friend = await _newcomer(simulator, session, name, now=now)
            await _invite(session, members[inviter], friend, at=now - timedelta(days=came), now=now)
            if bought is not None:
                paid_at = now - timedelta(days=bought)
                told = Told(
                    source="demo", external_no=f"REF{number:03d}", member_id=friend, placed_at=paid_at, total_fen=FEN,
                    paid_at=paid_at,
                )  # fmt: skip
                await orders.place(session, told, now=now)
        ring = [await _newcomer(simulator, session, name, now=now) for name in RING]
        for inviter_id, friend in zip(ring, [*ring[1:], ring[0]], strict=True):
            await _invite(session, inviter_id, friend, at=now, now=now)


async def _newcomer(simulator: Simulator, session: AsyncSession, name: str, *, now: datetime) -> int:
    customer = simulator.world.add_customer(name).external_userid
    simulator.world.add_contact("yuanyuan", customer)
    person = identities.wechat_person(customer, profile=Profile(name=name))
    return (await identities.enrol(session, person, source=MemberSource.CONTACT, now=now)).id


async def _invite(session: AsyncSession, inviter_id: int, friend_id: int, *, at: datetime, now: datetime) -> None:
    link = await referral_links.link_of(session, inviter_id, now=now)
    await referral_links.invite(session, link.code, friend_id, came_by=CameBy.CONTACT_WAY, at=at, now=now)
