"""Batches of the archive: kept once whatever happens, of nobody who has not agreed, and told to whom it concerns."""

import asyncio
import base64
import json
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import padding

from bot.app import App, Faq
from bot.archive import lines
from bot.archive.keys import PrivateKeys
from bot.archive.lines import ArchiveChoices
from bot.archive.reader import ArchiveReader
from bot.archive.source import ArchiveUnavailable, Opened, Record
from bot.faq.articles import Article
from bot.models.archive import ArchiveCount, ArchivedLine, ArchiveState
from bot.models.faq import FaqQuestion
from bot.models.sync import SyncKind, SyncRun
from bot.wecom.errors import NotACustomerGroup
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.outbox import OutboxRow
from crm.base.peers import Peers
from tests.bot.archive.test_records import KEY
from tests.factories import Make

ROOM, ANN, BOB = "wr-archived", "wm-ann", "wm-bob"
CHOICES = ArchiveChoices(keywords=("团购",))


@dataclass
class Tape:
    """A source of the test's own: records it wrote down, "decrypted" by looking them up."""

    clock: FrozenClock
    contents: list[dict[str, Any]] = field(default_factory=list)
    fails: int = 0

    def say(self, sender: str, words: str, *, room: str = ROOM, **more: Any) -> str:
        msgid = f"a{len(self.contents) + 1}"
        at = int(self.clock.now().timestamp() * 1000)
        said = {"msgid": msgid, "action": "send", "from": sender, "roomid": room, "msgtime": at}
        self.contents.append({**said, "msgtype": "text", "text": {"content": words}, **more})
        return msgid

    async def records(self, after: int, limit: int) -> Sequence[Record]:
        found = [Record(seq, str(seq), 1, self._sealed(seq), str(seq)) for seq in range(1, len(self.contents) + 1)]
        return [one for one in found if one.seq > after][:limit]

    async def decrypt(self, opened: Sequence[Opened]) -> Sequence[str | None]:
        if self.fails:
            self.fails -= 1
            raise ArchiveUnavailable("the machine went away")
        assert all(one.random_key == f"key-{one.sealed}" for one in opened)
        return [json.dumps(self.contents[int(one.sealed) - 1]) for one in opened]

    def _sealed(self, seq: int) -> str:
        return base64.b64encode(KEY.public_key().encrypt(f"key-{seq}".encode(), padding.PKCS1v15())).decode()


@dataclass
class Room:
    """A customer group with an owner and two customers, and the reader of its archive."""

    app: App
    tape: Tape
    agreed: dict[str, bool]
    asked: list[str] = field(default_factory=list)

    def reader(self) -> ArchiveReader:
        async def agreements(room_id: str) -> Mapping[str, bool]:
            self.asked.append(room_id)
            return self.agreed

        return ArchiveReader(self.app, self.tape, PrivateKeys({1: KEY}), agreements, CHOICES)

    async def rows(self, model: Any) -> list[Any]:
        async with self.app.sessions.read() as session:
            return list(await session.scalars(sa.select(model)))

    async def told(self) -> list[tuple[list[str], str]]:
        """Who was told what."""
        rows = sorted(await self.rows(OutboxRow), key=lambda one: one.id)
        assert {one.lane for one in rows} <= {"staff"}, "nothing else ever leaves"
        return [(one.body["userids"], one.body["message"]["text"]["content"]) for one in rows]


@pytest.fixture
async def room(sessions: Sessions, clock: FrozenClock, make: Make, chance: random.Random) -> AsyncIterator[Room]:
    owner = await make.staff("yuanyuan", name="圆圆")
    await make.member(external_userid=ANN, name="安安")
    await make.group(owner, ANN, BOB, chat_id=ROOM)
    known = [Article(id="ship", question="多久发货", similar=("几天发货",), answer="48 小时内")]
    app = App(clock=clock, chance=chance, sessions=sessions, peers=Peers(sessions, chance=chance), faq=Faq(known))
    yield Room(app, Tape(clock), {ANN: True, BOB: True})


