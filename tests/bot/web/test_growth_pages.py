"""Tasks, suggestions and surveys on the manager's screens: what they say, and reviews decided once with a reason."""

from bot.access import audit
from campaigns import item_counts, surveys
from campaigns.models.review import ReviewStatus
from campaigns.tasks import reviews, store
from crm.sight import Role
from tests.bot.web.staffroom import Staffroom
from tests.campaigns import test_follow_ups as visited
from tests.campaigns import test_reviews as bought
from tests.campaigns import test_suggestions as sold
from tests.campaigns import test_surveys as asked
from tests.campaigns import test_tasks as done
from tests.factories import Make, make

__all__ = ["make"]


async def test_empty_pages_say_what_to_do(staffroom: Staffroom) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    assert "siyu campaigns apply" in await manager.text("/console/tasks")
    assert "没有要审的晒单" in await manager.text("/console/tasks/reviews")
    assert "今晚就会数" in await manager.text("/console/suggestions")
    assert "survey: nps" in await manager.text("/console/surveys")
    for path in (
        "/console/tasks/7",
        "/console/surveys/7",
        "/console/tasks/99999999999999999",
        "/console/tasks/pictures/3",
    ):
        assert (await manager.get(f"/console/{path}")).status == 404
    agent = await staffroom.enter(Role.AGENT)
    assert (await agent.get("/console/tasks")).status == 403


async def test_a_vote_as_it_stands_and_ended_by_hand(staffroom: Staffroom, make: Make) -> None:
    await done.put(make.sessions, make.clock, "测", **done.VOTE)
    await done.answer(make.sessions, make.clock, await make.member(), [2])
    manager = await staffroom.enter(Role.MANAGER)
    assert "新口味" in await manager.text("/console/tasks")
    html = await manager.text("/console/tasks/1")
    assert "下一款出什么口味" in html and "1 票，100%" in html
    piece = await manager.text("/console/tasks/1?tally=1")
    assert "鸭肉" in piece and "<html" not in piece
    assert (await manager.post("/console/tasks/1/close")).status == 303
    assert "已结束" in await manager.text("/console/tasks/1")
    await done.put(make.sessions, make.clock, "答", **{**done.QUIZ, "reward": None, "budget_points": None})
    english = await staffroom.enter(Role.OWNER, language="en")
    html = await english.text("/console/tasks/2")
    assert "Quiz" in html and "不能 ✓" in html


async def test_a_review_is_looked_at_and_decided_once(staffroom: Staffroom, make: Make) -> None:
    sessions, clock = make.sessions, make.clock
    await bought.put(sessions, clock)
    member = await make.member(name="陈晓")
    order = await bought.buys(sessions, clock, member)
    for sku in ("F1", "T1"):
        await bought.send(sessions, clock, member, order, sku, words="猫很喜欢")
    manager, auditor = await staffroom.enter(Role.MANAGER), await staffroom.enter(Role.AUDITOR)
    html = await manager.text("/console/tasks/reviews")
    assert "猫粮 2kg" in html and "猫很喜欢" in html and "/console/tasks/pictures/1" in html
    shot = await manager.get("/console/tasks/pictures/1")
    assert (shot.status, await shot.read()) == (200, bought.PNG.content)
    hidden = await auditor.text("/console/tasks/reviews")
    assert "猫很喜欢" not in hidden and "陈晓" not in hidden and "/pictures/" not in hidden
    assert (await auditor.get("/console/tasks/pictures/1")).status == 403
    assert (await auditor.post("/console/tasks/reviews/1", {"verdict": "approve"})).status == 403
    assert (await manager.post("/console/tasks/reviews/1", {"verdict": "approve"})).status == 303
    assert (await manager.post("/console/tasks/reviews/1", {"verdict": "approve"})).status == 409
    assert (await manager.post("/console/tasks/reviews/2", {"verdict": "refuse"})).status == 422
    refuses = {"verdict": "refuse", "common": "照片看不清", "reason": ""}
    assert (await manager.post("/console/tasks/reviews/2", refuses)).status == 303
    html = await manager.text("/console/tasks/reviews")
    assert "没有要审的晒单" in html and "照片看不清" in html
    async with sessions.read() as session:
        (approved,) = await reviews.listed(session, ReviewStatus.APPROVED)
        assert approved.by == Role.MANAGER.value
        assert (await store.get(session, "晒")).spent_points == 30
        entries = await audit.page(session, action="review", size=9)
    assert {one.action for one in entries} == {"review.approved", "review.refused"}


async def test_what_goes_with_an_article_and_what_a_survey_found(staffroom: Staffroom, make: Make) -> None:
    sessions, clock = make.sessions, make.clock
    for _ in range(2):
        await sold.buys(sessions, clock, await make.member(), "FL")
    await item_counts.recount(sessions, now=clock.now())
    manager = await staffroom.enter(Role.MANAGER)
    assert "猫粮" in await manager.text("/console/suggestions?q=猫")
    html = await manager.text("/console/suggestions?sku=F")
    assert "常和「猫粮」一起买" in html and "100.0%" in html
    assert "没有这样的商品" in await manager.text("/console/suggestions?q=没有")
    survey = await asked.put(sessions, clock)
    assert "还没有人回答" in await manager.text(f"/console/surveys/{survey.id}")
    for score in (10, 9, 3):
        answer = await asked.answer(sessions, clock, survey, await make.member(), score)
    async with sessions.begin() as session:
        await surveys.add_comment(session, answer.id, answer.member_id, "太慢")
    html = await manager.text(f"/console/surveys/{survey.id}")
    assert "+33" in html and "太慢" in html and "会员自己来的" in html
    assert "+33" in await manager.text("/console/surveys")
    auditor = await staffroom.enter(Role.AUDITOR)
    assert "太慢" not in await auditor.text(f"/console/surveys/{survey.id}")
    assert (await manager.post(f"/console/surveys/{survey.id}/close")).status == 303


async def test_a_visit_is_written_down_and_counted(staffroom: Staffroom, make: Make) -> None:
    manager, agent = await staffroom.enter(Role.MANAGER), await staffroom.enter(Role.AGENT)
    assert "follow_up: visits" in await agent.text("/console/follow-ups")
    await make.contact(await make.staff("amy", name="阿美"))
    await visited.put(make.sessions, make.clock)
    assert await visited.hand_out(make.sessions, make.clock) == 1
    html = await agent.text("/console/follow-ups")
    assert "问问最近用得怎么样" in html and "阿美" in html
    assert (await agent.post("/console/follow-ups/1", {"result": "odd"})).status == 404
    assert (await agent.post("/console/follow-ups/1", {"result": "needs", "note": "要发票"})).status == 303
    assert (await manager.post("/console/follow-ups/1", {"result": "fine"})).status == 409
    assert "没有要回访的客户" in await manager.text("/console/follow-ups")
