"""老带新 on the manager's screens: cost against the cap, the queue with its evidence, decided once and written down."""

import pytest
import sqlalchemy as sa

from bot.access import audit
from campaigns.models.referral import InviteStatus, RewardStatus
from crm.sight import Role
from tests.bot.web.staffroom import Staffroom
from tests.campaigns.referral_street import Street
from tests.factories import Make, make

__all__ = ["make"]


@pytest.fixture
def street(staffroom: Staffroom, make: Make) -> Street:
    return Street(make.sessions, make.clock, make)


async def test_empty_pages_say_what_to_do(staffroom: Staffroom) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    assert "siyu campaigns apply" in await manager.text("/console/referral")
    assert "没有要复核的邀请" in await manager.text("/console/referral/reviews")
    assert "没有要转账的" in await manager.text("/console/referral/cash")
    for path in ("/console/referral/7", "/console/referral/99999999999999999999"):
        assert (await manager.get(path)).status == 404
    agent = await staffroom.enter(Role.AGENT)
    assert (await agent.get("/console/referral")).status == 403


async def test_a_programme_with_what_it_brought_and_costs(staffroom: Staffroom, street: Street) -> None:
    programme = await street.opens()
    amy = await street.make.member(name="阿美")
    for _ in range(2):
        await street.brings(amy)
    await street.days(15)
    manager = await staffroom.enter(Role.MANAGER)
    html = await manager.text("/console/referral")
    assert "老带新" in html and "¥11" in html and "¥30" in html  # 22 yuan for two, and half of 60
    html = await manager.text(f"/console/referral/{programme.id}")
    assert "阿美" in html and "邀请人，满 2 位" in html and "1000 积分" in html
    auditor = await staffroom.enter(Role.AUDITOR)
    html = await auditor.text(f"/console/referral/{programme.id}")
    assert "阿美" not in html and "阿**" in html and 'value="pause"' not in html
    assert (await auditor.post(f"/console/referral/{programme.id}", {"do": "pause"})).status == 403
    english = await staffroom.enter(Role.OWNER, language="en")
    assert "Inviter, at 2 friends" in await english.text(f"/console/referral/{programme.id}")


async def test_every_reward_stands_beside_its_cause(staffroom: Staffroom, street: Street) -> None:
    programme = await street.opens()
    amy = await street.make.member(name="阿美")
    for _ in range(2):
        await street.brings(amy)
    await street.days(15)
    await street.invites(amy, amy)
    manager = await staffroom.enter(Role.MANAGER)
    path = f"/console/referral/{programme.id}/invitations"
    html = await manager.text(path)
    assert html.count('data-test="invitation"') == 3 and "自己的链接" in html and "订单 T" in html
    assert "阶梯：1000 积分" in html and html.count("邀请一位：500 积分") == 2 and html.count("已到账") == 5
    assert (await manager.text(f"{path}?status=refused")).count('data-test="invitation"') == 1
    assert "没有这样的邀请" in await manager.text(f"{path}?status=lapsed&before=7")
    auditor = await staffroom.enter(Role.AUDITOR)
    assert "阿美" not in await auditor.text(f"{path}?status=nonsense&before=x")


async def test_paused_resumed_and_closed_and_each_is_in_the_log(staffroom: Staffroom, street: Street) -> None:
    programme = await street.opens()
    manager = await staffroom.enter(Role.MANAGER)
    for what, status in (("pause", "paused"), ("resume", "running"), ("close", "closed")):
        answer = await manager.post(f"/console/referral/{programme.id}", {"do": what})
        assert answer.status == 303
        assert (await street.programme()).status == status
    assert (await manager.post(f"/console/referral/{programme.id}", {"do": "burn"})).status == 404
    async with street.sessions.read() as session:
        entries = await audit.page(session, action="referral", size=9)
    assert [one.action for one in entries] == ["referral.closed", "referral.resumed", "referral.paused"]


async def test_a_review_is_decided_once_with_its_evidence_in_sight(staffroom: Staffroom, street: Street) -> None:
    await street.opens(burst={"most": 1, "within": "1h"})
    amy = await street.make.member(name="阿美")
    for _ in range(3):
        await street.brings(amy)
    manager = await staffroom.enter(Role.MANAGER)
    html = await manager.text("/console/referral/reviews")
    assert "60 分钟内邀请了 2 人，界线是 1 人" in html and html.count('data-test="review"') == 2
    first, second = await street.reviews()
    answer = await manager.post(f"/console/referral/reviews/{first.id}", {"verdict": "approved", "note": "都是同事"})
    assert answer.status == 303
    assert (await manager.post(f"/console/referral/reviews/{second.id}", {"verdict": "refused"})).status == 303
    again = await manager.post(f"/console/referral/reviews/{second.id}", {"verdict": "approved"})
    assert again.status == 409 and "已经有人决定了" in await again.text()
    html = await manager.text("/console/referral/reviews")
    assert "都是同事" in html and 'data-test="review"' not in html
    await street.days(16)
    assert await street.points_of(amy) == 500 * 2 + 1000
    async with street.sessions.read() as session:
        entries = await audit.page(session, action="referral", size=9)
    assert [(one.action, one.facts["status"]) for one in entries] == [
        ("referral.refused", InviteStatus.FAILED), ("referral.approved", InviteStatus.BOUGHT),
    ]  # fmt: skip


async def test_cash_is_ticked_off_once(staffroom: Staffroom, street: Street) -> None:
    await street.opens(inviter={"each": {"cash_fen": 800}}, invitee={})
    amy = await street.make.member(name="阿美")
    await street.brings(amy)
    await street.days(15)
    manager = await staffroom.enter(Role.MANAGER)
    html = await manager.text("/console/referral/cash")
    assert "阿美" in html and "¥8" in html
    reward = int(html.split("/console/referral/cash/")[1].split('"')[0])
    assert (await manager.post(f"/console/referral/cash/{reward}")).status == 303
    assert (await manager.post(f"/console/referral/cash/{reward}")).status == 409
    assert set((await street.rewards(amy)).values()) == {RewardStatus.PAID}
    async with street.sessions.read() as session:
        assert await session.scalar(sa.text("SELECT settled_by FROM referral_rewards")) == "manager"
