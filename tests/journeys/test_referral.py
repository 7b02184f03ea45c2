"""老带新 over the simulator, its clock moved: a friend who scans, buys and refunds; codes typed; a ring of six."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa

from bot import privacy, texts
from bot.models.referral import InviterWay
from campaigns import referral_checks, referral_programmes, referral_rules
from campaigns.models.referral import InviteStatus, ReferralInvitation, ReferralReview
from crm import loyalty_rules, orders, points
from crm.models.order import Order
from crm.order_terms import Told
from crm.point_rules import PointRules
from tests.journeys.test_points import ask, member_of
from tests.journeys.test_sale_pages import at, field, follower, page, phone
from tests.town import SERVICER, Town, town

TERMS: dict[str, Any] = {
    "title": "邀请好友一起养猫",
    "starts_at": "2026-03-01 00:00:00",
    "staff": [SERVICER],
    "inviter": {"each": {"points": 500}, "steps": [{"at": 2, "points": 1000}]},
    "invitee": {"welcome": {"points": 100}},
    "budget_fen": 1_000_00,
    "acquisition_cost_fen": 60_00,
}


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(database_url, tmp_path, line_gap=timedelta(0)) as opened:
        opened.service.app.public_url = at(opened, "")
        now = opened.clock.now()
        async with opened.service.app.sessions.begin() as session:
            await loyalty_rules.set_points(session, PointRules(points_per_100_yuan=0), now=now)
            await referral_programmes.put(session, "老带新", referral_rules.read(TERMS), now=now)
        yield opened


async def buys(shop: Town, customer: str, number: str) -> Order:
    member, now = await member_of(shop, customer), shop.clock.now()
    told = Told(source="shop", external_no=number, member_id=member.id, placed_at=now, total_fen=9900, paid_at=now)
    async with shop.service.app.sessions.begin() as session:
        return await orders.place(session, told, now=now)


async def refunds(shop: Town, order: Order) -> None:
    async with shop.service.app.sessions.begin() as session:
        await orders.refund(
            session, "shop", f"R{order.external_no}", amount_fen=9900, refunded_at=shop.clock.now(),
            order_no=order.external_no, now=shop.clock.now(),
        )  # fmt: skip


async def points_of(shop: Town, customer: str) -> int:
    member = await member_of(shop, customer)
    async with shop.service.app.sessions.read() as session:
        return (await points.balance_of(session, member.id, now=shop.clock.now())).active


async def invitations(shop: Town) -> list[ReferralInvitation]:
    async with shop.service.app.sessions.read() as session:
        return list(await session.scalars(sa.select(ReferralInvitation).order_by(ReferralInvitation.id)))


async def until_invited(shop: Town, *statuses: InviteStatus) -> None:
    for _ in range(500):
        if [one.status for one in await invitations(shop)] == list(statuses):
            return
        shop.service.app.peers.tap("nightly")
        await shop.quiet(0.05)
    raise AssertionError([one.status for one in await invitations(shop)])


async def hears(shop: Town, customer: str, words: str, expected: str) -> str:
    """What answers these words; something that was on its way may come before it."""
    before = len(shop.heard(customer))
    shop.clock.advance(seconds=2)
    shop.says(customer, words)
    await shop.until(lambda: any(expected in said for said in shop.heard(customer)[before:]))
    return next(said for said in shop.heard(customer)[before:] if expected in said)


async def the_code(shop: Town, customer: str) -> str:
    """From the words; the poster comes after them."""
    said = await hears(shop, customer, "邀请好友", "邀请码 ")
    await shop.until(lambda: any(message["msgtype"] == "image" for message in shop.phone(customer)))
    return said.split("邀请码 ")[1][:8]


async def test_a_friend_scans_buys_counts_and_refunds(shop: Town) -> None:
    amy = shop.customer("阿美")
    assert "还没有朋友" in await ask(shop, amy, "我的邀请")
    said = await hears(shop, amy, "邀请海报", "邀请码 ")
    code = said.split("邀请码 ")[1][:8]
    assert at(shop, f"/h5/r/{code}") in said and "每邀请 1 位：500 积分" in said
    await shop.until(lambda: any(message["msgtype"] == "image" for message in shop.phone(amy)))
    ways = shop.simulator.world.contacts.ways
    await shop.until(lambda: len(ways) == 1)
    (way,) = ways.values()
    assert (way.state, way.users) == (f"yq{code}", [SERVICER])
    await hears(shop, amy, "邀请链接", "邀请码 ")
    assert len(ways) == 1
    async with aiohttp.ClientSession() as nobody:
        html = await page(nobody, at(shop, f"/h5/r/{code}"))
        for _ in range(100):
            if "阿* 邀请您" in html:  # WeCom is asked for her name after she wrote
                break
            await shop.quiet(0.1)
            html = await page(nobody, at(shop, f"/h5/r/{code}"))
        assert "阿* 邀请您" in html and "加入就送：100 积分" in html and f"/sim/qr/{way.config_id}" in html

    friend = shop.customer("陈晓")
    shop.simulator.world.contacts.scan(friend, way.config_id)
    await until_invited(shop, InviteStatus.JOINED)
    order = await buys(shop, friend, "A1")
    await until_invited(shop, InviteStatus.BOUGHT)
    shop.simulator.advance(timedelta(days=15, minutes=1).total_seconds())
    await until_invited(shop, InviteStatus.COUNTED)
    assert await points_of(shop, amy) == 500
    heard = await hears(shop, amy, "我的邀请", "已有 1 位算数")
    assert "陈*  已算数" in heard and "再邀请 1 位" in heard
    await hears(shop, amy, "邀请榜", "1. 阿*  1 位")
    await refunds(shop, order)
    await until_invited(shop, InviteStatus.REVOKED)
    await shop.until(lambda: any("首单退款" in said and "已经收回" in said for said in shop.heard(amy)))
    assert await points_of(shop, amy) == 0
    async with shop.service.app.sessions.read() as session:
        programme = await referral_programmes.get(session, "老带新")
    assert programme.committed_fen == 0  # the welcome went back as well


async def test_a_friend_types_the_code_or_comes_by_the_link_into_the_chat(shop: Town) -> None:
    amy, friend, other = shop.customer("阿美"), shop.customer("陈晓"), shop.customer("林立")
    code = await the_code(shop, amy)
    await hears(shop, amy, f"邀请码 {code}", texts.REFERRAL_REFUSED["own_link"])
    await hears(shop, friend, "邀请码 ZZZZ9999", texts.REFUSALS["referral.no_link"])
    await hears(shop, friend, f"我填邀请码：{code.lower()}", texts.REFERRAL_CAME)
    await shop.until(lambda: any("新人礼到了：100 积分" in said for said in shop.heard(friend)))
    await hears(shop, friend, f"邀请码{code}", texts.REFERRAL_CAME)
    shop.simulator.world.customer_enters(other, "wk0000000000000001", "referral", f"yq{code}.1")
    await until_invited(shop, InviteStatus.REFUSED, InviteStatus.JOINED, InviteStatus.JOINED)
    found = await invitations(shop)
    assert [one.came_by for one in found[1:]] == ["chat", "kf"]


async def test_on_the_page_only_a_new_friend_gets_the_welcome(shop: Town) -> None:
    amy = follower(shop, "阿美")
    code = await the_code(shop, amy)
    old = follower(shop, "老王")
    await ask(shop, old, "你好")
    shop.simulator.advance(timedelta(days=3).total_seconds())
    fresh = follower(shop, "陈晓")
    async with phone(shop, old) as http:
        html = await page(http, at(shop, f"/h5/r/{code}/accept"))
        async with http.post(at(shop, f"/h5/r/{code}/accept"), data={"token": field(html, "token")}) as answer:
            assert answer.status == 409 and "老朋友" in await answer.text()
    async with phone(shop, fresh) as http:
        html = await page(http, at(shop, f"/h5/r/{code}/accept"))
        async with http.post(at(shop, f"/h5/r/{code}/accept"), data={"token": field(html, "token")}) as answer:
            assert answer.status == 200 and "新人礼会自动到" in await answer.text()
        assert "还没有朋友" in await page(http, at(shop, "/h5/invite"))
    async with phone(shop, amy) as http:
        html = await page(http, at(shop, "/h5/invite"))
        assert "陈*" in html and "已加入，待首单" in html and at(shop, f"/h5/r/{code}") in html
        async with http.get(at(shop, "/h5/invite/poster.png")) as answer:
            assert answer.status == 200 and (await answer.read()).startswith(b"\x89PNG")
        assert "这是您自己的邀请页" in await page(http, at(shop, f"/h5/r/{code}"))
        async with http.get(at(shop, "/h5/r/ZZZZ9999")) as answer:
            assert answer.status == 404 and "没有找到这个邀请码" in await answer.text()


async def test_an_erased_members_link_and_way_are_gone(shop: Town) -> None:
    amy = shop.customer("阿美")
    code = await the_code(shop, amy)
    ways = shop.simulator.world.contacts.ways
    await shop.until(lambda: len(ways) == 1)
    member = await member_of(shop, amy)
    await privacy.erase(
        shop.service.app.sessions, member.id, by="test", reason=privacy.Reason.ASKED, now=shop.clock.now()
    )
    async with aiohttp.ClientSession() as nobody, nobody.get(at(shop, f"/h5/r/{code}")) as answer:
        assert answer.status == 409 and "已经失效" in await answer.text()
    async with shop.service.app.sessions.begin() as session:
        await session.execute(sa.update(InviterWay).values(try_at=shop.clock.now()))
    shop.service.app.peers.tap("inviter-ways")
    await shop.until(lambda: not ways)


async def test_a_ring_of_six_is_paid_nothing_until_somebody_has_looked(shop: Town) -> None:
    people = [shop.customer(f"猫友{number}") for number in range(6)]
    codes = [await the_code(shop, one) for one in people]
    for place, customer in enumerate(people):
        await hears(shop, customer, f"邀请码 {codes[place - 1]}", texts.REFERRAL_CAME)
    for place, customer in enumerate(people):
        await buys(shop, customer, f"B{place}")
    await until_invited(shop, *([InviteStatus.BOUGHT] * 6))
    shop.simulator.advance(timedelta(days=16).total_seconds())
    for _ in range(5):
        shop.service.app.peers.tap("nightly")
        await shop.quiet(0.2)
    found = await invitations(shop)
    assert all(one.is_held and one.status is InviteStatus.BOUGHT for one in found)
    assert [await points_of(shop, one) for one in people].count(0) >= 1
    async with shop.service.app.sessions.begin() as session:
        reviews = list(await session.scalars(sa.select(ReferralReview).order_by(ReferralReview.id)))
        assert len(reviews) == 6 and len(reviews[0].evidence["members"]) == 6
        for review in reviews:
            await referral_checks.decide(session, review.id, approves=False, by="amy", now=shop.clock.now())
    await until_invited(shop, *([InviteStatus.FAILED] * 6))
    assert [await points_of(shop, one) for one in people] == [0] * 6
