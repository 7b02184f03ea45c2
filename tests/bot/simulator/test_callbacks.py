"""The envelope against the vendor's vectors, and how callbacks travel: retries, repeats, losses, replies."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from bot.simulator.corp import CallbackTarget
from bot.simulator.envelope import BadEnvelope, Crypto, Sealed, sign, xml
from bot.simulator.simulator import Simulator
from crm.base.clock import FrozenClock
from tests.bot.simulator.conftest import AES_KEY, AGENTID, ANN, CORPID, KF, TOKEN, Corp, Service, until

STAMP, NONCE = "1700000000", "123456"
V1 = "Q3stYC6hdFzMh9T8HCvyDJ7vSgqYEOf4GCjf3WkGoyNVBN8VW3lmSt8KA9L/rVgXovpg15XH4R3cCKfHpZVkkQ=="
V1_SIGNATURE = "51127190aaac953326fe92cc5000ce13a249dc3c"
V2 = (
    "Q3stYC6hdFzMh9T8HCvyDICzFxVGK2FRTD/LjCY+duT3RwFMzhOjtdfntz4WaODAVgC8r+CfpbksWKTHKCbDnzgj5h4ii7SnR7sltjB7l1XN"
    "ees2im6QVL0rpVRPOcvdv3TpklfAuCp0aDG6Kw/0MJU58+n0aUIe6vPRZw+91LSuUQci29JhycPJMvU3vIrA8jEs9dLIhauPqv7SfPn0mQ=="
)
V2_TEXT = (
    '{"msgid":"m1","aibotid":"b1","chattype":"single","from":{"userid":"u1"},'
    '"msgtype":"text","text":{"content":"你好"}}'
)


def vendor_crypto(receive_id: str) -> Crypto:
    return Crypto(TOKEN, AES_KEY, receive_id, lambda n: b"0123456789abcdef"[:n])


@pytest.mark.parametrize(
    ("receive_id", "plaintext", "ciphertext", "signature"),
    [(CORPID, "1234567890", V1, V1_SIGNATURE), ("", V2_TEXT, V2, "5100eba929025bcdc8c2d946ac494cdff429bdd7")],
    ids=["V1 echo", "V2 empty receiveid"],
)
def test_the_vendors_vectors_seal_and_open(receive_id: str, plaintext: str, ciphertext: str, signature: str) -> None:
    crypto = vendor_crypto(receive_id)
    sealed = crypto.seal(plaintext, timestamp=int(STAMP), nonce=NONCE)
    assert (sealed.ciphertext, sealed.signature) == (ciphertext, signature)
    assert crypto.open(sealed) == plaintext


def test_any_text_survives_and_the_padding_is_to_32_bytes() -> None:
    crypto = Crypto(TOKEN, AES_KEY, CORPID, random.Random(3).randbytes)
    for length in range(70):
        sealed = crypto.seal("猫" * length, timestamp=1, nonce="n")
        assert crypto.open(sealed) == "猫" * length


def _resigned(ciphertext: str) -> Sealed:
    return Sealed(ciphertext, sign(TOKEN, STAMP, NONCE, ciphertext), STAMP, NONCE)


@pytest.mark.parametrize(
    "sealed",
    [
        Sealed(V1, V1_SIGNATURE, STAMP, "654321"),
        Sealed(V1, "0" * 40, STAMP, NONCE),
        _resigned(V2),
        _resigned(V1[:-4]),
        _resigned("不是base64"),
        _resigned("Q3stYC6hdFzMh9T8HCvyDA=="),
    ],
    ids=["other nonce", "other signature", "other receiveid", "cut", "no base64", "too short"],
)
def test_a_packet_that_is_not_right_is_refused(sealed: Sealed) -> None:
    with pytest.raises(BadEnvelope):
        vendor_crypto(CORPID).open(sealed)


@pytest.mark.parametrize("key", ["short", AES_KEY + "A", ""])
def test_a_key_must_have_43_characters(key: str) -> None:
    with pytest.raises((BadEnvelope, ValueError)):
        Crypto(TOKEN, key, CORPID, random.Random(1).randbytes)


def test_xml_cannot_be_broken_out_of() -> None:
    assert xml({"Content": "a]]>b<x>"}) == "<xml><Content><![CDATA[a]]]]><![CDATA[>b<x>]]></Content></xml>"


# travelling


async def test_a_kf_callback_says_only_that_there_is_something(corp: Corp) -> None:
    await corp.says(ANN, "这句话不能出现在回调里")
    [event] = await corp.settled()
    assert event.keys() == {
        "ToUserName", "CreateTime", "MsgType", "Event", "Token", "OpenKfId", "envelope_agentid",
    }  # fmt: skip
    assert (event["Event"], event["OpenKfId"], event["envelope_agentid"]) == ("kf_msg_or_event", KF, "")


async def test_an_app_without_the_module_or_a_url_hears_nothing(corp: Corp) -> None:
    app = corp.world.corp.apps[AGENTID]
    app.kf = False
    await corp.says(ANN, "一")
    app.kf, app.callback = True, None
    await corp.says(ANN, "二")
    assert await corp.settled() == []


async def test_what_happened_before_the_start_is_delivered_at_the_start(service: Service) -> None:
    simulator = Simulator()
    simulator.world.register_app(1, "应用", "s", CallbackTarget(service.url, TOKEN, AES_KEY))
    account, person = simulator.world.add_kf_account("客服"), simulator.world.add_customer("早鸟")
    simulator.world.customer_says(person.external_userid, account.open_kfid, "早")
    assert simulator.callbacks.pending == 1
    await simulator.start()
    await until(lambda: service.names() == ["kf_msg_or_event"])
    await simulator.stop()


def failing(status: int) -> web.Response:
    return web.Response(status=status)


async def test_a_failed_callback_is_retried_with_the_same_text_in_a_new_envelope(corp: Corp) -> None:
    corp.service.answers = [failing(500), failing(503)]
    await corp.says(ANN, "在吗")
    events = await corp.settled()
    assert [event["Token"] for event in events] == [events[0]["Token"]] * 3
    assert len({sealed.nonce for sealed in corp.service.envelopes}) == 3
    told = await corp.look("callbacks")
    assert (told["delivered"], told["failed"], told["pending"]) == (1, 0, 0)


@pytest.mark.parametrize(
    ("roads", "received", "failed"),
    [({}, 4, 1), ({"retries": 1}, 2, 1), ({"retry_on_status": False}, 1, 1), ({"retries": 0}, 1, 1)],
)
async def test_retries_end(corp: Corp, roads: dict[str, Any], received: int, failed: int) -> None:
    await corp.do("callbacks", **roads)
    corp.service.answers = [failing(500) for _ in range(9)]
    await corp.says(ANN, "在吗")
    assert len(await corp.settled()) == received
    assert (await corp.look("callbacks"))["failed"] == failed


async def test_a_dead_service_is_retried_too(corp: Corp) -> None:
    corp.world.corp.apps[AGENTID].callback.url = "http://127.0.0.1:9/nobody"
    await corp.says(ANN, "在吗")
    await corp.settled()
    assert (await corp.look("callbacks"))["failed"] == 1


async def test_callbacks_can_be_lost(corp: Corp) -> None:
    await corp.do("callbacks", drop=1.0)
    await corp.says(ANN, "在吗")
    assert await corp.settled() == []
    assert (await corp.look("callbacks"))["dropped"] == 1


@pytest.mark.parametrize(("same", "nonces"), [(0.0, 2), (1.0, 1)])
async def test_callbacks_can_be_repeated_with_or_without_the_same_envelope(
    corp: Corp, same: float, nonces: int
) -> None:
    await corp.do("callbacks", duplicate=1.0, same_envelope=same)
    await corp.says(ANN, "在吗")
    assert len(await corp.settled()) == 2
    assert len({sealed.nonce for sealed in corp.service.envelopes}) == nonces


async def test_callbacks_can_overtake_each_other(corp: Corp) -> None:
    await corp.do("callbacks", reorder=1.0)
    await corp.do(f"phone/{ANN}/add", userid="qiang")
    await corp.do("callbacks", reorder=0.0)
    await corp.do(f"phone/{ANN}/delete", userid="qiang")
    changes = [event["ChangeType"] for event in await corp.settled()]
    assert changes == ["del_follow_user", "add_external_contact"]


async def test_several_messages_may_share_one_callback(corp: Corp) -> None:
    await corp.do("callbacks", coalesce=0.05)
    for word in ("一", "二", "三"):
        await corp.says(ANN, word)
    assert len(await corp.settled()) == 1
    await corp.says(ANN, "四")
    assert len(await corp.settled()) == 2


@pytest.mark.parametrize("roads", [{"drop": 2}, {"drop": "often"}, {"teleport": 1}, {"retries": -1}])
async def test_impossible_roads_are_refused_in_words(corp: Corp, roads: dict[str, Any]) -> None:
    assert "error" in await corp.do("callbacks", **roads)


async def test_envelopes_may_keep_the_machines_time_while_the_world_moves_on(service: Service) -> None:
    machine = FrozenClock()
    simulator = Simulator(FrozenClock(), envelope_clock=machine)
    simulator.world.register_app(1, "应用", "s", CallbackTarget(service.url, TOKEN, AES_KEY))
    account, person = simulator.world.add_kf_account("客服"), simulator.world.add_customer("安安")
    await simulator.start()
    simulator.advance(3600)
    simulator.world.customer_says(person.external_userid, account.open_kfid, "在吗")
    await until(lambda: len(service.events) == 1)
    await simulator.stop()
    assert int(service.envelopes[0].timestamp) == machine.now().timestamp()
    assert int(service.events[0]["CreateTime"]) == machine.now().timestamp() + 3600


# settings


async def test_saving_a_callback_url_verifies_it_first(corp: Corp) -> None:
    corp.world.corp.apps[AGENTID].callback = None
    for _ in range(20):  # until an echostr with + and / has surely been among them
        told = await corp.do(f"apps/{AGENTID}/callback", url=corp.service.url, token=TOKEN, aes_key=AES_KEY)
        assert told["callback_url"] == corp.service.url
    assert (await corp.look("corp"))["apps"][0]["callback_url"] == corp.service.url


@pytest.mark.parametrize(
    "change",
    [{"url": "http://127.0.0.1:9/"}, {"url": "no address"}, {"token": "Other"}, {"aes_key": "short"}, {"url": ""}],
)
async def test_a_callback_url_that_does_not_answer_right_is_not_saved(corp: Corp, change: dict[str, str]) -> None:
    corp.world.corp.apps[AGENTID].callback = None
    settings = {"url": corp.service.url, "token": TOKEN, "aes_key": AES_KEY, **change}
    assert "error" in await corp.do(f"apps/{AGENTID}/callback", **settings)
    assert corp.world.corp.apps[AGENTID].callback is None


# passive replies


def reply(service: Service, inner: str, to: str = "mei", **broken: str) -> web.Response:
    head = f"<ToUserName>{to}</ToUserName><FromUserName>{CORPID}</FromUserName><CreateTime>1</CreateTime>"
    sealed = service.crypto().seal(f"<xml>{head}{inner}</xml>", timestamp=1, nonce="n1")
    parts = {"Encrypt": sealed.ciphertext, "MsgSignature": sealed.signature, "TimeStamp": "1", "Nonce": "n1"}
    return web.Response(text=xml({**parts, **broken}))


async def cards(corp: Corp) -> list[dict[str, Any]]:
    await corp.settled()
    shown: list[dict[str, Any]] = (await corp.look("staff/mei"))["cards"]
    return shown


async def test_an_employee_writes_to_the_app_and_gets_the_reply(corp: Corp) -> None:
    text = "<MsgType>text</MsgType><Content><![CDATA[收到]]></Content>"
    corp.service.answers = [lambda event: reply(corp.service, text)]
    await corp.do(f"staff/mei/app/{AGENTID}/message", text={"content": "今天有几单？"})
    answer, question = await cards(corp)
    assert (question["content"], question["mine"]) == ({"content": "今天有几单？"}, True)
    assert (answer["content"], answer["mine"]) == ({"content": "收到"}, False)
    [event] = corp.service.events
    assert (event["MsgType"], event["Content"], event["AgentID"]) == ("text", "今天有几单？", str(AGENTID))
    assert (event["FromUserName"], event["envelope_agentid"]) == ("mei", str(AGENTID))


@pytest.mark.parametrize(
    "answer",
    [
        lambda service: web.Response(text="ok"),
        lambda service: reply(service, "<MsgType>text</MsgType>", MsgSignature="0" * 40),
        lambda service: reply(service, "<MsgType>text</MsgType>", to="qiang"),
        lambda service: reply(service, "<MsgType>hologram</MsgType>"),
        lambda service: reply(service, f"<MsgType>text</MsgType><Content>{'长' * 700}</Content>"),
        lambda service: web.Response(text="<!DOCTYPE a><xml/>"),
    ],
    ids=["plain text", "bad signature", "not swapped", "bad type", "too long", "doctype"],
)
async def test_a_wrong_reply_is_noted_and_not_shown(corp: Corp, answer: Callable[[Service], web.Response]) -> None:
    corp.service.answers = [answer(corp.service)]
    await corp.do("staff/mei/enter_agent", agentid=AGENTID)
    assert await cards(corp) == []
    assert len((await corp.look("callbacks"))["problems"]) == 1


async def test_kf_events_cannot_be_replied_to(corp: Corp) -> None:
    corp.service.answers = [reply(corp.service, "<MsgType>text</MsgType><Content>不行</Content>")]
    await corp.says(ANN, "在吗")
    await corp.settled()
    assert len((await corp.look("callbacks"))["problems"]) == 1
    assert await corp.seen(ANN) == ["在吗"]


async def test_success_is_a_plain_ack(corp: Corp) -> None:
    corp.service.answers = [web.Response(text="success")]
    await corp.do("staff/mei/enter_agent", agentid=AGENTID)
    await corp.settled()
    assert (await corp.look("callbacks"))["problems"] == []
