"""Lists of the API: every row once whatever comes meanwhile, cursors that fit their list, people masked by scope."""

import random
import re
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pytest_aiohttp.plugin import AiohttpClient

import bot
import campaigns
import crm
from bot import api_keys
from bot.app import App
from bot.models.api import Scope
from bot.outward import TOLD
from bot.web.api import Api
from bot.web.api_access import Access
from bot.web.api_calls import every_call
from bot.web.server import create_app
from campaigns.reactions import Reader, reactions
from crm import segments
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.peers import Peers
from crm.custom_events import is_custom
from crm.models.audience import SegmentMember
from crm.models.private import Reveal
from tests.bot.web.api_server import settle
from tests.bot.web.described import fits
from tests.bot.whole_person import MARKS, VAULT, whole_person
from tests.conftest import ROOT
from tests.factories import Make

Client = TestClient[web.Request, web.Application]
ALL = {"Authorization": "Bearer test-api-key"}
VIEWED = {"is": "did", "event": "XViewedProduct"}


@pytest.fixture
async def client(sessions: Sessions, clock: FrozenClock, aiohttp_client: AiohttpClient) -> Client:
    chance = random.Random(7)
    app = App(clock=clock, chance=chance, sessions=sessions, peers=Peers(sessions, chance=chance))
    access = Access(sessions, clock, keys={"shop": "test-api-key"}, vault=VAULT)
    return await aiohttp_client(TestServer(create_app(app, Api(every_call(VAULT), sessions, clock, access).routes())))


async def key_with(sessions: Sessions, clock: FrozenClock, *scopes: Scope) -> dict[str, str]:
    async with sessions.begin() as session:
        made = await api_keys.create(
            session, VAULT, "k", scopes, by="boss", now=clock.now(), chance=random.SystemRandom()
        )
    return {"Authorization": f"Bearer {made.secret}"}


async def get(client: Client, path: str, key: dict[str, str] | None = None, **query: Any) -> tuple[int, Any]:
    answer = await client.get(f"/api/v1{path}", params=query, headers=key or ALL)
    fits("GET", path, answer.status, await answer.json())
    return answer.status, await answer.json()


async def post(client: Client, path: str, body: Any, key: dict[str, str] | None = None) -> tuple[int, Any]:
    answer = await client.post(f"/api/v1{path}", json=body, headers=key or ALL)
    fits("POST", path, answer.status, await answer.json())
    return answer.status, await answer.json()


