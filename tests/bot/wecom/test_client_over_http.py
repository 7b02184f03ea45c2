"""The client against the simulator, over HTTP: two readings of one reference have to agree."""

import asyncio
import random

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from bot.simulator.faults import Fault
from bot.simulator.server import create_app
from bot.simulator.simulator import Simulator
from bot.wecom import errors as e
from bot.wecom.api import broadcasts, kf
from bot.wecom.api.call import pages
from bot.wecom.client import WecomClient
from bot.wecom.kf_items import EnterSession, KfMessage, parse_kf_item
from bot.wecom.limits import Limiter
from bot.wecom.token import AppKey, TokenCache
from bot.wecom.transport import HttpTransport
from crm.base.clock import MovableClock

CORP, SECRET, KF, ANN, BOB = "ww0000000000000001", "secret-of-the-app", "wk0000000000000001", "wmann", "wmbob"
APPS = {"shop": AppKey(1000002, SECRET)}
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 40


@pytest.fixture(params=["sqlite"])
def database_url(request, tmp_path, sqlite_template) -> str:
    """The token row is raced on both databases in test_token.py."""
    path = tmp_path / "siyu.db"
    path.write_bytes(sqlite_template.read_bytes())
    return f"sqlite+aiosqlite:///{path}"


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def simulator(clock):
    simulator = Simulator(clock, random.Random(7), corpid=CORP)
    world = simulator.world
    world.register_app(1000002, "私域助手", SECRET)
    for userid, name in (("mei", "王小美"), ("qiang", "李强")):
        world.add_staff(userid, name)
    for name, who in (("安安", ANN), ("波波", BOB)):
        world.add_customer(name, who)
        world.add_contact("mei", who, "ch_0001")
    world.add_kf_account("小店客服", KF, ["mei", "qiang"])
    world.add_group("会员福利群", "mei", [ANN, BOB], "wrgroup")
    return simulator


@pytest.fixture
async def client(simulator, sessions, clock):
    server = TestServer(create_app(simulator))
    await server.start_server()
    async with aiohttp.ClientSession() as session:
        transport = HttpTransport(session, str(server.make_url("/")))
        tokens = TokenCache(transport, sessions, clock, CORP, APPS)
        yield WecomClient(transport, tokens, Limiter(clock), clock, random.Random(7), corp_id=CORP, apps=APPS)
        await tokens.close()
    await server.close()


def message(content: str = "您好", who: str = ANN) -> dict:
    return {"touser": who, "open_kfid": KF, "msgtype": "text", "text": {"content": content}}


def heard(simulator: Simulator, who: str = ANN) -> list[str]:
    return [one["text"]["content"] for one in simulator.world.seen_by_customer(who, KF) if one["msgtype"] == "text"]


async def test_a_question_is_pulled_and_an_answer_arrives(client, simulator):
    simulator.world.customer_enters(ANN, KF, "ch_0001")
    simulator.world.customer_says(ANN, KF, "包邮吗？")
    page = await client.kf.sync_msg(KF)
    entered, said = [parse_kf_item(item) for item in page["msg_list"]]
    assert isinstance(entered, EnterSession)
    assert isinstance(said, KfMessage)
    assert (said.text, said.external_userid, page["has_more"]) == ("包邮吗？", ANN, 0)
    assert (await client.kf.get_state(KF, ANN)).state is kf.ServiceState.UNTREATED
    welcome = {"code": entered.welcome_code, "msgtype": "text", "text": {"content": "欢迎光临"}}
    assert await client.kf.send_msg_on_event(welcome, msgid="w1") == "w1"
    assert await client.kf.send_msg(message("满88元包邮"), msgid="m1") == "m1"
    assert heard(simulator)[-2:] == ["欢迎光临", "满88元包邮"]
    assert (await client.kf.get_state(KF, ANN)).state is kf.ServiceState.BOT


@pytest.mark.parametrize("kind", ["drop_before", "drop_after", "http500", "garbage", "errcode"])
async def test_whatever_happens_on_the_way_a_kf_message_is_shown_once(client, simulator, kind):
    simulator.world.customer_says(ANN, KF, "在吗")
    await client.kf.get_state(KF, ANN)
    simulator.faults.add(Fault("/cgi-bin/kf/send_msg", kind, errcode=-1, times=2))
    assert await client.kf.send_msg(message("在的"), msgid="m1") == "m1"
    assert heard(simulator) == ["在吗", "在的"]


async def test_a_repeated_msgid_is_told_as_such(client, simulator):
    simulator.world.customer_says(ANN, KF, "在吗")
    await client.kf.send_msg(message("在的"), msgid="m1")
    with pytest.raises(e.DuplicateMsgid):
        await client.kf.send_msg(message("在的"), msgid="m1")


async def test_a_staff_message_whose_connection_broke_is_unknown_and_not_repeated(client, simulator):
    await client.kf.get_state(KF, ANN)
    simulator.faults.add(Fault("/cgi-bin/message/send", "drop_after"))
    with pytest.raises(e.OutcomeUnknown):
        await client.staff.send_text(["mei"], "有客户等您")
    assert sum(call.path == "/cgi-bin/message/send" for call in simulator.log.calls) == 1


