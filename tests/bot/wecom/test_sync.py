"""The sync against the simulator, over HTTP: what WeCom has, crm has, however often and however badly it is told."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.models.sync import SyncKind, SyncRun
from bot.simulator.corp import CallbackTarget
from bot.simulator.faults import Fault
from bot.simulator.server import create_app
from bot.simulator.simulator import Simulator
from bot.simulator.world import World
from bot.wecom import event_xml, events
from bot.wecom.client import WecomClient
from bot.wecom.crypto import Envelope
from bot.wecom.errors import NotAllowed, RateLimited
from bot.wecom.limits import Limiter
from bot.wecom.sync import Sync
from bot.wecom.token import AppKey, TokenCache
from bot.wecom.transport import HttpTransport
from crm import contacts, groups, identities, staff, tags
from crm.base.clock import FrozenClock, MovableClock
from crm.base.db import Sessions
from crm.models.group import Group, GroupMember
from crm.models.member import Contact, ContactEnd, IdentityKind, Member
from crm.models.tag import CorpTag

CORP, SECRET, TOKEN, AES_KEY = "ww0000000000000001", "secret", "callbacktoken", "a" * 43
BATCH = "/cgi-bin/externalcontact/batch/get_by_user"
GROUP = "/cgi-bin/externalcontact/groupchat/get"


@dataclass
class Shop:
    """A simulated corp, our sync that reads it, and the callbacks it sent us."""

    simulator: Simulator
    sync: Sync
    sessions: Sessions
    clock: MovableClock
    sent: asyncio.Queue[events.Event] = field(default_factory=asyncio.Queue)

    @property
    def world(self) -> World:
        return self.simulator.world

    def calls(self, path: str) -> int:
        return sum(call.path == path for call in self.simulator.log.calls)

    async def heard(self) -> events.Event:
        """The next callback, off the wire."""
        return await asyncio.wait_for(self.sent.get(), 5)

    async def handle(self, count: int = 1) -> None:
        """Handle the next callbacks in the order they came."""
        for _ in range(count):
            event = await self.heard()
            if isinstance(event, events.ExternalContactEvent):
                await self.sync.take_contact_event(event)
            elif isinstance(event, events.GroupEvent):
                await self.sync.take_group_event(event)
            else:
                assert isinstance(event, events.TagChanged)
                await self.sync.take_tag_event(event)

    async def rows(self, column: sa.SQLColumnExpression[Any], *where: sa.ColumnElement[bool]) -> set[Any]:
        async with self.sessions.read() as session:
            return set(await session.scalars(sa.select(column).where(*where)))


@pytest.fixture
def clock() -> MovableClock:
    """Time stands still but for the tests that override it."""
    return FrozenClock()


@pytest.fixture
async def shop(sessions: Sessions, clock: MovableClock, chance: random.Random) -> AsyncIterator[Shop]:
    """Lin and Chen serve 阿黄 (both) and 小白 (Lin); 过客 sits in their group and is nobody's contact."""
    simulator = Simulator(clock, random.Random(7), corpid=CORP)
    sent: asyncio.Queue[events.Event] = asyncio.Queue()
    async with (
        TestServer(_listener(sent)) as ours,
        TestServer(create_app(simulator)) as vendor,
        aiohttp.ClientSession() as http,
    ):
        target = CallbackTarget(str(ours.make_url("/callback")), TOKEN, AES_KEY)
        simulator.world.register_app(1000002, "毛球小铺", SECRET, target)
        _furnish(simulator.world)
        transport, keys = HttpTransport(http, str(vendor.make_url(""))), {"main": AppKey(1000002, SECRET)}
        tokens = TokenCache(transport, sessions, clock, CORP, keys)
        client = WecomClient(transport, tokens, Limiter(clock), clock, chance, corp_id=CORP, apps=keys)
        yield Shop(simulator, Sync(sessions, client, clock), sessions, clock, sent)
        await tokens.close()


