"""优惠与券 on the manager's screens: an offer in yuan, its mistakes beside their fields, a coupon for a segment."""

import sqlalchemy as sa

from bot.access import audit
from campaigns import coupon_grants, coupons
from campaigns.models.offer import Coupon, Offer
from crm import segments
from crm.sight import Role
from tests.bot.web.staffroom import Staffroom
from tests.factories import Make, make

__all__ = ["make"]

FORM = {
    "key": "满199减30", "title": "双十二券", "kind": "amount", "threshold_fen": "199", "amount_fen": "29.9",
    "starts_at": "2026-03-01T00:00", "valid_days": "7", "per_member": "1", "stock": "2", "budget_fen": "1000",
    "categories": "猫粮，猫砂", "claimable": "1",
}  # fmt: skip
EVERYBODY = {"is": "lifetime", "orders": {"least": 0}}


async def the_offer(make: Make) -> Offer:
    async with make.sessions.read() as session:
        return (await session.scalars(sa.select(Offer))).one()


async def test_an_empty_page_says_what_to_do_and_readers_only_read(staffroom: Staffroom) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    html = await manager.text("/console/coupons")
    assert "还没有优惠" in html and "写第一种" in html
    auditor = await staffroom.enter(Role.AUDITOR)
    assert "写第一种" not in await auditor.text("/console/coupons")
    assert (await auditor.get("/console/coupons/offer")).status == 403
    assert (await manager.get("/console/coupons/give?offer=nothing")).status == 404


async def test_an_offer_is_written_in_yuan_and_changed(staffroom: Staffroom, make: Make) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    assert (await manager.post("/console/coupons/offer", FORM)).status == 303
    offer = await the_offer(make)
    assert (offer.threshold_fen, offer.amount_fen, offer.budget_fen) == (19_900, 2_990, 100_000)
    assert offer.categories == ["猫粮", "猫砂"] and offer.claimable and not offer.stacks
    html = await manager.text("/console/coupons")
    assert "满 ¥199 减 ¥29.90，限 猫粮、猫砂" in html and "发放中" in html and "0 / 2" in html
    form = await manager.text("/console/coupons/offer?key=满199减30")
    assert 'value="29.9"' in form and 'value="猫粮，猫砂"' in form
    assert (await manager.post("/console/coupons/offer", FORM | {"stock": "", "title": "新名"})).status == 303
    assert ((offer := await the_offer(make)).stock, offer.title) == (None, "新名")
    assert (await manager.post("/console/coupons/close", {"key": offer.key})).status == 303
    assert "停发了" in await manager.text("/console/coupons")


async def test_mistakes_stand_beside_their_fields_and_nothing_is_lost(staffroom: Staffroom, make: Make) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    cases = {
        "减的比门槛还多": {"amount_fen": "300"}, "要写整数": {"amount_fen": "一些"}, "太小了": {"budget_fen": "-5"},
        "写几天有效，或者结束时间": {"valid_days": ""}, "要在开始之后": {"ends_at": "2026-02-01T00:00"},
        "不能有空格": {"key": "满 减"}, "选一个时间": {"starts_at": "明天"},
    }  # fmt: skip
    for words, wrong in cases.items():
        answer = await manager.post("/console/coupons/offer", FORM | wrong)
        html = await answer.text()
        assert answer.status == 422 and words in html and 'value="双十二券"' in html, (words, answer.status)
    percent = await manager.post("/console/coupons/offer", FORM | {"kind": "percent", "percent_bp": "8", "stock": ""})
    assert percent.status == 303 and (await the_offer(make)).percent_bp == 2_000


async def test_terms_of_what_was_issued_stay(staffroom: Staffroom, make: Make) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    await manager.post("/console/coupons/offer", FORM)
    offer, member = await the_offer(make), await make.member()
    async with make.sessions.begin() as session:
        await coupons.issue(session, offer.id, member.id, because="1", now=make.clock.now())
    answer = await manager.post("/console/coupons/offer", FORM | {"amount_fen": "20"})
    assert answer.status == 409 and "已经发出过券" in await answer.text()


async def test_a_coupon_for_a_segment_is_looked_at_first_and_given_once(staffroom: Staffroom, make: Make) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    await manager.post("/console/coupons/offer", FORM)
    assert "还没有存下来的人群" in await manager.text("/console/coupons/give?offer=满199减30")
    for _ in range(3):
        await make.member()
    async with make.sessions.begin() as session:
        await segments.save(session, "全部老客", EVERYBODY, now=make.clock.now())
    seen = await manager.text("/console/coupons/give?offer=满199减30&segment=全部老客")
    assert "现在选中 3 人，全店 3 人" in seen and "最多让利 ¥89.70" in seen
    assert "这是全部会员" in seen and "会有 1 人拿不到" in seen
    told = {"offer": "满199减30", "segment": "全部老客", "name": "三月老客"}
    for _ in range(2):  # a second tap
        assert (await manager.post("/console/coupons/give", told)).status == 303
    async with make.sessions.begin() as session:
        while await coupon_grants.advance(session, now=make.clock.now()):
            pass
        assert await session.scalar(sa.select(sa.func.count()).select_from(Coupon)) == 2
    html = await manager.text("/console/coupons?grants=1")
    assert "三月老客" in html and "发完了" in html and "没轮到 1 人" in html and "<html" not in html
    again = await manager.post("/console/coupons/grants", {"name": "三月老客", "verb": "stop"})
    assert again.status == 409 and "已经结束了" in await again.text()
    async with make.sessions.read() as session:
        said = [line.action for line in await audit.page(session)]
    assert said.count("coupons.granted") == 2 and "offer.saved" in said


async def test_a_grant_that_slept_asks_on_the_page(staffroom: Staffroom, make: Make) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    await manager.post("/console/coupons/offer", FORM)
    await make.member()
    async with make.sessions.begin() as session:
        key, now = "满199减30", make.clock.now()
        await coupon_grants.begin(session, "昨天的", key, EVERYBODY, by="amy", now=now)
        await coupon_grants.advance(session, now=now + coupon_grants.STALE_AFTER * 2)
    assert "还发不发" in await manager.text("/console/coupons")
    assert (await manager.post("/console/coupons/grants", {"name": "昨天的", "verb": "go_on"})).status == 303
    assert "发放中" in await manager.text("/console/coupons?grants=1")
    english = await staffroom.enter(Role.OWNER, language="en")
    html = await english.text("/console/coupons")
    assert "Offers and coupons" in html and "¥199 or more" in html
