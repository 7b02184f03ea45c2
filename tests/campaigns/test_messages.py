"""What a campaign says: looked at before it is scheduled, filled for each member, and whole or not at all."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import definition, firing, messages, ticks, words
from campaigns.content import FieldMissing
from campaigns.definition import CampaignWrong, Message
from campaigns.draining import Letter
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from tests.campaigns.fixtures import OPEN_GATE, reasons, scheduled
from tests.factories import Make

EVERYBODY = {"is": "lifetime", "orders": {"most": 10**6}}


def told(text: str, **more: Any) -> definition.Definition:
    kind = {"kind": "one_off", "starts_at": "2026-03-10T10:00:00", "audience": EVERYBODY, "channels": ["kf"]}
    return definition.read({**kind, "messages": [{"text": text}], **more})


@pytest.mark.parametrize(
    ("text", "more", "wrong"),
    [
        ("{{ 会员名|没有就写('朋友') }}，满 100 减 20", {}, None),
        ("{{ 今天 }}开卖", {"channels": ["broadcast"]}, None),
        ("{{ 会员名 }}，开卖啦", {"channels": ["kf", "broadcast"]}, "企业群发对所有人是同一段话"),
        ("{{ 会员名称 }}", {}, "没有“会员名称”这个字段，是不是 会员名"),
        ("{% for x in 会员名 %}{% endfor %}", {}, "不能这样写"),
        ("全网最低价", {}, "第 1 个字“全网最低价”不能用"),
        ("全网最低价", {"words_confirmed": True}, "不能用"),
        ("错过再等一年", {}, "留神"),
        ("错过再等一年", {"words_confirmed": True}, None),
    ],
)
def test_what_keeps_a_campaign_from_being_scheduled(text: str, more: dict[str, Any], wrong: str | None) -> None:
    found = messages.mistakes(told(text, **more), words.read())
    assert [one["field"] for one in found] == (["messages.0.text"] if wrong else [])
    assert wrong is None or wrong in found[0]["reason"]


def test_every_message_of_every_tier_is_looked_at() -> None:
    tier = {"name": "a", "audience": EVERYBODY, "messages": [{"text": "好"}, {"text": "{{ 谁 }}"}]}
    link = {"title": "全网最低价", "url": "https://shop.example/sale"}
    found = messages.mistakes(told("好", messages=[{"text": "好", "link": link}], tiers=[tier]), words.read())
    assert [one["field"] for one in found] == ["messages.0.link.title", "tiers.0.messages.1.text"]


async def test_each_gets_their_own_text_or_a_reason(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    named, nameless = await make.member(name="小林"), await make.member(name="")
    message = Message(text="{{ 会员名 }}好，{{ 今天 }}见")
    async with sessions.read() as session:
        filled = await messages.fill(session, {named.id: message, nameless.id: message}, now=clock.now())
    text, refusal = filled[named.id], filled[nameless.id]
    assert isinstance(text, Message) and text.text == "小林好，3 月 9 日见"
    assert isinstance(refusal, FieldMissing) and refusal.names == ("会员名",)
    at = datetime(2026, 3, 9, 20, 0, tzinfo=UTC)
    assert messages.for_all(Message(text="{{ 今天 }}开卖"), now=at).text == "3 月 10 日开卖"


class Chat:
    """Everybody may be written to; what is written is kept."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []

    async def reachable_between(
        self, _session: AsyncSession, after_id: int, upto_id: int, *, now: datetime
    ) -> set[int]:
        return set(range(after_id + 1, min(upto_id, after_id + 1_000) + 1))

    async def put(self, _session: AsyncSession, letters: Sequence[Letter], *, now: datetime) -> None:
        self.letters += letters


async def test_who_lacks_a_field_is_left_out_with_the_reason_and_the_others_get_their_own_text(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    named, nameless = await make.member(name="小林"), await make.member(name="")
    with pytest.raises(CampaignWrong):
        await scheduled(sessions, clock, "写错了", channels=["kf"], messages=[{"text": "{{ 会员名称 }}"}])
    await scheduled(sessions, clock, channels=["kf"], messages=[{"text": "{{ 会员名 }}，满 199 减 30"}])
    clock.advance(minutes=2)
    chat = Chat()
    async with sessions.begin() as session:
        await firing.fire_due(session, now=clock.now())
        while await ticks.plan(session, now=clock.now()):
            pass
        while await ticks.drain(session, OPEN_GATE, chat, now=clock.now()):
            pass
    found = await reasons(sessions)
    assert found[nameless.id] == "field_missing"
    assert [(one.member_id, one.message.text) for one in chat.letters] == [(named.id, "小林，满 199 减 30")]