def _listener(sent: asyncio.Queue[events.Event]) -> web.Application:
    envelope = Envelope(TOKEN, AES_KEY, CORP)

    async def take(request: web.Request) -> web.Response:
        query = request.query
        content = envelope.open(await request.read(), query["msg_signature"], query["timestamp"], query["nonce"])
        sent.put_nowait(event_xml.parse_event(content))
        return web.Response(text="success")

    app = web.Application()
    app.router.add_post("/callback", take)
    return app


def _furnish(world: World) -> None:
    world.add_staff("Lin", "小林")
    world.add_staff("chen", "小陈")
    for external_userid, name in (("wmHuang", "阿黄"), ("wmBai", "小白"), ("wmGuest", "过客")):
        world.add_customer(name, external_userid, unionid=f"o{external_userid}", gender=2)
    world.add_contact("Lin", "wmHuang", state="poster", remark="常客")
    world.add_contact("chen", "wmHuang")
    world.add_contact("Lin", "wmBai")
    world.add_group("毛孩子福利群", "Lin", ["chen", "wmHuang", "wmGuest"], chat_id="wrA")


def _make_tags(world: World, *names: str) -> list[str]:
    """Tags of a manager's, made in the console; returns their ids."""
    _, made = world.tags.add("", "会员等级", [(name, 0) for name in names], by=None)
    return [tag.id for tag in made]


async def test_a_first_sync_brings_the_whole_corp(shop: Shop) -> None:
    [gold] = _make_tags(shop.world, "金卡")
    shop.world.contacts.edit("Lin", "wmHuang", remark=None, add=[gold], remove=[])
    await shop.sync.run()
    async with shop.sessions.read() as session:
        huang = await identities.find_by(session, IdentityKind.UNIONID, "owmHuang")
        assert huang is not None and (huang.name, huang.gender) == ("阿黄", "female")
        relations = await contacts.open_of(session, huang.id)
        lin = await staff.find(session, "LIN")
        assert lin is not None and (lin.name, lin.follows) == ("小林", True)
        [mine] = [each for each in relations if each.staff_id == lin.id]
        assert len(relations) == 2 and (mine.state, mine.remark) == ("poster", "常客")
        assert await tags.names_of(session, mine.id) == ["金卡"]
        group = await groups.find(session, "wrA")
        assert group is not None and (group.name, group.owner_id) == ("毛孩子福利群", lin.id)
        assert {seat.person for seat in await groups.present(session, group.id)} == {
            *("lin", "chen", "wmHuang", "wmGuest")
        }
    assert await shop.rows(Member.name) == {"阿黄", "小白", "过客"}


async def test_a_second_sync_of_the_same_corp_changes_nothing(shop: Shop) -> None:
    await shop.sync.run()
    before = [await shop.rows(column) for column in (Contact.external_userid, GroupMember.person, Member.code)]
    shop.clock.advance(days=1)
    await shop.sync.run()
    assert before == [await shop.rows(column) for column in (Contact.external_userid, GroupMember.person, Member.code)]
    async with shop.sessions.read() as session:
        assert await session.scalar(sa.select(sa.func.count(Contact.id))) == 3
        assert await session.scalar(sa.select(sa.func.count(SyncRun.id)).where(SyncRun.error.is_(None))) == 6


async def test_a_sync_puts_right_what_callbacks_should_have_told(shop: Shop) -> None:
    await shop.sync.run()
    shop.clock.advance(hours=1)
    world = shop.world
    world.contacts.drop("Lin", "wmBai")
    world.add_customer("新人", "wmNew")
    world.add_contact("chen", "wmNew")
    world.groups.remove_members("wrA", ["wmGuest"])
    world.add_group("二群", "chen", ["wmNew"], chat_id="wrB")
    await shop.sync.run()
    ended = (Contact.external_userid, Contact.ended_by == ContactEnd.SYNC)
    assert await shop.rows(*ended) == {"wmBai"}
    assert await shop.rows(Contact.external_userid, Contact.ended_at.is_(None)) == {"wmHuang", "wmNew"}
    assert await shop.rows(GroupMember.person, GroupMember.left_at.is_not(None)) == {"wmGuest"}
    shop.clock.advance(hours=1)
    world.groups.dismiss("wrA")
    await shop.sync.groups()
    assert await shop.rows(Group.chat_id, Group.dismissed_at.is_(None)) == {"wrB"}