async def test_every_row_comes_once_whatever_comes_meanwhile(client: Client, make: Make) -> None:
    member = await make.member()
    for _ in range(5):
        await make.order(member)
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        status, page = await get(client, "/orders", limit=2, **after)
        assert status == 200
        seen += [one["external_no"] for one in page["orders"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
        if len(seen) == 2:
            await make.order(member)
    assert len(seen) == len(set(seen)) == 6


@pytest.mark.parametrize("after", ["x", "bm8", "W10", "WyJ4IiwxXQ"], ids=["odd", "no json", "empty", "another list"])
async def test_a_cursor_that_is_none_is_refused(client: Client, after: str) -> None:
    status, told = await get(client, "/orders", after=after)
    assert (status, told["error"]) == (422, "api.bad_cursor")


async def test_a_cursor_belongs_to_its_list_and_filters(client: Client, make: Make) -> None:
    member = await make.member()
    for _ in range(3):
        await make.order(member)
    _, page = await get(client, "/orders", limit=1)
    for path, more in (("/orders", {"status": "paid"}), ("/members/search", {})):
        assert (await get(client, path, after=page["next"], **more))[1]["error"] == "api.bad_cursor"
    assert (await get(client, "/orders", after=page["next"], limit=200))[0] == 200


async def test_people_are_masked_unless_the_key_may_see_them(
    client: Client, sessions: Sessions, clock: FrozenClock
) -> None:
    await whole_person(sessions, clock)
    key = await key_with(sessions, clock, Scope.MEMBERS_READ, Scope.SEGMENTS_READ)
    _, plain = await get(client, "/members/search")
    code = plain["members"][0]["code"]
    assert plain["members"][0]["name"] == "印记姓名"
    masked = [await get(client, "/members/search", key), await get(client, "/members", key, code=code)]
    masked.append(await get(client, f"/members/{code}/card", key))
    for status, told in masked:
        assert status == 200
        assert [mark for mark in MARKS if mark in str(told)] == []
    assert (await get(client, f"/members/{code}/card", key, role="manager"))[1]["error"] == "sight.may_not_see"
    assert (await post(client, f"/members/{code}/phones", {"because": "x"}, key))[1]["error"] == "api.scope_missing"


async def test_a_look_at_a_phone_is_kept(client: Client, sessions: Sessions, clock: FrozenClock) -> None:
    await whole_person(sessions, clock)
    code = (await get(client, "/members/search"))[1]["members"][0]["code"]
    status, told = await post(client, f"/members/{code}/phones", {"because": "快递打不通"})
    assert (status, told["phones"]) == (200, ["+8613800138000"])
    assert (await post(client, f"/members/{code}/phones", {"because": " "}))[1]["error"] == "sight.why_missing"
    async with sessions.read() as session:
        kept = (await session.scalars(sa.select(Reveal).order_by(Reveal.id.desc()))).first()
    assert kept is not None and (kept.userid, kept.because) == ("api:shop", "快递打不通")


async def test_what_happened_is_read_forward_once(client: Client, make: Make) -> None:
    await make.order(await make.member())
    _, page = await get(client, "/events")
    names = [one["name"] for one in page["events"]]
    assert names[0] == "MemberEnrolled" and "OrderPaid" in names and not page["more"]
    paid = next(one for one in page["events"] if one["name"] == "OrderPaid")
    assert paid["data"] == {"order": "test/T2", "paid_fen": 8800} and len(paid["member"]) == 8
    _, empty = await get(client, "/events", after=page["next"])
    assert empty["events"] == []
    await make.member()
    _, more = await get(client, "/events", after=empty["next"])
    assert [one["name"] for one in more["events"]] == ["MemberEnrolled"]
    _, first = await get(client, "/events", limit=1, name="OrderPaid")
    assert [one["id"] for one in first["events"]] == [paid["id"]]


async def test_an_event_of_elsewhere_moves_a_member_into_a_segment(
    client: Client, sessions: Sessions, clock: FrozenClock, make: Make
) -> None:
    member = await make.member(external_userid="wm1")
    async with sessions.begin() as session:
        segment = await segments.save(session, "看过的", VIEWED, watched=True, now=clock.now())
        await segments.refresh(session, segment.id, now=clock.now())
    told = {"name": "XViewedProduct", "member": {"external_userid": "wm1"}, "data": {"sku": "F1"}}
    assert await post(client, "/events", {"events": [told]}) == (200, {"recorded": 1})
    reader = Reader(sessions, Peers(sessions, chance=random.Random(7)), clock, cursor="c", table=reactions.table)
    while (await reader.round())[0]:
        pass
    async with sessions.read() as session:
        assert list(await session.scalars(sa.select(SegmentMember.member_id))) == [member.id]
    assert (await get(client, f"/segments/{segment.id}/count"))[1]["members"] == 1
    _, people = await get(client, f"/segments/{segment.id}/members")
    assert [one["code"] for one in people["members"]] == [member.code]
    _, page = await get(client, "/events", name="XViewedProduct")
    assert page["events"][0]["data"] == {"sku": "F1"} and page["events"][0]["member"] == member.code


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"name": "OrderPaid"}, "api.invalid"),
        ({"data": {"member_id": 1}}, "event.field_reserved"),
        ({"happened_at": "2020-01-01T00:00:00"}, "event.no_such_time"),
        ({"happened_at": "2030-01-01T00:00:00"}, "event.no_such_time"),
        ({"member": {"external_userid": "nobody"}}, "member.unknown"),
    ],
    ids=["ours", "our field", "long ago", "ahead", "stranger"],
)
async def test_nobody_pretends_to_be_us(client: Client, make: Make, change: dict[str, Any], error: str) -> None:
    await make.member(external_userid="wm1")
    told = {"name": "XSeen", "member": {"external_userid": "wm1"}}
    assert (await post(client, "/events", {"events": [told, {**told, **change}]}))[1]["error"] == error
    assert (await get(client, "/events", name="XSeen"))[1]["events"] == []


