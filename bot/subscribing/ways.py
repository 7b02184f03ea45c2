"""The ways a reminder goes from here, and the loop that works off what a day brings to subscriptions."""

import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from bot.app import App
from bot.handoff import queue
from bot.subscribing import words
from bot.wecom import kf_chat, lanes
from campaigns import deliveries, gate_words, subscription_days, subscription_reminders
from campaigns.definition import Link, Message
from campaigns.subscription_reminders import Due, Key
from crm.base import outbox
from crm.base.clock import day_start, local_day

log = logging.getLogger(__name__)

TOPIC = "subscriptions"
LOOK_EVERY = 30.0  # seconds
PAGE = "/h5/subscriptions"
NAMES = {"kf": "客服会话", "broadcast": "企业群发", "todo": "员工待办"}
WHY = {
    "nobody": "没有可以转告的同事",
    deliveries.NO_CONTACT: "不是任何员工的联系人",
    deliveries.STOPPED: "急停时撤回了",
    deliveries.NOT_CONFIRMED: "群发没有人确认",
    deliveries.UNREACHABLE: "企业微信说送不到",
    deliveries.LIMIT_REACHED: "这位客户的群发次数用完了",
    deliveries.NO_LONGER_CONTACT: "已不是好友",
    deliveries.NOT_SENT: "没有发出",
}


def why(code: str) -> str:
    """Why a way was closed, as a colleague reads it."""
    return WHY.get(code) or gate_words.label(code)


class Edge:
    """Chat, mass send and colleagues, as subscription_reminders.Ways asks for them."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def reachable(self, session: AsyncSession, member_ids: Collection[int], *, now: datetime) -> set[int]:
        return await kf_chat.KfChat().reachable(session, member_ids, now=now)

    async def write(self, session: AsyncSession, dues: Sequence[Due], *, now: datetime) -> Mapping[Key, str]:
        """A service message: the member asked to be told."""
        talks = await kf_chat.open_talks(session, [due.member_id for due in dues], now=now)
        tonight = max(day_start(local_day(now) + timedelta(days=1)), now + timedelta(hours=1))
        written: dict[Key, str] = {}
        messages = []
        for due in dues:
            talk = talks.get(due.member_id)
            if talk is None:
                continue
            payload = {"msgtype": "text", "text": {"content": words.reminder(due, self._link(due))}}
            message = lanes.kf_message(
                queue.address(talk), payload, because=("subscription", *due.key), deadline=tonight
            )
            messages.append(message)
            written[due.key] = message.dedupe_key
        await outbox.put(session, messages, now=now)
        return written

    def mass_message(self, due: Due) -> Message:
        url = self._app.public_url
        link = Link(title=words.LINK_TITLE, url=f"{url}{PAGE}") if url else None
        return Message(text=words.mass(due), link=link)

    async def to_do(self, session: AsyncSession, due: Due, why_: str, *, now: datetime) -> str | None:
        """A card for who has this member as a contact, else for the supervisors."""
        userids = (due.staff,) if due.staff else self._app.handoff.supervisors
        if not userids:
            return None
        said = words.reminder(due, "")
        content = words.TO_DO.format(name=due.member_name or due.no, title=due.title, said=said, why=why(why_))
        message = lanes.staff_message(
            {"msgtype": "text", "text": {"content": content}},
            because=("subscription", *due.key),
            userids=tuple(userids),
            about=due.member_id,
            deadline=now + timedelta(hours=12),
        )
        await outbox.put(session, [message], now=now)
        return message.dedupe_key

    def _link(self, due: Due) -> str:
        return f"\n{self._app.public_url}{PAGE}/{due.no}" if self._app.public_url else ""


class SubscriptionWatch:
    """Works off what is due, however many workers do. Killed anywhere, it leaves what the last commit said."""

    def __init__(self, app: App) -> None:
        self._app, self._ways = app, Edge(app)

    async def run(self) -> None:
        """Forever: look twice a minute, and when somebody taps."""
        while True:
            await self.round()
            await self._app.peers.wait(TOPIC, seconds=LOOK_EVERY)

    async def round(self) -> int:
        """Do all that is due now; returns how much that was."""
        done = 0
        for step in subscription_days.STEPS:
            while count := await self._once(step):
                done += count
        for work in (subscription_reminders.dispatch, subscription_reminders.settle):
            while count := await self._once(partial(work, ways=self._ways)):
                done += count
        if done:
            log.info("subscriptions.worked", extra={"done": done})
            self._app.peers.tap("send")
            self._app.peers.tap("campaigns")
        return done

    async def _once(self, step: Any) -> int:
        async with self._app.sessions.begin() as session:
            return int(await step(session, now=self._app.clock.now()))