async def test_a_sync_that_is_cut_short_goes_on_where_it_stood(shop: Shop) -> None:
    for number in range(250):
        shop.world.add_customer(f"客人{number}", f"wm{number:03}")
        shop.world.add_contact("chen", f"wm{number:03}")
    shop.simulator.limits.per_minute = {BATCH: 1}
    asked = 0
    while await _open_run(shop) or not asked:
        try:
            await shop.sync.contacts()
        except RateLimited:
            shop.clock.advance(minutes=2)
        asked += 1
        assert asked < 10
    assert asked > 2, "one page a minute"
    done = [call for call in shop.simulator.log.calls if call.path == BATCH and not call.errcode]
    assert [call.request.get("cursor", "") for call in done] == ["", "100", "200"], "no page was read twice"
    assert len(await shop.rows(Contact.external_userid, Contact.ended_at.is_(None))) == 252


async def test_a_customer_whom_the_pages_missed_is_asked_for_before_they_are_lost(shop: Shop) -> None:
    """Somebody on a page that was read leaves, the rest moves up, and the first of the next page is not shown."""
    for number in range(150):
        shop.world.add_customer(f"客人{number}", f"wm{number:03}")
        shop.world.add_contact("chen", f"wm{number:03}")
    await shop.sync.contacts()
    shop.clock.advance(days=1)
    shop.simulator.limits.per_minute = {BATCH: 1}
    with pytest.raises(RateLimited):
        await shop.sync.contacts()
    shop.world.contacts.drop("chen", "wm007")
    shop.clock.advance(minutes=2)
    await shop.sync.contacts()
    assert shop.calls("/cgi-bin/externalcontact/get") == 1
    assert await shop.rows(Contact.external_userid, Contact.ended_at.is_not(None)) == set()


async def _open_run(shop: Shop) -> bool:
    async with shop.sessions.read() as session:
        open_ones = sa.select(sa.func.count(SyncRun.id)).where(SyncRun.finished_at.is_(None))
        return bool(await session.scalar(open_ones))


async def test_two_processes_that_read_at_once_end_with_one_reading(shop: Shop) -> None:
    await asyncio.gather(*(shop.sync.contacts() for _ in range(3)))
    await asyncio.gather(*(shop.sync.groups() for _ in range(3)))
    async with shop.sessions.read() as session:
        assert await session.scalar(sa.select(sa.func.count(Contact.id))) == 3
        assert await session.scalar(sa.select(sa.func.count(GroupMember.id))) == 4
        runs = list(await session.scalars(sa.select(SyncRun)))
    assert all(run.finished_at is not None and run.error is None for run in runs)


async def test_an_error_that_will_not_pass_gives_the_run_up(shop: Shop) -> None:
    shop.simulator.faults.add(Fault(BATCH, "errcode", errcode=48002))
    with pytest.raises(NotAllowed):
        await shop.sync.contacts()
    async with shop.sessions.read() as session:
        run = (await session.scalars(sa.select(SyncRun).where(SyncRun.kind == SyncKind.CONTACTS))).one()
        assert run.finished_at is not None and run.error is not None and "48002" in run.error
    await shop.sync.contacts()
    assert await shop.rows(Contact.external_userid) == {"wmHuang", "wmBai"}


async def test_staff_whom_a_batch_leaves_out_keep_their_contacts(shop: Shop) -> None:
    """Without a licence a batch shows none of their customers and a question for them alone is refused."""
    await shop.sync.contacts()
    shop.clock.advance(hours=1)
    shop.world.contacts.drop("chen", "wmHuang")
    shop.simulator.faults.add(Fault("/cgi-bin/externalcontact/list", "errcode", errcode=701008))
    await shop.sync.contacts()
    assert await shop.rows(Contact.external_userid, Contact.ended_at.is_not(None)) == set(), "not shown is not gone"
    await shop.sync.contacts()
    assert await shop.rows(Contact.external_userid, Contact.ended_at.is_not(None)) == {"wmHuang"}, "asked, and none"


