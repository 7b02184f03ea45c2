"""Mass sends at the platform: asked for once, looked for when nobody knows, followed until every copy has its end."""

import logging
from datetime import timedelta
from typing import Any

from bot import texts
from bot.app import App
from bot.wecom import lanes
from bot.wecom.api.broadcasts import BroadcastsApi, ChatType, SendResult, SendStatus
from bot.wecom.api.call import pages
from bot.wecom.errors import NobodyToSendTo, RateLimited, TaskCancelled, WecomError
from bot.wecom.lanes import Sent
from campaigns import broadcasts
from campaigns.broadcasts import Copied, Look, Result, Task
from campaigns.definition import Message
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


class MassSends:
    """The lane that asks for tasks, and the loop that follows them."""

    def __init__(self, api: BroadcastsApi, app: App) -> None:
        self._api, self._app = api, app

    async def send(self, one: Claimed) -> Sent:
        """Ask for a task, as it is right at this instant. What must not leave now is planned again."""
        async with self._app.sessions.begin() as session:
            task = await broadcasts.ready(session, one.body["broadcast_id"], now=self._app.clock.now())
        if task is None:
            return Sent({"asked": False})
        try:
            made = await self._api.add_msg_template(_body(task))
        except NobodyToSendTo:
            await self._lose(task)
            return Sent({"asked": False})
        now = self._app.clock.now()
        words = texts.BROADCAST_ASKED.format(campaign=task.campaign, customers=len(task.external_userids))
        note = lanes.staff_message(
            {"msgtype": "text", "text": {"content": words}}, because=("broadcast", task.id), userids=(task.sender,)
        )
        learnt = broadcasts.asked(task, made.msgid, made.unreachable, now=now)
        return Sent({"msgid": made.msgid}, tuple(learnt), (note,))

    async def _lose(self, task: Task) -> None:
        async with self._app.sessions.begin() as session:
            await broadcasts.lose(session, task.id, "unreachable", now=self._app.clock.now())

    async def run(self) -> None:
        """Forever: look at what is due."""
        while True:
            if not await self.round():
                await self._app.peers.wait("mass_sends", seconds=IDLE_SECONDS)

    async def round(self) -> int:
        """Look at each broadcast that is due; returns how many. One that cannot be asked about is due again soon."""
        async with self._app.sessions.begin() as session:
            due = await broadcasts.claim_due(session, now=self._app.clock.now())
        for broadcast_id in due:
            try:
                await self._look(broadcast_id)
            except WecomError as error:
                log.warning("mass_sends.not_told", extra={"broadcast_id": broadcast_id, "error": str(error)})
        return len(due)

    async def _look(self, broadcast_id: int) -> None:
        async with self._app.sessions.begin() as session:
            found = await broadcasts.look(session, broadcast_id, now=self._app.clock.now())
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
            await broadcasts.take_results(
                session, task.id, results, confirmed_at=confirmed_at, is_over=is_over, now=self._app.clock.now()
            )
        self._app.peers.tap("campaigns")

    async def _remind(self, task: Task, msgid: str) -> None:
        try:
            await self._api.remind_groupmsg_send(msgid)
        except RateLimited:  # somebody reminded them by hand; that counts
            log.info("mass_sends.reminded_enough", extra={"broadcast_id": task.id})
        async with self._app.sessions.begin() as session:
            await broadcasts.reminded(session, task.id)

    async def _find(self, task: Task) -> None:
        """The answer to our question was lost: is the task there? Its customers tell which of several alike it is."""
        now = self._app.clock.now()
        since = task.waiting_since - CLOCKS_DIFFER
        listed = pages(
            lambda at: self._api.get_groupmsg_list_v2(
                ChatType.SINGLE, since, now + CLOCKS_DIFFER, at, creator=task.sender
            )
        )
        async for page in listed:
            for known in page.items:
                if known.content == task.message.text and await self._is_ours(task, known.msgid):
                    async with self._app.sessions.begin() as session:
                        for statement in broadcasts.asked(task, known.msgid, (), now=now):
                            await session.execute(statement)
                    return
        async with self._app.sessions.begin() as session:
            await broadcasts.never_was(session, task.id, now=now)

    async def _is_ours(self, task: Task, msgid: str) -> bool:
        async with self._app.sessions.read() as session:
            if await broadcasts.is_known(session, msgid):
                return False
        wanted = set(task.external_userids)
        async for page in self._api.results(msgid, task.sender):
            if any(one.external_userid in wanted for one in page.items):
                return True
        return False


def _body(task: Task) -> dict[str, Any]:
    body: dict[str, Any] = {
        "chat_type": ChatType.SINGLE.value,
        "external_userid": list(task.external_userids),
        "sender": task.sender,
        "text": {"content": task.message.text},
    }
    return {**body, "attachments": _attachments(task.message)} if task.message.link else body


def _attachments(message: Message) -> list[dict[str, Any]]:
    if message.link is None:
        return []
    given = {name: value for name, value in message.link.model_dump().items() if value}
    return [{"msgtype": "link", "link": given}]


def _result(one: SendResult) -> Result:
    return Result(one.external_userid, SAID[one.status], one.sent_at)
