"""The knowledge base in the browser: written, published when nothing suffers, withdrawn, learned from misses, tried."""

import sqlalchemy as sa

from bot.app import Faq
from bot.faq import publish, store
from bot.models.faq import FaqCluster, FaqQuestion
from crm.sight import Role
from tests.bot.web.staffroom import Staffroom

FREE = {"question": "满多少包邮", "similar": "包邮吗\n运费怎么算", "answer": "满 88 元包邮。"}


async def live(room: Staffroom) -> dict[str, str]:
    async with room.house.app.sessions.read() as session:
        return {key: one.content.answer for key, one in (await store.published(session)).items()}


async def reload(room: Staffroom) -> None:
    """As the loop does when it is tapped."""
    async with room.house.app.sessions.read() as session:
        version, articles = await publish.load(session)
    room.house.app.faq = Faq(articles, version)


async def test_an_article_is_written_published_tried_and_withdrawn(staffroom: Staffroom) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    assert "没有文章" in await manager.text("/console/knowledge")
    saved = await manager.post("/console/knowledge", {**FREE, "key": "free"})
    assert saved.headers["Location"] == "/console/knowledge/articles/free" and await live(staffroom) == {}
    published = await manager.post("/console/knowledge/articles/free/publish")
    assert "已发布" in await published.text() and await live(staffroom) == {"free": "满 88 元包邮。"}
    await reload(staffroom)
    tried = await (await manager.get("/console/knowledge/try", params={"question": "運費怎麼算"})).text()
    assert "直接回答" in tried and "满 88 元包邮。" in tried
    gone = await manager.post("/console/knowledge/articles/free/withdraw")
    assert gone.status == 303 and await live(staffroom) == {}
    assert "撤下" in await manager.text("/console/knowledge/articles/free")


async def test_a_bad_article_says_why_and_loses_nothing(staffroom: Staffroom) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    for field, value, why in (
        ("answer", "你好 {生肖}", "不认识的变量"),
        ("valid_from", "2026-02-30", "不是日期"),
        ("link_title", "看看", "链接缺少地址"),
        ("question", "？", "没有文字"),
    ):
        answer = await manager.post("/console/knowledge", {**FREE, "key": "free", field: value})
        page = await answer.text()
        assert answer.status == 422 and why in page and "运费怎么算" in page, field


async def test_two_editors_do_not_overwrite_each_other(staffroom: Staffroom) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    await manager.post("/console/knowledge", {**FREE, "key": "free"})
    await manager.post("/console/knowledge", {**FREE, "key": "free", "answer": "满 99 元包邮。", "based_on": "1"})
    late = await manager.post("/console/knowledge", {**FREE, "key": "free", "answer": "满 66 元。", "based_on": "1"})
    assert late.status == 409 and "有人刚改过" in await late.text() and "满 66 元。" in await late.text()


async def test_what_makes_an_old_question_worse_goes_live_only_with_a_reason(staffroom: Staffroom) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    await manager.post("/console/knowledge", {**FREE, "key": "free", "publish": "1"})
    await manager.post("/console/knowledge/regression", {"key": "free", "questions": "运费怎么算\n包邮吗"})
    await manager.post("/console/knowledge", {**FREE, "key": "free", "answer": "满 88 元包邮哦。", "publish": "1"})
    worse = {"question": "退货要多久", "similar": "几天能退", "answer": "七天。", "key": "free"}
    refused = await manager.post("/console/knowledge", {**worse, "publish": "1"})
    page = await refused.text()
    assert refused.status == 409 and "发布会让这些问题变差" in page and "包邮吗" in page
    assert await live(staffroom) == {"free": "满 88 元包邮哦。"}
    checked = await manager.text("/console/knowledge/regression?check=drafts")
    assert "变差 2 个" in checked
    done = await manager.post("/console/knowledge/articles/free/publish", {"despite": "改成退货的文章"})
    assert "已发布" in await done.text() and await live(staffroom) == {"free": "七天。"}
    assert "改成退货的文章" in await manager.text("/console/knowledge/articles/free")


async def test_misses_become_an_article_or_are_put_aside(staffroom: Staffroom) -> None:
    now = staffroom.house.app.clock.now()
    async with staffroom.house.app.sessions.begin() as session:
        for number, label in enumerate(("能开发票吗", "你们老板是谁"), start=1):
            session.add(FaqCluster(id=number, label=label, created_at=now))
            await session.flush()
            for place in range(3):
                session.add(
                    FaqQuestion(
                        asker=f"wm{place}",
                        archived_msgid=f"{number}-{place}",
                        text=label,
                        decision="miss",
                        hits=[],
                        unanswered=True,
                        cluster_id=number,
                        asked_at=now,
                    )
                )
    manager = await staffroom.enter(Role.MANAGER)
    page = await manager.text("/console/knowledge/misses")
    assert "能开发票吗" in page and "3 次" in page
    assert "客户是这样问的" in await manager.text("/console/knowledge/misses/1")
    fields = {
        "question": "能开发票吗",
        "similar": "开发票",
        "answer": "支持电子发票。",
        "key": "invoice",
        "publish": "1",
    }
    assert "已发布" in await (await manager.post("/console/knowledge/misses/1", fields)).text()
    assert (await manager.post("/console/knowledge/misses/2/dismiss")).status == 303
    assert "没有该写的" in await manager.text("/console/knowledge/misses")
    async with staffroom.house.app.sessions.read() as session:
        assert set(await session.scalars(sa.select(FaqCluster.status))) == {"written", "dismissed"}


async def test_agents_read_and_do_not_write(staffroom: Staffroom) -> None:
    manager, agent = await staffroom.enter(Role.MANAGER), await staffroom.enter(Role.AGENT)
    await manager.post("/console/knowledge", {**FREE, "key": "free", "publish": "1"})
    assert "保存并发布" not in await agent.text("/console/knowledge/articles/free")
    assert (await agent.get("/console/knowledge/new")).status == 403