async def test_groups_too_many_for_one_list_are_listed_by_their_owners(shop: Shop) -> None:
    shop.simulator.faults.add(Fault("/cgi-bin/externalcontact/groupchat/list", "errcode", errcode=81017))
    await shop.sync.groups()
    assert await shop.rows(Group.chat_id) == {"wrA"}


# By callback


async def test_a_new_contact_is_known_from_the_callback_on(shop: Shop) -> None:
    await shop.sync.run()
    shop.clock.advance(minutes=5)
    shop.world.add_contact("chen", "wmGuest", state="qr-7", silent=False)
    await shop.handle()
    async with shop.sessions.read() as session:
        guest = await identities.find_by(session, IdentityKind.EXTERNAL_USERID, "wmGuest")
        assert guest is not None and guest.name == "过客"
        [relation] = await contacts.open_of(session, guest.id)
        assert (relation.state, relation.added_at) == ("qr-7", shop.clock.now())


async def test_losing_and_coming_back_are_two_dated_relations(shop: Shop) -> None:
    await shop.sync.run()
    shop.clock.advance(minutes=5)
    shop.world.contacts.leave("wmBai", "Lin")
    left_at = shop.clock.now()
    await shop.handle()
    await shop.sync.contacts()  # the member's list still shows who deleted them
    assert await shop.rows(Contact.ended_by, Contact.external_userid == "wmBai") == {ContactEnd.CUSTOMER}
    shop.clock.advance(days=1)
    shop.world.add_contact("Lin", "wmBai", silent=False)
    await shop.handle()
    async with shop.sessions.read() as session:
        rows = await session.scalars(
            sa.select(Contact).where(Contact.external_userid == "wmBai").order_by(Contact.added_at)
        )
        assert [row.ended_at for row in rows] == [left_at, None]


async def test_callbacks_in_any_order_end_like_the_world(shop: Shop) -> None:
    await shop.sync.run()
    shop.clock.advance(minutes=5)
    shop.world.add_contact("chen", "wmBai", silent=False)
    shop.clock.advance(minutes=5)
    shop.world.contacts.drop("chen", "wmBai")
    shop.clock.advance(minutes=5)
    shop.world.add_contact("chen", "wmBai", silent=False)
    news = [await shop.heard() for _ in range(3)]
    for event in (*reversed(news), *news):
        assert isinstance(event, events.ExternalContactEvent)
        await shop.sync.take_contact_event(event)
    async with shop.sessions.read() as session:
        lin = await staff.find(session, "lin")
        assert lin is not None
        where = (Contact.external_userid == "wmBai", Contact.staff_id != lin.id)
        rows = list(await session.scalars(sa.select(Contact).where(*where).order_by(Contact.added_at)))
    assert [row.ended_at is None for row in rows] == [False, True]


async def test_an_edit_in_the_client_reaches_remark_and_tags(shop: Shop) -> None:
    await shop.sync.run()
    [gold] = _make_tags(shop.world, "金卡")
    shop.world.contacts.edit("Lin", "wmBai", remark="爱猫", add=[gold], remove=[])
    await _settle(shop)
    async with shop.sessions.read() as session:
        contact = (await session.scalars(sa.select(Contact).where(Contact.external_userid == "wmBai"))).one()
        assert contact.remark == "爱猫"
        assert await tags.names_of(session, contact.id) == ["金卡"]


async def _settle(shop: Shop) -> None:
    """Handle every callback that is still on its way."""
    while shop.simulator.callbacks.pending or shop.sent.qsize():
        if shop.sent.qsize():
            await shop.handle()
        await asyncio.sleep(0.01)