async def test_a_sale_is_planned_announced_and_ended(client: Client, make: Make) -> None:
    group = await make.group(None, "wm1", chat_id="wr1")
    item = {"code": "A1", "sku": "F1", "name": "冻干", "price_fen": 100, "list_price_fen": 200, "stock": 5}
    plan = {"name": "周四", "opens_at": "2026-03-10T20:00:00", "closes_at": "2026-03-10T22:00:00", "groups": ["wr1"]}
    status, sale = await post(client, "/sales", {**plan, "items": [{**item, "shares": {"wr1": 2}}]})
    assert (status, sale["status"], sale["items"][0]["left"]) == (200, "draft", 5)
    assert [one["chat_id"] for one in sale["groups"]] == [group.chat_id]
    assert (await post(client, "/sales", {**plan, "groups": ["wr9"], "items": [item]}))[1]["error"] == (
        "sale.group_unknown"
    )
    early = {**plan, "closes_at": "2026-03-10T19:00:00", "items": [item]}
    assert (await post(client, "/sales", early))[1]["facts"]["problem"] == "结束时间要晚于开始时间"
    code = sale["code"]
    assert (await post(client, f"/sales/{code}/announce", {}))[1]["status"] == "announced"
    status, told = await post(client, f"/sales/{code.lower()}/announce", {})
    assert (status, told["error"], told["facts"]["stands"]) == (409, "sale.wrong_status", "announced")
    assert (await get(client, f"/sales/{code}/claims"))[1] == {"next": None, "claims": []}
    assert (await post(client, f"/sales/{code}/close", {}))[1]["status"] == "closed"
    assert [one["code"] for one in (await get(client, "/sales", status="closed"))[1]["sales"]] == [code]


async def test_a_campaign_is_looked_at_and_stopped(client: Client, sessions: Sessions, clock: FrozenClock) -> None:
    await settle(sessions, clock)
    (one,) = (await get(client, "/campaigns"))[1]["campaigns"]
    assert (await get(client, f"/campaigns/{one['id']}"))[1]["members"] == 0
    status, told = await post(client, f"/campaigns/{one['id']}/pause", {"because": "断货"})
    assert (status, told["error"], told["facts"]["stands"]) == (409, "campaign.wrong_status", "draft")
    assert (await post(client, f"/campaigns/{one['id']}/stop", {}))[1]["status"] == "cancelled"
    assert (await get(client, "/campaigns/999"))[1]["error"] == "campaign.not_found"


def test_no_event_of_ours_has_a_name_that_others_may_tell() -> None:
    """And each that is told outside is a class of ours, so that the list in the docs names nothing that never comes."""
    docs = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    known = {path for package in (crm, campaigns, bot) for path in Path(package.__path__[0]).rglob("*.py")}
    classes = set(re.findall(r"^class (\w+)", "\n".join(path.read_text(encoding="utf-8") for path in known), re.M))
    assert set(TOLD) <= classes
    assert [name for name in TOLD if f"`{name}`" not in docs] == []
    assert [name for name in reactions.table if is_custom(name)] == []


async def test_a_condition_is_tried_before_anything_is_kept(client: Client, make: Make) -> None:
    await make.member()
    await make.member()
    status, told = await post(client, "/segments/preview", {"condition": VIEWED})
    assert (status, told["members"]) == (200, 0)
    assert [(step["left"], step["fell"]) for step in told["steps"]] == [(2, 0), (0, 2)]
    assert (await get(client, "/segments"))[1]["segments"] == []


async def test_what_is_wrong_in_a_condition_is_told_with_its_place(client: Client) -> None:
    status, told = await post(client, "/segments/preview", {"condition": {"is": "nothing"}})
    assert (status, told["error"]) == (422, "segment.definition_wrong")
    assert all(field.startswith("condition") for field in told["fields"]) and told["fields"]