async def test_a_batch_and_the_cursor_commit_together_once(room: Room) -> None:
    room.tape.say(ANN, "今天天气不错")
    room.tape.say("yuanyuan", "是呀")
    room.tape.say(ANN, "", msgtype="image", image={"md5sum": "x"})
    room.tape.say("icefog", "内部的事", room="wr-internal")
    room.tape.say(ANN, "私聊", room="")
    assert await room.reader().round() == 5
    assert await room.reader().round() == 0
    (state,) = await room.rows(ArchiveState)
    assert state.seq == 5
    assert {one.text for one in await room.rows(ArchivedLine)} == {"今天天气不错", "是呀"}
    counts = {one.kind: one.records for one in await room.rows(ArchiveCount)}
    assert counts == {"text": 2, "image": 1, "other_room": 1, "single_chat": 1}


async def test_what_dies_between_reading_and_keeping_is_read_again_and_kept_once(room: Room) -> None:
    for number in range(5):
        room.tape.say(ANN, f"我要投诉第{number}件事" if number == 3 else f"第{number}句")
    reader = room.reader()
    assert await reader.round(limit=2) == 2
    room.tape.fails = 1
    with pytest.raises(ArchiveUnavailable):
        await reader.round(limit=2)
    assert [one.seq for one in await room.rows(ArchiveState)] == [2]
    while await room.reader().round(limit=2):
        pass
    assert len(await room.rows(ArchivedLine)) == 5
    assert len(await room.told()) == 1
    assert sum(one.records for one in await room.rows(ArchiveCount)) == 5


async def test_of_readers_that_race_for_a_batch_one_keeps_it(room: Room) -> None:
    room.tape.say(ANN, "我要投诉你们")
    room.tape.say(BOB, "第二句")
    await asyncio.gather(*(room.reader().round() for _ in range(4)))
    assert len(await room.rows(ArchivedLine)) == 2
    assert [one.records for one in await room.rows(ArchiveCount)] == [2]
    assert len(await room.told()) == 1


