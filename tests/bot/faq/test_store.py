from dataclasses import replace
from datetime import date

import pytest

from bot.faq import store
from bot.faq.articles import Article, Link, dump, load
from bot.faq.files import BadFile

FULL = Article(
    "vip",
    "黑卡运费怎么算？",
    ("黑卡包邮吗", "黑卡要邮费吗"),
    "{会员名}，黑卡会员全场包邮。\n=不是公式，“引号”,逗号和 {店名} 都在。",
    ("物流", "会员"),
    date(2026, 3, 1),
    date(2026, 3, 31),
    Link("https://example.com/a?b=1&c=2", "黑卡权益", "全年包邮", "card.png"),
    "https://example.com/fee.jpg",
    ("fee", "return"),
    "黑卡",
)
PLAIN = Article("007", "+运费怎么算", (), "-满 88 元包邮")


@pytest.mark.parametrize("name", ["faq.csv", "faq.jsonl", "faq.xlsx"])
def test_what_is_exported_is_imported_the_same(tmp_path, name):
    dump(tmp_path / name, [FULL, PLAIN], drafts=[replace(FULL, answer="草稿"), Article("new", "新的吗", (), "是")])
    loaded = load(tmp_path / name)
    assert loaded.refusals == ()
    assert loaded.articles == (FULL, PLAIN)
    assert loaded.drafts == (replace(FULL, answer="草稿"), Article("new", "新的吗", (), "是"))


def test_an_unknown_kind_of_file_is_refused(tmp_path):
    with pytest.raises(BadFile):
        dump(tmp_path / "faq.doc", [PLAIN])


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("answer", "您有 {余额} 元", "不认识的变量 {余额}"),
        ("answer", "您好 {}", "不认识的变量 {}"),
        ("link_url", "javascript:alert(1)", "https://"),
        ("link_title", "没有地址", "缺少地址"),
        ("image", "../../secret.png", "图片目录"),
        ("image", "/etc/passwd.png", "图片目录"),
        ("image", "notes.txt", "JPG"),
        ("status", "上架", "状态"),
        ("menu", "|".join("abcdefghi"), "最多 8 项"),
    ],
)
def test_a_row_that_cannot_be_meant_is_refused_with_its_reason(column, cell, reason):
    cells = {"question": "运费怎么算", "answer": "包邮", column: cell}
    (refusal,) = load(_jsonl(cells), "faq.jsonl").refusals
    assert reason in refusal.reason


async def test_saving_keeps_every_revision_and_saving_the_same_changes_nothing(sessions, clock):
    async with sessions.begin() as session:
        assert await store.save(session, FULL, by="小王", now=clock.now()) == 1
        assert await store.save(session, FULL, by="小李", now=clock.now()) == 1
        clock.advance(hours=1)
        assert await store.save(session, replace(FULL, answer="改了"), by="小李", now=clock.now(), note="涨价") == 2
    async with sessions.read() as session:
        steps = await store.history(session, "vip")
        assert [(step.revision, step.by, step.note) for step in steps] == [(1, "小王", ""), (2, "小李", "涨价")]
        assert (await store.drafts(session))["vip"].content.answer == "改了"
        assert await store.published(session) == {}


async def test_an_old_revision_is_restored_as_a_new_draft(sessions, clock):
    async with sessions.begin() as session:
        await store.save(session, FULL, by="小王", now=clock.now())
        await store.save(session, replace(FULL, answer="改坏了"), by="小李", now=clock.now())
        assert await store.restore(session, "vip", 1, by="小王", now=clock.now()) == 3
    async with sessions.read() as session:
        assert (await store.newest(session, ["vip"]))["vip"].content == FULL


async def test_of_two_editors_the_later_is_told(sessions, clock):
    async with sessions.begin() as session:
        opened = await store.save(session, PLAIN, by="小王", now=clock.now())
        await store.save(session, replace(PLAIN, answer="小李写的"), by="小李", now=clock.now(), based_on=opened)
    with pytest.raises(store.ArticleChanged) as refused:
        async with sessions.begin() as session:
            await store.save(session, replace(PLAIN, answer="小王写的"), by="小王", now=clock.now(), based_on=opened)
    assert refused.value.newest == 2


@pytest.mark.parametrize(("key", "revision"), [("vip", 9), ("nobody", 1)])
async def test_what_never_was_cannot_be_restored(sessions, clock, key, revision):
    async with sessions.begin() as session:
        await store.save(session, FULL, by="小王", now=clock.now())
    with pytest.raises(store.ArticleNotFound):
        async with sessions.begin() as session:
            await store.restore(session, key, revision, by="小王", now=clock.now())


def _jsonl(cells):
    import json

    return json.dumps(cells, ensure_ascii=False).encode()