async def test_joining_and_leaving_a_group_is_dated_by_the_callback(shop: Shop) -> None:
    await shop.sync.run()
    shop.clock.advance(minutes=5)
    shop.world.groups.join("wmBai", "wrA")
    await shop.handle()
    shop.clock.advance(minutes=5)
    shop.world.groups.remove_members("wrA", ["wmGuest", "chen"], quit_scene=1)
    removed_at = shop.clock.now()
    shop.clock.advance(seconds=30)
    await shop.handle()
    async with shop.sessions.read() as session:
        rows = list(await session.scalars(sa.select(GroupMember).where(GroupMember.left_at.is_not(None))))
    assert {(row.person, row.left_at, row.quit_scene) for row in rows} == {
        ("wmGuest", removed_at, 1),
        ("chen", removed_at, 1),
    }
    assert "wmBai" in await shop.rows(GroupMember.person, GroupMember.left_at.is_(None))


async def test_a_new_group_a_new_name_a_new_owner_and_its_end(shop: Shop) -> None:
    await shop.sync.run()
    shop.world.add_group("二群", "chen", ["wmBai"], chat_id="wrB", silent=False)
    await shop.handle()
    for change in ({"name": "猫咪二群"}, {"notice": "欢迎"}, {"owner": "Lin"}):
        shop.world.groups.change("wrB", **change)
        await shop.handle()
    async with shop.sessions.read() as session:
        group, lin = await groups.find(session, "wrB"), await staff.find(session, "lin")
        assert group is not None and lin is not None
        assert (group.name, group.notice, group.owner_id) == ("猫咪二群", "欢迎", lin.id)
    shop.world.groups.dismiss("wrB")
    await shop.handle()
    assert await shop.rows(Group.chat_id, Group.dismissed_at.is_not(None)) == {"wrB"}
    assert await shop.rows(GroupMember.person, GroupMember.group_id == group.id, GroupMember.left_at.is_(None)) == set()


async def test_tags_follow_their_callbacks(shop: Shop) -> None:
    await shop.sync.run()
    gold, silver = _make_tags(shop.world, "金卡", "银卡")
    await _settle(shop)
    assert await shop.rows(CorpTag.name, CorpTag.deleted_at.is_(None)) == {"金卡", "银卡"}
    shop.world.tags.edit(gold, "黄金卡", None, by=None)
    shop.world.tags.delete([silver], [], by=None)
    await _settle(shop)
    assert await shop.rows(CorpTag.name, CorpTag.deleted_at.is_(None)) == {"黄金卡"}


class TestALaggingGroup:
    """WeCom shows a group's old list for some seconds after the callback."""

    @pytest.fixture
    def clock(self) -> MovableClock:
        return MovableClock(rate=10.0)

    async def test_is_read_again_until_it_has_caught_up(self, shop: Shop) -> None:
        await shop.sync.run()
        shop.world.groups.lag_seconds = 2.5
        shop.world.groups.join("wmBai", "wrA")
        before = shop.calls(GROUP)
        await shop.handle()
        assert "wmBai" in await shop.rows(GroupMember.person)
        assert shop.calls(GROUP) - before in (2, 3)

    async def test_is_taken_as_it_is_when_it_never_catches_up(self, shop: Shop) -> None:
        await shop.sync.run()
        shop.world.groups.lag_seconds = 3600
        shop.world.groups.join("wmBai", "wrA")
        before = shop.calls(GROUP)
        await shop.handle()
        assert shop.calls(GROUP) - before == 4
        assert "wmBai" not in await shop.rows(GroupMember.person)

    async def test_old_news_is_not_waited_for(self, shop: Shop) -> None:
        await shop.sync.run()
        shop.world.groups.lag_seconds = 3600
        shop.world.groups.join("wmBai", "wrA")
        event = await shop.heard()
        shop.clock.advance(timedelta(minutes=2))
        before = shop.calls(GROUP)
        assert isinstance(event, events.GroupEvent)
        await shop.sync.take_group_event(event)
        assert shop.calls(GROUP) - before == 1
