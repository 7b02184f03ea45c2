"""Errcodes become types that say what to do next; the transport tells "nothing sent" from "nobody knows"."""

import asyncio
import json
import re
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.wecom import errors as e
from bot.wecom.transport import Blob, HttpTransport, read_answer

PATH = "/cgi-bin/kf/send_msg"
FIXTURES = Path(__file__).parents[2] / "fixtures" / "wecom"


@pytest.mark.parametrize(
    ("errcode", "kind", "retry"),
    [
        (-1, e.Busy, e.Retry.BACKOFF),
        (6000, e.Conflict, e.Retry.BACKOFF),
        (40001, e.SecretRefused, e.Retry.NEVER),
        (40014, e.TokenExpired, e.Retry.TOKEN),
        (40029, e.OAuthCodeSpent, e.Retry.NEVER),
        (40058, e.BadCall, e.Retry.NEVER),
        (40068, e.NoSuchTag, e.Retry.NEVER),
        (40096, e.NoSuchContact, e.Retry.NEVER),
        (41050, e.CodeSpent, e.Retry.NEVER),
        (41063, e.StillDispatching, e.Retry.BACKOFF),
        (41094, e.RateLimited, e.Retry.WAIT),
        (42001, e.TokenExpired, e.Retry.TOKEN),
        (45009, e.RateLimited, e.Retry.WAIT),
        (45033, e.Crowded, e.Retry.BACKOFF),
        (45035, e.Conflict, e.Retry.BACKOFF),
        (48002, e.NotAllowed, e.Retry.NEVER),
        (84061, e.NotAContact, e.Retry.NEVER),
        (95001, e.WindowFull, e.Retry.NEVER),
        (95002, e.WindowOver, e.Retry.NEVER),
        (95007, e.PullTokenExpired, e.Retry.NEVER),
        (95013, e.SessionEnded, e.Retry.NEVER),
        (95014, e.NotAServicer, e.Retry.NEVER),
        (95016, e.IllegalTransition, e.Retry.NEVER),
        (95018, e.SessionRefusesSend, e.Retry.NEVER),
        (95019, e.ServicerAway, e.Retry.NEVER),
        (95026, e.KfDeclined, e.Retry.NEVER),
        (123456, e.UnknownErrcode, e.Retry.NEVER),
    ],
)
def test_an_errcode_becomes_its_type(errcode, kind, retry):
    error = e.error_for(errcode, "no", PATH)
    assert type(error) is kind
    assert error.retry is retry
    assert (error.errcode, error.errmsg, error.path) == (errcode, "no", PATH)


def test_the_vendors_hint_is_kept_for_its_support():
    answer = json.loads((FIXTURES / "error_40014.json").read_text())
    assert e.error_for(answer["errcode"], answer["errmsg"], PATH).hint == "1687654321123456"
    assert e.error_for(40014, "invalid access_token", PATH).hint == ""


def test_an_errcode_we_do_not_know_alerts_and_is_not_retried():
    error = e.error_for(990_001, "brand new", PATH)
    assert error.alert
    assert error.retry is e.Retry.NEVER


@pytest.mark.parametrize(
    ("errcode", "path", "headers", "seconds"),
    [
        (45009, PATH, {}, 60),
        (45009, "/cgi-bin/gettoken", {}, 3600),
        (41094, "/cgi-bin/externalcontact/remind_groupmsg_send", {}, 86_400),
        (45009, PATH, {"Retry-After": "7"}, 7),
        (45009, PATH, {"Retry-After": "soon"}, 60),
    ],
)
def test_a_limit_says_how_long_it_lasts(errcode, path, headers, seconds):
    error = e.error_for(errcode, "", path, headers)
    assert isinstance(error, e.RateLimited)
    assert error.retry_after == seconds


def test_a_repeated_msgid_is_its_own_error_whatever_code_it_comes_with():
    assert isinstance(e.error_for(40058, "msgid duplicated", PATH), e.DuplicateMsgid)
    assert isinstance(e.error_for(95099, "MsgId already exists, hint: [1]", PATH), e.DuplicateMsgid)
    assert isinstance(e.error_for(40058, "invalid msgid length", PATH), e.BadCall)
    assert isinstance(e.error_for(40058, "msgid duplicated", "/cgi-bin/message/send"), e.BadCall)


def test_the_tree_at_the_top_names_every_type():
    assert e.__doc__ is not None
    drawn = set(re.findall(r"\b[A-Z]\w+[a-z]\w*\b", e.__doc__))
    types = {name for name, kind in vars(e).items() if isinstance(kind, type) and issubclass(kind, e.WecomError)}
    assert types <= drawn


@given(st.integers(), st.text(max_size=30), st.text(max_size=30))
def test_no_errcode_is_without_a_type(errcode, errmsg, path):
    assert isinstance(e.error_for(errcode, errmsg, path), e.WecomError)


