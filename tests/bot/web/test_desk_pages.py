"""The agents' desk over HTTP: queues, answers, notes, marks, canned replies, colleagues."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot.access import audit
from bot.desk.later import LaterReplies
from bot.handoff import queue
from bot.handoff.policy import Policy
from bot.handoff.triggers import Reason
from bot.models.conversation import Conversation
from bot.models.gateway import Handling, InboundMessage
from bot.models.handoff import StepKind, Ticket, TicketMode, TicketStatus, TicketStep
from bot.wecom import lanes
from bot.wecom.api.kf import ServiceState
from bot.wecom.kf_items import Origin
from crm.base.clock import FrozenClock
from crm.base.outbox import OutboxRow
from crm.models.member import Member, MemberSource
from crm.sight import Role
from tests.bot.web.staffroom import Staffroom

KF = "wk0000000000000001"
DESK = Policy(desk_accounts=frozenset({KF}))


@pytest.fixture(autouse=True)
def _at_our_desk(staffroom: Staffroom) -> None:
    staffroom.house.app.handoff = DESK


async def called(
    room: Staffroom, words: str = "猫粮袋子破了", *, name: str = "橘座", mode: TicketMode = TicketMode.DESK
) -> int:
    """A customer wrote and a ticket was opened."""
    app, now = room.house.app, room.house.app.clock.now()
    async with app.sessions.begin() as session:
        count = await session.scalar(sa.select(sa.func.count()).select_from(Conversation)) or 0
        member = Member(
            code=f"M{count:07d}", name=name, joined_at=now, source=MemberSource.KF, avatar="", merged_into_id=None
        )
        session.add(member)
        await session.flush()
        talk = Conversation(
            open_kfid=KF,
            external_userid=f"wm{count}",
            member_id=member.id,
            service_state=ServiceState.BOT,
            last_customer_at=now,
            created_at=now,
        )
        session.add(talk)
        await session.flush()
        hear(session, talk.id, words, now=now, number=count)
        opened = await queue.call(session, talk, DESK, reason=Reason.COMPLAINT, quote=words, now=now)
        opened.ticket.mode = mode
        return opened.ticket.id


def hear(session: Any, conversation_id: int, words: str, *, now: datetime, number: int = 0) -> None:
    body = {
        "msgid": f"m{conversation_id}-{number}",
        "open_kfid": KF,
        "external_userid": f"wm{number}",
        "send_time": int(now.timestamp()),
        "origin": 3,
        "msgtype": "text",
        "text": {"content": words},
    }
    session.add(
        InboundMessage(
            msgid=body["msgid"],
            conversation_id=conversation_id,
            origin=Origin.CUSTOMER,
            kind="text",
            body=body,
            sent_at=now,
            received_at=now,
            status=Handling.DONE,
        )
    )


async def said(room: Staffroom) -> list[str]:
    async with room.house.app.sessions.read() as session:
        rows = await session.scalars(sa.select(OutboxRow).where(OutboxRow.lane == lanes.KF).order_by(OutboxRow.id))
        return [row.body["message"].get("text", {}).get("content", "") for row in rows if row.status == "waiting"]


async def test_an_agent_takes_a_ticket_answers_and_closes_it(staffroom: Staffroom) -> None:
    ticket_id = await called(staffroom)
    agent = await staffroom.enter(Role.AGENT, userid="adou")
    front = await agent.text("/desk")
    assert "橘座" in front and "没人接" in front and "投诉" in front
    page = await agent.text(f"/desk/tickets/{ticket_id}")
    assert "猫粮袋子破了" in page and "还能发 5 条" in page
    htmx = {"HX-Request": "true"}
    taken = await agent.post(f"/desk/tickets/{ticket_id}/take", headers=htmx)
    assert taken.status == 200 and "接待：adou" in await taken.text()
    for _ in range(2):  # sent twice by a nervous finger
        answer = await agent.post(f"/desk/tickets/{ticket_id}/reply", {"text": "马上补发", "key": "k1"}, headers=htmx)
        assert "还能发 4 条" in await answer.text()
    assert await said(staffroom) == ["马上补发"]
    closed = await agent.post(f"/desk/tickets/{ticket_id}/close", headers=htmx)
    assert "工单已结束" in await closed.text()
    async with staffroom.house.app.sessions.read() as session:
        assert (await session.get_one(Ticket, ticket_id)).status is TicketStatus.CLOSED
        newest = (await audit.page(session, about=f"ticket:{ticket_id}"))[0]
        assert (newest.action, newest.by) == ("ticket.closed", "agent")


async def test_of_two_agents_one_has_it_and_the_other_reads_why(staffroom: Staffroom) -> None:
    ticket_id = await called(staffroom)
    first = await staffroom.enter(Role.AGENT, userid="adou")
    second = await staffroom.enter(Role.MANAGER, userid="nuomi")
    path, htmx = f"/desk/tickets/{ticket_id}/take", {"HX-Request": "true"}
    answers = await asyncio.gather(first.post(path, headers=htmx), second.post(path, headers=htmx))
    assert sorted(one.status for one in answers) == [200, 409]
    loser = next(one for one in answers if one.status == 409)
    assert await loser.text() == "这位客户已由同事接待。"


async def test_an_auditor_reads_along_without_words_and_writes_nothing(staffroom: Staffroom) -> None:
    ticket_id = await called(staffroom)
    auditor = await staffroom.enter(Role.AUDITOR)
    page = await auditor.text(f"/desk/tickets/{ticket_id}")
    assert "猫粮袋子破了" not in page and "橘座" not in page and "发送</button>" not in page
    assert (await auditor.post(f"/desk/tickets/{ticket_id}/reply", {"text": "x", "key": "1"})).status == 403


async def test_a_native_ticket_says_who_may_write_and_where(staffroom: Staffroom) -> None:
    ticket_id = await called(staffroom, mode=TicketMode.NATIVE)
    agent = await staffroom.enter(Role.AGENT, userid="adou")
    assert "在企业微信里接待" in await agent.text(f"/desk/tickets/{ticket_id}")
    refused = await agent.post(
        f"/desk/tickets/{ticket_id}/reply", {"text": "您好", "key": "1"}, headers={"HX-Request": "true"}
    )
    assert refused.status == 422 and await said(staffroom) == []


async def test_a_spent_window_is_said_in_plain_words(staffroom: Staffroom, clock: FrozenClock) -> None:
    ticket_id = await called(staffroom)
    agent = await staffroom.enter(Role.AGENT, userid="adou")
    clock.advance(hours=47)
    agent = await staffroom.enter(Role.AGENT)
    clock.advance(hours=1)
    assert "现在发不了" in await agent.text(f"/desk/tickets/{ticket_id}")
    answer = await agent.post(f"/desk/tickets/{ticket_id}/reply", {"text": "在吗", "key": "1"})
    assert answer.status == 409 and "48 小时" in await answer.text()


async def test_a_gap_does_not_leave_and_a_variable_fills_itself(staffroom: Staffroom) -> None:
    ticket_id = await called(staffroom)
    agent = await staffroom.enter(Role.AGENT, userid="adou")
    text = "{{客户}}您好，{{等级}}，单号 [[单号]]"
    assert (await agent.post("/desk/canned", {"code": "/物流", "title": "查物流", "text": text})).status == 200
    page = await agent.text(f"/desk/tickets/{ticket_id}")
    assert "橘座您好，[[等级]]，单号 [[单号]]" in page
    answer = await agent.post(f"/desk/tickets/{ticket_id}/reply", {"text": "单号 [[单号]]", "key": "1"})
    assert answer.status == 422 and "没填的空：[[单号]]" in await answer.text()
    wrong = await agent.post("/desk/canned", {"code": "x", "title": "", "text": "{{生日}}"})
    assert wrong.status == 422 and "生日" in await wrong.text()
    assert await said(staffroom) == []


async def test_a_note_with_an_at_tells_the_colleague(staffroom: Staffroom) -> None:
    ticket_id = await called(staffroom)
    agent = await staffroom.enter(Role.AGENT, userid="adou")
    await staffroom.enter(Role.MANAGER, userid="nuomi")
    await agent.post(f"/desk/tickets/{ticket_id}/note", {"words": "@manager 看一下这单"})
    async with staffroom.house.app.sessions.read() as session:
        told = await session.scalars(sa.select(OutboxRow).where(OutboxRow.lane == lanes.STAFF))
        assert [row.body["userids"] for row in told] == [["nuomi"]]
    assert "看一下这单" in await agent.text(f"/desk/tickets/{ticket_id}")


async def test_snoozed_it_is_out_of_sight_until_the_customer_writes(staffroom: Staffroom, clock: FrozenClock) -> None:
    ticket_id = await called(staffroom)
    agent = await staffroom.enter(Role.AGENT, userid="adou")
    await agent.post(f"/desk/tickets/{ticket_id}/take")
    await agent.post(f"/desk/tickets/{ticket_id}/labels", {"labels": "补发，加急 补发"})
    await agent.post(f"/desk/tickets/{ticket_id}/snooze", {"hours": "4"})
    assert "橘座" not in await agent.text("/desk/list?queue=mine")
    asleep = await agent.text("/desk/list?queue=snoozed")
    assert "橘座" in asleep and "加急" in asleep
    clock.advance(minutes=5)
    async with staffroom.house.app.sessions.begin() as session:
        await session.execute(sa.update(Conversation).values(last_customer_at=clock.now()))
    assert "橘座" in await agent.text("/desk/list?queue=mine")


async def test_late_tickets_stand_in_their_queues(staffroom: Staffroom, clock: FrozenClock) -> None:
    await called(staffroom)
    agent = await staffroom.enter(Role.AGENT)
    clock.advance(hours=1, minutes=40)
    assert "橘座" in await agent.text("/desk/list?queue=at_risk")
    clock.advance(minutes=30)
    assert "橘座" in await agent.text("/desk/list?queue=breached")
    assert "橘座" not in await agent.text("/desk/list?queue=at_risk")


async def test_one_customers_two_tickets_become_one(staffroom: Staffroom) -> None:
    first, second = await called(staffroom), await called(staffroom, "还没收到")
    other = await called(staffroom, name="布偶")
    async with staffroom.house.app.sessions.begin() as session:
        member = (await session.get_one(Ticket, first)).member_id
        await session.execute(sa.update(Ticket).where(Ticket.id == second).values(member_id=member))
    agent = await staffroom.enter(Role.AGENT, userid="adou")
    assert (await agent.post(f"/desk/tickets/{second}/merge", {"into": f"#{other}"})).status == 422
    assert (await agent.post(f"/desk/tickets/{second}/merge", {"into": f"#{first}"})).status == 303
    async with staffroom.house.app.sessions.read() as session:
        assert (await session.get_one(Ticket, second)).status is TicketStatus.CLOSED
        notes = await session.scalars(sa.select(TicketStep.note).where(TicketStep.ticket_id == first))
        assert any("还没收到" in note for note in notes)


async def test_a_ticket_is_passed_on_and_the_colleague_told(staffroom: Staffroom) -> None:
    ticket_id = await called(staffroom)
    agent = await staffroom.enter(Role.AGENT, userid="adou")
    await agent.post(f"/desk/tickets/{ticket_id}/take")
    await agent.post(f"/desk/tickets/{ticket_id}/pass", {"to": "nuomi"})
    async with staffroom.house.app.sessions.read() as session:
        assert (await session.get_one(Ticket, ticket_id)).servicer_userid == "nuomi"
    again = await agent.post(f"/desk/tickets/{ticket_id}/pass", {"to": "adou"}, headers={"HX-Request": "true"})
    assert again.status == 409


async def test_an_answer_waits_for_its_hour_and_goes_once(staffroom: Staffroom, clock: FrozenClock) -> None:
    ticket_id = await called(staffroom)
    agent = await staffroom.enter(Role.AGENT, userid="adou")
    fields = {"text": "补发单号明天给您", "key": "1", "due_at": local(clock, hours=2)}
    answer = await agent.post(f"/desk/tickets/{ticket_id}/reply", fields, headers={"HX-Request": "true"})
    assert "发送：" in await answer.text() and await said(staffroom) == []
    loops = [LaterReplies(staffroom.house.app), LaterReplies(staffroom.house.app)]
    await asyncio.gather(*(one.tick() for one in loops))
    assert await said(staffroom) == []
    clock.advance(hours=2)
    await asyncio.gather(*(one.tick() for one in loops))
    assert await said(staffroom) == ["补发单号明天给您"]


async def test_an_answer_that_may_not_leave_any_more_is_noted(staffroom: Staffroom, clock: FrozenClock) -> None:
    ticket_id = await called(staffroom)
    agent = await staffroom.enter(Role.AGENT, userid="adou")
    fields = {"text": "您好", "key": "1", "due_at": local(clock, hours=2)}
    await agent.post(f"/desk/tickets/{ticket_id}/reply", fields)
    await agent.post(f"/desk/tickets/{ticket_id}/close")
    clock.advance(hours=2)
    await LaterReplies(staffroom.house.app).tick()
    async with staffroom.house.app.sessions.read() as session:
        steps = await session.scalars(sa.select(TicketStep).where(TicketStep.kind == StepKind.NOTED))
        assert ["ticket.closed" in step.note for step in steps] == [True]


@pytest.mark.parametrize("hour", ["yesterday", "2020-01-01T10:00", "2099-01-01T10:00"])
async def test_an_hour_that_cannot_be_is_refused(staffroom: Staffroom, hour: str) -> None:
    ticket_id = await called(staffroom)
    agent = await staffroom.enter(Role.AGENT, userid="adou")
    fields = {"text": "您好", "key": "1", "due_at": hour}
    answer = await agent.post(f"/desk/tickets/{ticket_id}/reply", fields, headers={"HX-Request": "true"})
    assert answer.status == 422 and "定时" in await answer.text()


async def test_colleagues_at_the_same_ticket_see_each_other(staffroom: Staffroom, clock: FrozenClock) -> None:
    ticket_id = await called(staffroom)
    agent = await staffroom.enter(Role.AGENT, userid="adou")
    manager = await staffroom.enter(Role.MANAGER, userid="nuomi")
    await manager.post(f"/desk/tickets/{ticket_id}/seat", {"types": "1"})
    seen = await agent.post(f"/desk/tickets/{ticket_id}/seat", {"types": "0"})
    assert "manager 正在输入" in await seen.text()
    clock.advance(minutes=1)
    gone = await agent.post(f"/desk/tickets/{ticket_id}/seat", {"types": "0"})
    assert "manager" not in await gone.text()


async def test_the_transcript_is_the_whole_talk_and_leaves_a_trace(staffroom: Staffroom) -> None:
    ticket_id = await called(staffroom)
    agent = await staffroom.enter(Role.AGENT, userid="adou")
    text = await agent.text(f"/desk/tickets/{ticket_id}/transcript")
    assert "客户：猫粮袋子破了" in text
    async with staffroom.house.app.sessions.read() as session:
        assert [one.about for one in await audit.page(session, action="ticket.transcript")] == [f"ticket:{ticket_id}"]


def local(clock: FrozenClock, **later: float) -> str:
    """As a datetime-local field says it."""
    return f"{clock.now() + timedelta(hours=8) + timedelta(**later):%Y-%m-%dT%H:%M}"