@pytest.mark.parametrize("spoil", ["expire", "revoke"])
async def test_a_spoiled_token_costs_one_renewal_for_thirty_calls(client, simulator, spoil):
    await client.kf.get_state(KF, ANN)
    getattr(simulator.tokens, spoil)()
    simulator.log.calls.clear()
    await asyncio.gather(*(client.kf.get_state(KF, ANN) for _ in range(30)))
    assert sum(call.path == "/cgi-bin/gettoken" for call in simulator.log.calls) == 1


async def test_the_window_and_the_states_refuse_with_their_types(client, simulator):
    simulator.world.customer_says(ANN, KF, "在吗")
    for number in range(5):
        await client.kf.send_msg(message(str(number)), msgid=f"m{number}")
    with pytest.raises(e.WindowFull):
        await client.kf.send_msg(message("6"), msgid="m6")
    assert await client.kf.trans(KF, ANN, kf.ServiceState.HUMAN, servicer_userid="mei")
    assert await client.kf.get_state(KF, ANN) == kf.Session(kf.ServiceState.HUMAN, "mei")
    with pytest.raises(e.SessionRefusesSend):
        await client.kf.send_msg(message("7"), msgid="m7")
    with pytest.raises(e.IllegalTransition):
        await client.kf.trans(KF, ANN, kf.ServiceState.BOT)
    simulator.world.customer_says(BOB, KF, "在吗")
    with pytest.raises(e.NotAServicer):
        await client.kf.trans(KF, BOB, kf.ServiceState.HUMAN, servicer_userid="nobody")
    with pytest.raises(e.PullTokenExpired):
        await client.kf.sync_msg(KF, token="made-up")


async def test_the_limit_on_pulls_without_a_token_does_not_stop_those_with_one(client, simulator):
    simulator.options.tokenless_pulls_per_minute = 1
    simulator.world.customer_says(ANN, KF, "在吗")
    await client.kf.sync_msg(KF)
    with pytest.raises(e.RateLimited):
        await client.kf.sync_msg(KF)
    with pytest.raises(e.RateLimited):  # not even asked
        await client.kf.sync_msg(KF)
    assert sum(call.path == "/cgi-bin/kf/sync_msg" for call in simulator.log.calls) == 2
    with pytest.raises(e.PullTokenExpired):  # it went out
        await client.kf.sync_msg(KF, token="made-up")


async def test_kf_accounts_links_servicers_and_customers(client, simulator):
    simulator.world.customer_says(ANN, KF, "在吗")
    accounts = [one async for page in pages(client.kf.account_list) for one in page.items]
    assert [(one.open_kfid, one.name) for one in accounts] == [(KF, "小店客服")]
    assert (await client.kf.add_contact_way(KF, "ch_1")).startswith("http")
    assert {one.userid: one.receiving for one in await client.kf.servicer_list(KF)} == {"mei": True, "qiang": True}
    assert [one.errcode for one in await client.kf.servicer_del(KF, ["qiang"])] == [0]
    assert [one.errcode for one in await client.kf.servicer_add(KF, ["qiang"])] == [0]
    found = await client.kf.customer_batchget([ANN, "wmnobody"])
    assert ([one.nickname for one in found.found], found.invalid) == (["安安"], ("wmnobody",))


async def test_contacts_are_listed_read_remarked_and_welcomed(client, simulator):
    assert "mei" in await client.contacts.get_follow_user_list()
    assert set(await client.contacts.list("mei")) == {ANN, BOB}
    assert await client.contacts.list("qiang") == ()
    await client.contacts.remark("mei", ANN, remark="安安（金卡）")
    contact = await client.contacts.get(ANN)
    assert (contact.person.name, contact.follows[0].remark, contact.follows[0].state) == (
        "安安",
        "安安（金卡）",
        "ch_0001",
    )
    batch = [one async for page in client.contacts.batches(["mei", "qiang"]) for one in page.items]
    assert {one.person.external_userid for one in batch} == {ANN, BOB}
    with pytest.raises((e.NotAContact, e.NoSuchContact)):
        await client.contacts.get("wmnobody")
    with pytest.raises(e.CodeSpent):
        await client.contacts.send_welcome_msg("made-up", {"text": {"content": "欢迎"}})


async def test_corp_tags_are_added_marked_renamed_and_deleted(client):
    group = await client.tags.add_corp_tag(["金卡", "银卡"], group_name="等级")
    gold = group.tags[0].tag_id
    await asyncio.gather(*(client.tags.mark_tag("mei", ANN, add=[tag.tag_id]) for tag in group.tags))
    assert set((await client.contacts.get(ANN)).follows[0].tag_ids) == {tag.tag_id for tag in group.tags}
    with pytest.raises(e.NotAContact):
        await client.tags.mark_tag("qiang", ANN, add=[gold])
    with pytest.raises(e.NoSuchTag):
        await client.tags.mark_tag("mei", ANN, add=["etnone"])
    await client.tags.edit_corp_tag(gold, name="黑卡")
    with pytest.raises(e.TagNameTaken):
        await client.tags.edit_corp_tag(gold, name="银卡")
    [listed] = await client.tags.get_corp_tag_list(group_ids=[group.group_id])
    assert {tag.name for tag in listed.tags} == {"黑卡", "银卡"}
    await client.tags.del_corp_tag(group_ids=[group.group_id])
    assert await client.tags.get_corp_tag_list() == ()


