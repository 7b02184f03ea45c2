import asyncio
import random
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from bot.app import App
from bot.faq import publish, regression, store
from bot.faq.articles import Article
from bot.faq.live import Live
from crm.base.db import open_sessions
from crm.base.peers import Peers

SHIP = Article("ship", "多久发货", ("什么时候发货",), "48 小时内发出。")


@asynccontextmanager
async def process(url, clock, *, seed=7, file=None, look_every=2.0):
    """What a process has of the knowledge base, with its loop running."""
    sessions = open_sessions(url)
    peers = Peers(sessions, chance=random.Random(seed))
    await peers.join()
    app = App(clock, random.Random(seed), sessions, peers)
    live = Live(app, look_every=look_every)
    await live.open(file)
    loop = asyncio.create_task(live.run())
    try:
        yield app
    finally:
        loop.cancel()
        with suppress(asyncio.CancelledError):
            await loop
        await peers.leave()
        await sessions.close()


async def until(condition, seconds=10.0):
    for _ in range(int(seconds * 100)):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"not within {seconds} s")


async def put(app, article, clock):
    async with app.sessions.begin() as session:
        await store.save(session, article, by="小王", now=clock.now())
    done = await publish.publish(app.sessions, [article.id], by="小王", now=clock.now())
    app.peers.tap("faq")
    return done


async def test_a_publication_is_in_the_index_without_a_restart(database_url, clock):
    async with process(database_url, clock) as app:
        assert app.faq.articles == {}
        await put(app, SHIP, clock)
        await until(lambda: "ship" in app.faq.articles)
        assert app.faq.matcher.match("多久发货").kind == "answer"


async def test_it_reaches_every_process_of_a_shared_database_at_once(database_url, clock):
    if database_url.startswith("sqlite"):
        return  # one process, by a lock on the file
    patient = {"look_every": 600.0}  # so that only a tap can tell them
    async with process(database_url, clock, **patient) as one, process(database_url, clock, seed=8, **patient) as other:
        await put(one, SHIP, clock)
        await until(lambda: "ship" in other.faq.articles)
        done = await put(other, replace(SHIP, answer="24 小时内发出。"), clock)
        await until(lambda: one.faq.version == done.version)
        assert one.faq.articles["ship"].answer == "24 小时内发出。"


async def test_a_question_under_way_keeps_the_index_it_began_with(database_url, clock):
    async with process(database_url, clock) as app:
        await put(app, SHIP, clock)
        await until(lambda: app.faq.articles)
        begun = app.faq
        await publish.withdraw(app.sessions, ["ship"], by="小王", now=clock.now())
        app.peers.tap("faq")
        await until(lambda: not app.faq.articles)
        assert begun.articles[begun.matcher.match("多久发货").hits[0].article_id] == SHIP


async def test_the_operators_file_is_taken_in_once_and_staff_may_edit_after(database_url, clock, tmp_path):
    file = tmp_path / "faq.csv"
    file.write_text("id,question,answer\nship,多久发货,48 小时\nfree,满多少包邮,88 元\n", encoding="utf-8")
    async with process(database_url, clock, file=file) as app:
        assert list(app.faq.articles) == ["ship", "free"]
        await put(app, SHIP, clock)
    async with process(database_url, clock, file=file) as app:
        assert app.faq.articles["ship"] == SHIP
    file.write_text("id,question,answer\nship,多久发货,72 小时\n", encoding="utf-8")
    async with process(database_url, clock, file=file) as app:
        assert {key: one.answer for key, one in app.faq.articles.items()} == {"ship": "72 小时", "free": "88 元"}
        async with app.sessions.read() as session:
            steps = [(one.what, one.by) for one in await store.history(session, "ship")]
    assert steps.count(("saved", "file")) == 2 and ("saved", "小王") in steps


async def test_two_processes_take_the_same_file_in_at_the_same_time(database_url, clock, tmp_path):
    if database_url.startswith("sqlite"):
        return
    file = tmp_path / "faq.csv"
    file.write_text("id,question,answer\nship,多久发货,48 小时\n", encoding="utf-8")

    async def start(seed):
        async with process(database_url, clock, seed=seed, file=file) as app:
            return app.faq.version

    assert await asyncio.gather(*(start(seed) for seed in range(1, 5))) == [1, 1, 1, 1]


async def test_what_the_file_made_worse_is_told_and_becomes_the_level_to_hold(database_url, clock, tmp_path, caplog):
    file = tmp_path / "faq.csv"
    file.write_text("id,question,similar,answer\nfree,满多少包邮,运费怎么算,88 元\n", encoding="utf-8")
    async with process(database_url, clock, file=file) as app:
        async with app.sessions.begin() as session:
            await regression.add(session, ["运费怎么算"], key="free", by="小王", now=clock.now())
        await put(app, SHIP, clock)
    file.write_text("id,question,similar,answer\nfree,满多少包邮,,88 元\n", encoding="utf-8")
    async with process(database_url, clock, file=file) as app:
        assert [one for one in await publish.check(app.sessions, now=clock.now()) if one.is_worse] == []
    assert "faq.got_worse" in caplog.text


@pytest.fixture(autouse=True)
def _logged(caplog):
    caplog.set_level("INFO")