# answers


@settings(max_examples=200)
@given(
    st.binary(max_size=60), st.sampled_from([200, 301, 404, 429, 500]), st.sampled_from([PATH, "/cgi-bin/media/get"])
)
def test_no_answer_raises_anything_but_a_wecom_error(content, status, path):
    for body in (content, b'{"errcode":' + content + b"}"):
        try:
            found = read_answer(path, status, {}, body)
        except e.WecomError:
            continue
        assert isinstance(found, dict | Blob)


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [
        (200, b"<html>", e.OutcomeUnknown),
        (200, b"", e.OutcomeUnknown),
        (200, b"[]", e.OutcomeUnknown),
        (200, b'{"errcode":"x"}', e.OutcomeUnknown),
        (200, b'{"errcode":null}', e.OutcomeUnknown),
        (502, b'{"errcode":0}', e.OutcomeUnknown),
        (404, b"", e.BadAnswer),
        (301, b"", e.BadAnswer),
        (429, b"", e.RateLimited),
    ],
)
def test_an_answer_that_cannot_be_read_is_no_success(status, content, kind):
    with pytest.raises(kind):
        read_answer(PATH, status, {}, content)


def test_a_missing_errcode_is_success():
    assert read_answer(PATH, 200, {}, b'{"url":"x"}') == {"url": "x"}


def test_what_no_database_takes_is_taken_out_of_answers():
    answer = b'{"errcode":0,"a":"x\\u0000y\\ud800","b":[NaN,{"c\\u0000":"\\ud83d\\ude00"}]}'
    assert read_answer(PATH, 200, {}, answer) == {"errcode": 0, "a": "xy?", "b": [None, {"c": "😀"}]}


# over the network


async def served(aiohttp_server, handler):
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handler)
    return await aiohttp_server(app)


async def test_chinese_goes_out_unescaped_and_the_token_in_the_query(aiohttp_server):
    seen = {}

    async def handler(request):
        seen.update(body=await request.read(), query=dict(request.query))
        return web.json_response({"errcode": 0, "msgid": "m"})

    server = await served(aiohttp_server, handler)
    async with aiohttp.ClientSession() as session:
        transport = HttpTransport(session, str(server.make_url("/")))
        body = {"text": {"content": "你好\ud800"}}
        assert await transport.request("POST", PATH, params={"access_token": "t"}, json=body) == {
            "errcode": 0,
            "msgid": "m",
        }
    assert seen == {"body": '{"text":{"content":"你好?"}}'.encode(), "query": {"access_token": "t"}}


async def test_an_errcode_in_the_answer_is_raised(aiohttp_server):
    async def handler(_request):
        return web.json_response({"errcode": 95001, "errmsg": "over"})

    server = await served(aiohttp_server, handler)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(e.WindowFull):
            await HttpTransport(session, str(server.make_url("/"))).request("POST", PATH, json={})


async def test_nothing_was_sent_when_nobody_listens(unused_tcp_port):
    async with aiohttp.ClientSession() as session:
        with pytest.raises(e.Unreachable):
            await HttpTransport(session, f"http://127.0.0.1:{unused_tcp_port}").request("POST", PATH, json={})


async def test_nobody_knows_when_the_connection_breaks_or_the_answer_is_late(aiohttp_server):
    async def handler(request):
        if request.query.get("break"):
            request.transport.close()
        await asyncio.sleep(0.3)
        return web.Response()

    server = await served(aiohttp_server, handler)
    async with aiohttp.ClientSession() as session:
        transport = HttpTransport(session, str(server.make_url("/")))
        with pytest.raises(e.OutcomeUnknown):
            await transport.request("POST", PATH, json={}, params={"break": "1"})
        with pytest.raises(e.OutcomeUnknown) as late:
            await transport.request("POST", PATH, json={}, params={"access_token": "SECRET"}, timeout=0.1)
    assert "SECRET" not in str(late.value)
    assert late.value.__cause__ is None


async def test_a_download_is_a_file_with_its_name(aiohttp_server):
    async def handler(request):
        if request.query["media_id"] == "gone":
            return web.json_response({"errcode": 40007, "errmsg": "invalid media_id"})
        disposition = 'attachment; filename="a.png"'
        return web.Response(body=b"\x89PNG", content_type="image/png", headers={"Content-Disposition": disposition})

    server = await served(aiohttp_server, handler)
    async with aiohttp.ClientSession() as session:
        transport = HttpTransport(session, str(server.make_url("/")))
        found = await transport.request("GET", "/cgi-bin/media/get", params={"media_id": "m"})
        assert found == Blob(b"\x89PNG", "image/png", "a.png")
        with pytest.raises(e.MediaGone):
            await transport.request("GET", "/cgi-bin/media/get", params={"media_id": "gone"})
