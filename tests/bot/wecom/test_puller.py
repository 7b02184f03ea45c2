"""When an account is pulled: after every callback, again after a failure, and never behind another account."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot.models.gateway import InboundMessage, KfAccount
from bot.wecom.errors import Busy, RateLimited
from bot.wecom.puller import Pulled, Puller, store_items
from crm.base.clock import MovableClock
from crm.base.db import Sessions, insert
from crm.base.peers import Peers

Meanwhile = Callable[[], Awaitable[None]]


class PlayedKf:
    """sync_msg with empty pages; before each of the first, what the account's script says. Counts the calls."""

    def __init__(self, **script: list[Meanwhile]) -> None:
        self._script = script
        self.calls: list[str] = []

    async def sync_msg(self, open_kfid: str, **_: Any) -> dict[str, Any]:
        self.calls.append(open_kfid)
        waiting = self._script.get(open_kfid, [])
        if waiting:
            await waiting.pop(0)()
        return {"next_cursor": "c", "has_more": 0}


def fail(error: Exception) -> Meanwhile:
    async def answer() -> None:
        raise error

    return answer


@asynccontextmanager
async def pulling(sessions: Sessions, kf: PlayedKf) -> AsyncIterator[Puller]:
    """The puller's loop, without the help of the poll."""
    clock = MovableClock()
    peers = Peers(sessions, chance=random.Random(7))
    await peers.join()
    puller = Puller(sessions, kf, peers, clock, poll=timedelta(hours=1))  # type: ignore[arg-type]
    loop = asyncio.create_task(puller.run())
    try:
        yield puller
    finally:
        loop.cancel()
        await asyncio.wait([loop])
        await peers.leave()


async def news(sessions: Sessions, open_kfid: str) -> None:
    """What the callback's transaction writes."""
    now = MovableClock().now()
    async with sessions.begin() as session:
        wish = insert(session, KfAccount).values(open_kfid=open_kfid, name="", app="main", wanted_at=now)
        await session.execute(wish.on_conflict_do_update(index_elements=["open_kfid"], set_={"wanted_at": now}))


async def calls(kf: PlayedKf, *expected: str, seconds: float = 3.0) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while len(kf.calls) < len(expected) and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert sorted(kf.calls) == sorted(expected)


async def test_a_callback_that_comes_while_a_page_is_on_its_way_is_not_lost(sessions: Sessions) -> None:
    async def page_as_of_before() -> None:
        await news(sessions, "wkA")  # said after the page was read, stored before the pull ends

    kf = PlayedKf(wkA=[page_as_of_before])
    await news(sessions, "wkA")
    async with pulling(sessions, kf):
        await calls(kf, "wkA", "wkA")


@pytest.mark.parametrize("error", [Busy(-1), RateLimited(retry_after=60.0)], ids=["-1", "45009"])
async def test_a_pull_that_failed_is_tried_again_soon(sessions: Sessions, error: Exception) -> None:
    kf = PlayedKf(wkA=[fail(error)])
    await news(sessions, "wkA")
    async with pulling(sessions, kf):
        await calls(kf, "wkA", "wkA")


async def test_an_account_that_cannot_be_pulled_holds_up_no_other(sessions: Sessions) -> None:
    kf = PlayedKf(wkA=[fail(RateLimited(retry_after=60.0))] * 3)
    await news(sessions, "wkA")
    async with pulling(sessions, kf):
        await calls(kf, "wkA")
        await news(sessions, "wkB")
        await calls(kf, "wkA", "wkA", "wkB", seconds=2.5)


class Died(BaseException):
    """The process is gone at this instant."""


class Careless(Puller):
    """What not to do: the cursor commits before the messages behind it."""

    async def _store(self, account: KfAccount, pulled: Sequence[Pulled], cursor: str | None) -> int:
        async with self._sessions.begin() as session:
            await session.execute(sa.update(KfAccount).values(cursor=cursor))
        async with self._sessions.begin() as session:
            return await store_items(session, account.open_kfid, pulled, now=self._clock.now())


@pytest.mark.parametrize(("kind", "kept"), [(Puller, ["m1"]), (Careless, [])], ids=["together", "cursor-first"])
async def test_a_death_while_a_page_is_stored_loses_it_only_if_the_cursor_went_first(
    sessions: Sessions, kind: type[Puller], kept: list[str]
) -> None:
    """The page is brought again as long as the cursor did not pass it. One that went first passes it for good."""
    await news(sessions, "wkA")
    peers = Peers(sessions, chance=random.Random(7))
    puller = kind(sessions, PagesByCursor(), peers, MovableClock(), poll=timedelta())  # type: ignore[arg-type]
    with pytest.raises(Died), dying_at_an_insert(sessions):
        await puller.pull("wkA")
    await puller.pull("wkA")
    async with sessions.read() as session:
        assert list(await session.scalars(sa.select(InboundMessage.msgid))) == kept


class PagesByCursor:
    """A log with one message: who comes with its cursor gets nothing more."""

    async def sync_msg(self, open_kfid: str, *, cursor: str | None, **_: Any) -> dict[str, Any]:
        said = {"msgid": "m1", "origin": 3, "msgtype": "text", "external_userid": "wm1", "send_time": 1_760_000_000}
        page = [] if cursor else [{**said, "open_kfid": open_kfid, "text": {"content": "在吗"}}]
        return {"next_cursor": "after-m1", "has_more": 0, "msg_list": page}


@contextmanager
def dying_at_an_insert(sessions: Sessions) -> Iterator[None]:
    """The process dies when it begins to write inbound messages; the database rolls back what was open."""

    def die(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.lstrip().startswith("INSERT") and "inbound_messages" in statement:
            raise Died

    sa.event.listen(sessions.writer.sync_engine, "before_cursor_execute", die)
    try:
        yield
    finally:
        sa.event.remove(sessions.writer.sync_engine, "before_cursor_execute", die)
