"""Mass sends at the platform: asked for once, looked for when nobody knows, followed until every copy has its end."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot import texts
from bot.app import App
from bot.wecom import lanes
from bot.wecom.api.broadcasts import Broadcast as Listed
from bot.wecom.api.broadcasts import BroadcastsApi, ChatType, SendResult, SendStatus
from bot.wecom.api.call import pages
from bot.wecom.errors import NobodyToSendTo, RateLimited, TaskCancelled, WecomError
from bot.wecom.lanes import Sent
from campaigns import broadcasts, group_tasks
from campaigns.definition import Message
from campaigns.staff_tasks import Copied, Look, Result, Task
from crm.base.outbox import Claimed

log = logging.getLogger(__name__)

IDLE_SECONDS = 2.0
CLOCKS_DIFFER = timedelta(minutes=2)
SAID = {
    SendStatus.NOT_SENT: Copied.NOT_YET,
    SendStatus.SENT: Copied.SENT,
    SendStatus.NOT_A_CONTACT: Copied.NO_LONGER_CONTACT,
    SendStatus.LIMIT_REACHED: Copied.LIMIT_REACHED,
}


class Book(Protocol):
    """Where one kind of task is written down: campaigns/broadcasts.py, campaigns/group_tasks.py."""

    async def ready(self, session: AsyncSession, number: int, /, *, now: datetime) -> Task | None: ...
    def asked(self, task: Task, msgid: str, unreachable: Collection[str], *, now: datetime) -> list[sa.Update]: ...
    async def claim_due(self, session: AsyncSession, *, now: datetime) -> list[int]: ...
    async def look(self, session: AsyncSession, number: int, /, *, now: datetime) -> tuple[Look, Task] | None: ...
    async def lose(self, session: AsyncSession, number: int, /, reason: str, *, now: datetime) -> None: ...
    async def never_was(self, session: AsyncSession, number: int, /, *, now: datetime) -> bool: ...
    async def is_known(self, session: AsyncSession, msgid: str) -> bool: ...
    async def reminded(self, session: AsyncSession, number: int, /) -> None: ...
    async def take_results(
        self,
        session: AsyncSession,
        number: int,
        /,
        results: Sequence[Result],
        *,
        confirmed_at: datetime | None,
        is_over: bool = False,
        now: datetime,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Kind:
    """To customers or into groups: what differs at the platform, and the words for whoever confirms it."""

    book: Book
    chat_type: ChatType
    recipients: str  # the field of add_msg_template that lists them
    words: str
    noted_as: str


CUSTOMERS = Kind(broadcasts, ChatType.SINGLE, "external_userid", texts.BROADCAST_ASKED, "broadcast")
GROUPS = Kind(group_tasks, ChatType.GROUP, "chat_id_list", texts.GROUP_POST_ASKED, "group-post")


class MassSends:
    """The lane that asks for tasks of one kind, and the loop that follows them."""

    def __init__(self, api: BroadcastsApi, app: App, kind: Kind = CUSTOMERS) -> None:
        self._api, self._app = api, app
        self._kind, self._book = kind, kind.book

    async def send(self, one: Claimed) -> Sent:
        """Ask for a task, as it is right at this instant. What must not leave now is planned again."""
        async with self._app.sessions.begin() as session:
            task = await self._book.ready(session, one.body["broadcast_id"], now=self._app.clock.now())
        if task is None:
            return Sent({"asked": False})
        try:
            made = await self._api.add_msg_template(self._body(task))
        except NobodyToSendTo:
            await self._lose(task)
            return Sent({"asked": False})
        now = self._app.clock.now()
        words = self._kind.words.format(campaign=task.campaign, recipients=len(task.recipients))
        note = lanes.staff_message(
            _note(task, words), because=(self._kind.noted_as, task.noted_once or task.id), userids=(task.sender,)
        )
        learnt = self._book.asked(task, made.msgid, made.unreachable, now=now)
        return Sent({"msgid": made.msgid}, tuple(learnt), (note,))

    async def _lose(self, task: Task) -> None:
        async with self._app.sessions.begin() as session:
            await self._book.lose(session, task.id, "unreachable", now=self._app.clock.now())

    async def run(self) -> None:
        """Forever: look at what is due."""
        while True:
            if not await self.round():
                await self._app.peers.wait("mass_sends", seconds=IDLE_SECONDS)

    async def round(self) -> int:
        """Look at each broadcast that is due; returns how many. One that cannot be asked about is due again soon."""
        async with self._app.sessions.begin() as session:
            due = await self._book.claim_due(session, now=self._app.clock.now())
        for broadcast_id in due:
            try:
                await self._look(broadcast_id)
            except WecomError as error:
                log.warning("mass_sends.not_told", extra={"broadcast_id": broadcast_id, "error": str(error)})
        return len(due)

    async def _look(self, broadcast_id: int) -> None:
        async with self._app.sessions.begin() as session:
            found = await self._book.look(session, broadcast_id, now=self._app.clock.now())
        if found is None:
            return
        what, task = found
        if what is Look.FIND:
            await self._find(task)
        elif what is not Look.NOTHING:
            await self._ask(what, task)

    async def _ask(self, what: Look, task: Task) -> None:
        msgid = str(task.msgid)
        try:
            is_confirmed = await self._take_results(task, msgid)
            if what is Look.REMIND and not is_confirmed:
                await self._remind(task, msgid)
            if what is Look.TAKE_BACK:
                if not is_confirmed:
                    await self._api.cancel_groupmsg_send(msgid)
                await self._record(task, [], confirmed_at=None, is_over=True)
        except TaskCancelled:  # by us before a crash, or in the admin console
            await self._record(task, [], confirmed_at=None, is_over=True)

    async def _take_results(self, task: Task, msgid: str) -> bool:
        """Write down what the platform says; whether the sender has tapped."""
        shares = [share async for page in self._api.tasks(msgid) for share in page.items]
        own = next((one for one in shares if one.userid.lower() == task.sender.lower()), None)
        results = [_result(one) async for page in self._api.results(msgid, task.sender) for one in page.items]
        is_confirmed = own is not None and own.confirmed
        confirmed_at = (own.sent_at or self._app.clock.now()) if own is not None and own.confirmed else None
        await self._record(task, results, confirmed_at=confirmed_at, is_over=False)
        return is_confirmed

    async def _record(self, task: Task, results: list[Result], *, confirmed_at: Any, is_over: bool) -> None:
        async with self._app.sessions.begin() as session:
            await self._book.take_results(
                session, task.id, results, confirmed_at=confirmed_at, is_over=is_over, now=self._app.clock.now()
            )
        self._app.peers.tap("campaigns")

    async def _remind(self, task: Task, msgid: str) -> None:
        try:
            await self._api.remind_groupmsg_send(msgid)
        except RateLimited:  # somebody reminded them by hand; that counts
            log.info("mass_sends.reminded_enough", extra={"broadcast_id": task.id})
        async with self._app.sessions.begin() as session:
            await self._book.reminded(session, task.id)

    async def _find(self, task: Task) -> None:
        """The answer to our question was lost: is the task there? Its customers tell which of several alike it is."""
        now = self._app.clock.now()
        since = task.waiting_since - CLOCKS_DIFFER
        listed = pages(
            lambda at: self._api.get_groupmsg_list_v2(
                self._kind.chat_type, since, now + CLOCKS_DIFFER, at, creator=task.sender
            )
        )
        async for page in listed:
            for known in page.items:
                if _is_alike(known, task.message) and await self._is_ours(task, known.msgid):
                    async with self._app.sessions.begin() as session:
                        for statement in self._book.asked(task, known.msgid, (), now=now):
                            await session.execute(statement)
                    return
        async with self._app.sessions.begin() as session:
            await self._book.never_was(session, task.id, now=now)

    async def _is_ours(self, task: Task, msgid: str) -> bool:
        async with self._app.sessions.read() as session:
            if await self._book.is_known(session, msgid):
                return False
        if self._kind.chat_type is ChatType.GROUP:  # results name only groups that were sent: content and link must do
            return True
        wanted = set(task.recipients)
        async for page in self._api.results(msgid, task.sender):
            if any(one.external_userid in wanted for one in page.items):
                return True
        return False

    def _body(self, task: Task) -> dict[str, Any]:
        body: dict[str, Any] = {
            "chat_type": self._kind.chat_type.value,
            self._kind.recipients: list(task.recipients),
            "sender": task.sender,
            "text": {"content": task.message.text},
        }
        return {**body, "attachments": _attachments(task.message)} if task.message.link else body


def _note(task: Task, usual: str) -> dict[str, Any]:
    """What the sender reads in the app: a card where there is a page to see, else plain words."""
    if task.note is None:
        return {"msgtype": "text", "text": {"content": usual}}
    note = task.note
    if not note.url:
        return {"msgtype": "text", "text": {"content": f"{note.title}\n{note.text}"}}
    card = {"title": note.title, "description": note.text, "url": note.url, "btntxt": "看看"}
    return {"msgtype": "textcard", "textcard": card}


def _is_alike(known: Listed, message: Message) -> bool:
    return known.content == message.text and known.link_url == (message.link.url if message.link else "")


def _attachments(message: Message) -> list[dict[str, Any]]:
    if message.link is None:
        return []
    given = {name: value for name, value in message.link.model_dump().items() if value}
    return [{"msgtype": "link", "link": given}]


def _result(one: SendResult) -> Result:
    return Result(one.external_userid or one.chat_id, SAID[one.status], one.sent_at)
