"""Mass sends (企业群发): tasks that reach a customer only when the member of staff taps 发送."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum

from bot.wecom.api.call import Caller, Page, pages
from bot.wecom.reading import EPOCH, Fields, Json, given, instant, number, obj, objs, text, texts

CONTACT = "/cgi-bin/externalcontact"
TASKS_PER_PAGE = 1000
BROADCASTS_PER_PAGE = 100


class ChatType(StrEnum):
    SINGLE = "single"
    GROUP = "group"


class SendStatus(IntEnum):
    """How far one recipient's copy has come."""

    NOT_SENT = 0
    SENT = 1
    NOT_A_CONTACT = 2  # no longer a contact of the sender
    LIMIT_REACHED = 3  # this month the customer got all the mass messages WeCom allows


@dataclass(frozen=True, slots=True)
class NewBroadcast:
    msgid: str
    unreachable: tuple[str, ...]  # ids that will not get it whatever the staff do


@dataclass(frozen=True, slots=True)
class Broadcast:
    msgid: str
    creator: str
    created_at: datetime
    content: str
    link_url: str = ""  # of its first card that opens a page


@dataclass(frozen=True, slots=True)
class StaffTask:
    """One member of staff's part of a mass send."""

    userid: str
    confirmed: bool
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of one copy. Group sends list only the groups it was sent to."""

    userid: str
    external_userid: str
    chat_id: str
    status: SendStatus
    sent_at: datetime | None


class BroadcastsApi:
    """Calls about mass sends. Asked for, confirmed and sent are three facts, and each has its call."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def add_msg_template(self, body: Fields, *, app: str | None = None) -> NewBroadcast:
        """Create a mass-send task from `body` (chat_type, external_userid or chat_id_list, sender, text, attachments).

        Raises NobodyToSendTo. Not repeatable: a second try asks the staff to send it twice.
        """
        answer = await self._caller.post(f"{CONTACT}/add_msg_template", dict(body), app=app, repeatable=False)
        return NewBroadcast(text(answer, "msgid"), texts(answer, "fail_list"))

    async def get_groupmsg_list_v2(
        self,
        chat_type: ChatType,
        start_at: datetime,
        end_at: datetime,
        cursor: str = "",
        *,
        creator: str | None = None,
        filter_type: int = 2,
        app: str | None = None,
    ) -> Page[Broadcast]:
        """A page of the mass sends of up to a month: what settles an add_msg_template without an answer."""
        body = given(
            chat_type=chat_type.value,
            start_time=int(start_at.timestamp()),
            end_time=int(end_at.timestamp()),
            creator=creator,
            filter_type=filter_type,
            limit=BROADCASTS_PER_PAGE,
            cursor=cursor or None,
        )
        answer = await self._caller.post(f"{CONTACT}/get_groupmsg_list_v2", body, app=app, repeatable=True)
        return Page(tuple(_broadcast(one) for one in objs(answer, "group_msg_list")), text(answer, "next_cursor"))

    async def get_groupmsg_task(self, msgid: str, cursor: str = "", *, app: str | None = None) -> Page[StaffTask]:
        """A page of who was asked to send it, and who did. Raises StillDispatching right after creation."""
        body = given(msgid=msgid, limit=TASKS_PER_PAGE, cursor=cursor or None)
        answer = await self._caller.post(f"{CONTACT}/get_groupmsg_task", body, app=app, repeatable=True)
        return Page(tuple(_task(one) for one in objs(answer, "task_list")), text(answer, "next_cursor"))

    def tasks(self, msgid: str, *, app: str | None = None) -> AsyncIterator[Page[StaffTask]]:
        """All pages of `get_groupmsg_task`."""
        return pages(lambda at: self.get_groupmsg_task(msgid, at, app=app))

    async def get_groupmsg_send_result(
        self, msgid: str, userid: str, cursor: str = "", *, app: str | None = None
    ) -> Page[SendResult]:
        """A page of what became of one member of staff's copies."""
        body = given(msgid=msgid, userid=userid, limit=TASKS_PER_PAGE, cursor=cursor or None)
        answer = await self._caller.post(f"{CONTACT}/get_groupmsg_send_result", body, app=app, repeatable=True)
        return Page(tuple(_result(one) for one in objs(answer, "send_list")), text(answer, "next_cursor"))

    def results(self, msgid: str, userid: str, *, app: str | None = None) -> AsyncIterator[Page[SendResult]]:
        """All pages of `get_groupmsg_send_result`."""
        return pages(lambda at: self.get_groupmsg_send_result(msgid, userid, at, app=app))

    async def remind_groupmsg_send(self, msgid: str, *, app: str | None = None) -> None:
        """Remind those who have not sent it: three times in 24 hours, then RateLimited."""
        await self._caller.post(f"{CONTACT}/remind_groupmsg_send", {"msgid": msgid}, app=app, repeatable=False)

    async def cancel_groupmsg_send(self, msgid: str, *, app: str | None = None) -> None:
        """Take the task back; what was sent stays sent. Raises TaskCancelled when it was taken back before."""
        await self._caller.post(f"{CONTACT}/cancel_groupmsg_send", {"msgid": msgid}, app=app, repeatable=True)


def _broadcast(fields: Json) -> Broadcast:
    links = [text(obj(one, "link"), "url") for one in objs(fields, "attachments") if one.get("msgtype") == "link"]
    return Broadcast(
        text(fields, "msgid"),
        text(fields, "creator"),
        instant(fields, "create_time"),
        text(obj(fields, "text"), "content"),
        next(iter(links), ""),
    )


def _task(fields: Json) -> StaffTask:
    return StaffTask(text(fields, "userid"), number(fields, "status") == 2, _sent_at(fields))


def _result(fields: Json) -> SendResult:
    status = number(fields, "status")
    return SendResult(
        text(fields, "userid"),
        text(fields, "external_userid"),
        text(fields, "chat_id"),
        SendStatus(status) if status in set(SendStatus) else SendStatus.NOT_SENT,
        _sent_at(fields),
    )


def _sent_at(fields: Json) -> datetime | None:
    found = instant(fields, "send_time")
    return None if found == EPOCH else found