async def test_the_race_is_real_without_the_guard(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: a reader that moves the cursor wherever it stands counts a batch again."""
    from bot.archive import reader as module

    async def move_anyhow(session: Any, batch: Any, *, now: Any) -> bool:
        await session.execute(sa.update(ArchiveState).values(seq=batch.up_to, read_at=now))
        return True

    room.tape.say(ANN, "一句话")
    first, second = await room.reader()._read(10), await room.reader()._read(10)
    assert first == second
    monkeypatch.setattr(module, "_move", move_anyhow)

    async def again(_limit: int) -> Any:
        return first

    for reader in (room.reader(), room.reader()):
        monkeypatch.setattr(reader, "_read", again)
        await reader.round()
    assert [one.records for one in await room.rows(ArchiveCount)] == [2]


async def test_who_has_not_agreed_is_not_read_and_a_change_of_mind_counts_at_once(room: Room) -> None:
    room.agreed = {ANN: True, BOB: False}
    room.tape.say(ANN, "我是安安")
    room.tape.say(BOB, "我要投诉你们")
    await room.reader().round()
    assert [one.text for one in await room.rows(ArchivedLine)] == ["我是安安"]
    assert await room.told() == []
    room.tape.say(ANN, "第二句")
    await room.reader().round()
    assert room.asked == [ROOM], "what is known is not asked again within the hour"

    room.agreed = {ANN: False, BOB: True}
    room.tape.say(BOB, "", msgtype="agree", agree={"userid": BOB})
    room.tape.say(ANN, "", msgtype="disagree", disagree={"userid": ANN})
    room.tape.say(BOB, "现在可以了")
    room.tape.say(ANN, "不要读我")
    await room.reader().round()
    assert {one.text for one in await room.rows(ArchivedLine)} == {"我是安安", "第二句", "现在可以了"}


async def test_if_wecom_does_not_say_who_agreed_nothing_is_read(room: Room) -> None:
    room.tape.say(ANN, "一句话")

    async def silent(_room_id: str) -> Mapping[str, bool]:
        raise ArchiveUnavailable("check_room_agree")

    reader = ArchiveReader(room.app, room.tape, PrivateKeys({1: KEY}), silent, CHOICES)
    with pytest.raises(ArchiveUnavailable):
        await reader.round()
    assert await room.rows(ArchivedLine) == []
    assert [one.seq for one in await room.rows(ArchiveState)] == [0]


async def test_a_group_of_which_wecom_knows_nothing_any_more_does_not_stop_the_others(room: Room, make: Make) -> None:
    await make.group(await make.staff("second"), ANN, chat_id="wr-gone")
    room.tape.say(ANN, "散了", room="wr-gone")
    room.tape.say(ANN, "还在")

    async def of_living(room_id: str) -> Mapping[str, bool]:
        if room_id == "wr-gone":
            raise NotACustomerGroup(90501, "chat_id is not an external chat", "check_room_agree")
        return room.agreed

    assert await ArchiveReader(room.app, room.tape, PrivateKeys({1: KEY}), of_living, CHOICES).round() == 2
    assert [one.text for one in await room.rows(ArchivedLine)] == ["还在"]
    assert {one.kind: one.records for one in await room.rows(ArchiveCount)} == {"not_agreed": 1, "text": 1}


async def test_a_complaint_reaches_the_owner_once_and_a_keyword_too(room: Room) -> None:
    room.tape.say(ANN, "我要投诉，猫粮发霉了")
    room.tape.say(ANN, "骗子店！！垃圾")
    room.tape.say(BOB, "有团购吗")
    room.tape.say("yuanyuan", "我也要投诉食堂")
    await room.reader().round()
    complaint, keyword = await room.told()
    assert complaint[0] == keyword[0] == ["yuanyuan"]
    assert "安安" in complaint[1]
    assert "猫粮发霉了" in complaint[1]
    assert "「团购」" in keyword[1]


async def test_before_the_groups_were_read_once_nothing_is_passed_over(room: Room, clock: FrozenClock) -> None:
    room.tape.say(ANN, "第一句")
    reader = room.reader()
    assert not await reader._read_all()
    assert [one.seq for one in await room.rows(ArchiveState)] == [0]
    async with room.app.sessions.begin() as session:
        now = clock.now()
        session.add(SyncRun(kind=SyncKind.GROUPS, started_at=now, place={}, finished_at=now))
    assert await reader._read_all()
    assert len(await room.rows(ArchivedLine)) == 1


async def test_old_trouble_alarms_nobody_when_it_is_read_late(room: Room, clock: FrozenClock) -> None:
    room.tape.say(ANN, "我要投诉你们")
    clock.advance(days=2)
    await room.reader().round()
    assert await room.told() == []


async def test_a_question_nobody_answered_joins_the_misses_and_an_answered_one_does_not(
    room: Room, clock: FrozenClock
) -> None:
    room.tape.say(ANN, "大象可以喂香蕉吗")
    clock.advance(minutes=40)
    room.tape.say(BOB, "斑马住在哪里呀")
    clock.advance(minutes=5)
    room.tape.say("yuanyuan", "住草原～")
    room.tape.say(ANN, "多久发货呀？")
    await room.reader().round()
    assert await lines.settle(room.app, CHOICES) == 1
    clock.advance(minutes=40)
    assert await lines.settle(room.app, CHOICES) == 1
    assert await lines.settle(room.app, CHOICES) == 0
    found = {one.text: one for one in await room.rows(FaqQuestion)}
    assert set(found) == {"大象可以喂香蕉吗", "多久发货呀？"}
    assert found["大象可以喂香蕉吗"].unanswered
    assert not found["多久发货呀？"].unanswered, "an article knows it: nothing to write"
    assert found["大象可以喂香蕉吗"].asker == ANN


async def test_a_message_taken_back_and_old_lines_are_gone(room: Room, clock: FrozenClock) -> None:
    msgid = room.tape.say(ANN, "说错话了怎么办呀")
    await room.reader().round()
    room.tape.say(ANN, "", msgtype="revoke", action="recall", revoke={"pre_msgid": msgid})
    room.tape.say(ANN, "先这样吧")
    await room.reader().round()
    assert [one.text for one in await room.rows(ArchivedLine)] == ["先这样吧"]
    clock.advance(days=6)
    assert await lines.forget(room.app, CHOICES) == 1
    assert timedelta(days=5) == CHOICES.kept


async def test_records_sealed_for_a_key_we_do_not_have_are_counted_and_passed(room: Room) -> None:
    room.tape.say(ANN, "一句话")

    async def agreements(_room_id: str) -> Mapping[str, bool]:
        return {}

    reader = ArchiveReader(room.app, room.tape, PrivateKeys({}), agreements, CHOICES)
    assert await reader.round() == 1
    assert {one.kind: one.records for one in await room.rows(ArchiveCount)} == {"no_key": 1}