async def test_contact_ways_and_join_ways(client):
    way = await client.ways.add_contact_way(["mei", "qiang"], state="ch_0002", remark="门店")
    found = await client.ways.get_contact_way(way.config_id)
    assert (found.userids, found.state, found.type) == (("mei", "qiang"), "ch_0002", 2)
    await client.ways.update_contact_way(way.config_id, ["mei"], state="ch_0003")
    assert [one async for page in client.ways.lists() for one in page.items] == [way.config_id]
    await client.ways.del_contact_way(way.config_id)
    joining = await client.groups.add_join_way(["wrgroup"], state="sale")
    assert (await client.groups.get_join_way(joining)).chat_ids == ("wrgroup",)
    await client.groups.update_join_way(joining, {"scene": 2, "chat_id_list": ["wrgroup"], "state": "sale2"})
    assert (await client.groups.get_join_way(joining)).state == "sale2"
    await client.groups.del_join_way(joining)


async def test_groups_are_listed_and_read(client):
    assert [one.chat_id async for page in client.groups.lists(owners=["mei"]) for one in page.items] == ["wrgroup"]
    group = await client.groups.get("wrgroup")
    assert (group.name, group.owner) == ("会员福利群", "mei")
    assert {one.id: one.is_staff for one in group.members} == {"mei": True, ANN: False, BOB: False}
    with pytest.raises(e.NotACustomerGroup):
        await client.groups.get("wrnone")


async def test_a_mass_send_is_asked_reminded_and_taken_back(client, simulator):
    made = await client.broadcasts.add_msg_template(
        {"chat_type": "single", "external_userid": [ANN, "wmnobody"], "sender": "mei", "text": {"content": "周四秒杀"}}
    )
    assert made.unreachable == ("wmnobody",)
    simulator.advance(60)
    [page] = [page async for page in client.broadcasts.tasks(made.msgid)]
    assert [(one.userid, one.confirmed) for one in page.items] == [("mei", False)]
    [results] = [page async for page in client.broadcasts.results(made.msgid, "mei")]
    assert [(one.external_userid, one.status) for one in results.items] == [(ANN, broadcasts.SendStatus.NOT_SENT)]
    for _ in range(3):
        await client.broadcasts.remind_groupmsg_send(made.msgid)
    with pytest.raises(e.RateLimited) as limited:
        await client.broadcasts.remind_groupmsg_send(made.msgid)
    assert limited.value.retry_after == 86_400
    assert client.limiter.retry_after("/cgi-bin/externalcontact/remind_groupmsg_send", "shop") == 0  # others may go on
    await client.broadcasts.cancel_groupmsg_send(made.msgid)
    with pytest.raises(e.TaskCancelled):
        await client.broadcasts.get_groupmsg_task(made.msgid)
    with pytest.raises(e.NobodyToSendTo):
        await client.broadcasts.add_msg_template(
            {"chat_type": "single", "external_userid": ["wmnobody"], "sender": "mei", "text": {"content": "x"}}
        )


async def test_staff_get_messages_and_some_cannot_be_reached(client):
    sent = await client.staff.send_text(["mei", "Nobody"], "有客户等您")
    assert sent.msgid
    assert sent.invalid == ("nobody",)
    await client.staff.recall(sent.msgid)
    with pytest.raises(e.NobodyToSendTo):
        await client.staff.send_textcard(["nobody"], title="t", description="d", url="https://example.com/")
    with pytest.raises(e.NotAllowed):
        await client.staff.webhook_send("made-up", {"msgtype": "text", "text": {"content": "x"}})
    with pytest.raises(e.OAuthCodeSpent):
        await client.staff.getuserinfo("made-up")


async def test_a_picture_goes_up_and_comes_down(client):
    up = await client.media.upload(PNG, kind="image", filename='猫"咪\r\n.png', content_type="image/png")
    down = await client.media.get(up.media_id)
    assert (down.content, down.content_type) == (PNG, "image/png")
    assert (await client.media.uploadimg(PNG, filename="a.png")).startswith("http")
    with pytest.raises(e.MediaGone):
        await client.media.get("made-up")


async def test_a_wrong_secret_is_asked_once(simulator, sessions, clock, client):
    apps = {"shop": AppKey(1000002, "wrong")}
    transport = client.tokens._transport
    tokens = TokenCache(transport, sessions, clock, CORP, apps)
    for _ in range(20):
        with pytest.raises(e.SecretRefused):
            await tokens.get("shop")
    assert sum(call.path == "/cgi-bin/gettoken" for call in simulator.log.calls) == 1
    await tokens.close()
